"""Files of a checkpoint in a zip: hostile zips are refused before anything is unpacked, damaged ones reported."""

import stat
import struct
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.encoder import files
from components.encoder.base import EncoderUnavailable
from components.encoder.files import in_zip, is_repository


def write(path: Path, members: dict[str, bytes], *, compression: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", compression=compression) as archive:
        for name, content in members.items():
            info = zipfile.ZipInfo("plain")
            info.filename = name  # set here, as the constructor would clean it
            info.compress_type = compression
            archive.writestr(info, content)
    return path


def patch_directory(path: Path, offset: int, *values: int) -> None:
    """Overwrite 32-bit numbers in the central directory's first record."""
    content = bytearray(path.read_bytes())
    struct.pack_into(f"<{len(values)}I", content, content.index(b"PK\x01\x02") + offset, *values)
    path.write_bytes(content)


def refused(path: Path, *, read: str = "") -> str:
    with pytest.raises(EncoderUnavailable) as caught:
        in_zip(path)[read].read()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_members_are_read_without_unpacking(tmp_path: Path) -> None:
    members = {"x/config.json": b"{}", "x/vocab.txt": b"a\nb\n", "x/other": b"?"}
    # What macOS adds, and an older model inside the folder.
    path = write(tmp_path / "a.zip", members | {"__MACOSX/config.json": b"{", "x/old/model_cur_best.pt": b"x"})
    found = in_zip(path)
    assert sorted(found) == ["config.json", "vocab.txt"]
    assert found["vocab.txt"].read() == found["vocab.txt"].stream().read() == b"a\nb\n"
    assert (found["vocab.txt"].name, found["vocab.txt"].size) == ("vocab.txt", 4)
    assert sorted(tmp_path.iterdir()) == [path]


_PART = st.text(st.sampled_from("ab./\\:\x00é"), max_size=6)
_NAME = st.lists(st.one_of(st.sampled_from(["..", ".", "x", "config.json", "__MACOSX"]), _PART), max_size=4)


@given(names=st.lists(_NAME.map("/".join), min_size=1, max_size=4), tail=st.binary(max_size=40), cut=st.integers(0, 60))
def test_any_zip_is_read_safely_or_refused(
    tmp_path_factory: pytest.TempPathFactory, names: list[str], tail: bytes, cut: int
) -> None:
    folder = tmp_path_factory.mktemp("zip") / "inside"
    folder.mkdir()
    path = folder / "a.zip"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("warnings.warn", lambda *_, **__: None)  # of duplicate names
        write(path, {name or "empty": b"{}" for name in names}, compression=zipfile.ZIP_STORED)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) - cut] + tail)
    try:
        for file in in_zip(path).values():
            assert ".." not in file.member.split("/")
            assert not file.member.startswith("/")
            assert file.read() == b"{}"
    except EncoderUnavailable as error:
        assert "a.zip" in str(error)
    assert [one.name for one in folder.parent.iterdir()] == ["inside"]
    assert [one.name for one in folder.iterdir()] == ["a.zip"]


@pytest.mark.parametrize(
    ("members", "reason"),
    [
        *(({"x/config.json": b"{}", name: b""}, "leads out") for name in ("../config.json", "/y", "x/../../y", "C:/y")),
        ({"x/config.json": b"{}", "x\\config.json": b""}, "leads out"),
        ({"x/config.json": b"{}", "x/pytorch_model.bin": bytes(3_000_000)}, "swells"),
        ({"x/config.json": b"{}", "y/config.json": b"{}"}, "several"),
    ],
)
def test_hostile_members_are_refused(tmp_path: Path, members: dict[str, bytes], reason: str) -> None:
    assert reason in refused(write(tmp_path / "a.zip", members))


@pytest.mark.parametrize("compression", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_unusual_compression_is_refused(tmp_path: Path, compression: int) -> None:
    assert "not supported" in refused(write(tmp_path / "a.zip", {"config.json": b"{}"}, compression=compression))


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize(("kind", "reason"), [(stat.S_IFLNK, "link"), (stat.S_IFIFO, "link"), (0, "twice")])
def test_links_devices_and_duplicates_are_refused(tmp_path: Path, kind: int, reason: str) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        info = zipfile.ZipInfo("x/config.json")
        info.external_attr = (kind | 0o777) << 16
        archive.writestr(info, "/etc/passwd")
        archive.writestr("x/config.json", b"[]")
    assert reason in refused(tmp_path / "a.zip")


def test_false_sizes_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for size in (1, 100):
        path = write(tmp_path / "a.zip", {"x/config.json": b"{ }" * 10})
        patch_directory(path, 24, size)
        assert "config.json" in refused(path, read="config.json")
    monkeypatch.setattr(files, "MAX_ARCHIVE_BYTES", 2**31)
    patch_directory(path, 20, 0xFFFFFF00, 0xFFFFFFF0)
    assert "declares 4,294,967,280 bytes" in refused(path)


def test_sizes_and_numbers_of_files_are_limited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = in_zip(write(tmp_path / "b.zip", {"config.json": b"{}" * 100}))["config.json"]
    assert len(file.read(max_bytes=200)) == 200
    with pytest.raises(EncoderUnavailable, match="more than 199 bytes"):
        file.read(max_bytes=199)
    path = write(tmp_path / "a.zip", {f"x/{i}": b"1234567890" for i in range(12)})
    monkeypatch.setattr(files, "MAX_ARCHIVE_BYTES", 119)
    assert "120 bytes" in refused(path)
    monkeypatch.setattr(files, "_MAX_MEMBERS", 11)
    assert "12 files" in refused(path)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"<html>"])
def test_other_files_are_no_zip(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.zip").write_bytes(content)
    assert "not a readable zip" in refused(tmp_path / "a.zip")


def test_a_damaged_member_is_reported(tmp_path: Path) -> None:
    path = write(tmp_path / "a.zip", {"config.json": bytes(range(256)) * 40}, compression=zipfile.ZIP_STORED)
    content = bytearray(path.read_bytes())
    content[5_000] ^= 1
    path.write_bytes(content)
    assert "cannot be read" in refused(path, read="config.json")


@pytest.mark.parametrize("name", ["x", "a/b/c", "../b", "a/..", "a/b--c", "https://x/y", "/a/b", "a/b\n", "", "a//b"])
def test_only_owner_and_name_are_a_repository(name: str) -> None:
    assert not is_repository(name)
    assert is_repository("allenai/scibert_scivocab_uncased")
