"""Kill a piece of work before one of its file operations, then finish it: `crash_points.py SCENARIO FOLDER POINTS`.

A scenario is run once undisturbed, which counts its file operations. Then, for each of POINTS of them (0: for all), a
forked child runs it on a fresh copy of the inputs and kills itself before that operation, as a power cut or the
out-of-memory killer would. What is left must be whole, old or new; the same call must then end as the undisturbed one.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np

from corpus.paper import Paper

OPERATIONS = ("fsync", "replace", "rename", "mkdir", "unlink", "remove", "rmdir", "link")
PLANTED = [
    Paper(
        id=f"{topic}-{i}",
        title=f"{subject} and {means}: report {i}",
        abstract=f"We measured {subject} by {means} in {100 + 7 * i} cases. " * 3,
    )
    for i in range(8)
    for topic, subject, means in [
        ("heart", "heart failure", "echocardiography"),
        ("galaxy", "spiral galaxies", "radio interferometry"),
    ]
]


@dataclass(frozen=True)
class Scenario:
    """prepare: writes the inputs. run: the work, called again after a kill. intact: raises where something half done
    shows. result: what the finished work gives, compared with the undisturbed one's. All take the scenario's folder."""

    prepare: Callable[[Path], None]
    run: Callable[[Path], None]
    intact: Callable[[Path], None]
    result: Callable[[Path], Any]


# -- Atlases ----------------------------------------------------------------------------------------------------------


def _home(folder: Path) -> None:
    os.environ["COCITE_ATLAS_HOME"] = str(folder / "home")


def _write_papers(papers: list[Paper], path: Path) -> None:
    from corpus.export import write_jsonl

    write_jsonl(papers, path)


def _build(folder: Path, papers: int = 12) -> None:
    from components.atlas import build

    _home(folder)
    build.CHUNK = 4  # so that twelve papers are three files of vectors
    _write_papers(PLANTED[:papers], folder / "papers.jsonl")
    build.build_atlas("planted", [folder / "papers.jsonl"], encoder="all-minilm-l6-v2")


def _rows(folder: Path) -> dict[str, Any]:
    from components.atlas.store import open_atlas

    _home(folder)
    atlas = open_atlas("planted")
    return {"ids": atlas.papers.column("id").to_pylist(), "vectors": np.array(atlas.vectors)}


def _atlas_of(*sizes: int) -> Callable[[Path], None]:
    """The atlas is there with one of these numbers of papers, or, for 0, is not there."""

    def intact(folder: Path) -> None:
        from components.atlas.paths import atlas_names
        from components.atlas.store import open_atlas

        _home(folder)
        assert (len(open_atlas("planted")) if atlas_names() else 0) in sizes

    return intact


def _grow(folder: Path) -> None:
    from components.atlas.grow import add_papers

    _home(folder)
    add_papers("planted", PLANTED)


def _prepare_archive(folder: Path) -> None:
    from components.atlas.archive import write_archive

    _build(folder)
    write_archive("planted", folder / "planted.zip")
    shutil.rmtree(folder / "home")


def _archive(folder: Path) -> None:
    from components.atlas.archive import write_archive
    from components.atlas.archive_import import import_archive
    from components.atlas.paths import atlas_names

    _home(folder)
    if not atlas_names():  # a killed import may have been done already
        import_archive(folder / "planted.zip", name="planted")
    write_archive("planted", folder / "again.zip")


def _archived(folder: Path) -> dict[str, Any]:
    with zipfile.ZipFile(folder / "again.zip") as archive:
        assert archive.testzip() is None
    assert not list(folder.glob("*.partial"))
    return _rows(folder)


# -- Fetches ----------------------------------------------------------------------------------------------------------


def _prepare_fetch(folder: Path) -> None:
    from tests.corpus.sources.fake_services import FakeEuropePMC, Place, europe_pmc_result

    place = Place()
    place.start()  # lives as long as this process; its children ask it
    place.services["europe_pmc"] = FakeEuropePMC([europe_pmc_result(i) for i in range(1, 1_501)])
    os.environ["COCITE_ATLAS_EUROPE_PMC_URL"] = f"{place.url}/europe_pmc"


def _fetch(folder: Path) -> None:
    from corpus.sources.client import Client
    from corpus.sources.fetch import fetch
    from corpus.sources.lookup import SOURCES

    clock = iter(range(10**9))
    client = Client(sleep=lambda _: None, clock=lambda: float(next(clock)), now=lambda: 0.0)
    fetch(SOURCES["europe_pmc"], "q", folder / "fetched", client=client)


def _fetched(folder: Path) -> bytes:
    from corpus.sources.fetch import PAPERS

    return (folder / "fetched" / PAPERS).read_bytes()


# -- Pairs and training -----------------------------------------------------------------------------------------------


def _pairs(folder: Path) -> None:
    from corpus.cocitations.pairs_folder import write_pairs
    from corpus.paper import to_table

    if (folder / "pairs").exists():
        return  # whole: `intact` has read it
    train, dev = np.array([[0, 1], [2, 3]], np.int32), np.array([[4, 5, 6]], np.int32)
    write_pairs(folder / "pairs", papers=to_table(PLANTED), train=train, dev=dev, test=np.array([[7, 8]], np.int32))


def _read_pairs(folder: Path) -> list[Any]:
    from corpus.cocitations.pairs_folder import read_pairs

    pairs = read_pairs(folder / "pairs")
    assert sorted(path.name for path in folder.iterdir()) == ["pairs"]
    return [pairs.fingerprint, pairs.train.tolist(), pairs.dev.tolist(), pairs.test.tolist()]


def _pairs_intact(folder: Path) -> None:
    from corpus.cocitations.pairs_folder import read_pairs

    if (folder / "pairs").exists():
        read_pairs(folder / "pairs")


def _prepare_training(folder: Path) -> None:
    from tests.components.training.training_toys import toy_start

    toy_start(folder / "start")


def _train(folder: Path) -> None:
    from components.encoder.checkpoints import find_checkpoint
    from components.training.loop import train
    from tests.components.training.training_toys import TINY, toy_pairs

    train(toy_pairs(), find_checkpoint(str(folder / "start")), run=folder / "run", settings=TINY, cpu=True)


def _trained(folder: Path) -> list[Any]:
    """The losses of every step and every validation, to the bit."""
    from components.training.run import read_curves

    curves = read_curves(folder / "run")
    return [[record.loss for record in curves.steps], [record.dev_loss for record in curves.validations]]


def _nothing_to_check(folder: Path) -> None:
    """What a kill leaves here is read by the next run alone."""


SCENARIOS = {
    "build": Scenario(lambda folder: None, _build, _atlas_of(0, 12), _rows),
    "replace": Scenario(_build, lambda folder: _build(folder, 14), _atlas_of(12, 14), _rows),
    "grow": Scenario(_build, _grow, _atlas_of(12, 16), _rows),
    "archive": Scenario(_prepare_archive, _archive, _atlas_of(0, 12), _archived),
    "fetch": Scenario(_prepare_fetch, _fetch, _nothing_to_check, _fetched),
    "pairs": Scenario(lambda folder: None, _pairs, _pairs_intact, _read_pairs),
    "training": Scenario(_prepare_training, _train, _nothing_to_check, _trained),
}


# -- The harness ------------------------------------------------------------------------------------------------------


@contextmanager
def _before_each_operation(call: Callable[[str], None]) -> Iterator[None]:
    """Have `call` called before each operation on files."""

    def wrapped(name: str) -> Callable[..., Any]:
        operation = getattr(os, name)

        def run(*arguments: Any, **options: Any) -> Any:
            call(name)
            return operation(*arguments, **options)

        return run

    with patch.multiple(os, **{name: wrapped(name) for name in OPERATIONS}):
        yield


def _killed(scenario: Scenario, folder: Path, point: int) -> str:
    """Run in a child that kills itself before operation `point` (from 1). Returns the operation's name."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        count = 0

        def kill(name: str) -> None:
            nonlocal count
            count += 1
            if count == point:
                os.write(write, name.encode())
                os.kill(os.getpid(), signal.SIGKILL)

        try:
            with _before_each_operation(kill):
                scenario.run(folder)
        finally:
            os._exit(3)
    os.close(write)
    _, status = os.waitpid(child, 0)
    with os.fdopen(read) as pipe:
        name = pipe.read()
    assert os.waitstatus_to_exitcode(status) == -signal.SIGKILL, f"point {point}: the work ended before its kill"
    return name


def _same(result: Any, expected: Any) -> bool:
    """Equal; arrays within what another batch of the encoder may round."""
    if isinstance(expected, dict):
        return result.keys() == expected.keys() and all(_same(result[key], expected[key]) for key in expected)
    if isinstance(expected, np.ndarray):
        return result.shape == expected.shape and bool(np.abs(result - expected).max() < 1e-5)
    return bool(result == expected)


def main(name: str, folder: Path, points: int) -> dict[str, Any]:
    """Kill the scenario at `points` operations, spread evenly from the first to the last. Raises AssertionError."""
    scenario = SCENARIOS[name]
    prepared, whole = folder / "prepared", folder / "whole"
    prepared.mkdir()
    scenario.prepare(prepared)
    shutil.copytree(prepared, whole)
    operations: list[str] = []
    with _before_each_operation(operations.append):
        scenario.run(whole)
    expected = scenario.result(whole)
    count = len(operations)
    chosen = sorted({round(at) for at in np.linspace(1, count, min(points or count, count))})
    for point in chosen:
        copy = folder / f"kill-{point}"
        shutil.copytree(prepared, copy)
        where = f"{name}, killed before operation {point} of {count} ({_killed(scenario, copy, point)})"
        try:
            scenario.intact(copy)
            scenario.run(copy)
            assert _same(scenario.result(copy), expected), "the result differs from the undisturbed one"
        except Exception as error:
            raise AssertionError(f"{where}: {error!r}") from error
    return {"operations": count, "kills": len(chosen)}


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))))  # noqa: T201
