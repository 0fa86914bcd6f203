"""PubMed, by NCBI's E-utilities: ESearch for the ids, EFetch for their records.

ESearch lists the first 9,999 ids of a query; longer results are split by the day on which PubMed got the record. Ids
are passed from ESearch to EFetch and not kept on NCBI's history server, which forgets them after hours: a stopped
fetch could not be resumed.
"""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

from corpus.identifiers import Identifier, pmid_of
from corpus.paper import Paper
from corpus.readers.medline_xml import read_article
from corpus.readers.report import Rejected
from corpus.sources.client import Client
from corpus.sources.errors import BadAnswer, PaperNotFound, SourceRefused
from corpus.sources.services import PUBMED
from corpus.sources.source import Days, Page, Skipped, Slice, Source, checked_query, pages_by_date
from corpus.sources.values import as_count, as_list, as_object, as_text, first_text, read_json, read_xml
from corpus.text.plain import clean

_PAGE = 200  # NCBI asks for POST above this
_MAX_LISTED = 9_999  # of one query; retstart may be 9,998 at most
_FIRST_DAY = date(1780, 1, 1)  # before the oldest record
_TOOL = "cocite-atlas"


class PubMed(Source):
    """See Source."""

    name = PUBMED.name
    title = PUBMED.title
    home = "https://pubmed.ncbi.nlm.nih.gov/"
    help = "As on PubMed's own page: asthma[mesh] AND 2020:2024[dp]"
    kinds = ("pmid",)

    def count(self, query: str, *, client: Client) -> int:
        """See Source."""
        return _search(client, checked_query(query, title=self.title), None, 0, 0)[0]

    def pages(self, query: str, *, client: Client, cursor: str = "", limit: int | None = None) -> Iterator[Page]:
        """See Source."""
        term = checked_query(query, title=self.title)

        def ask(days: Days | None, start: int, size: int) -> Slice:
            count, ids = _search(client, term, days, start, size)
            return Slice(count, len(ids), lambda: _fetch(client, ids))

        return pages_by_date(
            ask,
            title=self.title,
            cursor=cursor,
            first=_FIRST_DAY,
            last=datetime.now(UTC).date() + timedelta(days=366),
            max_listed=_MAX_LISTED,
            page=_PAGE if limit is None else max(1, min(_PAGE, limit)),
        )

    def look_up(self, identifier: Identifier, *, client: Client) -> Paper:
        """See Source. A record that the MEDLINE reader leaves out, as one in another language, counts as not found."""
        try:
            records = list(_fetch(client, [identifier.value]))
        except SourceRefused as error:
            if "API key" in str(error):
                raise
            # "ID list is empty! Possibly it has no correct IDs."
            raise PaperNotFound(f"{self.title} has no paper with {identifier}.") from error
        for record in records:
            if isinstance(record, Paper) and record.pmid == identifier.value:
                return record
        reason = f": {records[0].reason}" if records and isinstance(records[0], Skipped) else "."
        raise PaperNotFound(f"{self.title} has no usable record for {identifier}{reason}")


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
    return client.ask(PUBMED, "esearch.fcgi", parameters=parameters, format="json", read=_read_ids)


def _read_ids(body: bytes) -> tuple[int, list[str]]:
    answer = read_json(body)
    result = as_object(answer.get("esearchresult"))
    if message := first_text(result.get("ERROR"), answer.get("error")):
        raise SourceRefused(f'PubMed could not answer (it says "{clean(message)[:200]}"). Correct the query.')
    ids = [as_text(value) for value in as_list(result.get("idlist"))]
    if not all(value == pmid_of(value) != "" for value in ids):
        raise BadAnswer("its list of ids holds something else")
    return as_count(result.get("count")), ids


def _fetch(client: Client, ids: list[str]) -> Iterator[Paper | Skipped]:
    """The record of each id in PubMed's order; ids without a record come last."""
    if not ids:
        return
    parameters: dict[str, str | int] = {"db": "pubmed", "id": ",".join(ids), "retmode": "xml", "tool": _TOOL}
    root = client.ask(PUBMED, "efetch.fcgi", parameters=parameters, format="xml", read=_read_articles)
    missing = dict.fromkeys(ids)
    for element in root.iter("PubmedArticle", "PubmedBookArticle"):
        pmid = clean(element.findtext("*/PMID") or "")
        missing.pop(pmid, None)
        record = read_article(element)
        yield Skipped(pmid[:20], record.kind, record.reason) if isinstance(record, Rejected) else record
    for pmid in missing:
        yield Skipped(pmid, "damaged", "PubMed gives no record for it.")


def _read_articles(body: bytes) -> Any:
    root = read_xml(body)
    if (error := root.findtext("ERROR")) is not None or root.tag != "PubmedArticleSet":
        raise SourceRefused(f'PubMed gives no records (it says "{clean(error or root.tag)[:200]}"). Try again later.')
    return root
