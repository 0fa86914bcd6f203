import gzip
import json
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from corpus.export import write_jsonl
from corpus.identifiers import derived_id
from corpus.io.limits import Limits
from corpus.paper import Paper
from corpus.readers import read
from corpus.text.plain import clean, clean_paragraphs, distinct

FULL = {
    "id": "p1",
    "title": "A title",
    "abstract": ["One.", "Two."],
    "authors": ["Smith, Ada", "The Group"],
    "year": 2021,
    "venue": "Journal",
    "doi": "10.1/x",
    "pmid": "123",
    "url": "https://example.org/1",
    "topics": ["Asthma", "asthma", "Child"],
    "citations": 5,
}
PAPER = Paper(
    id="p1",
    title="A title",
    abstract="One. Two.",
    authors=("Smith, Ada", "The Group"),
    year=2021,
    venue="Journal",
    doi="10.1/x",
    pmid="123",
    url="https://example.org/1",
    topics=("Asthma", "Child"),
)


def reading_of(tmp_path, data, **limits):
    path = tmp_path / "library.jsonl"
    path.write_bytes(data)
    reading = read(path, limits=Limits(**limits))
    return list(reading), reading.report


def test_every_field_arrives_and_strangers_are_ignored(tmp_path):
    papers, report = reading_of(tmp_path, json.dumps(FULL).encode())
    assert papers == [PAPER]
    assert (report.read, report.kept, report.problems) == (1, 1, [])


def test_bom_crlf_and_blank_lines_do_not_matter(tmp_path):
    record = json.dumps(FULL).encode()
    other = json.dumps(FULL | {"id": "p2"}).encode()
    papers, report = reading_of(tmp_path, b"\xef\xbb\xbf" + record + b"\r\n\r\n  \n" + other + b"\r\n")
    assert [paper.id for paper in papers] == ["p1", "p2"]
    assert report.read == 2


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"id": 7}, "7"),
        ({"id": None}, "123"),
        ({"id": "", "pmid": 9}, "9"),
        ({"id": None, "pmid": None, "doi": "https://doi.org/10.1000/X"}, "10.1000/x"),
        ({"id": None, "pmid": None, "doi": ""}, derived_id(title="A title", year=2021)),
    ],
)
def test_an_id_is_found_where_there_is_one(tmp_path, change, expected):
    papers, _ = reading_of(tmp_path, json.dumps(FULL | change).encode())
    assert [paper.id for paper in papers] == [expected]


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        ({"title": 5}, "title is a number; it should be text"),
        ({"title": ["A"]}, "title is a list; it should be text"),
        ({"abstract": {"a": 1}}, "abstract is an object; it should be text"),
        ({"abstract": ["One.", 2]}, "abstract holds a number; it should hold texts only"),
        ({"authors": 5}, "authors is a number; it should be a list of texts"),
        ({"authors": [["Smith"]]}, "authors holds a list"),
        ({"topics": [None]}, "topics holds null"),
        ({"year": [2021]}, "year is a list; it should be a whole number"),
        ({"year": 2021.5}, "year is a number; it should be a whole number"),
        ({"year": True}, "year is true or false"),
        ({"year": 20211}, "year is not within 1000 to 2999"),
        ({"id": True}, "id is true or false; it should be text"),
        ({"url": "javascript:alert(1)"}, "url 'javascript:alert(1)' begins with neither"),
        (b"{", "not JSON"),
        (b'{"id": NaN}', "NaN is not JSON"),
        (b'{"id": -Infinity}', "-Infinity is not JSON"),
        (b'{"year": ' + b"9" * 5000 + b"}", "not readable as JSON"),
        (b'{"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "lists or objects nested too deep"),
        (b"[1]", "the record is a list; it should be an object"),
        (b"null", "the record is null"),
        (b'{"id": "' + b"x" * 300_000 + b'"}', "the line has more than 250,000 characters"),
    ],
)
def test_a_bad_line_is_reported_and_the_others_are_read(tmp_path, raw, reason):
    bad = raw if isinstance(raw, bytes) else json.dumps(FULL | raw).encode()
    good = [json.dumps(FULL | {"id": name}).encode() for name in ("before", "after")]
    papers, report = reading_of(tmp_path, b"\n".join([good[0], bad, good[1]]), line_bytes=250_000)
    assert [paper.id for paper in papers] == ["before", "after"]
    assert (report.read, report.damaged) == (3, 1)
    assert report.problems[0].place == "line 2"
    assert report.problems[0].reason.startswith(reason)


def test_a_line_in_another_encoding_is_read_in_it(tmp_path):
    papers, _ = reading_of(tmp_path, json.dumps(FULL | {"title": "Größe"}, ensure_ascii=False).encode("cp1252"))
    assert papers == [replace(PAPER, title="Größe")]


def test_a_long_line_may_be_longer_than_a_record_may(tmp_path):
    data = b'{"id": "' + b"x" * 1_000_000 + b'"}\n' + json.dumps(FULL).encode()
    papers, report = reading_of(tmp_path, data, line_bytes=1000, record_bytes=200_000)
    assert papers == [PAPER]
    assert report.damaged == 1


def test_no_title_or_no_abstract_is_empty(tmp_path):
    records = [FULL | {"title": " "}, FULL | {"abstract": []}, FULL | {"abstract": None}]
    papers, report = reading_of(tmp_path, b"\n".join(json.dumps(record).encode() for record in records))
    assert papers == []
    assert report.empty == 3
    assert [problem.reason.split(".")[0] for problem in report.problems] == [
        "no title",
        "no abstract",
        "no abstract",
    ]


ANY_TEXT = st.text(st.characters(), max_size=40)
VISIBLE = ANY_TEXT.filter(clean)


def papers_with(text, visible):
    return st.builds(
        Paper,
        id=visible,
        title=visible,
        abstract=visible,
        authors=st.lists(text, max_size=3).map(tuple),
        year=st.none() | st.integers(1000, 2999),
        venue=text,
        doi=text,
        pmid=text,
        url=st.just("") | text.map("https://example.org/{}".format),
        topics=st.lists(text, max_size=3).map(tuple),
    )


def as_readers_clean_it(paper):
    return replace(
        paper,
        id=clean(paper.id),
        title=clean(paper.title),
        abstract=clean_paragraphs(paper.abstract),
        authors=tuple(filter(None, map(clean, paper.authors))),
        venue=clean(paper.venue),
        doi=clean(paper.doi),
        pmid=clean(paper.pmid),
        url=clean(paper.url),
        topics=distinct(paper.topics),
    )


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    papers=st.lists(papers_with(ANY_TEXT, VISIBLE), min_size=1, max_size=4, unique_by=lambda p: clean(p.id)),
    name=st.sampled_from(["a.jsonl", "a.jsonl.gz"]),
)
def test_what_is_written_reads_back(tmp_path, papers, name):
    path = tmp_path / name
    assert write_jsonl(papers, path) == len(papers)
    once = list(read(path))
    assert once == [as_readers_clean_it(paper) for paper in papers]
    write_jsonl(once, path)
    assert list(read(path)) == once


def test_the_same_papers_give_the_same_bytes_and_gz_packs(tmp_path):
    write_jsonl([PAPER], tmp_path / "a.jsonl.gz")
    write_jsonl([PAPER], tmp_path / "b.jsonl.gz")
    packed = (tmp_path / "a.jsonl.gz").read_bytes()
    assert packed == (tmp_path / "b.jsonl.gz").read_bytes()
    assert json.loads(gzip.decompress(packed))["title"] == "A title"


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "a.jsonl"
    write_jsonl([PAPER], path)

    def failing():
        yield replace(PAPER, id="new")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_jsonl(failing(), path)
    assert list(read(path)) == [PAPER]
    assert list(tmp_path.iterdir()) == [path]
