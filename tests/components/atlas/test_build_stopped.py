"""A build that is stopped anywhere, by its progress, a full disk or a kill, goes on where it was."""

import errno
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from components.atlas import build, paths
from components.atlas.build import ENCODING, NAMING, PROJECTING, READING, STAGES, WRITING, BuildSettings, build_atlas
from components.atlas.paths import atlas_names
from components.atlas.store import open_atlas
from components.encoder import EMBEDDED, BiEncoder
from components.mapping.projection import ProjectionSettings
from corpus.export import write_jsonl
from corpus.io.disk import NoSpaceLeft
from corpus.paper import Paper
from corpus.progress import Cancelled

Planted = Callable[[int], list[Paper]]
pytestmark = pytest.mark.usefixtures("small_chunks")


class Watch:
    """Progress that remembers, and raises at one point if told to."""

    def __init__(self, *, stop_at: tuple[str, int] | None = None) -> None:
        self.calls: list[tuple[str, int, int]] = []
        self.stop_at = stop_at

    def __call__(self, stage: str, done: int, total: int) -> None:
        self.calls.append((stage, done, total))
        if (stage, done) == self.stop_at:
            raise Cancelled("stopped by the test")

    def stages(self) -> list[str]:
        return list(dict.fromkeys(stage for stage, _, _ in self.calls))


def encoded_texts(monkeypatch: pytest.MonkeyPatch) -> list[np.ndarray]:
    """Every text that the real encoder encodes from here on, as word pieces."""
    seen: list[np.ndarray] = []
    forward = BiEncoder._forward

    def watched(self: BiEncoder, rows: list[np.ndarray], pause: object) -> np.ndarray:
        seen.extend(rows)
        return forward(self, rows, pause)

    monkeypatch.setattr(BiEncoder, "_forward", watched)
    return seen


# Stopped by progress


def test_progress_runs_through_the_stages_in_order(home: Path, planted_file: Path) -> None:
    watch = Watch()
    build_atlas("planted", [planted_file], encoder=EMBEDDED, progress=watch)
    assert watch.stages() == list(STAGES)
    order = [STAGES.index(stage) for stage, _, _ in watch.calls]
    assert order == sorted(order)
    assert all(0 <= done <= total for _, done, total in watch.calls)
    encoding = [done for stage, done, _ in watch.calls if stage == ENCODING]
    assert encoding == sorted(encoding)
    assert encoding[-1] == 12
    assert watch.calls[-1] == (WRITING, 1, 1)
    assert [path.name for path in (home / "planted").glob("work-*")] == []


@pytest.mark.parametrize("point", [(ENCODING, 4), (ENCODING, 8), (PROJECTING, 0), (WRITING, 0)])
def test_a_cancelled_build_goes_on_where_it_was(
    home: Path, planted_file: Path, point: tuple[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(Cancelled):
        build_atlas("planted", [planted_file], encoder=EMBEDDED, progress=Watch(stop_at=point))
    assert atlas_names() == []
    done = sorted(path.name for path in home.rglob("vectors-*.npy"))
    seen = encoded_texts(monkeypatch)
    watch = Watch()
    build_atlas("planted", [planted_file], encoder=EMBEDDED, progress=watch)
    assert len(seen) == 12 - 4 * len(done)
    assert READING not in watch.stages()
    assert len(open_atlas("planted")) == 12


def test_other_files_or_settings_start_afresh(
    home: Path, planted_file: Path, planted: Planted, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(Cancelled):
        build_atlas("planted", [planted_file], encoder=EMBEDDED, progress=Watch(stop_at=(PROJECTING, 0)))
    seen = encoded_texts(monkeypatch)
    with pytest.raises(Cancelled):
        settings = BuildSettings(projection=ProjectionSettings(seed=5))
        build_atlas(
            "planted", [planted_file], encoder=EMBEDDED, settings=settings, progress=Watch(stop_at=(PROJECTING, 0))
        )
    assert len(seen) == 12
    papers = planted(6)
    write_jsonl([papers[1], papers[0], *papers[2:]], planted_file)
    build_atlas("planted", [planted_file], encoder=EMBEDDED)
    assert len(seen) == 24
    assert open_atlas("planted").paper(0).id == papers[1].id


def test_work_in_chunks_of_another_size_is_not_taken_up(
    home: Path, planted_file: Path, encoder: BiEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What a later version with another CHUNK meets.
    with pytest.raises(Cancelled):
        build_atlas("planted", [planted_file], encoder=EMBEDDED, progress=Watch(stop_at=(PROJECTING, 0)))
    monkeypatch.setattr(build, "CHUNK", 5)
    build_atlas("planted", [planted_file], encoder=EMBEDDED)
    atlas = open_atlas("planted")
    assert np.abs(atlas.vectors - build.encode_papers(atlas.papers, encoder)).max() < 1e-5


@pytest.mark.parametrize(
    ("allowed", "code"), [(0, errno.ENOSPC), (3, errno.EDQUOT), (5, errno.ENOSPC), (9, errno.ENOSPC)]
)
def test_a_full_disk_is_said_and_the_build_goes_on_afterwards(
    home: Path, planted_file: Path, monkeypatch: pytest.MonkeyPatch, allowed: int, code: int
) -> None:
    left = [allowed]

    def fsync(descriptor: int) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise OSError(code, os.strerror(code))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fsync)
        with pytest.raises(NoSpaceLeft, match="Free some space and build again"):
            build_atlas("planted", [planted_file], encoder=EMBEDDED)
    assert atlas_names() == []
    kept = len(list(home.rglob("vectors-*.npy")))
    seen = encoded_texts(monkeypatch)
    build_atlas("planted", [planted_file], encoder=EMBEDDED)
    assert len(seen) == 12 - 4 * kept
    assert len(open_atlas("planted")) == 12


# Killed


POINTS = [
    (ENCODING, 0),
    (ENCODING, 4),
    (ENCODING, 8),
    (PROJECTING, 0),
    (NAMING, 0),
    (WRITING, 0),
]


# Builds the first file once, which imports and warms all there is; then forks a child for each point, which kills
# itself there as the out-of-memory killer would. One thread each, for a fork must not meet others.
KILLER = """
import json, os, shutil, signal, sys
from pathlib import Path
from components.atlas import build
from corpus.progress import no_progress
build.CHUNK = 4

def run(home, file, progress):
    os.environ["COCITE_ATLAS_HOME"] = home
    build.build_atlas("planted", [Path(file)], encoder="all-minilm-l6-v2", progress=progress)

old, file, kills = json.loads(sys.argv[1])
run(old, file, no_progress)
for home, file, stage, at, replaces in kills:
    if replaces:
        shutil.copytree(old, home)
    child = os.fork()
    if child == 0:
        def progress(now, done, total):
            if (now, done) == (stage, at):
                os.kill(os.getpid(), signal.SIGKILL)
        try:
            run(home, file, progress)
        finally:
            os._exit(3)
    _, status = os.waitpid(child, 0)
    print(os.waitstatus_to_exitcode(status), flush=True)
"""


REPLACED_AT = {(ENCODING, 8): 12, (WRITING, 0): 12, (WRITING, 1): 14}  # and how many papers the atlas then has


@dataclass(frozen=True)
class Killed:
    """Homes by the point at which a build was killed there: of a new atlas, and of one that replaced another."""

    first: Path
    second: Path
    new: dict[tuple[str, int], Path]
    replacing: dict[tuple[str, int], Path]


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory, planted: Planted) -> Killed:
    folder = tmp_path_factory.mktemp("killed")
    first, second = folder / "first.jsonl", folder / "second.jsonl"
    write_jsonl(planted(6), first)
    write_jsonl(planted(7), second)
    new = {point: folder / f"new-{i}" for i, point in enumerate([*POINTS, (WRITING, 1)])}
    replacing = {point: folder / f"replacing-{i}" for i, point in enumerate(REPLACED_AT)}
    kills = [(str(home), str(first), *point, False) for point, home in new.items()]
    kills += [(str(home), str(second), *point, True) for point, home in replacing.items()]
    one_thread = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
    told = subprocess.run(
        [sys.executable, "-c", KILLER, json.dumps([str(folder / "old"), str(first), kills])],
        env={**os.environ, "PYTHONPATH": str(Path.cwd()), **one_thread},
        capture_output=True,
        text=True,
        timeout=240,
        check=True,
    ).stdout.split()
    assert told == [str(-signal.SIGKILL)] * len(kills), told
    return Killed(first, second, new, replacing)


@pytest.fixture(scope="module")
def undisturbed(topics_home: Path) -> np.ndarray:
    """The vectors of the same twelve papers, built in one go."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COCITE_ATLAS_HOME", str(topics_home))
        return np.array(open_atlas("topics").vectors)


@pytest.mark.parametrize("point", POINTS)
def test_a_killed_build_is_never_half_an_atlas_and_is_taken_up(
    killed: Killed,
    undisturbed: np.ndarray,
    point: tuple[str, int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    file, home = killed.first, killed.new[point]
    monkeypatch.setenv("COCITE_ATLAS_HOME", str(home))
    assert atlas_names() == []
    with pytest.raises(paths.NoSuchAtlas):
        open_atlas("planted")
    chunks = {path.name: path.stat().st_mtime_ns for path in home.rglob("vectors-*.npy")}
    expected = {(ENCODING, 0): 0, (ENCODING, 4): 0, (ENCODING, 8): 1}.get(point, 3)
    assert len(chunks) >= expected
    seen = encoded_texts(monkeypatch)
    # Stopped once more just before it would tidy up, to see that finished chunks were not written again.
    with pytest.raises(Cancelled):
        build_atlas("planted", [file], encoder=EMBEDDED, progress=Watch(stop_at=(WRITING, 0)))
    for path in home.rglob("vectors-*.npy"):
        assert chunks.get(path.name, path.stat().st_mtime_ns) == path.stat().st_mtime_ns
    assert len(seen) == 12 - 4 * len(chunks)
    build_atlas("planted", [file], encoder=EMBEDDED)
    assert len(seen) == 12 - 4 * len(chunks)
    assert np.abs(open_atlas("planted").vectors - undisturbed).max() < 1e-5
    folders = [path.name for path in (home / "planted").iterdir() if path.is_dir()]
    assert folders == [open_atlas("planted").manifest.folder]


def test_a_build_killed_after_its_last_rename_is_done(
    killed: Killed, undisturbed: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COCITE_ATLAS_HOME", str(killed.new[WRITING, 1]))
    assert np.abs(open_atlas("planted").vectors - undisturbed).max() < 1e-5


@pytest.mark.parametrize("point", REPLACED_AT)
def test_a_kill_during_replacement_leaves_one_of_the_two_atlases_whole(
    killed: Killed, point: tuple[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COCITE_ATLAS_HOME", str(killed.replacing[point]))
    assert len(open_atlas("planted")) == REPLACED_AT[point]
    build_atlas("planted", [killed.second], encoder=EMBEDDED)
    assert len(open_atlas("planted")) == 14
