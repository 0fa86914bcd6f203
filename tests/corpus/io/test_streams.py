import gzip
import random

import pytest

from corpus.errors import DamagedFileError, UnknownFormatError, UnsafeFileError
from corpus.io.limits import Limits
from corpus.io.streams import CappedStream


def written(tmp_path, data):
    path = tmp_path / "file"
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_head_shows_without_taking(tmp_path, pack):
    data = random.Random(0).randbytes(300_000)
    with CappedStream(written(tmp_path, pack(data)), Limits()) as stream:
        assert stream.head(100_000) == data[:100_000]
        assert stream.head(10) == data[:10]
        assert stream.readall() == data


def test_members_of_one_gzip_file_follow_each_other(tmp_path):
    path = written(tmp_path, gzip.compress(b"one") + gzip.compress(b"two"))
    with CappedStream(path, Limits()) as stream:
        assert stream.readall() == b"onetwo"


def test_the_fraction_goes_from_nothing_to_all(tmp_path):
    stream = CappedStream(written(tmp_path, b"x" * 100_000), Limits())
    assert stream.fraction == 0
    stream.read(50_000)
    assert 0.4 < stream.fraction < 0.8
    stream.close()
    assert stream.fraction == 1


@pytest.mark.parametrize(
    ("limits", "data", "named"),
    [
        (Limits(file_bytes=99), b"x" * 100, "100 bytes; at most 99"),
        (Limits(unpacked_bytes=99_999), gzip.compress(b"x" * 100_000), "unpacks to more than 99,999 bytes"),
        (
            Limits(ratio_from_bytes=1000),
            gzip.compress(b"x" * 10_000_000),
            "more than 100 times its size, as a gzip bomb does",
        ),
        (Limits(record_bytes=999), b"x" * 1000, "one record has more than 999 bytes"),
    ],
)
def test_each_limit_is_refused_by_name(tmp_path, limits, data, named):
    with pytest.raises(UnsafeFileError, match=named):
        CappedStream(written(tmp_path, data), limits).readall()


def test_a_bomb_is_stopped_long_before_it_has_unpacked(tmp_path):
    path = written(tmp_path, gzip.compress(b"\0" * 200_000_000, compresslevel=9))
    stream = CappedStream(path, Limits(record_bytes=10**12))
    taken = 0
    with pytest.raises(UnsafeFileError, match="gzip bomb"):
        while chunk := stream.read(65_536):
            taken += len(chunk)
    assert taken <= Limits().ratio_from_bytes


def test_marks_let_many_records_pass_that_would_not_as_one(tmp_path):
    stream = CappedStream(written(tmp_path, b"x" * 1000), Limits(record_bytes=100))
    for _ in range(10):
        assert stream.read(100)
        stream.mark()
    assert stream.read(100) == b""


@pytest.mark.parametrize("damage", [lambda data: data[:-20], lambda data: data[:-8] + b"12345678"])
def test_damaged_gzip_gives_what_is_before_the_damage(tmp_path, damage):
    text = random.Random(0).randbytes(200_000)
    stream = CappedStream(written(tmp_path, damage(gzip.compress(text))), Limits())
    head = stream.head(10**6)
    assert len(head) > 190_000
    assert text.startswith(head)
    assert stream.read(10**6) == head
    with pytest.raises(DamagedFileError, match="gzip data is damaged or ends too early"):
        stream.read(1)


def test_what_is_no_file_is_refused(tmp_path):
    with pytest.raises(UnknownFormatError, match="no such file"):
        CappedStream(tmp_path / "nothing", Limits())
    with pytest.raises(UnknownFormatError, match="is not a file"):
        CappedStream(tmp_path, Limits())


def test_a_disk_that_gives_up_is_said_with_what_was_read_before(tmp_path, monkeypatch):
    stream = CappedStream(written(tmp_path, b"x" * 100), Limits())

    class Failing:
        def read(self, size):
            raise OSError(5, "Input/output error")

        def close(self):
            pass

    assert stream.read(10) == b"x" * 10
    monkeypatch.setattr(stream, "_source", Failing())
    with pytest.raises(DamagedFileError, match="reading it failed \\(Input/output error\\)"):
        stream.read(10)
    assert stream.head(10) == b""
    stream.close()
