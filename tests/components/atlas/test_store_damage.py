"""Atlases on disk that were damaged, or swapped for something else, do not open, and say which file it is."""

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from components.atlas import paths, store
from components.atlas.manifest import Checksum, Manifest, ManifestDamaged, Region
from components.atlas.paths import atlas_names
from components.atlas.store import AtlasDamaged, AtlasParts, open_atlas, read_manifest, write_atlas
from components.index.hnsw import HnswIndex, HnswSettings
from corpus.paper import SCHEMA

MakeParts = Callable[..., AtlasParts]
N, D = 60, 8  # papers and dimensions of the atlas `written`
FILES = ("papers.parquet", "vectors.npy", "coordinates.npy", "regions.npy", "pair_distances.npy", "index.hnsw")


def folder_of(name: str = "one") -> Path:
    top = paths.atlas_folder(name)
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
    path = paths.atlas_folder(name) / "manifest.json"
    value = json.loads(path.read_text())
    change(value)
    path.write_text(json.dumps(value))


def reseal(file: str, name: str = "one") -> None:
    """Make the manifest agree with a file as it is now."""
    sealed = store.checksum(folder_of(name) / file)
    edit_manifest(lambda m: m["files"].update({file: {"bytes": sealed.bytes, "sha256": sealed.sha256}}), name)


# Files


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
def test_the_file_of_another_atlas_is_refused(written: AtlasParts, file: str, atlas_parts: MakeParts) -> None:
    write_atlas(atlas_parts("two", seed=1))
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


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_coordinates_that_are_no_numbers_are_refused(written: AtlasParts, value: float) -> None:
    coordinates = written.coordinates.copy()
    coordinates[7, 1] = value
    np.save(folder_of() / "coordinates.npy", coordinates)
    reseal("coordinates.npy")
    assert_refused("one", "coordinates.npy")


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


def test_the_manifest_of_another_atlas_is_refused(written: AtlasParts, home: Path, atlas_parts: MakeParts) -> None:
    write_atlas(atlas_parts("two", seed=1))
    shutil.copy(home / "two" / "manifest.json", home / "one" / "manifest.json")
    assert_refused("one", "'two'")


@pytest.mark.parametrize("folder", ["", ".", "..", "../two", "/etc", "x" * 16, "0" * 15, "0" * 17])
def test_a_manifest_that_points_elsewhere_is_refused(written: AtlasParts, folder: str) -> None:
    edit_manifest(lambda m: m.update(folder=folder))
    assert_refused("one", "manifest.json")


WRONG_VALUES = [None, "text", -1, 1.5, True, [], {}, [[]], {"a": 1}, 10**30]


@pytest.mark.parametrize("value", WRONG_VALUES, ids=repr)
def test_no_wrong_value_in_a_manifest_gets_through_unnoticed(written: AtlasParts, value: object) -> None:
    path = paths.atlas_folder("one") / "manifest.json"
    good = path.read_text()
    places: list[tuple[str, ...]] = [(key,) for key in json.loads(good)]
    for record in ("encoder", "index", "growth"):
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
        free = ("created", "source", "projection", "versions", "name", "fingerprint", "regions", "corpus", "title")
        unchanged = last == "growth" and value == {}
        assert last in free or isinstance(value, int) or unchanged, f"{way} {last}"
        assert len(opened.index.search(opened.vectors[0], k=3)) == 3
    for key in json.loads(good).keys() - {"corpus", "title", "growth"}:
        manifest = json.loads(good)
        del manifest[key]
        path.write_text(json.dumps(manifest))
        assert_refused("one", "manifest.json")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *[("colour", value) for value in (-1, 8, 255, 10**30, 1.5, "1", None, True)],
        *[(key, value) for key in ("x", "y") for value in (float("nan"), float("inf"), -1e300, 10**400, "0", None)],
        *[("id", value) for value in (0, 2, -1, True)],
        *[("size", value) for value in (-1, 2.5, "many", None)],
        *[("terms", value) for value in ("word", [7], None, {"a": 1}, [["a"]])],
        *[("name", value) for value in (None, 7, ["a"])],
    ],
)
def test_wrong_values_of_a_region_are_refused(written: AtlasParts, key: str, value: object) -> None:
    edit_manifest(lambda m: m["regions"][1].update({key: value}))
    assert_refused("one", "manifest.json")


@pytest.mark.parametrize(
    "reports", [None, 7, {"kept": 1}, ["a"], [{"kept": "12"}], [{"read": None}], [{"damaged": -1}], [{"empty": True}]]
)
def test_accounts_of_the_reading_without_numbers_are_refused(written: AtlasParts, reports: object) -> None:
    edit_manifest(lambda m: m["source"].update(reports=reports))
    assert_refused("one", "manifest.json")


def test_accounts_of_the_reading_may_leave_counts_out(written: AtlasParts) -> None:
    edit_manifest(lambda m: m["source"].update(reports=[{"file": "a.xml", "read": 12, "kept": 0}]))
    open_atlas("one")
    edit_manifest(lambda m: m.update(source={}))
    open_atlas("one")


@pytest.mark.parametrize(
    "change",
    [
        lambda m: m.update(format="x" * 5000),
        lambda m: m.update(created=["x" * 5000]),
        lambda m: m.update(papers=-(10**4000)),
        lambda m: m["index"].update(ef_search=10**4000),
        lambda m: m["index"].update(ann_recall_at_10=10**4000),
        lambda m: m["regions"][0].update(colour=10**4000),
        lambda m: m["regions"][0].update({"x" * 5000: 1}),
        lambda m: m["source"].update(reports="x" * 5000),
    ],
    ids=range(8),
)
def test_what_a_manifest_holds_does_not_flood_the_refusal(
    written: AtlasParts, change: Callable[[dict], object]
) -> None:
    edit_manifest(change)
    assert_refused("one", "manifest.json")
    with pytest.raises(AtlasDamaged) as caught:
        open_atlas("one")
    assert len(str(caught.value)) < 500


def test_manifests_from_before_there_were_several_encoders_are_read(written: AtlasParts) -> None:
    edit_manifest(lambda m: (m.pop("corpus"), m["encoder"].pop("precision")))
    manifest = open_atlas("one").manifest
    assert (manifest.corpus, manifest.encoder.precision) == ("one", "float32")
    assert manifest.format == 1


@pytest.mark.parametrize("corpus", ["", "..", "../x", "a/b", "A", "-a", "x" * 65, "a\n", None, 7, ["one"], {}])
def test_what_cannot_be_a_corpus_is_refused(written: AtlasParts, corpus: object) -> None:
    edit_manifest(lambda m: m.update(corpus=corpus))
    assert_refused("one", "manifest.json")


@pytest.mark.parametrize("precision", ["", "float16", "bfloat16 ", "x" * 5000, None, 16, ["float32"], True])
def test_what_is_no_precision_is_refused(written: AtlasParts, precision: object) -> None:
    edit_manifest(lambda m: m["encoder"].update(precision=precision))
    assert_refused("one", "manifest.json")
    edit_manifest(lambda m: m["encoder"].update(precision="bfloat16"))
    assert open_atlas("one").manifest.encoder.precision == "bfloat16"


def test_a_manifest_with_files_more_or_fewer_is_refused(written: AtlasParts) -> None:
    edit_manifest(lambda m: m["files"].update({"../../x": m["files"]["vectors.npy"]}))
    assert_refused("one", "lists other files")
    edit_manifest(lambda m: (m["files"].pop("../../x"), m["files"].pop("index.hnsw")))
    assert_refused("one", "lists other files")


def test_a_manifest_is_its_own_text_and_back(written: AtlasParts) -> None:
    manifest = read_manifest("one")
    assert Manifest.from_json(manifest.to_json()) == manifest
    assert isinstance(manifest.regions[0], Region)
    assert isinstance(manifest.files["vectors.npy"], Checksum)
    with pytest.raises(ManifestDamaged, match="format 2"):
        Manifest.from_json(replace(manifest, format=2).to_json())
    region = json.loads(manifest.to_json())
    region["regions"][0]["x"] = "left"
    with pytest.raises(ManifestDamaged, match="x is 'left'"):
        Manifest.from_json(json.dumps(region))
    with pytest.raises(ManifestDamaged):
        Manifest.from_json(json.dumps({**json.loads(manifest.to_json()), "regions": [7]}))
