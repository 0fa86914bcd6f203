"""Which service is asked for which identifier, what follows where one fails, and what leaves the machine."""

from collections.abc import Callable

import pytest

from corpus.identifiers import Identifier, parse_identifier
from corpus.sources.client import Client
from corpus.sources.errors import PaperNotFound, SourceRefused, SourceUnavailable
from corpus.sources.lookup import look_up
from tests.corpus.sources.fake_services import (
    Answer,
    FakeArXiv,
    FakeEuropePMC,
    FakeOpenAlex,
    FakePubMed,
    FakeScholar,
    Place,
    arxiv_entry,
    europe_pmc_result,
    openalex_work,
    pubmed_article,
    scholar_paper,
)

Make = Callable[..., Client]


@pytest.fixture(autouse=True)
def nothing_known(place: Place) -> None:
    place.services = {
        "pubmed": FakePubMed({}),
        "openalex": FakeOpenAlex([]),
        "semantic_scholar": FakeScholar([]),
        "europe_pmc": FakeEuropePMC([]),
        "arxiv": FakeArXiv({}),
    }


def asked(place: Place) -> list[str]:
    return [one.path.split("/")[1] for one in place.asked]


@pytest.mark.parametrize(
    ("text", "order"),
    [
        ("PMID: 7", ["pubmed", "europe_pmc", "openalex", "semantic_scholar"]),
        ("10.1000/x", ["openalex", "europe_pmc", "semantic_scholar"]),
        ("PMC7", ["europe_pmc", "openalex", "semantic_scholar"]),
        ("2106.15928", ["arxiv", "semantic_scholar"]),
        ("CorpusId:7", ["semantic_scholar"]),
    ],
)
def test_the_order_in_which_services_are_asked(place: Place, client_of: Make, text: str, order: list[str]) -> None:
    identifier = parse_identifier(text)
    assert identifier is not None
    with pytest.raises(PaperNotFound, match=r"no paper with .*Check it for typing errors"):
        look_up(identifier, client=client_of())
    assert asked(place) == order


def test_the_first_with_an_abstract_answers(place: Place, client_of: Make) -> None:
    place.services["openalex"] = FakeOpenAlex(
        [], by_id={"doi:10.1000/x": openalex_work(1, abstract_inverted_index=None)}
    )
    place.services["europe_pmc"] = FakeEuropePMC([europe_pmc_result(8)])
    assert look_up(Identifier("doi", "10.1000/x"), client=client_of()).pmid == "8"
    assert asked(place) == ["openalex", "europe_pmc"]


def test_a_paper_without_an_abstract_anywhere_is_given_without(place: Place, client_of: Make) -> None:
    place.services["openalex"] = FakeOpenAlex(
        [], by_id={"doi:10.1000/x": openalex_work(1, abstract_inverted_index=None)}
    )
    paper = look_up(Identifier("doi", "10.1000/x"), client=client_of())
    assert (paper.title, paper.abstract) == ("On numbers & 1", "")
    assert len(place.asked) == 3


def test_a_record_that_pubmed_gives_without_an_abstract_is_asked_for_elsewhere(place: Place, client_of: Make) -> None:
    place.services["pubmed"] = FakePubMed({"7": (pubmed_article("7", abstract=None), "2020/01/01")})
    place.services["europe_pmc"] = FakeEuropePMC([europe_pmc_result(7)])
    assert look_up(Identifier("pmid", "7"), client=client_of()).title == "Numbers of E. coli 7."


def test_where_one_is_down_the_next_is_asked(place: Place, client_of: Make) -> None:
    place.services["arxiv"] = lambda path, parameters: Answer("{}", status=503)
    place.services["semantic_scholar"] = FakeScholar([], by_id={"ARXIV:2106.15928": scholar_paper(1)})
    client = client_of(attempts=2)
    assert look_up(Identifier("arxiv", "2106.15928"), client=client).title == "Title 1"


def test_not_found_is_not_said_where_somebody_could_not_be_asked(place: Place, client_of: Make) -> None:
    place.services["europe_pmc"] = lambda path, parameters: Answer("{}", status=503)
    with pytest.raises(
        SourceUnavailable, match="OpenAlex and Semantic Scholar have no paper with DOI 10.1000/x, and others"
    ):
        look_up(Identifier("doi", "10.1000/x"), client=client_of(attempts=1))
    place.services["europe_pmc"] = lambda path, parameters: Answer({"message": "Forbidden"}, status=403)
    with pytest.raises(SourceRefused, match="Europe PMC does not answer"):
        look_up(Identifier("doi", "10.1000/x"), client=client_of(attempts=1))


def test_no_network_is_one_sentence(client_of: Make, place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COCITE_ATLAS_OFFLINE", "1")
    with pytest.raises(SourceUnavailable) as caught:
        look_up(Identifier("doi", "10.1000/x"), client=client_of())
    assert str(caught.value).count("COCITE_ATLAS_OFFLINE") == 1
    assert not place.asked


def test_only_the_identifier_leaves_the_machine(place: Place, client_of: Make) -> None:
    place.services["arxiv"] = FakeArXiv({"2106.15928": (arxiv_entry("2106.15928"), "20210601")})
    look_up(Identifier("arxiv", "2106.15928"), client=client_of())
    (one,) = place.asked
    assert dict(one.parameters) == {"id_list": "2106.15928", "max_results": "1"}
    assert set(one.headers) <= {"Host", "Accept", "Accept-Encoding", "Connection", "User-Agent"}
