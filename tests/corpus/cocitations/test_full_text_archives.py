import bz2
import gzip
import io
import lzma
import tarfile
import zipfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corpus.cocitations import members, packed
from corpus.cocitations.packed import Budget, Source, unpacked
from tests.corpus.cocitations import full_texts
from tests.corpus.cocitations.full_texts import BOTH, LINES, a_file, citing, read, tar, zipped


def test_bombs_are_refused_before_they_cost_anything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packed, "_FREE", 2**17)
    blanks = gzip.compress(b"[" + b" " * 4_000_000)
    for bomb in (
        blanks,
        gzip.compress(blanks),
        bz2.compress(b'{"a": 1}\n' * 400_000),
        lzma.compress(b"{" + b"\n" * 4_000_000),
        tar({"1": b"[" + b"\n" * 4_000_000}),
        zipped({"1": b"[" + b" " * 4_000_000}),
        zipped({"1.gz": blanks, "2.gz": blanks}),
    ):
        sentences, report = read(a_file(tmp_path, bomb))
        assert not sentences
        assert any("as a bomb does" in reason for reason in report.reasons), report.reasons
    # An xz file may ask for gigabytes of memory.
    filters = [{"id": lzma.FILTER_LZMA2, "dict_size": 2**20}]
    monkeypatch.setattr(packed, "_XZ_MEMORY", 2**16)
    _, report = read(a_file(tmp_path, lzma.compress(LINES, filters=filters)))
    assert "emory" in report.refusals[0].reason


def test_names_of_members_are_only_shown(tmp_path: Path) -> None:
    names = {
        "../../escape.jsonl": LINES,
        "/etc/escape.jsonl": LINES,
        "a\x1b[2J\u202e.jsonl": LINES,
        "x" * 3_000: LINES,
        "__MACOSX/._1.jsonl": LINES,
        ".hidden": LINES,
    }
    for content in (tar(names), zipped(names)):
        work = tmp_path / "work"
        work.mkdir(exist_ok=True)
        path = a_file(work, content)
        lines = a_file(work, b'{"sentence": "S [1].", "dois": ["10.1000/a"]}\n', "none")
        sentences, report = read(path, lines)
        assert citing(sentences) == [*BOTH * 4, "none, line 1"]
        assert sorted(each.name for each in work.iterdir()) == ["file", "none"]
    bad = dict.fromkeys(names, b"no")
    _, report = read(a_file(tmp_path, tar(bad)))
    assert [each.place for each in report.refusals][2] == "file, a?[2J?.jsonl"
    assert max(len(each.place) for each in report.refusals) < 220


def test_links_devices_and_files_with_holes_in_a_tar_are_not_followed(tmp_path: Path) -> None:
    secret = a_file(tmp_path, LINES, "secret.jsonl")
    for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE):
        content = tar({"link": b""}, type=kind, linkname=str(secret))
        sentences, report = read(a_file(tmp_path, content))
        assert not sentences and "a link, a device" in report.refusals[0].reason
    sparse = {"GNU.sparse.major": "0", "GNU.sparse.minor": "1", "GNU.sparse.size": str(2**60), "GNU.sparse.map": "0,1"}
    content = tar({"holes": b"x", "1.jsonl": LINES}, "w:gz", pax_headers=sparse)
    sentences, report = read(a_file(tmp_path, content))
    assert not sentences and "holes" in report.refusals[0].reason


def test_a_tar_that_promises_what_it_has_not_is_damaged(tmp_path: Path) -> None:
    header = tarfile.TarInfo("1.jsonl")
    header.size = 2**60
    huge = header.tobuf(tarfile.GNU_FORMAT)
    _, report = read(a_file(tmp_path, huge + LINES))
    assert any("ends too early" in refusal.reason or "damaged" in refusal.reason for refusal in report.refusals)
    # A device's content is skipped, for as long as the header says.
    header.type = b"Z"
    _, report = read(a_file(tmp_path, header.tobuf(tarfile.GNU_FORMAT) + LINES))
    assert report.refused
    # A name of gigabytes is read whole by the library.
    header.type = tarfile.GNUTYPE_LONGNAME
    _, report = read(a_file(tmp_path, gzip.compress(header.tobuf(tarfile.GNU_FORMAT) + b"x" * 10_000_000)))
    assert "headers of a size that no archive needs" in report.refusals[0].reason
    header.size = 1
    _, report = read(a_file(tmp_path, (header.tobuf(tarfile.GNU_FORMAT) + b"x" * 512) * 2_000))
    assert report.refused


def test_zips_that_are_locked_or_packed_in_odd_ways_are_told(tmp_path: Path) -> None:
    content = bytearray(zipped({"1": b"x", "2.jsonl": LINES}, zipfile.ZIP_STORED))
    content[6] |= 1
    content[content.index(b"PK\x01\x02") + 8] |= 1
    sentences, report = read(a_file(tmp_path, bytes(content)))
    assert citing(sentences) == BOTH and "password" in report.refusals[0].reason
    sentences, report = read(a_file(tmp_path, zipped({"1": b"x" * 100}, zipfile.ZIP_LZMA)))
    assert "not read here" in report.refusals[0].reason


def test_the_list_of_a_zip_is_not_read_where_it_is_endless(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(members, "_LARGEST_DIRECTORY", 20_000)
    _, report = read(a_file(tmp_path, zipped({f"{n}": b"" for n in range(1_000)})))
    assert "lists more files" in report.refusals[0].reason and report.refused == 1


@given(st.binary(max_size=3_000), st.integers(1, 700), st.sampled_from(["gzip", "bz2", "xz", ""]))
@settings(max_examples=100, deadline=None)
def test_unpacking_in_pieces_of_any_size_gives_what_was_packed(content: bytes, size: int, packing: str) -> None:
    pack = {"gzip": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress, "": bytes}[packing]
    file = io.BytesIO(pack(content))
    source: Source | None = Source(lambda most: file.read(min(most, size)))
    assert source is not None
    if packing:
        source = unpacked(source, budget=Budget(1_000))
        assert source is not None
    head = source.head(size)
    assert content.startswith(head) and len(head) == min(size, len(content))
    assert b"".join(iter(lambda: source.read(size), b"")) == content


@given(st.binary(max_size=300), st.integers(0, 5_000), st.sampled_from(["tar", "tgz", "zip", "gz", "xz"]))
@settings(max_examples=150, deadline=None)
def test_archives_with_bytes_changed_never_raise(
    tmp_path_factory: pytest.TempPathFactory, change: bytes, at: int, packing: str
) -> None:
    named = {"1.jsonl": LINES, "a/2.xml": full_texts.jats()}
    whole = {
        "tar": tar(named, "w"),
        "tgz": tar(named),
        "zip": zipped(named),
        "gz": gzip.compress(LINES * 50),
        "xz": lzma.compress(LINES * 50),
    }[packing]
    at %= len(whole)
    path = a_file(tmp_path_factory.mktemp("x"), whole[:at] + change + whole[at + len(change) :])
    _sentences, report = read(path)
    assert report.documents + report.refused >= 0
