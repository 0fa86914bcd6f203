"""Europe PMC, by its REST service: PubMed's records, preprints and more, with their abstracts."""

from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

from corpus.identifiers import Identifier, IdentifierKind, derived_id, normalised_doi, pmid_of
from corpus.paper import Paper
from corpus.readers.fields import year_of
from corpus.sources.client import Client
from corpus.sources.errors import BadAnswer, PaperNotFound, SourceRefused
from corpus.sources.services import EUROPE_PMC
from corpus.sources.source import Page, Skipped, Source, checked_query, split_records
from corpus.sources.values import as_abstract, as_count, as_list, as_object, as_text, as_title, first_text, read_json
from corpus.text.plain import clean, distinct

_PAGE = 200  # 1,000 are allowed, but such a page has tens of megabytes
_FIRST = "*"
_LOOK_UPS: dict[IdentifierKind, str] = {"pmid": "EXT_ID:{} AND SRC:MED", "pmcid": "PMCID:{}", "doi": 'DOI:"{}"'}


class EuropePMC(Source):
    """See Source."""

    name = EUROPE_PMC.name
    title = EUROPE_PMC.title
    home = "https://europepmc.org/"
    help = "As on Europe PMC's own page: TITLE:asthma AND PUB_YEAR:2024, or SRC:PPR for preprints"
    kinds = ("pmcid", "pmid", "doi")

    def count(self, query: str, *, client: Client) -> int:
        """See Source."""
        return _ask(client, checked_query(query, title=self.title), _FIRST, 1, "idlist")[0]

    def pages(self, query: str, *, client: Client, cursor: str = "", limit: int | None = None) -> Iterator[Page]:
        """See Source."""
        cursor = cursor or _FIRST
        size = _PAGE if limit is None else max(1, min(_PAGE, limit))
        while cursor:
            total, results, following = _ask(client, checked_query(query, title=self.title), cursor, size, "core")
            # The last page has no next cursor, or the same one again.
            following = "" if following == cursor or not results else following
            papers, problems = split_records(map(_paper, results), title=self.title)
            yield Page(papers=papers, problems=problems, cursor=following, total=total)
            cursor = following

    def look_up(self, identifier: Identifier, *, client: Client) -> Paper:
        """See Source."""
        query = _LOOK_UPS[identifier.kind].format(identifier.value)
        _, results, _ = _ask(client, query, _FIRST, 5, "core")
        papers = [record for record in map(_paper, results) if isinstance(record, Paper)]
        if not papers:
            raise PaperNotFound(f"{self.title} has no paper with {identifier}.")
        # PubMed's record and PMC's may both match: prefer the one with an abstract.
        return max(papers, key=lambda paper: bool(paper.abstract))


def _ask(client: Client, query: str, cursor: str, size: int, result_type: str) -> tuple[int, list[Any], str]:
    parameters: dict[str, str | int] = {
        "query": query,
        "format": "json",
        "resultType": result_type,
        "pageSize": size,
        "cursorMark": cursor,
    }
    return client.ask(EUROPE_PMC, "search", parameters=parameters, format="json", read=_read_results)


def _read_results(body: bytes) -> tuple[int, list[Any], str]:
    answer = read_json(body)
    if message := first_text(answer.get("errMsg"), answer.get("errCode")):
        raise SourceRefused(f'Europe PMC could not answer (it says "{clean(message)[:200]}"). Correct the query.')
    results = as_object(answer.get("resultList")).get("result", [])
    if not isinstance(results, list):
        raise BadAnswer("it gives no list of results")
    return as_count(answer.get("hitCount")), results, as_text(answer.get("nextCursorMark"))


def _paper(value: object) -> Paper | Skipped:
    record = as_object(value)
    source, number = clean(as_text(record.get("source"))), clean(as_text(record.get("id")))
    if not number:
        return Skipped("a record", "damaged", "no id.")
    title = as_title(record.get("title"))
    journal = as_object(record.get("journalInfo"))
    year = year_of(
        first_text(record.get("pubYear"), journal.get("yearOfPublication"), record.get("firstPublicationDate"))
    )
    doi = normalised_doi(as_text(record.get("doi")))
    pmid = pmid_of(first_text(record.get("pmid"), number if source == "MED" else ""))
    headings = as_list(as_object(record.get("meshHeadingList")).get("meshHeading"))
    keywords = as_list(as_object(record.get("keywordList")).get("keyword"))
    venue = first_text(
        as_object(journal.get("journal")).get("title"),
        record.get("journalTitle"),
        as_object(record.get("bookOrReportDetails")).get("publisher"),  # the server of a preprint
    )
    path = quote(f"{source}/{number}" if source else number, safe="/")
    return Paper(
        id=derived_id(title=title, year=year, doi=doi, pmid=pmid) if pmid or doi else number,
        title=title,
        abstract=as_abstract(record.get("abstractText")),
        authors=tuple(filter(None, map(_author, as_list(as_object(record.get("authorList")).get("author"))))),
        year=year,
        venue=clean(venue),
        doi=doi,
        pmid=pmid,
        url=f"https://europepmc.org/article/{path}",
        topics=distinct(map(as_text, (*(as_object(h).get("descriptorName") for h in headings), *keywords))),
    )


def _author(value: object) -> str:
    author = as_object(value)
    family = clean(as_text(author.get("lastName")))
    given = clean(first_text(author.get("firstName"), author.get("initials")))
    if family:
        return ", ".join(filter(None, (family, given)))
    return clean(first_text(author.get("collectiveName"), author.get("fullName")))
