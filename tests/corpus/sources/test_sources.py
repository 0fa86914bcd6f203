"""Each source against a server that answers in the service's documented shapes."""

from collections.abc import Callable
from itertools import count as numbers
from typing import Any

import pytest

from corpus.identifiers import Identifier
from corpus.paper import Paper
from corpus.sources.client import Client
from corpus.sources.errors import BadAnswer, PaperNotFound, SourceRefused
from corpus.sources.europe_pmc import EuropePMC
from corpus.sources.lookup import SOURCES
from corpus.sources.openalex import OpenAlex
from corpus.sources.semantic_scholar import SemanticScholar
from tests.corpus.sources.fake_services import (
    Answer,
    FakeEuropePMC,
    FakeOpenAlex,
    FakeScholar,
    Place,
    all_of,
    europe_pmc_result,
    openalex_work,
    scholar_paper,
    stock,
)

Make = Callable[..., Client]
_WEB = ("pubmed", "openalex", "semantic_scholar", "europe_pmc", "arxiv")


# What is the same for all


@pytest.mark.parametrize("name", _WEB)
@pytest.mark.parametrize("n", [0, 1, 100, 200, 450])
def test_counts_and_pages_agree(place: Place, client_of: Make, name: str, n: int) -> None:
    stock(place, n)
    client = client_of()
    assert SOURCES[name].count("numbers", client=client) == n
    pages = all_of(SOURCES[name], client)
    papers = [paper for page in pages for paper in page.papers]
    assert len(papers) == len({paper.id for paper in papers}) == n
    assert {page.total for page in pages} <= {n}
    assert pages[-1].cursor == "" and all(page.cursor for page in pages[:-1])
    assert not any(page.problems or page.notes for page in pages)


@pytest.mark.parametrize("name", _WEB)
def test_from_any_cursor_the_rest_follows(place: Place, client_of: Make, name: str) -> None:
    stock(place, 450)
    pages = all_of(SOURCES[name], client_of())
    assert len(pages) >= 3
    for i in range(len(pages) - 1):
        assert all_of(SOURCES[name], client_of(), cursor=pages[i].cursor) == pages[i + 1 :]


@pytest.mark.parametrize("name", _WEB)
@pytest.mark.parametrize("query", ["", "  \n ", "x" * 2_001])
def test_no_query_and_one_too_long_are_not_sent(place: Place, client_of: Make, name: str, query: str) -> None:
    with pytest.raises(SourceRefused):
        SOURCES[name].count(query, client=client_of())
    with pytest.raises(SourceRefused):
        all_of(SOURCES[name], client_of(), query)
    assert not place.asked


@pytest.mark.parametrize("name", _WEB)
def test_queries_arrive_as_they_were_typed(place: Place, client_of: Make, name: str) -> None:
    stock(place, 1)
    query = 'all:"α & β+γ" AND cat:x#y%20?;é/='
    SOURCES[name].count(query, client=client_of())
    assert query in place.asked[0].parameters.values()


_NOISE = [None, 7, 1.5, True, "text", [], {}, [None], [[]], {"a": None}, "10.1000/x", -1, 10**30, ["a", 1, {}]]


@pytest.mark.parametrize(
    ("name", "record", "put"),
    [
        ("openalex", openalex_work(1), FakeOpenAlex),
        ("semantic_scholar", scholar_paper(1), FakeScholar),
        ("europe_pmc", europe_pmc_result(1), FakeEuropePMC),
    ],
)
def test_no_field_of_a_record_can_be_so_wrong_that_it_breaks_a_page(
    place: Place, client_of: Make, name: str, record: dict[str, Any], put: Callable[..., Any]
) -> None:
    """Every field, and every field of those, in turn absent, null and of every other kind."""
    serial = numbers(1)
    records: list[Any] = list(_NOISE)
    for key, value in record.items():
        records.append({k: v for k, v in record.items() if k != key})
        records.extend(record | {key: noise} for noise in _NOISE)
        if isinstance(value, dict):
            records.extend(record | {key: value | {inner: noise}} for inner in value for noise in _NOISE)
        if isinstance(value, list) and value and isinstance(value[0], dict):
            records.extend(record | {key: [value[0] | {inner: noise}]} for inner in value[0] for noise in _NOISE)
    for changed in records:
        if isinstance(changed, dict) and changed:
            changed["n"] = next(serial)
    place.services[name] = put(records)
    pages = all_of(SOURCES[name], client_of())
    assert sum(len(page.papers) + len(page.problems) for page in pages) == len(records)
    for page in pages:
        for paper in page.papers:
            assert isinstance(paper, Paper) and paper.id and paper.title and paper.abstract
            assert all(isinstance(author, str) and author for author in paper.authors)
            assert paper.year is None or 1000 <= paper.year < 3000


@pytest.mark.parametrize("name", ["openalex", "semantic_scholar", "europe_pmc"])
@pytest.mark.parametrize(
    "body",
    [
        {},
        {"meta": {}, "total": None, "hitCount": "many", "results": [], "data": [], "resultList": {"result": []}},
        {"meta": {"count": 1}, "total": 1, "hitCount": 1, "results": {}, "data": "x", "resultList": {"result": {}}},
        {"meta": [], "total": -1, "hitCount": -1, "results": None, "data": None, "resultList": 7},
    ],
)
def test_json_of_another_shape_is_refused(place: Place, client_of: Make, name: str, body: dict[str, Any]) -> None:
    place.services[name] = lambda path, parameters: Answer(body)
    with pytest.raises(BadAnswer):
        all_of(SOURCES[name], client_of())


# OpenAlex


def test_an_openalex_work(place: Place, client_of: Make) -> None:
    stock(place, 1)
    (page,) = all_of(OpenAlex(), client_of())
    assert page.papers == (
        Paper(
            id="10.1000/w.1",
            title="On numbers & 1",
            abstract="We count and count 1.",
            authors=("Noether, Emmy", "van Beethoven, Ludwig"),
            year=2020,
            venue="Journal of numbers",
            doi="10.1000/w.1",
            url="https://doi.org/10.1000/w.1",
            topics=("Arithmetic", "Counting"),
        ),
    )


def test_openalex_ids_and_missing_parts(place: Place, client_of: Make) -> None:
    place.services["openalex"] = FakeOpenAlex(
        [
            openalex_work(1, ids={"pmid": "https://pubmed.ncbi.nlm.nih.gov/77"}),
            openalex_work(2, doi=None, primary_location=None, authorships=None, publication_year=None, topics=None),
            openalex_work(3, abstract_inverted_index=None),
            openalex_work(4, display_name=None),
            openalex_work(5, abstract_inverted_index={"huge": [10**12], "so": [1], "negative": [-5], "x": "y"}),
            openalex_work(6, abstract_inverted_index={"word": list(range(60_000))}),
            openalex_work(7, display_name="T" * 3_000),
        ]
    )
    (page,) = all_of(OpenAlex(), client_of())
    assert [paper.id for paper in page.papers] == ["77", "W2", "10.1000/w.5"]
    assert page.papers[1].url == "https://openalex.org/W2"
    assert page.papers[2].abstract == "negative so huge"
    assert [(problem.place, problem.kind, problem.reason) for problem in page.problems] == [
        ("10.1000/w.3", "empty", "no abstract."),
        ("10.1000/w.4", "empty", "no title."),
        ("10.1000/w.6", "empty", "no abstract."),
        ("10.1000/w.7", "damaged", "title of 3,000 characters; at most 2,000 are read."),
    ]


def test_openalex_pages_by_cursor_with_a_key_and_by_number_without(place: Place, client_of: Make, monkeypatch) -> None:
    monkeypatch.setattr("corpus.sources.openalex._MAX_NUMBERED", 300)
    place.services["openalex"] = FakeOpenAlex([openalex_work(i) for i in range(1, 451)], needs_key=True)
    pages = all_of(OpenAlex(), client_of())
    assert sum(len(page.papers) for page in pages) == 300
    assert "the first 300 of 450 records without a key. Set COCITE_ATLAS_OPENALEX_KEY" in pages[-1].notes[0]
    pages = all_of(OpenAlex(), client_of(secrets={"COCITE_ATLAS_OPENALEX_KEY": "k"}))
    assert sum(len(page.papers) for page in pages) == 450
    assert not any(page.notes for page in pages)
    # A fetch begun with a key goes on without it where that is refused: in words.
    with pytest.raises(SourceRefused, match="COCITE_ATLAS_OPENALEX_KEY"):
        all_of(OpenAlex(), client_of(), cursor=pages[0].cursor)


def test_openalex_filters(place: Place, client_of: Make) -> None:
    stock(place, 1)
    OpenAlex().count("filter:publication_year:2024,type:article", client=client_of())
    assert place.asked[0].parameters["filter"] == "publication_year:2024,type:article"
    assert "search" not in place.asked[0].parameters
    place.instead = [Answer({"error": "Invalid filter", "message": "Unknown filter field: author_name."}, status=400)]
    with pytest.raises(SourceRefused, match="Unknown filter field: author_name"):
        OpenAlex().count("filter:author_name:x", client=client_of())


def test_openalex_look_up(place: Place, client_of: Make) -> None:
    by_id = {"doi:10.1000/w.1": openalex_work(1), "pmid:7": openalex_work(7)}
    place.services["openalex"] = FakeOpenAlex([], by_id=by_id)
    assert OpenAlex().look_up(Identifier("doi", "10.1000/w.1"), client=client_of()).doi == "10.1000/w.1"
    assert OpenAlex().look_up(Identifier("pmid", "7"), client=client_of()).doi == "10.1000/w.7"
    with pytest.raises(PaperNotFound):
        OpenAlex().look_up(Identifier("doi", "10.1000/w.2"), client=client_of())
    # A DOI with marks that part an address goes as one piece of the path.
    with pytest.raises(PaperNotFound):
        OpenAlex().look_up(Identifier("doi", "10.1000/a?b#c%2fd&e=f"), client=client_of())
    assert place.asked[-1].path == "/openalex/works/doi:10.1000/a?b#c%2fd&e=f"
    assert set(place.asked[-1].parameters) == {"select"}


# Semantic Scholar


def test_a_semantic_scholar_paper(place: Place, client_of: Make) -> None:
    place.services["semantic_scholar"] = FakeScholar(
        [
            scholar_paper(1),
            scholar_paper(2, externalIds={"ArXiv": "2106.15928", "CorpusId": 2}, venue="", year=None, authors=[]),
            scholar_paper(3, externalIds={"PubMed": "77", "DOI": "10.1/x"}),
            scholar_paper(4, externalIds=None, journal=None, abstract=None),
            scholar_paper(5, externalIds=None),
        ]
    )
    (page,) = all_of(SemanticScholar(), client_of())
    assert page.papers[0] == Paper(
        id="10.1000/s.1",
        title="Title 1",
        abstract="We count 1.",
        authors=("Etzioni, Oren", "Ammar, Waleed"),
        year=2019,
        venue="Conference on numbers",
        doi="10.1000/s.1",
        url=f"https://www.semanticscholar.org/paper/{1:040x}",
        topics=("Mathematics",),
    )
    assert [paper.id for paper in page.papers[1:]] == ["arXiv:2106.15928", "77", f"{5:040x}"]
    assert page.papers[1].venue == "Proceedings"
    assert [(problem.place, problem.kind) for problem in page.problems] == [(f"{4:040x}", "empty")]


def test_semantic_scholar_look_up_by_every_id(place: Place, client_of: Make) -> None:
    asked = {
        Identifier("s2", f"{1:040x}"): f"{1:040x}",
        Identifier("s2", "CorpusId:1"): "CorpusId:1",
        Identifier("doi", "10.1000/s.1"): "DOI:10.1000/s.1",
        Identifier("pmid", "7"): "PMID:7",
        Identifier("pmcid", "PMC8"): "PMCID:8",
        Identifier("arxiv", "2106.15928"): "ARXIV:2106.15928",
    }
    place.services["semantic_scholar"] = FakeScholar([], by_id=dict.fromkeys(asked.values(), scholar_paper(1)))
    for identifier in asked:
        assert SemanticScholar().look_up(identifier, client=client_of()).title == "Title 1"
    with pytest.raises(PaperNotFound):
        SemanticScholar().look_up(Identifier("doi", "10.1000/none"), client=client_of())


def test_semantic_scholar_without_matches_gives_no_data(place: Place, client_of: Make) -> None:
    place.services["semantic_scholar"] = lambda path, parameters: Answer({"total": "0"})
    (page,) = all_of(SemanticScholar(), client_of())
    assert (page.papers, page.total, page.cursor) == ((), 0, "")


# Europe PMC


def test_a_europe_pmc_record(place: Place, client_of: Make) -> None:
    preprint = europe_pmc_result(
        2,
        id="PPR170401",
        source="PPR",
        pmid=None,
        journalInfo=None,
        bookOrReportDetails={"publisher": "bioRxiv", "yearOfPublication": 2022},
        authorList={"author": [{"fullName": "Noether E", "lastName": "Noether", "initials": "E"}]},
    )
    place.services["europe_pmc"] = FakeEuropePMC(
        [
            europe_pmc_result(1),
            preprint,
            europe_pmc_result(3, abstractText=None),
            europe_pmc_result(4, doi=None, pmid=None),
        ]
    )
    page, _empty = all_of(EuropePMC(), client_of())
    assert page.papers[0] == Paper(
        id="1",
        title="Numbers of E. coli 1.",
        abstract=page.papers[0].abstract,
        authors=("Noether, Emmy", "Number Group"),
        year=2022,
        venue="Journal of numbers",
        doi="10.1000/e.1",
        pmid="1",
        url="https://europepmc.org/article/MED/1",
        topics=("Humans", "counting"),
    )
    assert page.papers[0].abstract.casefold().split("\n") == ["background: we count.", "results: it is 1."]
    assert (page.papers[1].id, page.papers[1].venue) == ("10.1000/e.2", "bioRxiv")
    assert page.papers[1].authors == ("Noether, E",)
    assert page.papers[2].id == page.papers[2].pmid == "4"
    assert [problem.place for problem in page.problems] == ["3"]


def test_europe_pmc_look_up_and_errors(place: Place, client_of: Make) -> None:
    place.services["europe_pmc"] = FakeEuropePMC([europe_pmc_result(9, abstractText=""), europe_pmc_result(8)])
    queries = {
        Identifier("pmid", "8"): "EXT_ID:8 AND SRC:MED",
        Identifier("pmcid", "PMC8"): "PMCID:PMC8",
        Identifier("doi", "10.1000/e.8"): 'DOI:"10.1000/e.8"',
    }
    for identifier, query in queries.items():
        assert EuropePMC().look_up(identifier, client=client_of()).pmid == "8"
        assert place.asked[-1].parameters["query"] == query
    place.services["europe_pmc"] = FakeEuropePMC([])
    with pytest.raises(PaperNotFound):
        EuropePMC().look_up(Identifier("pmid", "8"), client=client_of())
    place.services["europe_pmc"] = lambda path, parameters: Answer({"errCode": 400, "errMsg": "Invalid query"})
    with pytest.raises(SourceRefused, match="Invalid query"):
        EuropePMC().count("x", client=client_of())
