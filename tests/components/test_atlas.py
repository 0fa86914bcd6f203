"""Atlases on disk: what was written is what opens, and what was damaged does not open."""

import errno
import json
import os
import shutil
import signal
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

from components import atlas as store
from components.atlas import (
    AtlasBusy,
    AtlasDamaged,
    AtlasParts,
    FingerprintMismatch,
    NoSuchAtlas,
    atlas_names,
    build_lock,
    open_atlas,
    read_manifest,
    write_atlas,
)
from components.index import ExactIndex, HnswIndex, HnswSettings
from components.manifest import EncoderRecord, FileSeal, IndexRecord, Manifest, ManifestDamaged, Region
from corpus.paper import SCHEMA, Paper, to_table

N, D = 60, 8
FILES = ("papers.parquet", "vectors.npy", "coordinates.npy", "regions.npy", "pair_distances.npy", "index.hnsw")


def parts(name: str = "one", *, seed: int = 0, n: int = N, graph: bool = True) -> AtlasParts:
    random = np.random.default_rng(seed)
    vectors = random.normal(size=(n, D)).astype(np.float32)
    papers = [
        Paper(id=f"{seed}-{i}", title=f"Title {i} of {seed}", abstract="β", year=2000 + i % 20, topics=("a", "b"))
        for i in range(n)
    ]
    hnsw = HnswIndex.build(vectors, settings=HnswSettings(), threads=1) if graph else None
    return AtlasParts(
        name=name,
        papers=to_table(papers),
        vectors=vectors,
        coordinates=random.uniform(-1, 1, size=(n, 2)).astype(np.float32),
        region_ids=((np.arange(n) + seed) % 3 - 1).astype(np.int16),
        regions=tuple(Region(id=i, name=f"Region {i}", size=n // 3, x=0.5, y=-0.5, colour=i) for i in range(2)),
        pair_distances=np.sort(random.random(500).astype(np.float32)),
        graph=hnsw,
        encoder=EncoderRecord(name="enc", source="enc", fingerprint="f" * 64, normalised=False),
        index=IndexRecord(m=16, ef_construction=200, ef_search=64 if graph else 0, ann_recall_at_10=1.0, sample=n),
        projection={"seed": 1},
        source={"reports": []},
        versions={"python": "3"},
    )


@pytest.fixture
def written(home: Path) -> AtlasParts:
    made = parts()
    write_atlas(made)
    return made


def folder_of(name: str = "one") -> Path:
    top = store.atlas_folder(name)
    return top / json.loads((top / "manifest.json").read_text())["folder"]


def assert_refused(name: str, file: str) -> None:
    with pytest.raises(AtlasDamaged) as caught:
        open_atlas(name)
    message = str(caught.value)
    assert file in message
    assert message.startswith(f"{name}")
    assert f"--name {name}" in message
    assert "\n" not in message


def edit_manifest(change: Callable[[dict], object], name: str = "one") -> None:
    path = store.atlas_folder(name) / "manifest.json"
    value = json.loads(path.read_text())
    change(value)
    path.write_text(json.dumps(value))


def reseal(file: str, name: str = "one") -> None:
    """Make the manifest agree with a file as it is now."""
    sealed = store.seal(folder_of(name) / file)
    edit_manifest(lambda m: m["files"].update({file: {"bytes": sealed.bytes, "sha256": sealed.sha256}}), name)


# Written and opened


@pytest.mark.parametrize("graph", [True, False])
def test_what_is_written_is_what_opens(home: Path, graph: bool) -> None:
    made = parts(graph=graph)
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
        assert atlas.share_of_pairs_farther(distance) == pytest.approx(float((pairs > np.float32(distance)).mean()))


def test_vectors_of_another_checkpoint_are_refused(written: AtlasParts) -> None:
    atlas = open_atlas("one")
    atlas.check_fingerprint("f" * 64)
    with pytest.raises(FingerprintMismatch, match="'one' was encoded by enc"):
        atlas.check_fingerprint("0" * 64)


def test_parts_of_different_length_are_not_written(home: Path) -> None:
    made = parts()
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
def test_what_cannot_be_a_name_is_refused_everywhere(home: Path, name: str) -> None:
    for use in (
        store.atlas_folder,
        read_manifest,
        open_atlas,
        lambda name: build_lock(name).__enter__(),
        lambda name: write_atlas(replace(parts(graph=False), name=name)),
    ):
        with pytest.raises(NoSuchAtlas, match="cannot be the name of an atlas"):
            use(name)
    assert not home.exists()


@pytest.mark.parametrize("name", ["a", "0", "a..b", "x" * 64, "medline-2021_v1.2"])
def test_names_that_may_be(home: Path, name: str) -> None:
    assert store.atlas_folder(name) == home / name


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


# Damage


def truncate(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 1)


def empty(path: Path) -> None:
    os.truncate(path, 0)


def grow(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"\x00")


def flip_first(path: Path) -> None:
    flip(path, 0)


def flip_middle(path: Path) -> None:
    flip(path, path.stat().st_size // 2)


def flip_last(path: Path) -> None:
    flip(path, path.stat().st_size - 1)


def flip(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


def directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize("damage", [truncate, empty, grow, flip_first, flip_middle, flip_last, Path.unlink, directory])
@pytest.mark.parametrize("file", FILES)
def test_each_damaged_file_is_named(written: AtlasParts, file: str, damage: Callable[[Path], None]) -> None:
    damage(folder_of() / file)
    assert_refused("one", file)


@pytest.mark.parametrize("file", FILES)
def test_the_file_of_another_atlas_is_refused(written: AtlasParts, file: str) -> None:
    write_atlas(parts("two", seed=1))
    shutil.copy(folder_of("two") / file, folder_of() / file)
    assert_refused("one", file)
    open_atlas("two")


def test_a_damaged_graph_never_reaches_hnswlib(written: AtlasParts, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[Path] = []
    load = HnswIndex.load

    def watched(path: Path, *arguments: object, **named: object) -> HnswIndex:
        read.append(path)
        return load(path, *arguments, **named)

    monkeypatch.setattr(HnswIndex, "load", watched)
    open_atlas("one")
    assert len(read) == 1
    flip_middle(folder_of() / "index.hnsw")
    assert_refused("one", "index.hnsw")
    assert len(read) == 1


FOREIGN_ARRAYS = {
    "pickled objects": lambda path: np.save(path, np.array([{}] * N, dtype=object), allow_pickle=True),
    "another shape": lambda path: np.save(path, np.zeros((N + 1, 3), np.float32)),
    "another type": lambda path: np.save(path, np.zeros((N, D), np.float64)),
    "other byte order": lambda path: np.save(path, np.zeros((N, D), ">f4")),
    "an archive": lambda path: np.savez(path.open("wb"), a=np.zeros((N, D), np.float32)),
    "nothing": lambda path: path.write_bytes(b""),
    "a header alone": lambda path: path.write_bytes(b"\x93NUMPY\x01\x00v\x00{'descr'"),
    "text": lambda path: path.write_text("vectors"),
}


@pytest.mark.parametrize(
    ("file", "content"),
    [
        (file, content)
        for file in FILES[1:5]
        for content in FOREIGN_ARRAYS
        if (file, content) != ("pair_distances.npy", "another shape")  # any number of pairs may be kept
    ],
)
def test_arrays_that_are_sealed_but_foreign_are_refused(written: AtlasParts, file: str, content: str) -> None:
    FOREIGN_ARRAYS[content](folder_of() / file)
    reseal(file)
    with pytest.raises(AtlasDamaged, match=r"^one: "):
        open_atlas("one")


def test_a_pickle_that_is_sealed_does_not_run(written: AtlasParts, tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.mkdir, (str(tmp_path / "ran"),)

    for file in FILES[1:5]:
        np.save(folder_of() / file, np.array([Bomb()], dtype=object), allow_pickle=True)
        reseal(file)
        with pytest.raises(AtlasDamaged):
            open_atlas("one")
    assert not (tmp_path / "ran").exists()


def test_vectors_that_are_no_numbers_are_refused(written: AtlasParts) -> None:
    np.save(folder_of() / "vectors.npy", np.full((N, D), np.nan, np.float32))
    reseal("vectors.npy")
    assert_refused("one", "finite")


def test_region_numbers_without_a_region_are_refused(written: AtlasParts) -> None:
    for number in (2, -2):
        np.save(folder_of() / "regions.npy", np.full(N, number, np.int16))
        reseal("regions.npy")
        assert_refused("one", "regions.npy")


def test_tables_that_are_sealed_but_foreign_are_refused(written: AtlasParts) -> None:
    path = folder_of() / "papers.parquet"
    good = pq.read_table(path)
    years = SCHEMA.get_field_index("year")
    for table in (
        good.slice(1),
        good.drop_columns(["venue"]),
        good.set_column(years, "year", pa.array(["soon"] * N)),
        good.set_column(years, "year", pa.array([10**9] * N)),
        good.set_column(0, "id", pa.array([None] * N, pa.string())),
    ):
        pq.write_table(table, path)
        reseal("papers.parquet")
        with pytest.raises(AtlasDamaged, match=r"^one: "):
            open_atlas("one")
    path.write_bytes(b"PAR1")
    reseal("papers.parquet")
    with pytest.raises(AtlasDamaged, match=r"^one: "):
        open_atlas("one")


def test_a_graph_of_other_vectors_is_refused(written: AtlasParts) -> None:
    other = np.random.default_rng(5).normal(size=(N - 1, D)).astype(np.float32)
    HnswIndex.build(other, settings=HnswSettings()).save(folder_of() / "index.hnsw")
    reseal("index.hnsw")
    assert_refused("one", "index.hnsw")


# Manifests


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "null",
        "[]",
        "7",
        '"manifest"',
        "{}",
        '{"format": 1}',
        '{"format": 2}',
        "[" * 100_000,
        "1" * 5000,
        "\x00",
    ],
    ids=range(12),
)
def test_manifests_that_are_none_are_refused(written: AtlasParts, home: Path, text: str) -> None:
    (home / "one" / "manifest.json").write_text(text)
    assert_refused("one", "manifest.json")
    assert atlas_names() == ["one"]


def test_a_manifest_in_another_encoding_is_refused(written: AtlasParts, home: Path) -> None:
    path = home / "one" / "manifest.json"
    path.write_bytes(path.read_text().encode("utf-16"))
    assert_refused("one", "one")


def test_the_manifest_of_another_atlas_is_refused(written: AtlasParts, home: Path) -> None:
    write_atlas(parts("two", seed=1))
    shutil.copy(home / "two" / "manifest.json", home / "one" / "manifest.json")
    assert_refused("one", "'two'")


@pytest.mark.parametrize("folder", ["", ".", "..", "../two", "/etc", "x" * 16, "0" * 15, "0" * 17])
def test_a_manifest_that_points_elsewhere_is_refused(written: AtlasParts, folder: str) -> None:
    edit_manifest(lambda m: m.update(folder=folder))
    assert_refused("one", "manifest.json")


WRONG_VALUES = [None, "text", -1, 1.5, True, [], {}, [[]], {"a": 1}, 10**30]


@pytest.mark.parametrize("value", WRONG_VALUES, ids=repr)
def test_no_wrong_value_in_a_manifest_gets_through_unnoticed(written: AtlasParts, value: object) -> None:
    path = store.atlas_folder("one") / "manifest.json"
    good = path.read_text()
    places: list[tuple[str, ...]] = [(key,) for key in json.loads(good)]
    for record in ("encoder", "index"):
        places += [(record, key) for key in json.loads(good)[record]]
    places += [("files", file) for file in FILES] + [
        ("files", file, key) for file in FILES for key in ("bytes", "sha256")
    ]
    for *way, last in places:
        manifest = json.loads(good)
        at = manifest
        for key in way:
            at = at[key]
        at[last] = value
        path.write_text(json.dumps(manifest))
        try:
            opened = open_atlas("one")
        except AtlasDamaged:
            continue
        # Free text and free objects may be anything of their kind, and numbers any that mean something.
        assert last in ("created", "source", "projection", "versions", "name", "fingerprint", "regions") or isinstance(
            value, int
        ), f"{way} {last}"
        assert len(opened.index.search(opened.vectors[0], k=3)) == 3
    for key in json.loads(good):
        manifest = json.loads(good)
        del manifest[key]
        path.write_text(json.dumps(manifest))
        assert_refused("one", "manifest.json")


def test_a_manifest_with_files_more_or_fewer_is_refused(written: AtlasParts) -> None:
    edit_manifest(lambda m: m["files"].update({"../../x": m["files"]["vectors.npy"]}))
    assert_refused("one", "lists other files")
    edit_manifest(lambda m: (m["files"].pop("../../x"), m["files"].pop("index.hnsw")))
    assert_refused("one", "lists other files")


def test_a_manifest_is_its_own_text_and_back(written: AtlasParts) -> None:
    manifest = read_manifest("one")
    assert Manifest.from_json(manifest.to_json()) == manifest
    assert isinstance(manifest.regions[0], Region)
    assert isinstance(manifest.files["vectors.npy"], FileSeal)
    with pytest.raises(ManifestDamaged, match="format 2"):
        Manifest.from_json(replace(manifest, format=2).to_json())
    region = json.loads(manifest.to_json())
    region["regions"][0]["x"] = "left"
    with pytest.raises(ManifestDamaged, match="x is 'left'"):
        Manifest.from_json(json.dumps(region))
    with pytest.raises(ManifestDamaged):
        Manifest.from_json(json.dumps({**json.loads(manifest.to_json()), "regions": [7]}))


# Replacing


def test_replacing_leaves_no_old_folder_and_readers_of_the_old_one_keep_working(written: AtlasParts) -> None:
    old = open_atlas("one")
    old_folder = folder_of()
    made = parts(seed=1, n=40)
    write_atlas(made)
    assert not old_folder.exists()
    assert [path.name for path in store.atlas_folder("one").iterdir() if path.is_dir()] == [folder_of().name]
    new = open_atlas("one")
    assert new.fingerprint != old.fingerprint
    assert len(new) == 40
    assert new.paper(0).id == "1-0"
    assert np.array_equal(old.vectors, written.vectors)
    assert old.paper(59).id == "0-59"
    assert old.index.search(written.vectors[9], k=3).rows[0] == 9


def test_an_atlas_can_be_opened_at_any_moment_of_its_replacement(written: AtlasParts) -> None:
    first, second = parts(seed=1), parts(seed=2)
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
    written: AtlasParts, monkeypatch: pytest.MonkeyPatch, allowed: int
) -> None:
    before = sorted(store.atlas_folder("one").rglob("*"))
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", DiskFull(allowed))
        with pytest.raises(OSError, match="No space left"):
            write_atlas(parts(seed=1))
    assert sorted(store.atlas_folder("one").rglob("*")) == before
    assert open_atlas("one").paper(0).id == "0-0"
    write_atlas(parts(seed=1))
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
from components.atlas import write_array
from components.index import HnswIndex, HnswSettings
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
from components.atlas import build_lock
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
    first = store.work_folder("one", {"a": 1})
    (first / "whole.npy").write_bytes(b"x")
    (first / "torn.npy.partial").write_bytes(b"x")
    assert store.work_folder("one", {"a": 1}) == first
    assert [path.name for path in first.iterdir()] == ["whole.npy"]
    second = store.work_folder("one", {"a": 2})
    assert second != first
    assert not first.exists()
