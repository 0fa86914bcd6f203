"""Hostile archives: whatever a stranger puts into one, it is refused in a sentence, and nothing of it stays."""

from __future__ import annotations

import json
import shutil
import stat
import struct
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from components.atlas import store
from components.atlas.archive import ArchiveRefused, import_archive
from components.atlas.build import NameReserved
from components.atlas.store import open_atlas
from corpus.io.disk import NoSpaceLeft

if TYPE_CHECKING:
    from conftest import Archives


def nested(depth: int) -> list[Any]:
    """Lists within lists, so deep that JSON is read and not written again."""
    found: list[Any] = []
    for _ in range(depth):
        found = [found]
    return found


@pytest.mark.parametrize("data", [b"", b"PK", b"PK\x05\x06" + bytes(18), b"<html>" * 90, bytes(5000)])
def test_what_is_no_archive_is_said(archives: type[Archives], home: Path, tmp_path: Path, data: bytes) -> None:
    (tmp_path / "a.zip").write_bytes(data)
    archives.refused(tmp_path / "a.zip", home)


def test_what_cannot_be_opened_is_said(archives: type[Archives], home: Path, tmp_path: Path) -> None:
    assert "No such file" in archives.refused(tmp_path / "none.zip", home)
    assert "directory" in archives.refused(tmp_path, home)


def test_an_archive_cut_off_anywhere_is_refused(
    archives: type[Archives], alone: Path, home: Path, tmp_path: Path
) -> None:
    whole = alone.read_bytes()
    for end in range(0, len(whole), len(whole) // 40):
        (tmp_path / "cut.zip").write_bytes(whole[:end])
        archives.refused(tmp_path / "cut.zip", home)


def test_a_byte_changed_anywhere_is_harmless_or_refused(alone: Path, home: Path, tmp_path: Path) -> None:
    whole = alone.read_bytes()
    random = np.random.default_rng(3)
    ends = range(len(whole) - 700, len(whole))  # the manifest's end and the list of files: where a change tells most
    for at in [*random.integers(0, len(whole), 60).tolist(), *random.choice(ends, 60, replace=False).tolist()]:
        changed = bytearray(whole)
        changed[at] ^= 1 << int(random.integers(8))
        (tmp_path / "a.zip").write_bytes(changed)
        try:
            manifest = import_archive(tmp_path / "a.zip")
        except (ArchiveRefused, NameReserved):
            assert not home.exists() or list(home.iterdir()) == []
            continue
        open_atlas(manifest.name)  # what was changed was no content: a date, say
        shutil.rmtree(home)


def test_other_files_than_an_archives_are_refused(
    archives: type[Archives], alone: Path, home: Path, tmp_path: Path
) -> None:
    files = archives.content(alone)
    for name in files:
        path = archives.zipped({other: data for other, data in files.items() if other != name}, tmp_path / "a.zip")
        assert "instead of" in archives.refused(path, home)
    for name in ("x.txt", "index.hnsw", "papers.parquet", "sub/vectors.npy", "__MACOSX/x", "sub/"):
        assert "instead of" in archives.refused(archives.zipped(files | {name: b""}, tmp_path / "a.zip"), home)
    for name in ("../vectors.npy", "/etc/passwd", "a/../../b", "c:\\x", "a\\b"):
        assert "leads out of its folder" in archives.refused(
            archives.zipped(files | {name: b"x"}, tmp_path / "a.zip"), home
        )


def test_a_file_given_twice_is_refused(archives: type[Archives], alone: Path, home: Path, tmp_path: Path) -> None:
    files = archives.content(alone)
    path = archives.zipped(files, tmp_path / "a.zip")
    with zipfile.ZipFile(path, "a") as made, pytest.warns(UserWarning, match="Duplicate"):
        made.writestr(zipfile.ZipInfo("vectors.npy"), files["vectors.npy"])
    assert "is there twice" in archives.refused(path, home)


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR])
def test_links_and_devices_are_refused(
    archives: type[Archives], alone: Path, home: Path, tmp_path: Path, kind: int
) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as made:
        for name, data in archives.content(alone).items():
            info = zipfile.ZipInfo(name)
            info.external_attr = (kind | 0o777) << 16 if name == "vectors.npy" else 0
            made.writestr(info, data)
    assert "is a link or a device" in archives.refused(path, home)


@pytest.mark.parametrize("how", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_packed_files_are_refused(archives: type[Archives], alone: Path, home: Path, tmp_path: Path, how: int) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w", how) as made:
        for name, data in archives.content(alone).items():
            made.writestr(name, data)
    archives.refused(tmp_path / "a.zip", home)


def test_an_encrypted_file_is_refused(archives: type[Archives], alone: Path, home: Path) -> None:
    data = bytearray(alone.read_bytes())
    at = data.index(b"PK\x01\x02")
    data[at + 8] |= 1
    alone.write_bytes(data)
    assert "is encrypted" in archives.refused(alone, home)


def test_a_long_list_of_files_is_not_even_read(archives: type[Archives], home: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as made:
        for number in range(2000):
            made.writestr(f"{number}", b"")
    assert "more files than an archive has" in archives.refused(tmp_path / "a.zip", home)


def test_files_that_lie_over_one_another_are_refused(archives: type[Archives], alone: Path, home: Path) -> None:
    data = bytearray(alone.read_bytes())
    at = data.index(b"PK\x01\x02")
    sizes = struct.unpack_from("<LL", data, at + 20)
    struct.pack_into("<LL", data, at + 20, *(size + 2**30 for size in sizes))
    alone.write_bytes(data)
    assert "more bytes than it has" in archives.refused(alone, home)


def test_an_archive_of_gigabytes_is_read(
    archives: type[Archives], alone: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its list of files is then of 64 bits; here zipfile is made to think so earlier."""
    whole = archives.content(alone)
    monkeypatch.setattr(zipfile, "ZIP64_LIMIT", 100)
    archives.sealed(whole, alone)
    assert b"PK\x06\x06" in alone.read_bytes()
    assert import_archive(alone).papers == 60
    data = bytearray(alone.read_bytes())
    struct.pack_into("<Q", data, data.index(b"PK\x06\x07") + 8, 5)
    alone.write_bytes(data)
    shutil.rmtree(home)
    assert "not where it should be" in archives.refused(alone, home)


def test_files_that_are_not_what_the_manifest_says_are_refused(
    archives: type[Archives], alone: Path, home: Path, tmp_path: Path
) -> None:
    files = archives.content(alone)
    for name in ("papers.jsonl.gz", "vectors.npy", "coordinates.npy", "regions.npy"):
        changed = files[name][:-1] + bytes([files[name][-1] ^ 1])
        path = archives.zipped(files | {name: changed}, tmp_path / "a.zip")
        assert f"{name} in it is not what its manifest says" in archives.refused(path, home)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"papers": 59}, "the 59 papers"),
        ({"papers": 61}, "the 61 papers"),
        ({"papers": 0}, "0 papers"),
        ({"papers": 10**12}, "1000000000000 papers"),
        ({"papers": 10**30}, "papers"),
        ({"dimensions": 7}, "vectors.npy holds"),
        ({"dimensions": 10**9}, "dimensions"),
        ({"format": 2}, "format 2"),
        ({"regions": []}, "names a region"),
        ({"name": "../../x"}, "cannot be the name"),
        ({"corpus": "A/B"}, "cannot be the name"),
        ({"title": "x" * 1000}, "title"),
        ({"growth": {"added": -1, "removed": 0}}, "fewer than no papers"),
        ({"growth": {"added": 0, "removed": 10**400}}, "more than there are"),
        ({"source": {"reports": [{"kept": 1, "note": nested(800)}]}}, "nested too deep"),
        ({"versions": {"python": ["3"]}}, "versions"),
        ({"projection": {"seed": "x" * 9}}, "settings of the map"),
        ({"source": {"reports": [{"kept": "<b>"}]}}, "not a count"),
        ({"extra": 1}, "does not hold what it must"),
    ],
)
def test_a_manifest_that_lies_is_refused(
    archives: type[Archives], alone: Path, home: Path, tmp_path: Path, changes: dict[str, Any], said: str
) -> None:
    assert said in archives.refused(archives.sealed(archives.content(alone), tmp_path / "a.zip", **changes), home)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"fingerprint": "short"}, "names an encoder that is none"),
        ({"name": ""}, "names an encoder that is none"),
        ({"name": "x" * 500}, "names an encoder that is none"),
        ({"source": "specter"}, "makes no vectors of 8 dimensions"),
        ({"source": "tfidf-svd"}, "encoder.npz belongs"),
        ({"normalised": True}, "not of length 1"),
        ({"precision": "int4"}, "precision"),
    ],
)
def test_an_encoder_that_cannot_be_is_refused(
    archives: type[Archives], alone: Path, home: Path, tmp_path: Path, changes: dict[str, Any], said: str
) -> None:
    told = json.loads(archives.content(alone)["manifest.json"])["encoder"] | changes
    assert said in archives.refused(archives.sealed(archives.content(alone), tmp_path / "a.zip", encoder=told), home)


@pytest.mark.parametrize("text", [b"", b"[]", b"{}", b"\xff", b"[" * 100_000, b'{"papers": 1' + b"0" * 9000 + b"}"])
def test_a_manifest_that_is_none_is_refused(
    archives: type[Archives], alone: Path, home: Path, tmp_path: Path, text: bytes
) -> None:
    archives.refused(archives.zipped(archives.content(alone) | {"manifest.json": text}, tmp_path / "a.zip"), home)


def test_regions_with_unreadable_names_are_refused_and_sizes_are_counted(
    archives: type[Archives], alone: Path, home: Path, tmp_path: Path
) -> None:
    files = archives.content(alone)
    regions = json.loads(files["manifest.json"])["regions"]
    for name in ("", "\u202e", "x" * 300):
        assert "region 0" in archives.refused(
            archives.sealed(files, tmp_path / "a.zip", regions=[regions[0] | {"name": name}, regions[1]]), home
        )
    manifest = import_archive(
        archives.sealed(files, tmp_path / "a.zip", regions=[region | {"size": 10**9} for region in regions])
    )
    counted = np.bincount(open_atlas(manifest.name).region_ids + 1, minlength=3)[1:]
    assert [region.size for region in manifest.regions] == counted.tolist()


def test_a_full_disk_is_a_sentence(alone: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(store, "write_array", full)
    with pytest.raises(NoSpaceLeft):
        import_archive(alone)
    assert list(home.iterdir()) == []


def test_what_is_named_in_an_archive_is_written_nowhere_else(alone: Path, tmp_path: Path) -> None:
    before = {path for path in tmp_path.rglob("*") if "home" not in path.parts}
    import_archive(alone)
    assert {path for path in tmp_path.rglob("*") if "home" not in path.parts} == before
