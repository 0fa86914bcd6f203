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

from corpus.cocitations import archives
from corpus.cocitations.archives import Budget, checked, decompressed, head
from tests.corpus.cocitations import full_texts
from tests.corpus.cocitations.full_texts import BOTH, LINES, a_file, citing, read, tar, zipped


def test_bombs_are_refused_early(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "_FREE_BYTES", 2**17)
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
    monkeypatch.setattr(archives, "_MAX_XZ_MEMORY", 2**16)
    filters = [{"id": lzma.FILTER_LZMA2, "dict_size": 2**20}]
    _, report = read(a_file(tmp_path, lzma.compress(LINES, filters=filters)))
    assert "emory" in report.refusals[0].reason


def test_names_of_members_are_only_shown(tmp_path: Path) -> None:
    names = ["../../escape.jsonl", "/etc/escape.jsonl", "a\x1b[2J\u202e.jsonl", "x" * 3_000]
    ignored = ["__MACOSX/._1.jsonl", ".hidden"]
    for pack in (tar, zipped):
        path = a_file(tmp_path / pack.__name__, pack(dict.fromkeys([*names, *ignored], LINES)))
        assert citing(read(path)[0]) == BOTH * 4
        assert [each.name for each in path.parent.iterdir()] == ["file"]
    _, report = read(a_file(tmp_path, tar(dict.fromkeys(names, b"no"))))
    assert report.refusals[2].place == "file, a?[2J?.jsonl"
    assert max(len(each.place) for each in report.refusals) < 220


def test_links_devices_and_sparse_files_in_a_tar_are_refused(tmp_path: Path) -> None:
    secret = a_file(tmp_path, LINES, "secret.jsonl")
    for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE):
        sentences, report = read(a_file(tmp_path, tar({"link": b""}, type=kind, linkname=str(secret))))
        assert not sentences and "a link or a device" in report.refusals[0].reason
    sparse = {"GNU.sparse.major": "0", "GNU.sparse.minor": "1", "GNU.sparse.size": str(2**60), "GNU.sparse.map": "0,1"}
    sentences, report = read(a_file(tmp_path, tar({"holes": b"x", "1.jsonl": LINES}, pax_headers=sparse)))
    assert not sentences and "holes" in report.refusals[0].reason


def test_tar_headers_that_promise_too_much_are_refused(tmp_path: Path) -> None:
    header = tarfile.TarInfo("1.jsonl")
    header.size = 2**80
    huge = header.tobuf(tarfile.GNU_FORMAT)
    assert read(a_file(tmp_path, huge + LINES))[1].refused
    header.type = b"Z"  # a device, whose content is skipped
    assert read(a_file(tmp_path, header.tobuf(tarfile.GNU_FORMAT) + LINES))[1].refused
    header.type = tarfile.GNUTYPE_LONGNAME
    _, report = read(a_file(tmp_path, gzip.compress(header.tobuf(tarfile.GNU_FORMAT) + b"x" * 10_000_000)))
    assert "headers of a size that no archive needs" in report.refusals[0].reason
    header.size = 1
    assert read(a_file(tmp_path, (header.tobuf(tarfile.GNU_FORMAT) + b"x" * 512) * 2_000))[1].refused


def test_locked_and_unusual_zips_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = bytearray(zipped({"1": b"x", "2.jsonl": LINES}, zipfile.ZIP_STORED))
    content[6] |= 1
    content[content.index(b"PK\x01\x02") + 8] |= 1
    sentences, report = read(a_file(tmp_path, bytes(content)))
    assert citing(sentences) == BOTH and "password" in report.refusals[0].reason
    _, report = read(a_file(tmp_path, zipped({"1": b"x" * 100}, zipfile.ZIP_LZMA)))
    assert "not supported" in report.refusals[0].reason
    monkeypatch.setattr(archives, "_MAX_ZIP_DIRECTORY", 20_000)
    _, report = read(a_file(tmp_path, zipped({f"{n}": b"" for n in range(1_000)})))
    assert "lists more files" in report.refusals[0].reason and report.refused == 1


@given(st.binary(max_size=3_000), st.integers(1, 700), st.sampled_from(["gzip", "bz2", "xz"]))
@settings(max_examples=100, deadline=None)
def test_decompression_in_pieces_of_any_size_gives_the_content(content: bytes, size: int, method: str) -> None:
    file = io.BytesIO({"gzip": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress}[method](content))
    packed = io.BufferedReader(file, size + 6)  # type: ignore[arg-type]
    stream = decompressed(checked(packed), Budget(1_000))
    assert stream is not None
    assert head(stream) == content
    assert b"".join(iter(lambda: stream.read(size), b"")) == content


@given(st.binary(max_size=300), st.integers(0, 5_000), st.sampled_from(["tar", "tgz", "zip", "gz", "xz"]))
@settings(max_examples=150, deadline=None)
def test_damaged_archives_never_raise(
    tmp_path_factory: pytest.TempPathFactory, change: bytes, at: int, packing: str
) -> None:
    members = {"1.jsonl": LINES, "a/2.xml": full_texts.jats()}
    whole = {
        "tar": tar(members, "w"), "tgz": tar(members), "zip": zipped(members), "gz": gzip.compress(LINES * 50),
        "xz": lzma.compress(LINES * 50),
    }[packing]  # fmt: skip
    at %= len(whole)
    _, report = read(a_file(tmp_path_factory.mktemp("x"), whole[:at] + change + whole[at + len(change) :]))
    assert report.documents + report.refused >= 0
