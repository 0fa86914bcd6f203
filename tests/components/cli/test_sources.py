"""`count`, `fetch` and `look-up`, as a person calls them and as a program does."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from components.cli.corpus.shared import JsonLines

from components.cli.main import main
from corpus.progress import Cancelled
from corpus.readers import read
from tests.corpus.sources.fake_services import (
    Answer,
    FakeEuropePMC,
    FakeOpenAlex,
    Place,
    europe_pmc_result,
    openalex_work,
)

Call = Callable[..., tuple[int, str, str]]


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str]) -> Call:
    """call(*arguments): the exit code, standard output and standard error."""

    def call(*arguments: str) -> tuple[int, str, str]:
        try:
            code = main(arguments)
        except SystemExit as exit_:
            code = int(str(exit_.code))
        return code, *capsys.readouterr()

    return call


@pytest.fixture(autouse=True)
def stocked(place: Place) -> None:
    results = [europe_pmc_result(i) for i in range(1, 251)]
    results[4] = europe_pmc_result(5, abstractText=None)
    place.services["europe_pmc"] = FakeEuropePMC(results)
    place.services["openalex"] = FakeOpenAlex([], by_id={"doi:10.1000/w.1": openalex_work(1)})


def test_count(call: Call) -> None:
    assert call("count", "europe_pmc", "numbers") == (0, "250\n", "")
    assert call("count", "nowhere", "numbers")[0] == 2
    code, out, err = call("count", "europe_pmc", " ")
    assert (code, out, err) == (1, "", "cocite: The query for Europe PMC is empty. Enter some words.\n")


@pytest.mark.parametrize("name", ["numbers.jsonl", "numbers.jsonl.gz"])
def test_fetch(call: Call, tmp_path: Path, name: str) -> None:
    output = tmp_path / name
    code, out, _ = call("fetch", "europe_pmc", "numbers", "--output", str(output))
    assert code == 0
    first, problem, last = out.splitlines()
    assert first == ("Europe PMC: 249 papers of 250 records; left out: 1 without a title or an abstract.")
    assert problem == "  5: no abstract."
    assert last == f"{output}: 249 papers. Build an atlas of them: python -m corpus build {output}"
    with read(output) as reading:
        assert len(list(reading)) == 249
    assert [path.name for path in tmp_path.iterdir()] == [name]
    code, _, err = call("fetch", "europe_pmc", "numbers", "--output", str(output))
    assert code == 1 and "is there already" in err


def test_fetch_for_a_program_and_most(call: Call, tmp_path: Path) -> None:
    output = tmp_path / "numbers.jsonl"
    code, out, _ = call("fetch", "europe_pmc", "x", "--output", str(output), "--most", "10", "--progress", "json")
    lines = [json.loads(line) for line in out.splitlines()]
    assert code == 0
    assert lines[-2] == {"stage": "fetch", "done": 10, "total": 10}
    assert (lines[-1]["fetched"], lines[-1]["kept"], lines[-1]["complete"]) == (str(output), 10, False)
    assert len(output.read_text().splitlines()) == 10


def test_a_stopped_fetch_goes_on(call: Call, tmp_path: Path, place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    output = tmp_path / "numbers.jsonl"

    def stop(self: JsonLines, stage: str, done: int, total: int) -> None:
        if done:
            raise Cancelled("stop")

    with monkeypatch.context() as patch:
        patch.setattr(JsonLines, "__call__", stop)
        arguments = ("fetch", "europe_pmc", "numbers", "--output", str(output))
        code, _, err = call(*arguments, "--progress", "json")
    assert code == 130 and "the same command goes on from there" in err
    assert not output.exists()
    before = len(place.asked)
    assert call(*arguments)[0] == 0
    assert [one.parameters["cursorMark"] for one in place.asked[before:]] == ["AoI=200", "AoI=250"]
    assert len(output.read_text().splitlines()) == 249


def test_fetch_of_nothing_and_to_another_format(call: Call, tmp_path: Path, place: Place) -> None:
    place.services["europe_pmc"] = FakeEuropePMC([])
    code, _, err = call("fetch", "europe_pmc", "x", "--output", str(tmp_path / "a.jsonl"))
    assert code == 1 and err.endswith("Europe PMC: 0 papers of 0 records. Nothing was written.\n")
    assert not list(tmp_path.iterdir())
    code, _, err = call("fetch", "europe_pmc", "x", "--output", str(tmp_path / "a.csv"))
    assert code == 1 and ".jsonl" in err


def test_look_up(call: Call, place: Place) -> None:
    code, out, _ = call("look-up", "https://doi.org/10.1000/W.1")
    assert code == 0
    assert out.splitlines()[0] == "On numbers & 1"
    assert out.splitlines()[-1] == "We count and count 1."
    code, out, _ = call("look-up", "10.1000/w.1", "--json")
    assert json.loads(out)["doi"] == "10.1000/w.1"
    before = len(place.asked)
    code, _, err = call("look-up", "A title\n\nand its abstract")
    assert code == 1 and "is no identifier" in err
    assert len(place.asked) == before


def test_no_network_is_said_in_a_sentence(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COCITE_ATLAS_OFFLINE", "1")
    for arguments in (("count", "arxiv", "x"), ("look-up", "2106.15928")):
        code, _, err = call(*arguments)
        assert code == 1 and "arXiv is not used, because COCITE_ATLAS_OFFLINE is set" in err


def test_what_a_service_says_is_passed_on(call: Call, place: Place) -> None:
    place.services["openalex"] = lambda path, parameters: Answer({"message": "Unknown filter field: x"}, status=400)
    code, _, err = call("count", "openalex", "filter:x:1")
    assert code == 1 and "Unknown filter field: x" in err
