import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corpus.cocitations import spans as checks
from corpus.cocitations.cord19 import read_cord19
from corpus.cocitations.cutting import Content
from corpus.cocitations.documents import read_contents
from corpus.cocitations.full_text import FullText, FullTextError
from corpus.cocitations.full_text_report import FullTextReport
from corpus.cocitations.s2orc import read_s2orc
from corpus.cocitations.sentence_lines import read_sentence_line
from corpus.cocitations.sentences import citing_sentences
from corpus.cocitations.unarxive import read_unarxive
from tests.corpus.cocitations import full_texts

DOIS = ["doi:10.1000/a", "doi:10.1000/b", "doi:10.1000/c"]


def known_by(full_text: FullText) -> list[tuple[str, list[str]]]:
    """The citing sentences, and the DOIs cited in each."""
    return [
        (
            sentence.sentence,
            [next(said for said in cited.identifiers if said.startswith("doi:")) for cited in sentence.cited],
        )
        for sentence in citing_sentences(full_text, place="here")
    ]


@pytest.mark.parametrize(
    ("read", "record", "paper", "sentences"),
    [
        (read_cord19, full_texts.cord19(), "pmcid:PMC7", ["Both are known [1] [2].", "One is new [3]."]),
        (read_cord19, full_texts.cord19("0f" * 20), f"id:{'0f' * 20}", ["Both are known [1] [2].", "One is new [3]."]),
        (read_s2orc, full_texts.s2orc(), "s2:CorpusId:123", ["Both are known [1] [2].", "One is new [3]."]),
        (read_s2orc, full_texts.s2orc("my paper"), "id:my paper", ["Both are known [1] [2].", "One is new [3]."]),
        (read_s2orc, full_texts.annotated(), "s2:CorpusId:456", ["Both are known [1] [2].", "One is new [3]."]),
        (
            read_unarxive,
            full_texts.unarxive(),
            "arxiv:2105.05862",
            ["Both are known [1], [2].", "One with formula is new [3]."],
        ),
    ],
    ids=["pmc_json", "pdf_json", "pdf_parses", "doc2json", "api", "unarxive"],
)
def test_each_format_gives_the_sentences_that_were_planted(
    read: Callable[..., FullText], record: dict[str, Any], paper: str, sentences: list[str]
) -> None:
    report = FullTextReport()
    for content in (record, json.dumps(record).encode()):
        full_text = read(content, report=report)
        assert full_text.paper.identifiers[0] == paper
        assert known_by(full_text) == [(sentences[0], DOIS[:2]), (sentences[1], DOIS[2:])]
    assert not report.dropped and not report.repaired


def test_a_reference_of_s2orc_is_known_by_its_link_and_by_its_title() -> None:
    a = read_s2orc(full_texts.s2orc()).references["BIBREF0"]
    assert a.identifiers[:2] == ("doi:10.1000/a", "s2:CorpusId:1") and a.identifiers[2].startswith("title:")
    assert (a.title, a.year) == ("Title a", 2010)


@pytest.mark.parametrize("level", ["metadata", "identifiers", None])
def test_the_metadata_of_s2orc_may_stand_in_the_line(level: str | None) -> None:
    parse = full_texts.s2orc()
    told = {"doi": "10.1000/Own", "pubmed_id": "77", "title": "Its own title", "year": 2019}
    record = {"paper_id": "123", "pdf_parse": {**parse, "paper_id": None}, **({level: told} if level else told)}
    full_text = read_s2orc(record)
    assert full_text.paper.identifiers[:3] == ("doi:10.1000/own", "pmid:77", "s2:CorpusId:123")
    assert len(known_by(full_text)) == 2
    if level != "identifiers":
        assert (full_text.paper.title, full_text.paper.year) == ("Its own title", 2019)


def test_annotations_of_the_api_may_be_anything() -> None:
    record = full_texts.annotated()
    annotations = record["content"]["annotations"]
    # Places as texts, and matched papers as numbers.
    entries = json.loads(annotations["bibentry"])
    entries[0] = {
        "start": str(entries[0]["start"]),
        "end": str(entries[0]["end"]),
        "attributes": {"id": "b1", "matched_paper_id": 42},
    }
    annotations["bibentry"] = json.dumps([*entries, {"start": 0}, None, 7])
    annotations["bibref"] = json.dumps([*json.loads(annotations["bibref"]), {"start": 0, "end": 3}])
    report = FullTextReport()
    full_text = read_s2orc(record, report=report)
    assert (
        full_text.references["b1"].identifiers[0] == "s2:CorpusId:42" and full_text.references["b1"].title == "Title a"
    )
    assert report.dropped == {checks.OUTSIDE: 1}
    assert full_text.paper.title == "A title"


def test_where_no_paragraphs_are_annotated_lines_are() -> None:
    record = full_texts.annotated()
    record["content"]["annotations"]["paragraph"] = None
    assert [dois for _, dois in known_by(read_s2orc(record))] == [DOIS[:2], DOIS[2:]]


def test_paragraphs_over_each_other_do_not_multiply_the_text() -> None:
    record = full_texts.annotated()
    text = record["content"]["text"]
    record["content"]["annotations"]["paragraph"] = json.dumps(
        [{"start": start, "end": len(text)} for start in range(len(text))]
    )
    assert sum(len(paragraph.text) for paragraph in read_s2orc(record).paragraphs) <= len(text)


def test_the_newer_shape_of_the_api_keeps_its_references_apart() -> None:
    record = full_texts.annotated()
    content = record.pop("content")
    listed = {key: content["annotations"].pop(key) for key in ("bibentry", "bibtitle")}
    record["body"] = content
    record["bibliography"] = {"text": content["text"], "annotations": listed}
    assert [dois for _, dois in known_by(read_s2orc(record))] == [DOIS[:2], DOIS[2:]]


def test_markers_of_unarxive_are_told_by_the_text_alone() -> None:
    record = full_texts.unarxive("hep-th9901001", metadata={"versions": [{"created": "Fri, 1 Jan 1999 10:00:00 GMT"}]})
    record["body_text"] = [
        {"text": "Refs. {{cite:aa}}--{{cite:cc}} show {{figure:1}}; {{cite:gone}} and {{cite: bb }} do not {{cite:}}."},
        {"text": None},
        "no paragraph",
    ]
    report = FullTextReport()
    full_text = read_unarxive(record, report=report)
    assert full_text.paragraphs[0].text == "Refs. [1]--[3] show figure; [?] and [2] do not [?]."
    assert [citation.cited for citation in full_text.paragraphs[0].citations] == [("aa", "bb", "cc"), ("bb",)]
    assert report.dropped == {checks.UNKNOWN_REFERENCE: 1, checks.NO_REFERENCE: 1}
    assert full_text.paper.identifiers == ("arxiv:hep-th/9901001",) and full_text.paper.year == 1999


@pytest.mark.parametrize(
    ("changed", "citing", "cited"),
    [
        ({}, "doi:10.1000/citing", ["doi:10.1000/a", "doi:10.1000/b"]),
        ({"citing": "3343413.3377957"}, "id:3343413.3377957", ["doi:10.1000/a", "doi:10.1000/b"]),
        ({"citing": None}, "here", ["doi:10.1000/a", "doi:10.1000/b"]),
        ({"citing": 31234567, "dois": None, "pmids": [12, "0034", True, None]}, "id:31234567", ["pmid:12", "pmid:34"]),
        (
            {
                "dois": None,
                "cited": ["https://doi.org/10.1000/A", "PMID:12", "arXiv:1706.03762v2", "77", "PMC9", "pmid: x"],
            },
            "doi:10.1000/citing",
            ["doi:10.1000/a", "pmid:12", "arxiv:1706.03762", "id:77", "pmcid:PMC9"],
        ),
        (
            {
                "dois": ["n/a", "10.1000/B"],
                "cited": [{"pmid": 5, "title": "T"}, {"title": "Only a title", "year": 2001}, {}],
            },
            "doi:10.1000/citing",
            ["id:n/a", "doi:10.1000/b", "pmid:5", "title:…"],
        ),
    ],
)
def test_a_line_of_a_sentence_may_name_its_papers_in_any_guise(
    changed: dict[str, Any], citing: str, cited: list[str]
) -> None:
    read = read_sentence_line(full_texts.sentence_line(**changed), place="here")
    assert read.citing == citing and read.sentence == "Both are known [1, 2]."
    found = [
        f"{said[:6]}…" if said.startswith("title:") else said for said, *_ in (one.identifiers for one in read.cited)
    ]
    assert sorted(found) == sorted(cited)


@pytest.mark.parametrize(
    ("record", "message"),
    [
        (full_texts.sentence_line(sentence="  "), "has no sentence"),
        (full_texts.sentence_line(dois=[]), "cites nothing"),
        (full_texts.sentence_line(dois="10.1000/a"), "cites nothing"),
        (full_texts.sentence_line(dois=[f"10.1000/{n}" for n in range(1_001)]), "more than 1,000"),
    ],
)
def test_a_line_without_sentence_or_papers_is_refused(record: dict[str, Any], message: str) -> None:
    with pytest.raises(FullTextError, match=message):
        read_sentence_line(record)


@pytest.mark.parametrize("read", [read_cord19, read_s2orc, read_unarxive, read_sentence_line])
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"[1]", "no JSON object"),
        (b"{", "not JSON"),
        (b"[" * 100_000, "nested too deep"),
        (b'{"a": NaN}', "number that JSON does not have"),
        (b'{"a": %s}' % (b"9" * 10_000), "number that JSON does not have"),
        (b"\xff\xfe", "not JSON"),
    ],
)
def test_what_is_no_json_object_is_refused(read: Callable[[bytes], object], content: bytes, message: str) -> None:
    with pytest.raises(FullTextError, match=message):
        read(content)


@pytest.mark.parametrize(
    ("record", "format"),
    [
        (full_texts.cord19(), "CORD-19"),
        (full_texts.s2orc(), "S2ORC"),
        ({**full_texts.s2orc(), "metadata": {"title": "A title"}}, "S2ORC"),
        ({"paper_id": "1", "pdf_parse": full_texts.s2orc()}, "S2ORC"),
        (full_texts.annotated(), "S2ORC"),
        (full_texts.unarxive(), "unarXive"),
        ({key: value for key, value in full_texts.unarxive().items() if key != "_source_name"}, "unarXive"),
        (full_texts.sentence_line(), "citing sentences"),
    ],
)
def test_the_content_tells_the_format(record: dict[str, Any], format: str) -> None:
    outcome = read_contents([Content("f", data=json.dumps(record).encode())])
    assert outcome.report.formats == {format: 1} and not outcome.report.refused
    together, *_ = outcome.sentences
    assert len(together.cited) == 2


def test_metadata_of_s2orc_are_told_from_full_texts() -> None:
    record = {"paper_id": "1", "title": "A title", "has_pdf_parse": True}
    report = read_contents([Content("f", data=json.dumps(record).encode())]).report
    assert "metadata of S2ORC" in report.refusals[0].reason


_VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-3, 70), st.floats(), st.text(max_size=4), st.just("[{")),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.sampled_from(
                ["text", "start", "end", "ref_id", "attributes", "annotations", "id", "title", "ids", "url"]
            ),
            inner,
            max_size=3,
        ),
    ),
    max_leaves=6,
)


@given(
    st.sampled_from(
        [full_texts.cord19, full_texts.s2orc, full_texts.annotated, full_texts.unarxive, full_texts.sentence_line]
    ),
    st.data(),
)
@settings(max_examples=300, deadline=None)
def test_whatever_stands_in_a_record_it_is_read_or_refused(make: Callable[[], Any], data: st.DataObject) -> None:
    # One value, somewhere in a good record, is replaced.
    record = make()
    place = record
    while True:
        key = data.draw(st.sampled_from(range(len(place)) if isinstance(place, list) else sorted(place)))
        if not isinstance(place[key], dict | list) or not place[key] or data.draw(st.booleans()):
            break
        place = place[key]
    place[key] = data.draw(_VALUES)
    outcome = read_contents([Content("f", data=json.dumps(record).encode())])
    assert outcome.report.documents + outcome.report.refused == 1
    for sentence in outcome.sentences:
        sentence.sentence.encode()
        assert sentence.citing
