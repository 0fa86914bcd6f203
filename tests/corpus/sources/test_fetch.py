"""Fetches: whole, stopped, killed and taken up again, they end in one file."""

import contextlib
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from corpus.identifiers import Identifier, IdentifierKind
from corpus.paper import Paper
from corpus.readers import read
from corpus.readers.report import Problem
from corpus.sources.client import Client
from corpus.sources.errors import BadAnswer, SourceError, SourceUnavailable
from corpus.sources.fetch import PAPERS, STATE, fetch
from corpus.sources.lookup import SOURCES
from corpus.sources.source import Page
from tests.corpus.sources.fake_services import (
    Answer,
    FakeEuropePMC,
    FakeScholar,
    Place,
    europe_pmc_result,
    scholar_paper,
)

Make = Callable[..., Client]


class Stopped(Exception):
    pass


def _paper(number: int) -> Paper:
    return Paper(id=str(number), title=f"Title {number} \ud800", abstract="Text\nof β", year=2000)


class Planted:
    """A source of pages that are written down: lists of numbers of papers, "x" for a record without an abstract."""

    name = title = home = help = "planted"
    kinds: tuple[IdentifierKind, ...] = ()

    def __init__(self, pages: list[list[Any]], *, total: int | None = None, endless: bool = False):
        self.contents = pages
        self.total = sum(map(len, pages)) if total is None else total
        self.endless = endless
        self.given = 0

    def count(self, query: str, *, client: Client | None = None) -> int:
        return self.total

    def pages(
        self, query: str, *, client: Client | None = None, cursor: str = "", limit: int | None = None
    ) -> Iterator[Page]:
        for number in range(int(cursor or 0), 10**9 if self.endless else len(self.contents)):
            self.given += 1
            content = self.contents[number % len(self.contents)]
            last = not self.endless and number + 1 == len(self.contents)
            yield Page(
                papers=tuple(_paper(n) for n in content if n != "x"),
                problems=tuple(
                    Problem(self.title, f"record {i}", "empty", "no abstract.")
                    for i, n in enumerate(content)
                    if n == "x"
                ),
                cursor="" if last else str(number + 1),
                total=self.total,
            )

    def look_up(self, identifier: Identifier, *, client: Client | None = None) -> Paper:
        raise AssertionError("a fetch looks nothing up")


def ids_in(folder: Path) -> list[str]:
    return [json.loads(line)["id"] for line in (folder / PAPERS).read_bytes().splitlines()]


def test_a_fetch_writes_what_read_reads(tmp_path: Path) -> None:
    reported: list[tuple[int, int]] = []
    report = fetch(
        Planted([[1, 2], [3, "x"], [2, 4]]),
        " the  query",
        tmp_path / "f",
        progress=lambda _, *counts: reported.append(counts),
    )
    assert ids_in(tmp_path / "f") == ["1", "2", "3", "4"]
    assert (report.kept, report.repeated, report.left_out, report.complete) == (4, 1, {"empty": 1}, True)
    assert reported == [(0, 6), (2, 6), (3, 6), (4, 6)]
    assert report.query == "the query"
    assert report.problems == [Problem("planted", "record 1", "empty", "no abstract.")]
    assert report.summary() == (
        "planted: 4 papers of 6 records; left out: 1 without a title or an abstract, 1 repeated."
    )
    with read(tmp_path / "f" / PAPERS) as reading:
        papers = list(reading)
    assert [paper.id for paper in papers] == ["1", "2", "3", "4"]
    assert papers[0].abstract == "Text\nof β"
    json.dumps(report.model_dump())


def test_what_a_source_counts_and_does_not_give_is_reported(tmp_path: Path) -> None:
    report = fetch(Planted([[1, 2]], total=9), "q", tmp_path)
    assert report.summary() == "planted: 2 papers of 9 records. The service counted 7 more than it gave."


def test_nothing_found_is_a_fetch_of_nothing(tmp_path: Path) -> None:
    report = fetch(Planted([[]]), "q", tmp_path)
    assert (report.kept, report.complete, (tmp_path / PAPERS).read_bytes()) == (0, True, b"")


def test_most_is_kept_to_and_can_be_raised(tmp_path: Path) -> None:
    source = Planted([[1, 2, "x"], [3, 1, 4, 5], [6]])
    report = fetch(source, "q", tmp_path, limit=4)
    assert (ids_in(tmp_path), report.kept, report.complete) == (["1", "2", "3", "4"], 4, False)
    assert fetch(source, "q", tmp_path, limit=3).kept == 4
    report = fetch(source, "q", tmp_path)
    assert ids_in(tmp_path) == ["1", "2", "3", "4", "5", "6"]
    assert (report.kept, report.left_out, report.complete) == (6, {"empty": 1}, True)
    given_before = source.given
    fetch(source, "q", tmp_path)
    assert source.given == given_before
    with pytest.raises(SourceError, match="ask for at least one"):
        fetch(source, "q", tmp_path / "other", limit=0)


_PAGES = st.lists(st.lists(st.one_of(st.integers(1, 12), st.just("x")), max_size=5), min_size=1, max_size=6)


@given(pages=_PAGES, stops=st.lists(st.integers(0, 7), max_size=5), limit=st.one_of(st.none(), st.integers(1, 12)))
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_stopped_anywhere_it_ends_in_the_same_file(
    tmp_path_factory: pytest.TempPathFactory, pages: list[list[Any]], stops: list[int], limit: int | None
) -> None:
    whole, parts = tmp_path_factory.mktemp("whole"), tmp_path_factory.mktemp("parts")
    expected = fetch(Planted(pages), "q", whole, limit=limit)
    for stop in stops:
        calls = iter(range(100))

        def progress(_: str, done: int, total: int, calls: Iterator[int] = calls, stop: int = stop) -> None:
            if next(calls) == stop:
                raise Stopped

        with contextlib.suppress(Stopped):
            fetch(Planted(pages), "q", parts, limit=limit, progress=progress)
    report = fetch(Planted(pages), "q", parts, limit=limit)
    assert (parts / PAPERS).read_bytes() == (whole / PAPERS).read_bytes()
    assert report.model_dump() == expected.model_dump()
    assert len(set(ids_in(parts))) == len(ids_in(parts))


@pytest.mark.parametrize("at", ["write", "fsync", "replace"])
def test_a_disk_that_fails_at_any_time_loses_and_repeats_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: str
) -> None:
    pages: list[list[Any]] = [[1, 2], [3], ["x", 4], [5]]
    expected = fetch(Planted(pages), "q", tmp_path / "whole").model_dump()
    names = {"fsync": "os.fsync", "replace": "pathlib.Path.replace", "write": "pathlib.Path.write_text"}
    real = {"fsync": os.fsync, "replace": Path.replace, "write": Path.write_text}
    failed = 0
    for after in range(12):
        folder = tmp_path / str(after)
        calls = iter(range(100))

        def failing(*arguments: Any, calls: Iterator[int] = calls, after: int = after, **more: Any) -> Any:
            if next(calls) == after:
                raise OSError(28, "No space left on device")
            return real[at](*arguments, **more)

        with monkeypatch.context() as patch:
            patch.setattr(names[at], failing)
            try:
                fetch(Planted(pages), "q", folder)
            except SourceError as error:
                assert "No space left" in str(error)
                failed += 1
        assert fetch(Planted(pages), "q", folder).model_dump() == expected
        assert ids_in(folder) == ["1", "2", "3", "4", "5"]
    assert failed >= 4


def test_lines_that_the_state_does_not_know_are_cut_off(tmp_path: Path) -> None:
    def progress(_: str, done: int, total: int) -> None:
        if done >= 3:
            raise Stopped

    source = Planted([[1, 2], [3], [4]])
    with pytest.raises(Stopped):
        fetch(source, "q", tmp_path, progress=progress)
    with (tmp_path / PAPERS).open("ab") as file:
        file.write(b'{"id": "4", "ti')
    fetch(source, "q", tmp_path)
    assert ids_in(tmp_path) == ["1", "2", "3", "4"]


def test_lost_papers_are_fetched_again(tmp_path: Path) -> None:
    source = Planted([[1, 2], [3]])
    fetch(source, "q", tmp_path)
    (tmp_path / PAPERS).write_bytes(b"")
    fetch(source, "q", tmp_path)
    assert ids_in(tmp_path) == ["1", "2", "3"]


def test_another_query_and_foreign_files_are_left_alone(tmp_path: Path) -> None:
    fetch(Planted([[1]]), "q", tmp_path / "a")
    with pytest.raises(SourceError, match=r"holds papers of another query \(planted: 'q'\)"):
        fetch(Planted([[1]]), "other", tmp_path / "a")
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / PAPERS).write_text("mine")
    with pytest.raises(SourceError, match="exists and belongs to no fetch"):
        fetch(Planted([[1]]), "q", tmp_path / "b")
    assert (tmp_path / "b" / PAPERS).read_text() == "mine"
    for damage in ("", "{", "[]", '{"format": 2}', '{"format": 1, "bytes": "x"}', "[" * 50_000):
        (tmp_path / "a" / STATE).write_text(damage)
        with pytest.raises(SourceError, match="cannot be read. Delete "):
            fetch(Planted([[1]]), "q", tmp_path / "a")


def test_two_fetches_do_not_write_to_one_folder(tmp_path: Path) -> None:
    with FileLock(tmp_path / "fetch.lock"), pytest.raises(SourceError, match="another fetch is writing here"):
        fetch(Planted([[1]]), "q", tmp_path)


def test_services_that_do_not_end_are_left(tmp_path: Path) -> None:
    with pytest.raises(BadAnswer, match="no new papers any more"):
        fetch(Planted([[1, 2]], total=9, endless=True), "q", tmp_path / "repeats")
    with pytest.raises(BadAnswer, match="no new papers any more"):
        fetch(Planted([[]], total=1, endless=True), "q", tmp_path / "empty")
    with pytest.raises(BadAnswer, match="many more records than it counts"):
        fetch(Planted([["x"] * 500], endless=True), "q", tmp_path / "without")


def test_a_service_that_turns_in_a_circle_when_all_is_there_has_given_all(tmp_path: Path) -> None:
    source = Planted([[1, 2]], total=2, endless=True)
    report = fetch(source, "q", tmp_path)
    assert (report.kept, report.complete) == (2, True)
    given_before = source.given
    assert fetch(source, "q", tmp_path).kept == 2
    assert source.given == given_before


def test_a_service_that_gives_the_same_page_again_is_left(place: Place, client_of: Make, tmp_path: Path) -> None:
    place.services["semantic_scholar"] = lambda path, parameters: Answer(
        {"total": 5, "token": "same", "data": [scholar_paper(1)]}
    )
    with pytest.raises(BadAnswer, match="the same page again"):
        fetch(SOURCES["semantic_scholar"], "q", tmp_path, client=client_of())


def test_totals_that_change_and_repeats_between_pages(place: Place, client_of: Make, tmp_path: Path) -> None:
    fake = FakeEuropePMC([europe_pmc_result(i) for i in range(1, 451)])

    def answer(path: str, parameters: dict[str, str]) -> Answer:
        answered = fake(path, parameters)
        # Records come in before the others, so that the next page repeats the last ones of this page.
        if len(fake.results) < 460:
            fake.results[:0] = [europe_pmc_result(1_000 + len(fake.results) + i) for i in range(5)]
        return answered

    place.services["europe_pmc"] = answer
    reported: list[tuple[int, int]] = []
    report = fetch(
        SOURCES["europe_pmc"],
        "q",
        tmp_path,
        client=client_of(),
        progress=lambda _, done, total: reported.append((done, total)),
    )
    assert len(ids_in(tmp_path)) == len(set(ids_in(tmp_path))) == report.kept
    assert {str(i) for i in range(1, 451)} <= set(ids_in(tmp_path))
    assert report.repeated >= 2 and report.complete
    assert all(done <= total for done, total in reported)


def test_a_failure_on_the_way_keeps_what_was_done(place: Place, client_of: Make, tmp_path: Path) -> None:
    fake = FakeScholar([scholar_paper(i) for i in range(1, 31)], size=10)
    trouble = True

    def answer(path: str, parameters: dict[str, str]) -> Answer:
        if trouble and parameters.get("token") == "token-20":
            return Answer({"error": "down"}, status=503)
        return fake(path, parameters)

    place.services["semantic_scholar"] = answer
    with pytest.raises(SourceUnavailable, match="reports an error"):
        fetch(SOURCES["semantic_scholar"], "q", tmp_path, client=client_of())
    assert len(ids_in(tmp_path)) == 20
    trouble = False
    before = len(place.asked)
    assert fetch(SOURCES["semantic_scholar"], "q", tmp_path, client=client_of()).kept == 30
    assert len(place.asked) == before + 1


def test_a_wait_can_be_stopped(place: Place, client_of: Make, time_of: Any, tmp_path: Path) -> None:
    place.services["semantic_scholar"] = lambda path, parameters: Answer(
        "{}", status=429, headers={"Retry-After": "90"}
    )

    def progress(_: str, done: int, total: int) -> None:
        if sum(time_of.naps) > 5:
            raise Stopped

    with pytest.raises(Stopped):
        fetch(SOURCES["semantic_scholar"], "q", tmp_path, client=client_of(), progress=progress)
    assert sum(time_of.naps) < 7
