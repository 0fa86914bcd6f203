"""PubMed and arXiv, whose long results are split by dates, against a server in their documented shapes."""

from collections.abc import Callable

import pytest

from corpus.identifiers import Identifier
from corpus.paper import Paper
from corpus.sources.arxiv import ArXiv
from corpus.sources.client import Client
from corpus.sources.errors import BadAnswer, PaperNotFound, SourceError, SourceRefused, SourceUnavailable
from corpus.sources.lookup import SOURCES
from corpus.sources.pubmed import PubMed
from tests.corpus.sources.fake_services import (
    Answer,
    FakeArXiv,
    FakePubMed,
    Place,
    all_of,
    arxiv_entry,
    arxiv_error,
    arxiv_feed,
    dated_article,
    dated_entry,
    pubmed_article,
    stock,
)

Make = Callable[..., Client]


# PubMed


def test_a_pubmed_record(place: Place, client_of: Make) -> None:
    stock(place, 1)
    (page,) = all_of(PubMed(), client_of())
    assert page.papers == (
        Paper(
            id="1",
            title="Title 1.",
            abstract="We studied the number 1.",
            authors=("Noether, Emmy", "Number Group"),
            year=2021,
            venue="Journal of numbers",
            doi="10.1000/N.1",
            pmid="1",
            url="https://pubmed.ncbi.nlm.nih.gov/1/",
        ),
    )
    search, fetch = place.asked
    assert search.parameters["db"] == "pubmed" and search.parameters["tool"] == "cocite-atlas"
    assert fetch.parameters["id"] == "1" and fetch.parameters["retmode"] == "xml"


def test_pubmed_records_that_give_no_paper_are_told(place: Place, client_of: Make) -> None:
    fake = FakePubMed({str(i): dated_article(i) for i in range(1, 6)})
    fake.records["2"] = (pubmed_article("2", abstract=None), "2001/01/01")
    fake.records["3"] = (pubmed_article("3", language="fre"), "2001/01/01")
    fake.records["4"] = ("", "2001/01/01")
    fake.records["5"] = (
        "<PubmedBookArticle><BookDocument><PMID>5</PMID></BookDocument></PubmedBookArticle>",
        "2001/01/01",
    )
    place.services["pubmed"] = fake
    (page,) = all_of(PubMed(), client_of())
    assert [paper.id for paper in page.papers] == ["1"]
    assert sorted((problem.place, problem.kind) for problem in page.problems) == [
        ("2", "empty"),
        ("3", "non_english"),
        ("4", "damaged"),
        ("5", "damaged"),
    ]
    assert {problem.file for problem in page.problems} == {"PubMed"}


def test_more_than_pubmed_lists_is_split_by_days(place: Place, client_of: Make, monkeypatch) -> None:
    monkeypatch.setattr("corpus.sources.pubmed._MAX_LISTED", 50)
    monkeypatch.setattr("corpus.sources.pubmed._PAGE", 20)
    fake = FakePubMed({str(i): dated_article(i) for i in range(1, 251)}, most_ids=50)
    place.services["pubmed"] = fake
    pages = all_of(PubMed(), client_of())
    papers = [paper.id for page in pages for paper in page.papers]
    assert sorted(papers, key=int) == [str(i) for i in range(1, 251)]
    assert {page.total for page in pages} == {250}
    assert max(fake.retstarts) < 50
    assert not any(page.notes for page in pages)
    # The newest days come first, for those who want the first thousand only.
    days = [fake.records[number][1] for number in papers]
    assert days == sorted(days, reverse=True)
    # From a cursor within the windows, too.
    middle = len(pages) // 2
    assert all_of(PubMed(), client_of(), cursor=pages[middle].cursor) == pages[middle + 1 :]


def test_a_day_with_more_than_pubmed_lists_is_reported(place: Place, client_of: Make, monkeypatch) -> None:
    monkeypatch.setattr("corpus.sources.pubmed._MAX_LISTED", 50)
    records = {str(i): (pubmed_article(str(i)), "2003/05/06") for i in range(1, 81)}
    place.services["pubmed"] = FakePubMed(records, most_ids=50)
    pages = all_of(PubMed(), client_of())
    assert sum(len(page.papers) for page in pages) == 50
    assert [note for page in pages for note in page.notes] == [
        "PubMed has 80 records of 2003-05-06 and lists the first 50 of a day. Narrow the query to reach the others."
    ]


def test_what_esearch_says_in_the_place_of_a_list(place: Place, client_of: Make) -> None:
    for said in (
        {"esearchresult": {"ERROR": "Search Backend failed: Database is not supported: pubmed"}},
        {"error": "something"},
    ):
        place.services["pubmed"] = lambda path, parameters, said=said: Answer(said)
        with pytest.raises(SourceRefused, match=r"Search Backend failed|something"):
            PubMed().count("x", client=client_of())
    place.services["pubmed"] = lambda path, parameters: Answer({"esearchresult": {"count": "1", "idlist": ["1&id=2"]}})
    with pytest.raises(BadAnswer, match="its list of ids holds something else"):
        all_of(PubMed(), client_of())


def test_what_efetch_says_in_the_place_of_records(place: Place, client_of: Make) -> None:
    stock(place, 1)
    xml = "<?xml version='1.0'?><eFetchResult><ERROR>Cannot process ID list</ERROR></eFetchResult>"

    def answer(path: str, parameters: dict[str, str]) -> Answer:
        if path == "efetch.fcgi":
            return Answer(xml, kind="text/xml")
        return Answer({"esearchresult": {"count": "1", "idlist": ["1"]}})

    place.services["pubmed"] = answer
    with pytest.raises(SourceRefused, match="Cannot process ID list"):
        all_of(PubMed(), client_of())


def test_pubmed_look_up(place: Place, client_of: Make) -> None:
    stock(place, 3)
    assert PubMed().look_up(Identifier("pmid", "2"), client=client_of()).pmid == "2"
    with pytest.raises(PaperNotFound):
        PubMed().look_up(Identifier("pmid", "9"), client=client_of())
    place.instead = [
        Answer(
            "<eFetchResult><ERROR>ID list is empty! Possibly it has no correct IDs.</ERROR></eFetchResult>", status=400
        )
    ]
    with pytest.raises(PaperNotFound):
        PubMed().look_up(Identifier("pmid", "9"), client=client_of())
    place.instead = [Answer({"error": "API key invalid", "api-key": "x"}, status=400)]
    with pytest.raises(SourceRefused, match="API key invalid"):
        PubMed().look_up(Identifier("pmid", "2"), client=client_of())


# arXiv


def test_an_arxiv_entry(place: Place, client_of: Make) -> None:
    place.services["arxiv"] = FakeArXiv(
        {
            "2106.15928": (arxiv_entry("2106.15928", summary="If a < b & c\n  then d."), "20210601"),
            "hep-th/9901001": (arxiv_entry("hep-th/9901001", doi="10.1000/A.1"), "19990101"),
            "x": (arxiv_entry("2106.00001", summary=" "), "20210601"),
        }
    )
    (page,) = all_of(ArXiv(), client_of())
    assert page.papers[0] == Paper(
        id="arXiv:2106.15928",
        title="Title of 2106.15928",
        abstract="If a < b & c then d.",
        authors=("Noether, Emmy", "ATLAS Collaboration"),
        year=2021,
        venue="arXiv",
        url="https://arxiv.org/abs/2106.15928",
        topics=("math.NT",),
    )
    assert (page.papers[1].id, page.papers[1].url) == ("10.1000/a.1", "https://arxiv.org/abs/hep-th/9901001")
    assert [problem.place for problem in page.problems] == ["arXiv:2106.00001"]


@pytest.mark.parametrize(
    ("typed", "sent"),
    [
        ("dark matter", "all:dark AND all:matter"),
        ('"dark matter" halo', 'all:"dark matter" AND all:halo'),
        ("dark OR halo", "all:dark OR all:halo"),
        ("(dark OR halo) ANDNOT star", "( all:dark OR all:halo ) ANDNOT all:star"),
        ("ti:dark matter", "ti:dark matter"),
        ("cat:cs.AI AND abs:x", "cat:cs.AI AND abs:x"),
    ],
)
def test_arxiv_queries(place: Place, client_of: Make, typed: str, sent: str) -> None:
    stock(place, 1)
    ArXiv().count(typed, client=client_of())
    assert place.asked[0].parameters["search_query"] == sent


def test_more_than_arxiv_lists_is_split_by_days(place: Place, client_of: Make, monkeypatch) -> None:
    monkeypatch.setattr("corpus.sources.arxiv._MAX_LISTED", 60)
    place.services["arxiv"] = FakeArXiv({f"2101.{i:05d}": dated_entry(i) for i in range(1, 301)}, most=60)
    pages = all_of(ArXiv(), client_of(), "a OR b")
    papers = [paper.id for page in pages for paper in page.papers]
    assert sorted(papers) == [f"arXiv:2101.{i:05d}" for i in range(1, 301)]
    assert {page.total for page in pages} == {300}
    assert place.asked[-1].parameters["search_query"].startswith("(all:a OR all:b) AND submittedDate:[1986")


def test_arxiv_pages_that_are_empty_for_no_reason_are_retried(place: Place, client_of: Make) -> None:
    stock(place, 30)
    place.instead = [arxiv_feed([], total=30), arxiv_feed([], total=30)]
    (page,) = all_of(ArXiv(), client_of())
    assert len(page.papers) == 30
    place.instead = [arxiv_feed([], total=30)] * 9
    with pytest.raises(SourceUnavailable, match="the page is empty although there are more papers"):
        all_of(ArXiv(), client_of())


@pytest.mark.parametrize("status", [200, 400])
def test_arxiv_errors(place: Place, client_of: Make, status: int) -> None:
    place.services["arxiv"] = lambda path, parameters: arxiv_error("incorrect id format for x", status=status)
    with pytest.raises(SourceRefused, match="incorrect id format for x"):
        ArXiv().count("x", client=client_of())
    with pytest.raises(PaperNotFound):
        ArXiv().look_up(Identifier("arxiv", "2106.15928"), client=client_of())


def test_arxiv_look_up(place: Place, client_of: Make) -> None:
    stock(place, 3)
    assert ArXiv().look_up(Identifier("arxiv", "2101.00002"), client=client_of()).id == "arXiv:2101.00002"
    with pytest.raises(PaperNotFound):
        ArXiv().look_up(Identifier("arxiv", "2101.99999"), client=client_of())


# Cursors that are none


@pytest.mark.parametrize("name", ["pubmed", "arxiv", "openalex"])
@pytest.mark.parametrize(
    "cursor", ["{", '{"windows": 7}', "[]", '{"total":1,"windows":[["x","y"]],"start":0}', "page x y"]
)
def test_cursors_that_are_none_are_told(place: Place, client_of: Make, name: str, cursor: str) -> None:
    stock(place, 3)
    if name == "openalex" and not cursor.startswith("page"):
        return
    with pytest.raises(SourceError, match="Start the fetch again"):
        all_of(SOURCES[name], client_of(), cursor=cursor)
