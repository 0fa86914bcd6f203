"""Atlases on disk: what was written is what opens, also during a replacement; damaged or foreign files are refused."""

import errno
import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from components.atlas import store
from components.atlas.paths import atlas_folder, atlas_names
from components.atlas.store import AtlasDamaged, AtlasParts, FingerprintMismatch, open_atlas, read_manifest, write_atlas
from components.index.exact import ExactIndex
from components.index.hnsw import HnswIndex, HnswSettings
from corpus.paper import SCHEMA, Paper

MakeParts = Callable[..., AtlasParts]
N, D = 60, 8  # papers and dimensions of atlas_parts()
FILES = ("papers.parquet", "vectors.npy", "coordinates.npy", "regions.npy", "pair_distances.npy", "index.hnsw")


# Written and opened


@pytest.mark.parametrize("graph", [True, False])
def test_what_is_written_is_what_opens(home: Path, graph: bool, atlas_parts: MakeParts) -> None:
    parts = atlas_parts(graph=graph)
    manifest = write_atlas(parts)
    atlas = open_atlas("one")
    assert atlas.manifest == manifest == read_manifest("one")
    assert len(atlas) == N
    assert atlas.papers.equals(parts.papers)
    for name in ("vectors", "coordinates", "region_ids", "pair_distances"):
        assert np.array_equal(getattr(atlas, name), getattr(parts, name))
    assert (atlas.index.graph is not None) == graph
    exact = ExactIndex(parts.vectors)
    for vector in parts.vectors:
        assert atlas.index.search(vector, k=5).rows.tolist() == exact.search(vector, k=5).rows.tolist()


def test_an_open_atlas_answers_by_row(written: AtlasParts) -> None:
    atlas = open_atlas("one")
    assert atlas.paper(7) == Paper(id="0-7", title="Title 7 of 0", abstract="β", year=2007, topics=("a", "b"))
    assert atlas.titles([5, 3, 5]) == ["Title 5 of 0", "Title 3 of 0", "Title 5 of 0"]
    assert (atlas.row_of("0-59"), atlas.row_of("none")) == (59, None)
    assert atlas.region_of(0) is None
    assert [atlas.region_of(row).id for row in (1, 2, 4)] == [0, 1, 0]
    for row in (-1, N):
        with pytest.raises(IndexError):
            atlas.paper(row)
    pairs = written.pair_distances
    for distance in (-1.0, float(pairs[0]), 0.5, float(pairs[-1]), 2.0):
        share = min(float((pairs > np.float32(distance)).mean()), 1 - 1 / (N * (N - 1) / 2))
        assert atlas.share_of_pairs_farther(distance) == pytest.approx(share)
    atlas.check_fingerprint("f" * 64)
    with pytest.raises(FingerprintMismatch, match="'one' was encoded by enc"):
        atlas.check_fingerprint("0" * 64)


def test_parts_of_different_length_are_not_written(home: Path, atlas_parts: MakeParts) -> None:
    with pytest.raises(ValueError, match="not of one length"):
        write_atlas(replace(atlas_parts(), vectors=atlas_parts().vectors[:-1]))
    assert atlas_names() == []


# Replaced


def test_an_open_atlas_survives_its_replacement(written: AtlasParts, atlas_parts: MakeParts) -> None:
    old = open_atlas("one")
    write_atlas(atlas_parts(seed=1, n=40))
    new = open_atlas("one")
    assert [path.name for path in atlas_folder("one").iterdir() if path.is_dir()] == [new.build]
    assert (len(new), new.paper(0).id) == (40, "1-0")
    assert np.array_equal(old.vectors, written.vectors)
    assert old.index.search(written.vectors[9], k=3).rows[0] == 9


def test_an_atlas_can_be_opened_at_any_moment_of_its_replacement(written: AtlasParts, atlas_parts: MakeParts) -> None:
    stop = threading.Event()

    def write_repeatedly() -> None:
        for seed in range(1, 200):
            write_atlas(atlas_parts(seed=1 + seed % 2))
            if stop.is_set():
                return

    with ThreadPoolExecutor(1) as pool:
        writer = pool.submit(write_repeatedly)
        try:
            for _ in range(40):
                assert open_atlas("one").paper(0).id in ("0-0", "1-0", "2-0")
        finally:
            stop.set()
        writer.result()


@pytest.mark.parametrize("allowed", range(7))
def test_a_full_disk_leaves_the_old_atlas_whole(
    written: AtlasParts, monkeypatch: pytest.MonkeyPatch, allowed: int, atlas_parts: MakeParts
) -> None:
    before = sorted(atlas_folder("one").rglob("*"))
    left = [allowed]

    def full(descriptor: int) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space left"):
            write_atlas(atlas_parts(seed=1))
    assert sorted(atlas_folder("one").rglob("*")) == before
    assert open_atlas("one").paper(0).id == "0-0"
    write_atlas(atlas_parts(seed=1))
    assert open_atlas("one").paper(0).id == "1-0"


SMALL_FILES_ONLY = """
import resource, signal, sys
from pathlib import Path
import numpy as np
from components.index.hnsw import HnswIndex, HnswSettings
from corpus.io.files import write_array
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
    command = [sys.executable, "-c", SMALL_FILES_ONLY, str(tmp_path / "file")]
    environment = {**os.environ, "PYTHONPATH": str(Path.cwd())}
    graph, array = subprocess.run(command, env=environment, capture_output=True, text=True).stdout.splitlines()
    assert "not all of its" in graph
    assert array.startswith((f"{errno.ENOSPC} ", f"{errno.EFBIG} "))
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


# Damaged


def folder_of(name: str = "one") -> Path:
    return atlas_folder(name) / read_manifest(name).folder


def refused(match: str) -> None:
    with pytest.raises(AtlasDamaged, match=match) as caught:
        open_atlas("one")
    message = str(caught.value)
    assert message.startswith("one")
    assert "--name one" in message
    assert "\n" not in message


def update_checksum(file: str) -> None:
    """Make the manifest agree with a file as it is now."""
    path = atlas_folder("one") / "manifest.json"
    manifest = json.loads(path.read_text())
    now = store.checksum(folder_of() / file)
    manifest["files"][file] = {"bytes": now.bytes, "sha256": now.sha256}
    path.write_text(json.dumps(manifest))


def flip(path: Path, at: float = 0.5) -> None:
    data = bytearray(path.read_bytes())
    data[int(at * (len(data) - 1))] ^= 1
    path.write_bytes(data)


def directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


DAMAGES: dict[str, Callable[[Path], object]] = {
    "truncated": lambda path: os.truncate(path, path.stat().st_size - 1),
    "empty": lambda path: os.truncate(path, 0),
    "longer": lambda path: path.write_bytes(path.read_bytes() + b"\x00"),
    "first byte": lambda path: flip(path, 0),
    "middle byte": flip,
    "last byte": lambda path: flip(path, 1),
    "missing": Path.unlink,
    "directory": directory,
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("file", FILES)
def test_each_damaged_file_is_named(written: AtlasParts, file: str, damage: str) -> None:
    DAMAGES[damage](folder_of() / file)
    refused(file)


def test_files_of_another_atlas_are_refused(written: AtlasParts, home: Path, atlas_parts: MakeParts) -> None:
    write_atlas(atlas_parts("two", seed=1))
    for file in FILES:
        path = folder_of() / file
        good = path.read_bytes()
        shutil.copy(folder_of("two") / file, path)
        refused(file)
        path.write_bytes(good)
    shutil.copy(home / "two" / "manifest.json", home / "one" / "manifest.json")
    refused("'two'")
    open_atlas("two")


def test_a_damaged_graph_never_reaches_hnswlib(written: AtlasParts, monkeypatch: pytest.MonkeyPatch) -> None:
    flip(folder_of() / "index.hnsw")
    monkeypatch.setattr(HnswIndex, "load", lambda *_, **__: pytest.fail("it was loaded"))
    refused("index.hnsw")


# Foreign, with the right checksum


class Bomb:
    """Unpickled, it makes a folder."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, ("ran",)


FOREIGN_ARRAYS: dict[str, Callable[[Path], object]] = {
    "pickled objects": lambda path: np.save(path, np.array([Bomb()] * N, dtype=object), allow_pickle=True),
    "another shape": lambda path: np.save(path, np.zeros((N + 1, 3), np.float32)),
    "another type": lambda path: np.save(path, np.zeros((N, D), np.float64)),
    "other byte order": lambda path: np.save(path, np.zeros((N, D), ">f4")),
    "an archive": lambda path: np.savez(path.open("wb"), a=np.zeros((N, D), np.float32)),
    "nothing": lambda path: path.write_bytes(b""),
    "a header alone": lambda path: path.write_bytes(b"\x93NUMPY\x01\x00v\x00{'descr'"),
    "text": lambda path: path.write_text("vectors"),
}


@pytest.mark.parametrize("content", FOREIGN_ARRAYS)
@pytest.mark.parametrize("file", FILES[1:5])
def test_foreign_arrays_are_refused(
    written: AtlasParts, file: str, content: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    if (file, content) == ("pair_distances.npy", "another shape"):
        return  # any number of pairs may be kept
    monkeypatch.chdir(tmp_path)
    FOREIGN_ARRAYS[content](folder_of() / file)
    update_checksum(file)
    refused("^one: ")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("file", "array", "match"),
    [
        ("vectors.npy", np.full((N, D), np.nan, np.float32), "finite"),
        ("coordinates.npy", np.full((N, 2), np.nan, np.float32), "coordinates.npy"),
        ("coordinates.npy", np.full((N, 2), np.inf, np.float32), "coordinates.npy"),
        ("regions.npy", np.full(N, 2, np.int16), "regions.npy"),
        ("regions.npy", np.full(N, -2, np.int16), "regions.npy"),
    ],
)
def test_invalid_numbers_are_refused(written: AtlasParts, file: str, array: np.ndarray, match: str) -> None:
    np.save(folder_of() / file, array)
    update_checksum(file)
    refused(match)


def test_foreign_tables_are_refused(written: AtlasParts) -> None:
    path = folder_of() / "papers.parquet"
    good = pq.read_table(path)
    years = SCHEMA.get_field_index("year")
    for table in (
        good.slice(1),
        good.drop_columns(["venue"]),
        good.set_column(years, "year", pa.array(["soon"] * N)),
        good.set_column(years, "year", pa.array([10**9] * N)),
        good.set_column(0, "id", pa.array([None] * N, pa.string())),
        None,
    ):
        if table is None:
            path.write_bytes(b"PAR1")
        else:
            pq.write_table(table, path)
        update_checksum("papers.parquet")
        refused("^one: ")


def test_a_graph_of_other_vectors_is_refused(written: AtlasParts) -> None:
    other = np.random.default_rng(5).normal(size=(N - 1, D)).astype(np.float32)
    HnswIndex.build(other, settings=HnswSettings()).save(folder_of() / "index.hnsw")
    update_checksum("index.hnsw")
    refused("index.hnsw")
