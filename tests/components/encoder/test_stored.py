"""Files in zips: hostile ones are refused before anything is unpacked, and damaged ones are said to be."""

import stat
import struct
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.encoder import stored
from components.encoder.errors import EncoderUnavailable
from components.encoder.stored import in_zip

MARKS = ("config.json",)
NAMES = ("config.json", "vocab.txt", "weights.bin")


def write(path: Path, members: dict[str, bytes], *, compression: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", compression=compression) as archive:
        for name, content in members.items():
            info = zipfile.ZipInfo("plain")
            info.filename = name  # as it is: the constructor would tidy it up
            info.compress_type = compression
            archive.writestr(info, content)
    return path


def refused(path: Path, *, read: str = "") -> str:
    with pytest.raises(EncoderUnavailable) as caught:
        files = in_zip(path, NAMES, marks=MARKS)
        files[read].read()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_members_are_read_where_they_lie(tmp_path: Path) -> None:
    path = write(tmp_path / "a.zip", {"x/config.json": b"{}", "x/vocab.txt": b"a\nb\n", "x/other": b"?"})
    files = in_zip(path, NAMES, marks=MARKS)
    assert sorted(files) == ["config.json", "vocab.txt"]
    assert files["vocab.txt"].read() == files["vocab.txt"].stream().read() == b"a\nb\n"
    assert (files["vocab.txt"].name, files["vocab.txt"].size) == ("vocab.txt", 4)
    assert sorted(tmp_path.iterdir()) == [path]


_PART = st.text(st.sampled_from("ab./\\:\x00é"), max_size=6)
_NAME = st.lists(st.one_of(st.sampled_from(["..", ".", "x", "config.json", "__MACOSX"]), _PART), max_size=4)


@given(names=st.lists(_NAME.map("/".join), min_size=1, max_size=4), tail=st.binary(max_size=40), cut=st.integers(0, 60))
def test_no_zip_does_more_than_be_refused(
    tmp_path_factory: pytest.TempPathFactory, names: list[str], tail: bytes, cut: int
) -> None:
    folder = tmp_path_factory.mktemp("zip") / "inside"
    folder.mkdir()
    path = folder / "a.zip"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("warnings.warn", lambda *_, **__: None)  # of names that are there twice
        with zipfile.ZipFile(path, "w") as archive:
            for name in names:
                info = zipfile.ZipInfo("plain")
                info.filename = name or "empty"  # as it is: the constructor would tidy it up
                archive.writestr(info, b"{}")
    content = path.read_bytes()
    path.write_bytes(content[: len(content) - cut] + tail)
    try:
        files = in_zip(path, NAMES, marks=MARKS)
        for file in files.values():
            assert ".." not in file.member.split("/")
            assert not file.member.startswith("/")
            assert file.read() == b"{}"
    except EncoderUnavailable as error:
        assert "a.zip" in str(error)
    assert [one.name for one in folder.parent.iterdir()] == ["inside"]
    assert [one.name for one in folder.iterdir()] == ["a.zip"]


@pytest.mark.parametrize(
    "name", ["../config.json", "/config.json", "x/../../y", "x\\config.json", "C:/config.json", "x\x00y"]
)
def test_a_name_that_leads_out_is_refused(tmp_path: Path, name: str) -> None:
    assert "leads out" in refused(write(tmp_path / "a.zip", {"x/config.json": b"{}", name: b"{}"}))


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_name_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("x/config.json", b"{}")
        archive.writestr("x/config.json", b"[]")
    assert "twice" in refused(tmp_path / "a.zip")


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR])
def test_links_and_devices_are_refused(tmp_path: Path, kind: int) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        info = zipfile.ZipInfo("x/config.json")
        info.external_attr = (kind | 0o777) << 16
        archive.writestr(info, "/etc/passwd")
    assert "link" in refused(tmp_path / "a.zip")


def test_what_swells_without_bound_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.zip", {"x/config.json": b"{}", "x/weights.bin": bytes(3_000_000)})
    assert path.stat().st_size < 10_000
    assert "swells" in refused(path)


def test_a_declared_size_beyond_any_model_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stored, "MAX_ARCHIVE", 2**31)
    path = write(tmp_path / "a.zip", {"x/config.json": b"{}"})
    content = bytearray(path.read_bytes())
    # The central directory's record of the member: its sizes lie 20 and 24 bytes in.
    at = content.index(b"PK\x01\x02")
    struct.pack_into("<II", content, at + 20, 0xFFFFFF00, 0xFFFFFFF0)
    path.write_bytes(content)
    assert "declares 4,294,967,280 bytes" in refused(path)


def test_a_member_that_holds_more_or_less_than_it_declares_is_refused(tmp_path: Path) -> None:
    for size in (1, 100):
        path = write(tmp_path / "a.zip", {"x/config.json": b"{ }" * 10})
        content = bytearray(path.read_bytes())
        struct.pack_into("<I", content, content.index(b"PK\x01\x02") + 24, size)
        path.write_bytes(content)
        assert "config.json" in refused(path, read="config.json")


def test_a_small_file_that_is_large_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "a.zip", {"config.json": b"{}" * 100})
    file = in_zip(path, NAMES, marks=MARKS)["config.json"]
    with pytest.raises(EncoderUnavailable, match="more than 199 bytes"):
        file.read(most=199)
    assert len(file.read(most=200)) == 200


def test_more_files_or_bytes_than_a_model_has_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "a.zip", {f"x/{i}": b"1234567890" for i in range(12)})
    monkeypatch.setattr(stored, "MAX_ARCHIVE", 119)
    assert "120 bytes" in refused(path)
    monkeypatch.setattr(stored, "_MAX_MEMBERS", 11)
    assert "12 files" in refused(path)


def test_two_models_in_one_zip_are_refused(tmp_path: Path) -> None:
    assert "several" in refused(write(tmp_path / "a.zip", {"x/config.json": b"{}", "y/config.json": b"{}"}))


@pytest.mark.parametrize("compression", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_odd_compressions_are_refused(tmp_path: Path, compression: int) -> None:
    assert "not supported" in refused(write(tmp_path / "a.zip", {"config.json": b"{}"}, compression=compression))


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"<html>", bytes(100)])
def test_what_is_no_zip_is_said(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.zip").write_bytes(content)
    assert "not a readable zip" in refused(tmp_path / "a.zip")


def test_a_damaged_member_is_said(tmp_path: Path) -> None:
    path = write(tmp_path / "a.zip", {"config.json": bytes(range(256)) * 40}, compression=zipfile.ZIP_STORED)
    content = bytearray(path.read_bytes())
    content[5_000] ^= 1
    path.write_bytes(content)
    assert "cannot be read" in refused(path, read="config.json")
