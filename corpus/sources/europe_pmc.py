"""Europe PMC, by its REST service: PubMed's records, preprints, and what else it indexes, with their abstracts."""

from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

from corpus.identifiers import derived_id, normalised_doi
from corpus.paper import Paper
from corpus.sources.answers import (
    abstract_in,
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
from corpus.sources.errors import BadAnswer, PaperNotFound, SourceRefused
from corpus.sources.identifiers import Identifier, Kind
from corpus.sources.service import EUROPE_PMC
from corpus.sources.source import Left, Page, sort_out, understood
from corpus.text.plain import clean, distinct

_PAGE = 200  # of 1,000 that are allowed: a page of those has tens of megabytes
_FIRST = "*"
_LOOK_UPS: dict[Kind, str] = {"pmid": "EXT_ID:{} AND SRC:MED", "pmcid": "PMCID:{}", "doi": 'DOI:"{}"'}


class EuropePMC:
    """See `corpus.sources.source.Source`."""

    name = EUROPE_PMC.name
    title = EUROPE_PMC.title
    home = "https://europepmc.org/"
    help = "As on Europe PMC's own page: TITLE:asthma AND PUB_YEAR:2024, or SRC:PPR for preprints"
    kinds: tuple[Kind, ...] = ("pmcid", "pmid", "doi")

    def count(self, query: str, *, client: Client | None = None) -> int:
        """See Source."""
        return _ask(client or shared_client(), understood(query, title=self.title), _FIRST, 1, "idlist")[0]

    def pages(
        self, query: str, *, client: Client | None = None, cursor: str = "", most: int | None = None
    ) -> Iterator[Page]:
        """See Source."""
        asked, cursor = client or shared_client(), cursor or _FIRST
        size = _PAGE if most is None else max(1, min(_PAGE, most))
        while cursor:
            total, results, following = _ask(asked, understood(query, title=self.title), cursor, size, "core")
            # Its end is a mark that is missing, or the same again.
            following = "" if following == cursor or not results else following
            papers, problems = sort_out(map(_paper, results), title=self.title)
            yield Page(papers=papers, problems=problems, cursor=following, total=total)
            cursor = following

    def look_up(self, identifier: Identifier, *, client: Client | None = None) -> Paper:
        """See Source."""
        query = _LOOK_UPS[identifier.kind].format(identifier.value)
        _, results, _ = _ask(client or shared_client(), query, _FIRST, 5, "core")
        papers = [found for found in map(_paper, results) if isinstance(found, Paper)]
        if not papers:
            raise PaperNotFound(f"{self.title} does not know {identifier}.")
        # The record of PubMed and that of PMC may both answer; the one with an abstract is the better.
        return max(papers, key=lambda paper: bool(paper.abstract))


def _ask(client: Client, query: str, cursor: str, size: int, result_type: str) -> tuple[int, list[Any], str]:
    parameters: dict[str, str | int] = {
        "query": query,
        "format": "json",
        "resultType": result_type,
        "pageSize": size,
        "cursorMark": cursor,
    }
    return client.ask(EUROPE_PMC, "search", parameters=parameters, kind="json", read=_results_in)


def _results_in(body: bytes) -> tuple[int, list[Any], str]:
    answer = read_json(body)
    if said := first_text(answer.get("errMsg"), answer.get("errCode")):
        raise SourceRefused(f'Europe PMC could not answer (it says "{clean(said)[:200]}"). Correct the query.')
    results = map_in(answer.get("resultList")).get("result", [])
    if not isinstance(results, list):
        raise BadAnswer("it gives no list of results")
    return count_in(answer.get("hitCount")), results, text_in(answer.get("nextCursorMark"))


def _paper(value: object) -> Paper | Left:
    record = map_in(value)
    source, number = clean(text_in(record.get("source"))), clean(text_in(record.get("id")))
    if not number:
        return Left("a record", "damaged", "no id.")
    title = title_in(record.get("title"))
    journal = map_in(record.get("journalInfo"))
    year = year_in(
        first_text(record.get("pubYear"), journal.get("yearOfPublication"), record.get("firstPublicationDate"))
    )
    doi = normalised_doi(text_in(record.get("doi")))
    pmid = clean(first_text(record.get("pmid"), number if source == "MED" else ""))
    pmid = pmid if pmid.isascii() and pmid.isdigit() else ""
    headings = [
        map_in(h).get("descriptorName") for h in list_in(map_in(record.get("meshHeadingList")).get("meshHeading"))
    ]
    keywords = list_in(map_in(record.get("keywordList")).get("keyword"))
    place = f"{source}/{number}" if source else number
    return Paper(
        id=derived_id(title=title, year=year, doi=doi, pmid=pmid) if pmid or doi else number,
        title=title,
        abstract=abstract_in(record.get("abstractText")),
        authors=tuple(filter(None, map(_author, list_in(map_in(record.get("authorList")).get("author"))))),
        year=year,
        venue=clean(
            first_text(
                map_in(journal.get("journal")).get("title"),
                record.get("journalTitle"),
                map_in(record.get("bookOrReportDetails")).get("publisher"),  # where preprints name their server
            )
        ),
        doi=doi,
        pmid=pmid,
        url=f"https://europepmc.org/article/{quote(place, safe='/')}",
        topics=distinct(map(text_in, (*headings, *keywords))),
    )


def _author(value: object) -> str:
    author = map_in(value)
    family = clean(text_in(author.get("lastName")))
    given = clean(first_text(author.get("firstName"), author.get("initials")))
    if family:
        return ", ".join(filter(None, (family, given)))
    return clean(first_text(author.get("collectiveName"), author.get("fullName")))
