"""Any sequence of adding, removing, laying out again, failing on the way and opening again leaves rows aligned."""

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from components.atlas import build
from components.atlas.build import build_atlas
from components.atlas.grow import add_papers, rebuild, remove_papers
from components.encoder.bi_encoder import load_encoder
from components.index import hnsw
from corpus.export import write_jsonl
from corpus.io.disk import CannotWrite
from corpus.paper import Paper
from tests.components.atlas.growing import check_rows, numbered

FIRST = 6  # papers that every sequence begins with
NUMBERS = st.integers(0, 13)


class Failure(Exception):
    """What a progress callback raises: a fault that nobody foresaw."""


class Failing:
    """Raises at one call, counted from 0; None never."""

    def __init__(self, at: int | None) -> None:
        self.left = -1 if at is None else at

    def __call__(self, *_: object) -> None:
        self.left -= 1
        if self.left == -1:
            raise Failure


def variants(number: int) -> st.SearchStrategy[Paper]:
    """A paper, or one of the records that repeat it and each other."""
    return st.sampled_from(
        [
            numbered(number),
            numbered(number, id=f"other-{number}", doi=""),
            numbered(number, id="the same", pmid="", doi=f"https://doi.org/10.1000/{number}"),
            numbered(number, id="", pmid="", doi="", abstract="Another abstract"),
        ]
    )


FAILURES = st.one_of(st.none(), st.integers(0, 12))


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory, tiny: Path) -> Iterator[Path]:
    """A home with the atlas `mine` of the first papers. A graph is built from eight rows on."""
    folder = tmp_path_factory.mktemp("start")
    write_jsonl([numbered(number) for number in range(FIRST)], folder / "mine.jsonl")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COCITE_ATLAS_HOME", str(folder / "home"))
        patch.setattr(build, "CHUNK", 2)
        patch.setattr(build, "RANDOM_PAIRS", 500)
        patch.setattr(hnsw, "GRAPH_FROM", 8)
        build_atlas("mine", [folder / "mine.jsonl"], encoder=str(tiny))
        yield folder / "home"


@pytest.mark.parametrize("examples", [4, pytest.param(40, marks=pytest.mark.slow)])
def test_rows_hold_through_any_sequence(start: Path, tiny: Path, examples: int) -> None:
    encoder = load_encoder(str(tiny), device="cpu")

    class Growing(RuleBasedStateMachine):
        @initialize()
        def begin(self) -> None:
            self.folder = Path(tempfile.mkdtemp())
            shutil.copytree(start, self.folder / "home")
            os.environ["COCITE_ATLAS_HOME"] = str(self.folder / "home")
            self.numbers = list(range(FIRST))
            atlas = check_rows("mine", encoder)
            self.places = dict(zip(self.numbers, atlas.coordinates.tolist(), strict=True))
            self.grown = (0, 0)

        def teardown(self) -> None:
            shutil.rmtree(self.folder, ignore_errors=True)

        @rule(
            papers=st.lists(NUMBERS, max_size=5).flatmap(lambda numbers: st.tuples(*map(variants, numbers))),
            fail=FAILURES,
        )
        def add(self, papers: tuple[Paper, ...], fail: int | None) -> None:
            numbers = dict.fromkeys(paper_number(paper) for paper in papers)
            new = [number for number in numbers if number not in self.numbers]
            with suppress(Failure):
                change = add_papers("mine", papers, progress=Failing(fail))
                assert (change.added, change.already_there) == (len(new), len(papers) - len(new))
            self.settle([*self.numbers, *new])

        @rule(papers=st.lists(NUMBERS, min_size=1, max_size=3), fail=st.integers(0, 14))
        def add_on_a_failing_disk(self, papers: list[int], fail: int) -> None:
            fails, fsync = Failing(fail), os.fsync

            def failing(descriptor: int) -> None:
                try:
                    fails()
                except Failure:
                    raise OSError(errno.EIO, "Input/output error") from None
                fsync(descriptor)

            new = [number for number in dict.fromkeys(papers) if number not in self.numbers]
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(os, "fsync", failing)
                try:
                    add_papers("mine", [numbered(number) for number in papers])
                except CannotWrite:
                    assert len(check_rows("mine", encoder)) == len(self.numbers)
                    new = []
            self.settle([*self.numbers, *new])

        @rule(
            names=st.lists(
                st.tuples(NUMBERS, st.sampled_from(["p{}", "pmid", "https://doi.org/10.1000/{}", "nothing"])),
                max_size=4,
            ),
            fail=FAILURES,
        )
        def remove(self, names: list[tuple[int, str]], fail: int | None) -> None:
            called = [str(1000 + number) if form == "pmid" else form.format(number) for number, form in names]
            atlas = check_rows("mine", encoder)
            ids, pmids, dois = (atlas.papers[name].to_pylist() for name in ("id", "pmid", "doi"))
            gone = {
                self.numbers[row]
                for row in range(len(ids))
                for name in called
                if name in (ids[row], pmids[row])
                or name.removeprefix("https://doi.org/") == dois[row].split("org/")[-1]
            }
            left = [number for number in self.numbers if number not in gone]
            if not left:
                return
            with suppress(Failure):
                change = remove_papers("mine", called, progress=Failing(fail))
                assert change.removed == len(gone)
            self.settle(left)

        @precondition(lambda self: len(self.numbers) > 2)
        @rule(fail=FAILURES)
        def lay_out_again(self, fail: int | None) -> None:
            with suppress(Failure):
                rebuild("mine", progress=Failing(fail))
            atlas = check_rows("mine", encoder)
            growth = (atlas.manifest.growth.added, atlas.manifest.growth.removed)
            assert growth in (self.grown, (0, 0))
            if growth == (0, 0):
                self.grown = growth
                self.places = dict(zip(self.numbers, atlas.coordinates.tolist(), strict=True))

        def settle(self, wanted: list[int]) -> None:
            """The atlas is what it was, or what was asked for: nothing between the two."""
            atlas = check_rows("mine", encoder)
            found = [paper_number(atlas.paper(row)) for row in range(len(atlas))]
            assert found in (self.numbers, wanted)
            growth = atlas.manifest.growth
            if found != self.numbers:
                added, removed = self.grown
                self.grown = (added + len({*found} - {*self.numbers}), removed + len({*self.numbers} - {*found}))
                self.numbers = found
            assert (growth.added, growth.removed) == self.grown
            for row, number in enumerate(found):
                place = atlas.coordinates[row].tolist()
                assert self.places.setdefault(number, place) == place
            self.places = {number: self.places[number] for number in found}

        @invariant()
        def nothing_lies_about(self) -> None:
            folders = [path for path in (self.folder / "home" / "mine").iterdir() if path.is_dir()]
            assert len([path for path in folders if not path.name.startswith("work-")]) == 1
            assert not list(self.folder.rglob("*.partial")) or any(path.name.startswith("work-") for path in folders)

    def paper_number(paper: Paper) -> int:
        return int(paper.authors[0].split(",")[0].removeprefix("Author"))

    home = os.environ["COCITE_ATLAS_HOME"]
    try:
        run_state_machine_as_test(
            Growing,
            settings=settings(
                max_examples=examples, stateful_step_count=7, deadline=None, suppress_health_check=list(HealthCheck)
            ),
        )
    finally:
        os.environ["COCITE_ATLAS_HOME"] = home


def test_the_papers_of_these_tests_are_distinguished(tiny: Path) -> None:
    papers = [numbered(number) for number in range(14)]
    vectors = load_encoder(str(tiny), device="cpu").encode([(paper.title, paper.abstract) for paper in papers])
    apart = np.linalg.norm(vectors[:, None] - vectors[None], axis=2)[~np.eye(14, dtype=bool)]
    assert apart.min() > 1e-4  # five times what encoding again may differ by
