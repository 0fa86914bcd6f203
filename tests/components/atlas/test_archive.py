"""Archives: an atlas comes back the same, and replaces nothing."""

from __future__ import annotations

import io
import json
import shutil
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from components.atlas import paths, store
from components.atlas.archive import archive_pieces, write_archive
from components.atlas.archive_import import NameTaken, import_archive
from components.atlas.corpora import note_request, unfinished
from components.atlas.manifest import PRECOMPUTED, EncoderRecord, Growth
from components.atlas.reencode import reencode
from components.atlas.store import AtlasParts, open_atlas, read_manifest, write_atlas
from components.atlas.verify import verify_atlas
from components.encoder.catalogue import EMBEDDED, LEXICAL
from components.encoder.checkpoints import find_checkpoint
from components.search.search import search, seed_query
from corpus.io.disk import NoSpaceLeft
from corpus.progress import Cancelled

if TYPE_CHECKING:
    from conftest import Archives

MakeParts = Callable[..., AtlasParts]


# Out and in again


def test_an_atlas_comes_back_the_same(home: Path, atlas_parts: MakeParts, tmp_path: Path) -> None:
    source = {"reports": [{"kept": 9}]}
    parts = replace(atlas_parts(n=1200), title="Ma bibliothèque", growth=Growth(added=3, removed=2), source=source)
    write_atlas(parts)
    write_archive("one", tmp_path / "a.zip")
    calls: list[tuple[str, int, int]] = []
    manifest = import_archive(tmp_path / "a.zip", progress=lambda *call: calls.append(call))
    assert (manifest.name, manifest.corpus, manifest.title) == ("one-2", "one-2", "Ma bibliothèque")
    stages = ["Unpacking the archive", "Reading the papers", "Checking its vectors", "Indexing", "Writing the atlas"]
    assert list(dict.fromkeys(stage for stage, _, _ in calls)) == stages
    assert all(0 <= done <= total for _, done, total in calls)
    one, two = open_atlas("one"), open_atlas("one-2")
    assert one.papers.equals(two.papers)
    for name in ("vectors", "coordinates", "region_ids"):
        assert np.array_equal(getattr(one, name), getattr(two, name))
    for name in ("title", "growth", "source", "versions", "projection"):
        assert getattr(one.manifest, name) == getattr(two.manifest, name)
    looks = [[(r.name, r.terms, r.colour, r.size) for r in atlas.manifest.regions] for atlas in (one, two)]
    assert looks[0] == looks[1]
    assert two.manifest.index.ann_recall_at_10 >= 0.99
    for row in range(0, 1200, 301):
        assert search(one, seed_query(one, [row]), k=5).rows == search(two, seed_query(two, [row]), k=5).rows


def test_what_an_archive_holds(archives: type[Archives], packed: Path) -> None:
    with zipfile.ZipFile(packed) as found:
        assert {info.compress_type for info in found.infolist()} == {zipfile.ZIP_STORED}
        names = found.namelist()
    assert names == ["papers.jsonl.gz", "vectors.npy", "coordinates.npy", "regions.npy", "manifest.json"]
    atlas, files = open_atlas("one"), archives.content(packed)
    assert archives.papers(files) == atlas.papers.to_pylist()
    assert np.array_equal(np.load(io.BytesIO(files["vectors.npy"])), atlas.vectors)
    assert b"".join(archive_pieces(atlas)) == packed.read_bytes()  # the same build gives the same bytes
    stream = io.BytesIO()
    write_archive("one", stream)
    assert stream.getvalue() == packed.read_bytes()


def test_a_stopped_or_damaged_export_leaves_no_file(written: AtlasParts, home: Path, tmp_path: Path) -> None:
    def stop(*_: object) -> None:
        raise Cancelled("stopped")

    with pytest.raises(Cancelled):
        write_archive("one", tmp_path / "one.zip", progress=stop)
    path = next(home.glob("one/*/vectors.npy"))
    path.write_bytes(path.read_bytes()[:-1] + b"\x01")
    with pytest.raises(store.AtlasDamaged):
        write_archive("one", tmp_path / "one.zip")
    assert list(tmp_path.glob("one.zip*")) == []


def test_encoders_of_the_catalogue_are_found_again(topics: str, home: Path, tmp_path: Path) -> None:
    words = reencode(topics, encoder=LEXICAL).name  # its archive holds the encoder
    for name in (topics, words):
        write_archive(name, tmp_path / f"{name}.zip")
    shutil.rmtree(home)
    manifest = import_archive(tmp_path / f"{words}.zip")
    assert (manifest.name, manifest.corpus) == (words, "topics")
    assert import_archive(tmp_path / f"{topics}.zip", name="mine").encoder.source == EMBEDDED
    assert read_manifest("mine").corpus == "topics"
    assert verify_atlas(words).passed
    assert verify_atlas("mine").passed


def test_paths_of_this_machine_are_neither_exported_nor_believed(
    archives: type[Archives], home: Path, atlas_parts: MakeParts, tmp_path: Path
) -> None:
    place = tmp_path / "somebody" / "checkpoint"
    place.mkdir(parents=True)
    record = EncoderRecord(name="checkpoint", source=str(place), fingerprint="a" * 64, normalised=False)
    write_atlas(replace(atlas_parts(), encoder=record))
    write_archive("one", tmp_path / "a.zip")
    assert b"somebody" not in (tmp_path / "a.zip").read_bytes()
    files = archives.content(tmp_path / "a.zip")
    for source in (str(place), "../../x", "own-vectors", "\x00", "nobody/knows"):
        encoder = json.loads(files["manifest.json"])["encoder"] | {"source": source}
        manifest = import_archive(archives.sealed(files, tmp_path / "b.zip", encoder=encoder))
        assert manifest.encoder == replace(record, source=PRECOMPUTED)
        assert not manifest.encoder.takes_text


def test_a_users_own_checkpoint_is_found_by_name_and_fingerprint(
    home: Path, atlas_parts: MakeParts, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COCITE_ATLAS_ENCODERS", str(tmp_path / "encoders"))
    own = tmp_path / "encoders" / "own" / "tiny"
    shutil.copytree(tiny, own)
    fingerprint = find_checkpoint("own/tiny", local_files_only=True).fingerprint
    for told, source in ((fingerprint, str(own.resolve())), ("b" * 64, PRECOMPUTED)):
        record = EncoderRecord(name="tiny", source="/elsewhere/tiny", fingerprint=told, normalised=False)
        write_atlas(replace(atlas_parts(), encoder=record))
        write_archive("one", tmp_path / "a.zip")
        assert import_archive(tmp_path / "a.zip").encoder.source == source


# Names and corpora


def test_an_import_replaces_nothing(packed: Path, home: Path) -> None:
    build = read_manifest("one").folder
    work = home / "one-2" / "work-0"
    work.mkdir(parents=True)
    note_request(work, corpus="one-2", base="", encoder=EMBEDDED, precision="float32")
    assert [import_archive(packed).name for _ in range(2)] == ["one-3", "one-4"]
    for name in ("one", "one-2"):
        with pytest.raises(NameTaken, match=f"called '{name}' already"):
            import_archive(packed, name=name)
    assert read_manifest("one").folder == build
    assert [build.name for build in unfinished()] == ["one-2"]
    with pytest.raises(paths.NoSuchAtlas, match="cannot be the name"):
        import_archive(packed, name="../x")
    assert import_archive(packed, name="other").name == "other"


def test_an_import_does_not_wait_for_a_build_nor_mind_what_a_killed_import_left(alone: Path, home: Path) -> None:
    paths.work_folder("one", {"import": True})
    with paths.build_lock("one"):
        assert import_archive(alone).name == "one-2"
        with pytest.raises(paths.AtlasBusy):
            import_archive(alone, name="one")
    assert import_archive(alone, name="one").name == "one"
    assert list(home.glob("one/work-*")) == []


def test_which_corpus_an_import_joins(packed: Path, atlas_parts: MakeParts) -> None:
    assert import_archive(packed).corpus == "one-2"  # "one" has an atlas by this encoder
    parts = atlas_parts()
    write_atlas(replace(parts, encoder=replace(parts.encoder, fingerprint="another")))
    assert import_archive(packed, name="third").corpus == "one"
    write_atlas(replace(atlas_parts(seed=5), encoder=replace(parts.encoder, fingerprint="another")))
    assert import_archive(packed, name="fourth").corpus == "fourth"  # "one" has other papers


def test_an_interrupted_import_leaves_nothing(alone: Path, home: Path) -> None:
    calls: list[object] = []
    import_archive(alone, progress=lambda *call: calls.append(call))
    shutil.rmtree(home)
    for stop in range(len(calls)):
        left = iter(range(stop))

        def interrupt(*_: object, left: Any = left) -> None:
            if next(left, None) is None:
                raise Cancelled("stopped")

        with pytest.raises(Cancelled):
            import_archive(alone, progress=interrupt)
        assert not home.exists() or list(home.iterdir()) == []
    assert import_archive(alone).name == "one"


def test_a_full_disk_is_reported(alone: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(store, "write_array", full)
    with pytest.raises(NoSpaceLeft):
        import_archive(alone)
    assert list(home.iterdir()) == []
