"""Archives: what goes out comes back the same, and nothing hostile comes in."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from components.atlas import paths, store
from components.atlas.archive import IMPORT_STAGES, NameTaken, import_archive, write_archive
from components.atlas.build import NameReserved
from components.atlas.manifest import PRECOMPUTED, EncoderRecord, Growth
from components.atlas.paths import atlas_names
from components.atlas.reencode import reencode
from components.atlas.store import AtlasParts, open_atlas, read_manifest, write_atlas
from components.encoder import EMBEDDED, LEXICAL
from components.search.search import search, seed_query
from corpus.progress import Cancelled

if TYPE_CHECKING:
    from conftest import Archives


def assert_same(one: str, other: str) -> None:
    a, b = open_atlas(one), open_atlas(other)
    assert a.papers.equals(b.papers)
    for name in ("vectors", "coordinates", "region_ids"):
        assert np.array_equal(getattr(a, name), getattr(b, name))
        assert getattr(a, name).dtype == getattr(b, name).dtype
    for name in ("title", "growth", "source", "versions", "projection"):
        assert getattr(a.manifest, name) == getattr(b.manifest, name)
    told = [(region.name, region.terms, region.x, region.y, region.colour) for region in a.manifest.regions]
    assert told == [(region.name, region.terms, region.x, region.y, region.colour) for region in b.manifest.regions]


# Out and in again


def test_what_goes_out_comes_in_the_same(home: Path, atlas_parts: Callable[..., AtlasParts], tmp_path: Path) -> None:
    parts = replace(
        atlas_parts(n=1200),
        title="Ma bibliothèque",
        growth=Growth(added=3, removed=2),
        source={"reports": [{"kept": 9}]},
    )
    write_atlas(parts)
    write_archive("one", tmp_path / "a.zip")
    calls: list[tuple[str, int, int]] = []
    manifest = import_archive(tmp_path / "a.zip", progress=lambda *call: calls.append(call))
    assert (manifest.name, manifest.corpus, manifest.title) == ("one-2", "one-2", "Ma bibliothèque")
    assert_same("one", "one-2")
    assert read_manifest("one-2").index.ann_recall_at_10 >= 0.99
    assert list(dict.fromkeys(stage for stage, _, _ in calls)) == list(IMPORT_STAGES)
    assert all(0 <= done <= total for _, done, total in calls)
    one, two = open_atlas("one"), open_atlas("one-2")
    for row in range(0, 1200, 301):
        assert search(one, seed_query(one, [row]), k=5).rows == search(two, seed_query(two, [row]), k=5).rows


def test_an_archive_holds_what_it_must_and_nothing_else(archives: type[Archives], packed: Path) -> None:
    with zipfile.ZipFile(packed) as found:
        assert {info.compress_type for info in found.infolist()} == {zipfile.ZIP_STORED}
        names = found.namelist()
    assert names == ["papers.jsonl.gz", "vectors.npy", "coordinates.npy", "regions.npy", "manifest.json"]
    atlas = open_atlas("one")
    files = archives.content(packed)
    assert archives.papers(files)[7] == {
        **{name: atlas.papers[name][7].as_py() for name in atlas.papers.column_names},
    }
    assert np.array_equal(np.load(io.BytesIO(files["vectors.npy"])), atlas.vectors)


def test_the_same_build_gives_the_same_bytes_to_a_file_and_to_a_stream(packed: Path) -> None:
    parts: list[bytes] = []

    class Pipe(io.RawIOBase):
        def writable(self) -> bool:
            return True

        def write(self, data: Any, /) -> int:
            parts.append(bytes(data))
            return len(data)

    write_archive("one", Pipe())
    assert b"".join(parts) == packed.read_bytes()


def test_a_stopped_archive_leaves_no_file(written: AtlasParts, tmp_path: Path) -> None:
    def stop(*_: object) -> None:
        raise Cancelled("stopped")

    with pytest.raises(Cancelled):
        write_archive("one", tmp_path / "one.zip", progress=stop)
    assert list(tmp_path.glob("one.zip*")) == []


def test_a_damaged_atlas_makes_no_archive(written: AtlasParts, home: Path, tmp_path: Path) -> None:
    path = next(home.glob("one/*/vectors.npy"))
    path.write_bytes(path.read_bytes()[:-1] + b"\x01")
    with pytest.raises(store.AtlasDamaged):
        write_archive("one", tmp_path / "one.zip")
    assert not (tmp_path / "one.zip").exists()


def test_a_lexical_atlas_takes_its_encoder_along(topics: str, home: Path, tmp_path: Path) -> None:
    name = reencode(topics, encoder=LEXICAL).name
    write_archive(name, tmp_path / "a.zip")
    shutil.rmtree(home)
    manifest = import_archive(tmp_path / "a.zip")
    assert (manifest.name, manifest.corpus) == (name, "topics")  # where nothing else is called so
    from components.atlas.verify import verify_atlas

    assert verify_atlas(name).passed


def test_an_atlas_by_an_encoder_of_the_catalogue_takes_text_again(topics: str, home: Path, tmp_path: Path) -> None:
    write_archive(topics, tmp_path / "a.zip")
    shutil.rmtree(home)
    from components.atlas.verify import verify_atlas

    assert import_archive(tmp_path / "a.zip", name="mine").encoder.source == EMBEDDED
    assert read_manifest("mine").corpus == "topics"
    assert verify_atlas("mine").passed


def test_a_place_of_this_machine_is_neither_told_nor_believed(
    archives: type[Archives], home: Path, atlas_parts: Callable[..., AtlasParts], tmp_path: Path
) -> None:
    place = tmp_path / "somebody" / "checkpoint"
    place.mkdir(parents=True)
    record = EncoderRecord(name="checkpoint", source=str(place), fingerprint="a" * 64, normalised=False)
    write_atlas(replace(atlas_parts(), encoder=record))
    write_archive("one", tmp_path / "a.zip")
    assert b"somebody" not in (tmp_path / "a.zip").read_bytes()
    for source in (str(place), "../../x", "own-vectors", "\x00", "nobody/knows"):
        told = json.loads(archives.content(tmp_path / "a.zip")["manifest.json"])["encoder"] | {"source": source}
        path = archives.sealed(archives.content(tmp_path / "a.zip"), tmp_path / "b.zip", encoder=told)
        manifest = import_archive(path)
        assert manifest.encoder == replace(record, source=PRECOMPUTED)
        assert not manifest.encoder.takes_text


def test_a_checkpoint_of_ones_own_is_found_again(
    home: Path, atlas_parts: Callable[..., AtlasParts], tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from components.encoder import find_checkpoint

    monkeypatch.setenv("COCITE_ATLAS_ENCODERS", str(tmp_path / "encoders"))
    own = tmp_path / "encoders" / "own" / "tiny"
    shutil.copytree(tiny, own)
    fingerprint = find_checkpoint("own/tiny", local_files_only=True).fingerprint
    record = EncoderRecord(name="tiny", source="/elsewhere/tiny", fingerprint=fingerprint, normalised=False)
    write_atlas(replace(atlas_parts(), encoder=record))
    write_archive("one", tmp_path / "a.zip")
    assert import_archive(tmp_path / "a.zip").encoder.source == str(own.resolve())
    write_atlas(replace(atlas_parts(), encoder=replace(record, fingerprint="b" * 64)))  # of that name, another one
    write_archive("one", tmp_path / "a.zip")
    assert import_archive(tmp_path / "a.zip").encoder.source == PRECOMPUTED


# Names


def test_no_import_takes_a_place_that_is_taken(packed: Path, home: Path) -> None:
    build = read_manifest("one").folder
    assert [import_archive(packed).name for _ in range(2)] == ["one-2", "one-3"]
    with pytest.raises(NameTaken, match="called 'one' already"):
        import_archive(packed, name="one")
    assert read_manifest("one").folder == build
    with pytest.raises(paths.NoSuchAtlas, match="cannot be the name"):
        import_archive(packed, name="../x")
    assert import_archive(packed, name="other").name == "other"


def test_the_default_atlas_is_replaced_by_no_import(archives: type[Archives], alone: Path, tmp_path: Path) -> None:
    with pytest.raises(NameReserved, match="default atlas"):
        import_archive(alone, name="medline")
    path = archives.sealed(archives.content(alone), tmp_path / "m.zip", name="medline", corpus="medline")
    manifest = import_archive(path)
    assert (manifest.name, manifest.corpus) == ("medline-2", "medline-2")
    assert atlas_names() == ["medline-2"]


def test_a_long_name_has_room_for_its_number(archives: type[Archives], alone: Path, tmp_path: Path) -> None:
    path = archives.sealed(archives.content(alone), tmp_path / "m.zip", name="x" * 64)
    assert [import_archive(path).name for _ in range(2)] == ["x" * 64, "x" * 62 + "-2"]


def test_a_name_with_unfinished_work_is_not_free(packed: Path, home: Path) -> None:
    from components.atlas.corpora import note_request, unfinished

    work = home / "one-2" / "work-0"
    work.mkdir(parents=True)
    note_request(work, corpus="one-2", base="", encoder=EMBEDDED, precision="float32")
    assert import_archive(packed).name == "one-3"
    with pytest.raises(NameTaken):
        import_archive(packed, name="one-2")
    assert [build.name for build in unfinished()] == ["one-2"]


def test_an_import_of_a_name_that_is_being_built_waits_for_nobody(alone: Path, home: Path) -> None:
    with paths.build_lock("one"):
        assert import_archive(alone).name == "one-2"
        with pytest.raises(paths.AtlasBusy):
            import_archive(alone, name="one")


def test_other_papers_of_a_corpus_are_a_corpus_of_their_own(
    packed: Path, atlas_parts: Callable[..., AtlasParts]
) -> None:
    write_atlas(atlas_parts(seed=5))
    assert import_archive(packed, name="third").corpus == "third"


def test_the_same_papers_join_their_corpus_unless_it_has_an_atlas_by_the_encoder(
    packed: Path, atlas_parts: Callable[..., AtlasParts]
) -> None:
    assert import_archive(packed).corpus == "one-2"  # a corpus shows each encoder once, and grows all its atlases
    parts = atlas_parts()
    write_atlas(replace(parts, encoder=replace(parts.encoder, fingerprint="another")))
    assert import_archive(packed, name="third").corpus == "one"


# An import that ends early


def test_an_interrupted_import_leaves_nothing(alone: Path, home: Path) -> None:
    calls = 0

    def count(*_: object) -> None:
        nonlocal calls
        calls += 1

    import_archive(alone, progress=count)
    shutil.rmtree(home)
    for stop in range(calls):
        left = stop

        def interrupt(*_: object) -> None:
            nonlocal left
            if left == 0:
                raise Cancelled("stopped")
            left -= 1

        with pytest.raises(Cancelled):
            import_archive(alone, progress=interrupt)
        assert not home.exists() or list(home.iterdir()) == []
    assert import_archive(alone).name == "one"


KILLED = """
import os, sys
from pathlib import Path
from components.atlas import archive
def progress(stage, done, total):
    if stage == sys.argv[2] and done == total:
        os._exit(9)
archive.import_archive(Path(sys.argv[1]), progress=progress)
"""


@pytest.mark.parametrize("stage", ["Unpacking the archive", "Reading the papers"])
def test_a_killed_import_is_no_atlas_and_in_nobodys_way(alone: Path, home: Path, stage: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(alone), stage],
        env={**os.environ, "PYTHONPATH": str(Path.cwd()), "COCITE_ATLAS_HOME": str(home)},
        check=False,
    )
    assert done.returncode == 9
    assert atlas_names() == []
    assert import_archive(alone).name == "one"
    assert list(home.glob("one/work-*")) == []
