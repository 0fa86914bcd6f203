"""The manifest: its JSON round trip, older manifests, and the refusal of every invalid value."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from components.atlas.manifest import Checksum, Manifest, ManifestDamaged
from components.atlas.paths import atlas_folder, atlas_names
from components.atlas.store import AtlasDamaged, AtlasParts, open_atlas, read_manifest
from components.mapping.regions import Region

FILES = ("papers.parquet", "vectors.npy", "coordinates.npy", "regions.npy", "pair_distances.npy", "index.hnsw")


@pytest.fixture
def values(written: AtlasParts) -> dict[str, Any]:
    """The JSON of a valid manifest."""
    return json.loads((atlas_folder("one") / "manifest.json").read_text())


def refused(values: Any) -> str:
    with pytest.raises(ManifestDamaged) as caught:
        Manifest.from_json(values if isinstance(values, str) else json.dumps(values))
    message = str(caught.value)
    assert message.startswith("manifest.json is invalid: ")
    assert len(message) < 300
    assert "\n" not in message
    return message


def test_a_manifest_survives_its_json(written: AtlasParts) -> None:
    manifest = read_manifest("one")
    assert Manifest.from_json(manifest.to_json()) == manifest
    assert isinstance(manifest.regions[0], Region)
    assert isinstance(manifest.files["vectors.npy"], Checksum)


def test_older_manifests_are_read(values: dict[str, Any]) -> None:
    for record, key in ((values, "corpus"), (values, "growth"), (values["encoder"], "precision"), (values, "title")):
        del record[key]
    values["source"] = {}
    manifest = Manifest.from_json(json.dumps(values))
    assert (manifest.corpus, manifest.encoder.precision, manifest.growth.added) == ("one", "float32", 0)
    values |= {"growth": {"added": 3}, "source": {"reports": [{"file": "a.xml", "read": 12, "kept": 0}]}}
    assert Manifest.from_json(json.dumps(values)).growth.far == 0


@pytest.mark.parametrize("text", ["", "{", "null", "[]", "7", "{}", "[" * 100_000, "1" * 5000, "\x00", '{"format": 1}'])
def test_invalid_json_is_refused_with_the_name_of_the_atlas(written: AtlasParts, home: Path, text: str) -> None:
    refused(text)
    path = home / "one" / "manifest.json"
    for content in (text.encode(), text.encode("utf-16")):
        path.write_bytes(content)
        with pytest.raises(AtlasDamaged, match=r"^one: .*--name one"):
            read_manifest("one")
    assert atlas_names() == ["one"]


WRONG_VALUES = [None, "text", -1, 1.5, True, [], {}, [[]], {"a": 1}, 10**30]


@pytest.mark.parametrize("value", WRONG_VALUES, ids=repr)
def test_no_invalid_value_is_accepted(written: AtlasParts, value: object) -> None:
    path = atlas_folder("one") / "manifest.json"
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
        assert last in free or isinstance(value, int) or (last == "growth" and value == {}), f"{way} {last}"
        assert len(opened.index.search(opened.vectors[0], k=3)) == 3
    for key in json.loads(good).keys() - {"corpus", "title", "growth", "files"}:
        manifest = json.loads(good)
        del manifest[key]
        refused(manifest)


@pytest.mark.parametrize(
    ("key", "values_refused"),
    [
        ("colour", (-1, 8, 10**30, 1.5, "1", None, True)),
        ("x", (float("nan"), float("inf"), -1e300, 10**400, "0", None)),
        ("id", (0, 2, -1, True)),
        ("size", (-1, 2.5, "many", None)),
        ("terms", ("word", [7], None, {"a": 1}, [["a"]])),
        ("name", (None, 7, ["a"])),
    ],
)
def test_invalid_regions_are_refused(values: dict[str, Any], key: str, values_refused: tuple[object, ...]) -> None:
    for value in values_refused:
        regions = [values["regions"][0], values["regions"][1] | {key: value}]
        assert "regions" in refused(values | {"regions": regions})


WRONG_REPORTS = (None, 7, {"kept": 1}, ["a"], [{"kept": "12"}], [{"read": None}], [{"damaged": -1}], [{"empty": True}])
WRONG_ADDITIONS = ("x", ["x"], [{"added": -1}], [{"added": True}], [{"already_there": "2"}], [{"reports": {}}])


@pytest.mark.parametrize(
    "change",
    [
        *({"source": {"reports": reports}} for reports in WRONG_REPORTS),
        *({"source": {"additions": additions}} for additions in WRONG_ADDITIONS),
        {"source": {"additions": [{"reports": [{"read": "many"}]}]}},
        *({"growth": growth} for growth in ({"added": -1}, {"far": -1}, {"far": "x"}, {"removed": 10**400})),
        *({"corpus": corpus} for corpus in ("", "..", "../x", "a/b", "A", "-a", "x" * 65, "a\n", None, 7, ["one"])),
        *({"folder": folder} for folder in ("", ".", "..", "../two", "/etc", "x" * 16, "0" * 15, "0" * 17)),
        {"format": 2},
        {"format": "x" * 5000},
        {"papers": -(10**4000)},
        {"title": "x" * 201},
        {"more": 1},
    ],
    ids=lambda change: str(change)[:30],
)
def test_invalid_fields_are_refused(values: dict[str, Any], change: dict[str, Any]) -> None:
    assert next(iter(change)) in refused(values | change)


def test_invalid_precisions_and_indexes_are_refused(values: dict[str, Any]) -> None:
    for precision in ("", "float16", "bfloat16 ", None, 16, ["float32"]):
        assert "precision" in refused(values | {"encoder": values["encoder"] | {"precision": precision}})
    for change in ({"ef_search": 10**4000}, {"ann_recall_at_10": 10**4000}, {"ann_recall_at_10": float("nan")}):
        assert "index" in refused(values | {"index": values["index"] | change})


def edit(change: Callable[[dict[str, Any]], object]) -> None:
    path = atlas_folder("one") / "manifest.json"
    values = json.loads(path.read_text())
    change(values)
    path.write_text(json.dumps(values))


def test_a_manifest_with_other_files_than_an_atlas_has_is_refused(written: AtlasParts) -> None:
    edit(lambda m: m["files"].update({"../../x": m["files"]["vectors.npy"]}))
    with pytest.raises(AtlasDamaged, match="lists other files"):
        open_atlas("one")
    edit(lambda m: (m["files"].pop("../../x"), m["files"].pop("index.hnsw")))
    with pytest.raises(AtlasDamaged, match="lists other files"):
        open_atlas("one")
