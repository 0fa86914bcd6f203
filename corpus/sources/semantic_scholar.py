"""Semantic Scholar, by its Academic Graph API: bulk search, a thousand papers a page, and look-up by any id."""

from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

from corpus.identifiers import derived_id, normalised_doi
from corpus.paper import Paper
from corpus.sources.answers import (
    abstract_in,
    cleaned,
    count_in,
    first_text,
    list_in,
    map_in,
    read_json,
    text_in,
    title_in,
    year_in,
)
from corpus.sources.client import Client, shared_client
from corpus.sources.errors import BadAnswer
from corpus.sources.identifiers import Identifier, Kind
from corpus.sources.names import family_first
from corpus.sources.service import SEMANTIC_SCHOLAR
from corpus.sources.source import Left, Page, sort_out, understood
from corpus.text.plain import clean, distinct

_FIELDS = "paperId,corpusId,externalIds,url,title,abstract,venue,publicationVenue,year,journal,authors,s2FieldsOfStudy"
_PREFIXES: dict[Kind, str] = {"doi": "DOI:", "pmid": "PMID:", "pmcid": "PMCID:", "arxiv": "ARXIV:", "s2": ""}


class SemanticScholar:
    """See `corpus.sources.source.Source`."""

    name = SEMANTIC_SCHOLAR.name
    title = SEMANTIC_SCHOLAR.title
    home = "https://www.semanticscholar.org/"
    help = 'Words, all of which must occur; + and, | or, - not, "a phrase", a prefix*'
    kinds: tuple[Kind, ...] = ("s2", "doi", "pmid", "pmcid", "arxiv")

    def count(self, query: str, *, client: Client | None = None) -> int:
        """See Source. An estimate, the service says."""
        return self._ask(client or shared_client(), query, "", "paperId")[0]

    def pages(
        self,
        query: str,
        *,
        client: Client | None = None,
        cursor: str = "",
        most: int | None = None,  # noqa: ARG002  (pages have their own size)
    ) -> Iterator[Page]:
        """See Source. In the order of ids, which stays the same while papers are added. Each page has up to 1,000."""
        asked = client or shared_client()
        while True:
            total, records, token = self._ask(asked, query, cursor, _FIELDS)
            papers, problems = sort_out(map(_paper, records), title=self.title)
            yield Page(papers=papers, problems=problems, cursor=token, total=total)
            if not token:
                return
            cursor = token

    def look_up(self, identifier: Identifier, *, client: Client | None = None) -> Paper:
        """See Source."""
        value = identifier.value.removeprefix("PMC") if identifier.kind == "pmcid" else identifier.value
        path = f"paper/{_PREFIXES[identifier.kind]}{quote(value, safe='/:()')}"
        record = (client or shared_client()).ask(
            SEMANTIC_SCHOLAR, path, parameters={"fields": _FIELDS}, kind="json", read=read_json
        )
        found = _paper(record)
        if isinstance(found, Left):
            raise BadAnswer(f"{self.title}: its record of {identifier} is damaged: {found.reason}")
        return found

    def _ask(self, client: Client, query: str, token: str, fields: str) -> tuple[int, list[Any], str]:
        parameters: dict[str, str | int] = {"query": understood(query, title=self.title), "fields": fields}
        if token:
            parameters["token"] = token
        return client.ask(SEMANTIC_SCHOLAR, "paper/search/bulk", parameters=parameters, kind="json", read=_batch_in)


def _batch_in(body: bytes) -> tuple[int, list[Any], str]:
    answer = read_json(body)
    total = count_in(answer.get("total"))
    # Where nothing matches, "data" may be absent.
    if not isinstance(answer.get("data", []), list):
        raise BadAnswer("it gives no list of papers")
    return total, list_in(answer.get("data")), text_in(answer.get("token"))


def _paper(value: object) -> Paper | Left:
    record = map_in(value)
    own = clean(text_in(record.get("paperId")))
    if not own:
        return Left("a record", "damaged", "no paperId.")
    ids = map_in(record.get("externalIds"))
    title, year = title_in(record.get("title")), year_in(record.get("year"))
    doi = normalised_doi(text_in(ids.get("DOI")))
    pmid = clean(first_text(ids.get("PubMed"), ids.get("Medline")))
    pmid = pmid if pmid.isascii() and pmid.isdigit() else ""
    journal, venue = map_in(record.get("journal")), map_in(record.get("publicationVenue"))
    authors = cleaned(map_in(author).get("name") for author in list_in(record.get("authors")))
    fields = [map_in(field).get("category") for field in list_in(record.get("s2FieldsOfStudy"))]
    arxiv = clean(text_in(ids.get("ArXiv")))
    return Paper(
        id=derived_id(title=title, year=year, doi=doi, pmid=pmid)
        if pmid or doi
        else f"arXiv:{arxiv}"
        if arxiv
        else own,
        title=title,
        abstract=abstract_in(record.get("abstract")),
        authors=tuple(map(family_first, authors)),
        year=year,
        venue=clean(first_text(record.get("venue"), venue.get("name"), journal.get("name"))),
        doi=doi,
        pmid=pmid,
        url=f"https://www.semanticscholar.org/paper/{quote(own, safe='')}",
        topics=distinct(map(text_in, fields)),
    )
