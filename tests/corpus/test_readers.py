import gzip
import json

import pytest

from corpus.errors import CociteAtlasError
from corpus.readers import (
    DamagedFileError,
    Limits,
    UnknownFormatError,
    UnreadableFileError,
    UnsafeFileError,
    read,
)
from corpus.readers.report import PROBLEMS_A_KIND


def line(**record):
    return json.dumps({"id": "1", "title": "Title", "abstract": "Abstract."} | record).encode() + b"\n"


XML = b"""<?xml version="1.0" encoding="utf-8"?>
<!DOCTYPE PubmedArticleSet PUBLIC "-//NLM//DTD PubMedArticle//EN" "https://dtd.nlm.nih.gov/none.dtd">
<PubmedArticleSet></PubmedArticleSet>"""


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
@pytest.mark.parametrize(
    ("data", "format"),
    [
        (XML, "MEDLINE XML"),
        (b"\xef\xbb\xbf" + XML, "MEDLINE XML"),
        (line(), "JSON Lines"),
        (b"\xef\xbb\xbf\r\n\n" + line(), "JSON Lines"),
        (b"[" + line() + b"]", "JSON"),
        (b'{"results": [' + line() + b"]}", "JSON"),
        (b"Title,Abstract\nA,B\n", "CSV"),
        (b"sep=;\nTitle;Abstract\n", "CSV"),
        (b"TI\tAB\tSO\tPY\n", "CSV"),
        (b"TY  - JOUR\nTI  - T\nER  - \n", "RIS"),
        (b"@article{a, title={T}}", "BibTeX"),
    ],
)
def test_the_content_tells_the_format_whatever_the_name(tmp_path, pack, data, format):
    path = tmp_path / "library.txt"
    path.write_bytes(pack(data))
    with read(path) as reading:
        assert reading.report.format == format


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (b"", "is empty"),
        (b" \n\n", "is empty"),
        (b"%PDF-1.7", "this is a PDF"),
        (b"PK\x03\x04...", "ZIP archive"),
        (b"PAR1\x15\x04", "a Parquet file within gzip"),
        (b"<!DOCTYPE html><html></html>", "web page"),
        (b"<feed xmlns='x'><entry/></feed>", "root element <feed>"),
        (XML.decode().encode("utf-16"), "begins with"),
        (gzip.compress(b"{}", mtime=0), "gzip packed twice"),
        (b"A sentence without a comma.", "begins with 'A sentence without a com"),
        (b"\x00\x9f\x01", r"begins with '\\x00\\x9f\\x01'"),
    ],
)
def test_another_format_is_refused_by_its_name(tmp_path, data, found):
    path = tmp_path / "library.xml.gz"
    path.write_bytes(gzip.compress(data))
    with pytest.raises(UnknownFormatError, match=found) as caught:
        read(path)
    assert isinstance(caught.value, CociteAtlasError)
    assert str(caught.value).startswith("library.xml.gz: ")
    assert str(caught.value).endswith(
        "Give RIS, BibTeX, PubMed's .nbib or XML, CSV, JSON or Parquet; any but Parquet may be gzip."
    )


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(UnreadableFileError, match=r"^gone\.jsonl: there is no such file\. Check the path\.$"):
        read(tmp_path / "gone.jsonl")


def test_every_record_is_counted_once(tmp_path):
    path = tmp_path / "library.jsonl"
    path.write_bytes(
        line(id="1")
        + line(id="2", abstract="")
        + line(id="1", title="Again")
        + b"{broken\n"
        + line(id="3", title="x" * 2001)
        + line(id="4")
    )
    reading = read(path)
    places = [(paper.id, reading.place) for paper in reading]
    assert places == [("1", "line 1"), ("1", "line 3"), ("4", "line 6")]
    report = reading.report
    assert (report.read, report.kept, report.empty, report.duplicate, report.damaged) == (6, 3, 1, 0, 2)
    assert report.read == report.kept + report.left_out
    assert [str(problem) for problem in report.problems] == [
        "library.jsonl, line 2: no abstract. Add one, or drop the record.",
        "library.jsonl, line 4: not JSON (Expecting property name enclosed in double quotes, character 2). "
        "Correct it, or drop the record.",
        "library.jsonl, line 5: title of 2,001 characters; at most 2,000 are read. Shorten it, or drop the record.",
    ]
    assert report.summary() == (
        "library.jsonl: 3 of 6 records kept; left out: 1 without a title or an abstract, 2 damaged."
    )


def test_records_without_an_abstract_are_kept_where_that_is_asked_for(tmp_path):
    path = tmp_path / "library.jsonl"
    path.write_bytes(line(id="1") + line(id="2", abstract=" ") + line(id="3", title="", abstract=""))
    reading = read(path, without_abstract="keep")
    assert [paper.id for paper in reading] == ["1", "2"]
    report = reading.report
    assert (report.read, report.kept, report.without_abstract, report.empty) == (3, 2, 1, 1)
    assert report.summary() == (
        "library.jsonl: 2 of 3 records kept (1 of them without an abstract); "
        "left out: 1 without a title or an abstract."
    )


def test_more_records_than_the_limit_are_refused(tmp_path):
    path = tmp_path / "library.jsonl"
    path.write_bytes(b"".join(line(id=str(i)) for i in range(4)))
    reading = read(path, limits=Limits(records=3))
    with pytest.raises(UnsafeFileError, match=r"^library\.jsonl: it has more than 3 records\. Records .*: 3"):
        list(reading)


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        ({"abstract": "x" * 11}, "abstract of 11 characters; at most 10"),
        ({"venue": "x" * 11}, "venue of 11 characters; at most 10"),
        ({"authors": ["x" * 11]}, "author's name of 11 characters; at most 10"),
        ({"topics": ["x" * 11]}, "topic of 11 characters; at most 10"),
        ({"authors": list("abc")}, "3 authors; at most 2"),
        ({"topics": list("abc")}, "3 topics; at most 2"),
    ],
)
def test_each_field_has_its_limit(tmp_path, record, reason):
    limits = Limits(abstract_chars=10, field_chars=10, authors=2, topics=2)
    path = tmp_path / "library.jsonl"
    path.write_bytes(line(**record))
    reading = read(path, limits=limits)
    assert list(reading) == []
    assert reading.report.problems[0].reason.startswith(reason)


def test_many_of_one_kind_do_not_hide_another(tmp_path):
    path = tmp_path / "library.jsonl"
    path.write_bytes(b"".join(line(id=str(i), abstract="") for i in range(500)) + b"{broken\n")
    reading = read(path)
    assert list(reading) == []
    as_dict = json.loads(json.dumps(reading.report.to_dict()))
    assert len(reading.report.problems) == 501
    assert len(as_dict["problems"]) == PROBLEMS_A_KIND + 1
    assert as_dict["problems"][-1]["place"] == "line 501"
    assert as_dict["problems_left_out"] == 500 - PROBLEMS_A_KIND
    assert (as_dict["read"], as_dict["kept"], as_dict["empty"], as_dict["damaged"]) == (501, 0, 500, 1)


def test_a_truncated_file_gives_its_papers_and_says_how_many_records_it_read(tmp_path):
    data = gzip.compress(b"".join(line(id=str(i)) for i in range(50)))
    path = tmp_path / "library.jsonl.gz"
    path.write_bytes(data[:-10])
    reading = read(path)
    papers = []
    with pytest.raises(DamagedFileError) as caught:
        for paper in reading:
            papers.append(paper)
    assert len(papers) > 40
    assert f"Records read before that: {len(papers)}." in str(caught.value)
    assert list(reading) == []


def test_a_bomb_of_empty_lines_is_refused(tmp_path):
    path = tmp_path / "library.jsonl.gz"
    path.write_bytes(gzip.compress(line() + b"\n" * 5_000_000))
    with pytest.raises(UnsafeFileError, match=r"^library\.jsonl\.gz: it unpacks to .*read before that: 1\."):
        list(read(path, limits=Limits(ratio_from_bytes=10_000)))


def test_leaving_early_closes_the_file(tmp_path):
    path = tmp_path / "library.jsonl"
    path.write_bytes(line(id="1") + line(id="2"))
    with read(path) as reading:
        assert next(reading).id == "1"
    assert list(reading) == []
    assert reading.fraction == 1
