"""PubMed, by NCBI's E-utilities: ESearch for the ids, EFetch for their records.

ESearch gives the first 9,999 ids of a query and no more; longer results are split by the day on which PubMed got the
record. Ids are carried from the one to the other, not kept on NCBI's history server: that forgets them after hours,
and a fetch that was stopped would find nothing to go on from.
"""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

from corpus.paper import Paper
from corpus.readers.medline_xml import read_article
from corpus.readers.report import Rejected
from corpus.sources.answers import count_in, first_text, list_in, map_in, read_json, read_xml, text_in
from corpus.sources.client import Client, shared_client
from corpus.sources.errors import BadAnswer, PaperNotFound, SourceRefused
from corpus.sources.identifiers import Identifier, Kind
from corpus.sources.service import PUBMED
from corpus.sources.source import Left, Page, understood
from corpus.sources.windows import Days, Slice, windowed_pages
from corpus.text.plain import clean

_PAGE = 200  # more ids at once must be POSTed, NCBI says
_MOST_IDS = 9_999  # of one query; retstart may be 9,998 at most
_FIRST_DAY = date(1780, 1, 1)  # before the oldest record
_TOOL = "cocite-atlas"


class PubMed:
    """See `corpus.sources.source.Source`."""

    name = PUBMED.name
    title = PUBMED.title
    home = "https://pubmed.ncbi.nlm.nih.gov/"
    help = "As on PubMed's own page: asthma[mesh] AND 2020:2024[dp]"
    kinds: tuple[Kind, ...] = ("pmid",)

    def count(self, query: str, *, client: Client | None = None) -> int:
        """See Source."""
        return _search(client or shared_client(), understood(query, title=self.title), None, 0, 0)[0]

    def pages(
        self, query: str, *, client: Client | None = None, cursor: str = "", most: int | None = None
    ) -> Iterator[Page]:
        """See Source."""
        asked = client or shared_client()
        term = understood(query, title=self.title)

        def ask(days: Days | None, start: int, size: int) -> Slice:
            count, ids = _search(asked, term, days, start, size)
            return Slice(count, len(ids), lambda: _fetch(asked, ids))

        return windowed_pages(
            ask,
            title=self.title,
            cursor=cursor,
            first=_FIRST_DAY,
            last=datetime.now(UTC).date() + timedelta(days=366),
            most_a_window=_MOST_IDS,
            page=_PAGE if most is None else max(1, min(_PAGE, most)),
        )

    def look_up(self, identifier: Identifier, *, client: Client | None = None) -> Paper:
        """See Source. What the reader of MEDLINE leaves out, as records in other languages, counts as not found."""
        try:
            found = list(_fetch(client or shared_client(), [identifier.value]))
        except SourceRefused as error:
            if "API key" in str(error):
                raise
            # "ID list is empty! Possibly it has no correct IDs."
            raise PaperNotFound(f"{self.title} does not know {identifier}.") from error
        for record in found:
            if isinstance(record, Paper) and record.pmid == identifier.value:
                return record
        reason = f": {found[0].reason}" if found and isinstance(found[0], Left) else "."
        raise PaperNotFound(f"{self.title} gives no paper for {identifier}{reason}")


def _search(client: Client, term: str, days: Days | None, start: int, size: int) -> tuple[int, list[str]]:
    """How many records match, and the ids of some."""
    parameters: dict[str, str | int] = {
        "db": "pubmed",
        "term": term,
        "retmode": "json",
        "retstart": start,
        "retmax": size,
        "tool": _TOOL,
    }
    if days is not None:
        parameters |= {"datetype": "edat", "mindate": f"{days[0]:%Y/%m/%d}", "maxdate": f"{days[1]:%Y/%m/%d}"}
    return client.ask(PUBMED, "esearch.fcgi", parameters=parameters, kind="json", read=_ids_in)


def _ids_in(body: bytes) -> tuple[int, list[str]]:
    answer = read_json(body)
    result = map_in(answer.get("esearchresult"))
    if said := first_text(result.get("ERROR"), answer.get("error")):
        raise SourceRefused(f'PubMed could not answer (it says "{clean(said)[:200]}"). Correct the query.')
    ids = [text_in(value) for value in list_in(result.get("idlist"))]
    if not all(value.isascii() and value.isdigit() and len(value) < 10 for value in ids):
        raise BadAnswer("its list of ids holds something else")
    return count_in(result.get("count")), ids


def _fetch(client: Client, ids: list[str]) -> Iterator[Paper | Left]:
    """What each id gives, in the order of the records; an id without a record is told of last."""
    if not ids:
        return
    parameters: dict[str, str | int] = {"db": "pubmed", "id": ",".join(ids), "retmode": "xml", "tool": _TOOL}
    root = client.ask(PUBMED, "efetch.fcgi", parameters=parameters, kind="xml", read=_articles_in)
    missing = dict.fromkeys(ids)
    for element in root.iter("PubmedArticle", "PubmedBookArticle"):
        pmid = clean(element.findtext("*/PMID") or "")
        missing.pop(pmid, None)
        # It may carry an ERROR in the place of a record, and hold an article in an article: nothing counts twice.
        found = read_article(element)
        yield Left(pmid[:20], found.kind, found.reason) if isinstance(found, Rejected) else found
    for pmid in missing:
        yield Left(pmid, "damaged", "PubMed gives no record for it.")


def _articles_in(body: bytes) -> Any:
    root = read_xml(body)
    if (error := root.findtext("ERROR")) is not None or root.tag != "PubmedArticleSet":
        raise SourceRefused(f'PubMed gives no records (it says "{clean(error or root.tag)[:200]}"). Try again later.')
    return root
