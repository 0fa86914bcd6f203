"""Atlases on disk: what was written is what opens, also while it is replaced; names, and the build lock."""

import errno
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from components.atlas import paths
from components.atlas.paths import AtlasBusy, NoSuchAtlas, atlas_names, build_lock
from components.atlas.store import AtlasDamaged, AtlasParts, FingerprintMismatch, open_atlas, read_manifest, write_atlas
from components.index.exact import ExactIndex
from corpus.paper import Paper

MakeParts = Callable[..., AtlasParts]
N = 60  # papers that atlas_parts makes unless told otherwise


# Written and opened


@pytest.mark.parametrize("graph", [True, False])
def test_what_is_written_is_what_opens(home: Path, graph: bool, atlas_parts: MakeParts) -> None:
    made = atlas_parts(graph=graph)
    manifest = write_atlas(made)
    atlas = open_atlas("one")
    assert atlas.manifest == manifest == read_manifest("one")
    assert len(atlas) == N
    assert atlas.papers.equals(made.papers)
    for name in ("vectors", "coordinates", "region_ids", "pair_distances"):
        assert np.array_equal(getattr(atlas, name), getattr(made, name))
    assert (atlas.index.graph is not None) == graph
    exact = ExactIndex(made.vectors)
    for row in range(N):
        assert atlas.index.search(made.vectors[row], k=5).rows.tolist() == (
            exact.search(made.vectors[row], k=5).rows.tolist()
        )
    assert atlas_names() == ["one"]


def test_an_open_atlas_answers_by_row(written: AtlasParts) -> None:
    atlas = open_atlas("one")
    assert atlas.name == "one"
    assert atlas.paper(7) == Paper(id="0-7", title="Title 7 of 0", abstract="β", year=2007, topics=("a", "b"))
    assert atlas.titles([5, 3, 5]) == ["Title 5 of 0", "Title 3 of 0", "Title 5 of 0"]
    assert atlas.row_of("0-59") == 59
    assert atlas.row_of("none") is None
    assert atlas.region_of(0) is None
    assert [atlas.region_of(row).id for row in (1, 2, 4)] == [0, 1, 0]
    for row in (-1, N):
        with pytest.raises(IndexError):
            atlas.paper(row)
    pairs = written.pair_distances
    for distance in (-1.0, float(pairs[0]), 0.5, float(pairs[-1]), 2.0):
        share = min(float((pairs > np.float32(distance)).mean()), 1 - 1 / (N * (N - 1) / 2))  # of the pairs there are
        assert atlas.share_of_pairs_farther(distance) == pytest.approx(share)


def test_vectors_of_another_checkpoint_are_refused(written: AtlasParts) -> None:
    atlas = open_atlas("one")
    atlas.check_fingerprint("f" * 64)
    with pytest.raises(FingerprintMismatch, match="'one' was encoded by enc"):
        atlas.check_fingerprint("0" * 64)


def test_parts_of_different_length_are_not_written(home: Path, atlas_parts: MakeParts) -> None:
    made = atlas_parts()
    with pytest.raises(ValueError, match="not of one length"):
        write_atlas(replace(made, vectors=made.vectors[:-1]))
    assert atlas_names() == []


# Names


WRONG_NAMES = [
    "",
    ".",
    "..",
    "../x",
    "a/b",
    "/etc",
    "A",
    "a b",
    "-a",
    "_a",
    ".a",
    "a\n",
    "a\x00",
    "ä",
    "x" * 65,
    "a\\b",
]


@pytest.mark.parametrize("name", WRONG_NAMES)
def test_what_cannot_be_a_name_is_refused_everywhere(home: Path, name: str, atlas_parts: MakeParts) -> None:
    for use in (
        paths.atlas_folder,
        read_manifest,
        open_atlas,
        lambda name: build_lock(name).__enter__(),
        lambda name: write_atlas(replace(atlas_parts(graph=False), name=name)),
    ):
        with pytest.raises(NoSuchAtlas, match="cannot be the name of an atlas"):
            use(name)
    assert not home.exists()


@pytest.mark.parametrize("name", ["a", "0", "a..b", "x" * 64, "medline-2021_v1.2"])
def test_names_that_may_be(home: Path, name: str) -> None:
    assert paths.atlas_folder(name) == home / name


def test_an_atlas_that_is_not_there_is_told_from_those_that_are(written: AtlasParts, home: Path) -> None:
    (home / "half").mkdir()
    (home / "Not-A-Name").mkdir()
    (home / "file").write_text("")
    with pytest.raises(NoSuchAtlas, match=r"'two' \(there are: one\)"):
        open_atlas("two")
    for name in ("half", "file"):
        with pytest.raises((NoSuchAtlas, AtlasDamaged)):
            open_atlas(name)
    assert atlas_names() == ["one"]


def test_no_home_holds_no_atlases(home: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert atlas_names() == []
    (tmp_path / "plain").write_text("")
    monkeypatch.setenv("COCITE_ATLAS_HOME", str(tmp_path / "plain"))
    assert atlas_names() == []


# Replacing


def test_replacing_leaves_no_old_folder_and_readers_of_the_old_one_keep_working(
    written: AtlasParts, atlas_parts: MakeParts
) -> None:
    old = open_atlas("one")
    old_folder = paths.atlas_folder("one") / old.manifest.folder
    made = atlas_parts(seed=1, n=40)
    write_atlas(made)
    assert not old_folder.exists()
    new = open_atlas("one")
    assert [path.name for path in paths.atlas_folder("one").iterdir() if path.is_dir()] == [new.manifest.folder]
    assert new.build != old.build
    assert len(new) == 40
    assert new.paper(0).id == "1-0"
    assert np.array_equal(old.vectors, written.vectors)
    assert old.paper(59).id == "0-59"
    assert old.index.search(written.vectors[9], k=3).rows[0] == 9


def test_an_atlas_can_be_opened_at_any_moment_of_its_replacement(written: AtlasParts, atlas_parts: MakeParts) -> None:
    first, second = atlas_parts(seed=1), atlas_parts(seed=2)
    stop = threading.Event()

    def replace_it() -> None:
        for _ in range(200):
            write_atlas(first)
            write_atlas(second)
            if stop.is_set():
                return

    with ThreadPoolExecutor(1) as pool:
        writer = pool.submit(replace_it)
        try:
            for _ in range(60):
                assert open_atlas("one").paper(0).id in ("0-0", "1-0", "2-0")
        finally:
            stop.set()
        writer.result()


class DiskFull:
    """os.fsync as on a full disk, from the given call on."""

    def __init__(self, allowed: int) -> None:
        self.left = allowed

    def __call__(self, descriptor: int) -> None:
        self.left -= 1
        if self.left < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("allowed", range(7))
def test_a_disk_that_fills_up_leaves_the_old_atlas_whole(
    written: AtlasParts, monkeypatch: pytest.MonkeyPatch, allowed: int, atlas_parts: MakeParts
) -> None:
    before = sorted(paths.atlas_folder("one").rglob("*"))
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", DiskFull(allowed))
        with pytest.raises(OSError, match="No space left"):
            write_atlas(atlas_parts(seed=1))
    assert sorted(paths.atlas_folder("one").rglob("*")) == before
    assert open_atlas("one").paper(0).id == "0-0"
    write_atlas(atlas_parts(seed=1))
    assert open_atlas("one").paper(0).id == "1-0"


def run_script(script: str, *arguments: str, home: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", script, *arguments],
        env={**os.environ, "COCITE_ATLAS_HOME": str(home), "PYTHONPATH": str(Path.cwd())},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


SMALL_FILES_ONLY = """
import resource, signal, sys
from pathlib import Path
import numpy as np
from components.atlas.store import write_array
from components.index.hnsw import HnswIndex, HnswSettings
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
graph = HnswIndex.build(np.random.default_rng(0).normal(size=(500, 16)).astype(np.float32), settings=HnswSettings())
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY))
for write in (graph.save, lambda path: write_array(path, np.zeros(10_000))):
    try:
        write(Path(sys.argv[1]))
    except OSError as error:
        print(error.errno, error)
"""


def test_files_that_do_not_fit_on_the_disk_are_errors(tmp_path: Path) -> None:
    # hnswlib itself says nothing, and numpy no reason; a limit on the size of files does to them what a full disk does.
    told, _ = run_script(SMALL_FILES_ONLY, str(tmp_path / "file"), home=tmp_path).communicate(timeout=60)
    graph, array = told.splitlines()
    assert "not all of its" in graph
    assert array.startswith((f"{errno.ENOSPC} ", f"{errno.EFBIG} "))
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


# The build lock


HOLD = """
import sys
from components.atlas.paths import build_lock
with build_lock("one") as folder:
    print("held", flush=True)
    sys.stdin.read()
"""


def test_one_process_at_a_time_builds_an_atlas(home: Path) -> None:
    with run_script(HOLD, home=home) as other:
        assert other.stdout.readline() == "held\n"
        with pytest.raises(AtlasBusy, match="being built by another process"), build_lock("one"):
            pass
        with build_lock("two"):
            pass
        other.send_signal(signal.SIGKILL)
        other.wait(timeout=30)
    with build_lock("one") as folder:
        assert folder == home / "one"
        with pytest.raises(AtlasBusy), build_lock("one"):
            pass
    with pytest.raises(ZeroDivisionError), build_lock("one"):
        raise ZeroDivisionError
    with build_lock("one"):
        pass


def test_work_on_other_settings_and_torn_files_are_thrown_away(home: Path) -> None:
    first = paths.work_folder("one", {"a": 1})
    (first / "whole.npy").write_bytes(b"x")
    (first / "torn.npy.partial").write_bytes(b"x")
    assert paths.work_folder("one", {"a": 1}) == first
    assert [path.name for path in first.iterdir()] == ["whole.npy"]
    second = paths.work_folder("one", {"a": 2})
    assert second != first
    assert not first.exists()
