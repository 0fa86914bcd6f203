"""Verbs of web services, against fake services."""

from pathlib import Path
from typing import Any

import pytest

from components.cli.sources import SourceName
from corpus.progress import Cancelled
from corpus.readers import read
from corpus.sources import fetch as fetching
from corpus.sources.lookup import SOURCES
from tests.components.cli.conftest import Cocite
from tests.corpus.sources.fake_services import FakeEuropePMC, FakeOpenAlex, Place, europe_pmc_result, openalex_work


@pytest.fixture(autouse=True)
def papers(place: Place) -> None:
    results = [europe_pmc_result(i) for i in range(1, 251)]
    results[4] = europe_pmc_result(5, abstractText=None)
    place.services["europe_pmc"] = FakeEuropePMC(results)
    place.services["openalex"] = FakeOpenAlex([], by_id={"doi:10.1000/w.1": openalex_work(1)})


def test_every_source_is_an_argument() -> None:
    assert set(SourceName.__args__) == set(SOURCES)  # type: ignore[attr-defined]


def test_count(cocite: Cocite) -> None:
    assert cocite("count", "europe_pmc", "numbers").out == "250\n"
    assert cocite("count", "europe_pmc", "numbers", "--json").json["count"] == 250
    cocite("count", "nowhere", "numbers").assert_wrong_call()
    cocite("count", "europe_pmc", " ").assert_error("The query for Europe PMC is empty. Enter some words.")


@pytest.mark.parametrize("name", ["numbers.jsonl", "numbers.jsonl.gz"])
def test_fetch(cocite: Cocite, tmp_path: Path, name: str) -> None:
    output = tmp_path / name
    first, problem, last = cocite("fetch", "europe_pmc", "numbers", "--output", output).out.splitlines()
    assert first == "Europe PMC: 249 papers of 250 records; left out: 1 without a title or an abstract."
    assert problem == "  5: no abstract."
    assert last == f"{output}: 249 papers. Build an atlas of them: cocite build {output}"
    with read(output) as reading:
        assert len(list(reading)) == 249
    assert [path.name for path in tmp_path.iterdir()] == [name]
    cocite("fetch", "europe_pmc", "numbers", "--output", output).assert_error("exists")


def test_fetch_with_a_limit_as_json(cocite: Cocite, tmp_path: Path) -> None:
    output = tmp_path / "numbers.jsonl"
    report = cocite("fetch", "europe_pmc", "x", "--output", output, "--limit", "10", "--json").json
    assert (report["fetched"], report["kept"], report["complete"]) == (str(output), 10, False)
    assert len(output.read_text().splitlines()) == 10


def test_a_stopped_fetch_resumes(cocite: Cocite, tmp_path: Path, place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    output = tmp_path / "numbers.jsonl"
    save = fetching._Fetch._save

    def stop(self: Any, file: Any) -> None:
        save(self, file)
        raise Cancelled("stop")

    arguments = ("fetch", "europe_pmc", "numbers", "--output", output)
    with monkeypatch.context() as patch:
        patch.setattr(fetching._Fetch, "_save", stop)
        result = cocite(*arguments)
    assert result.code == 130 and "the same command resumes" in result.err
    assert not output.exists()
    before = len(place.asked)
    assert cocite(*arguments).code == 0
    assert [request.parameters["cursorMark"] for request in place.asked[before:]] == ["AoI=200", "AoI=250"]
    assert len(output.read_text().splitlines()) == 249


def test_a_fetch_without_papers_or_to_another_format(cocite: Cocite, tmp_path: Path, place: Place) -> None:
    place.services["europe_pmc"] = FakeEuropePMC([])
    cocite("fetch", "europe_pmc", "x", "--output", tmp_path / "a.jsonl").assert_error("0 papers of 0 records")
    assert not list(tmp_path.iterdir())
    cocite("fetch", "europe_pmc", "x", "--output", tmp_path / "a.csv").assert_error(".jsonl")


def test_look_up(cocite: Cocite, place: Place) -> None:
    lines = cocite("look-up", "https://doi.org/10.1000/W.1").out.splitlines()
    assert (lines[0], lines[-1]) == ("On numbers & 1", "We count and count 1.")
    assert cocite("look-up", "10.1000/w.1", "--json").json["doi"] == "10.1000/w.1"
    before = len(place.asked)
    cocite("look-up", "A title\n\nand its abstract").assert_error("is not an id")
    assert len(place.asked) == before


def test_offline_nothing_is_asked(cocite: Cocite, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COCITE_ATLAS_OFFLINE", "1")
    for arguments in (("count", "arxiv", "x"), ("look-up", "2106.15928")):
        cocite(*arguments).assert_error("arXiv is not used, because COCITE_ATLAS_OFFLINE is set")
