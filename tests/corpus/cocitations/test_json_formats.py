import itertools
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corpus.cocitations import markers
from corpus.cocitations.documents import Document, read_documents
from corpus.cocitations.full_text import Citation, CitingSentence, FullText, FullTextError, FullTextReport, Reference
from corpus.cocitations.json_formats import read_record
from corpus.cocitations.markers import NO_REFERENCE, UNKNOWN_REFERENCE, Span
from corpus.cocitations.sentences import citing_sentences
from tests.corpus.cocitations import full_texts

DOIS = ["doi:10.1000/a", "doi:10.1000/b", "doi:10.1000/c"]


def read(record: object, report: FullTextReport | None = None) -> FullText:
    format, found = read_record(record, place="here", report=report or FullTextReport())
    assert isinstance(found, FullText), format
    return found


def sentences_of(full_text: FullText) -> list[tuple[str, list[str]]]:
    """The citing sentences, and the DOIs cited in each."""
    return [
        (each.sentence, [key for cited in each.cited for key in cited.identifiers if key.startswith("doi:")])
        for each in citing_sentences(full_text, place="here")
    ]


# Formats


@pytest.mark.parametrize(
    ("format", "record", "paper"),
    [
        ("CORD-19", full_texts.cord19(), "pmcid:PMC7"),
        ("CORD-19", full_texts.cord19("0f" * 20), f"id:{'0f' * 20}"),
        ("S2ORC", full_texts.s2orc(), "s2:CorpusId:123"),
        ("S2ORC", {**full_texts.s2orc("my paper"), "metadata": {"title": "A title"}}, "id:my paper"),
        ("S2ORC", {"paper_id": "1", "pdf_parse": full_texts.s2orc()}, "s2:CorpusId:1"),
        ("S2ORC", full_texts.annotated(), "s2:CorpusId:456"),
        ("unarXive", full_texts.unarxive(), "arxiv:2105.05862"),
        ("unarXive", {key: value for key, value in full_texts.unarxive().items() if key != "_source_name"},
         "arxiv:2105.05862"),
    ],
)  # fmt: skip
def test_each_format_is_recognised_and_gives_the_planted_sentences(
    format: str, record: dict[str, Any], paper: str
) -> None:
    report = FullTextReport()
    found = read_record(record, place="here", report=report)
    assert found[0] == format and isinstance(found[1], FullText)
    assert found[1].paper.key == paper
    (first, together), (second, alone) = sentences_of(found[1])
    assert first in ("Both are known [1] [2].", "Both are known [1], [2].") and together == DOIS[:2]
    assert second in ("One is new [3].", "One with formula is new [3].") and alone == DOIS[2:]
    assert not report.dropped and not report.repaired


def test_a_reference_of_s2orc_has_its_link_and_title() -> None:
    a = read(full_texts.s2orc()).references["BIBREF0"]
    assert a.identifiers[:2] == ("doi:10.1000/a", "s2:CorpusId:1") and a.identifiers[2].startswith("title:")
    assert (a.title, a.year) == ("Title a", 2010)


@pytest.mark.parametrize("level", ["metadata", "identifiers", None])
def test_the_metadata_of_s2orc_may_stand_in_the_line(level: str | None) -> None:
    metadata = {"doi": "10.1000/Own", "pubmed_id": "77", "title": "Its own title", "year": 2019}
    parse = {**full_texts.s2orc(), "paper_id": None}
    full_text = read({"paper_id": "123", "pdf_parse": parse, **({level: metadata} if level else metadata)})
    assert full_text.paper.identifiers[:3] == ("doi:10.1000/own", "pmid:77", "s2:CorpusId:123")
    if level != "identifiers":
        assert (full_text.paper.title, full_text.paper.year) == ("Its own title", 2019)


def test_annotations_may_have_places_as_texts_numbers_as_ids_and_invalid_members() -> None:
    record = full_texts.annotated()
    annotations = record["content"]["annotations"]
    first, *entries = json.loads(annotations["bibentry"])
    places = {key: str(first[key]) for key in ("start", "end")}
    entries = [{**places, "attributes": {"id": "b1", "matched_paper_id": 42}}, *entries, {"start": 0}, None, 7]
    annotations["bibentry"] = json.dumps(entries)
    annotations["bibref"] = json.dumps([*json.loads(annotations["bibref"]), {"start": 0, "end": 3}])
    report = FullTextReport()
    full_text = read(record, report)
    assert full_text.references["b1"].key == "s2:CorpusId:42" and full_text.references["b1"].title == "Title a"
    assert report.dropped == {markers.OUTSIDE: 1}
    assert full_text.paper.title == "A title"


def test_annotated_texts_without_paragraphs_with_overlapping_ones_and_with_references_apart() -> None:
    record = full_texts.annotated()
    text, annotations = record["content"]["text"], record["content"]["annotations"]
    annotations["paragraph"] = None
    assert [dois for _, dois in sentences_of(read(record))] == [DOIS[:2], DOIS[2:]]
    annotations["paragraph"] = json.dumps([{"start": start, "end": len(text)} for start in range(len(text))])
    assert sum(len(paragraph.text) for paragraph in read(record).paragraphs) <= len(text)
    record = full_texts.annotated()
    record["body"] = record.pop("content")
    listed = {key: record["body"]["annotations"].pop(key) for key in ("bibentry", "bibtitle")}
    record["bibliography"] = {"text": text, "annotations": listed}
    assert [dois for _, dois in sentences_of(read(record))] == [DOIS[:2], DOIS[2:]]


def test_markers_of_unarxive_are_read_from_the_text() -> None:
    record = full_texts.unarxive("hep-th9901001", metadata={"versions": [{"created": "Fri, 1 Jan 1999 10:00:00 GMT"}]})
    record["body_text"] = [
        {"text": "Refs. {{cite:aa}}--{{cite:cc}} show {{figure:1}}; {{cite:gone}} and {{cite: bb }} do not {{cite:}}."},
        {"text": None},
        "no paragraph",
    ]
    report = FullTextReport()
    full_text = read(record, report)
    assert full_text.paragraphs[0].text == "Refs. [1]--[3] show figure; [?] and [2] do not [?]."
    assert [citation.cited for citation in full_text.paragraphs[0].citations] == [("aa", "bb", "cc"), ("bb",)]
    assert report.dropped == {UNKNOWN_REFERENCE: 1, NO_REFERENCE: 1}
    assert full_text.paper.identifiers == ("arxiv:hep-th/9901001",) and full_text.paper.year == 1999


@pytest.mark.parametrize(
    ("changed", "citing", "cited"),
    [
        ({}, "doi:10.1000/citing", ["doi:10.1000/a", "doi:10.1000/b"]),
        ({"citing": "3343413.3377957"}, "id:3343413.3377957", ["doi:10.1000/a", "doi:10.1000/b"]),
        ({"citing": None}, "here", ["doi:10.1000/a", "doi:10.1000/b"]),
        ({"citing": 31234567, "dois": None, "pmids": [12, "0034", True, None]}, "id:31234567", ["pmid:12", "pmid:34"]),
        ({"dois": None,
          "cited": ["https://doi.org/10.1000/A", "PMID:12", "arXiv:1706.03762v2", "77", "PMC9", "pmid: x"]},
         "doi:10.1000/citing", ["doi:10.1000/a", "pmid:12", "arxiv:1706.03762", "id:77", "pmcid:PMC9"]),
        ({"dois": ["n/a", "10.1000/B"],
          "cited": [{"pmid": 5, "title": "T"}, {"title": "Only a title", "year": 2001}, {}]},
         "doi:10.1000/citing", ["id:n/a", "doi:10.1000/b", "pmid:5", "title:"]),
    ],
)  # fmt: skip
def test_a_citing_sentence_may_name_papers_in_any_form(changed: dict[str, Any], citing: str, cited: list[str]) -> None:
    _, found = read_record(full_texts.sentence_line(**changed), place="here", report=FullTextReport())
    assert isinstance(found, CitingSentence)
    assert found.citing == citing and found.sentence == "Both are known [1, 2]."
    keys = [each.key if not each.key.startswith("title:") else "title:" for each in found.cited]
    assert sorted(keys) == sorted(cited)


@pytest.mark.parametrize(
    ("record", "message"),
    [
        (full_texts.sentence_line(sentence="  "), "has no sentence"),
        (full_texts.sentence_line(dois=[]), "cites nothing"),
        (full_texts.sentence_line(dois="10.1000/a"), "cites nothing"),
        (full_texts.sentence_line(dois=[f"10.1000/{n}" for n in range(1_001)]), "more than 1,000"),
        ({"paper_id": "1", "title": "A title", "has_pdf_parse": True}, "metadata of S2ORC"),
        ({"content": {"text": None, "annotations": {}}}, "annotations have no text"),
        ({"content": {"text": "x", "annotations": {"bibref": "[" * 10_000}}}, "are not JSON"),
        ({"body_text": 7}, "no full text in a known format"),
        ([1], "no full text in a known format"),
    ],
)
def test_other_records_are_refused(record: object, message: str) -> None:
    with pytest.raises(FullTextError, match=message):
        read_record(record, place="here", report=FullTextReport())


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
@settings(max_examples=200, deadline=None)
def test_a_record_with_any_value_in_any_place_is_read_or_refused(make: Callable[[], Any], data: st.DataObject) -> None:
    record = place = make()
    while True:
        key = data.draw(st.sampled_from(range(len(place)) if isinstance(place, list) else sorted(place)))
        if not isinstance(place[key], dict | list) or not place[key] or data.draw(st.booleans()):
            break
        place = place[key]
    place[key] = data.draw(_VALUES)
    sentences, report = read_documents([Document("f", json.dumps(record).encode())])
    assert report.documents + report.refused == 1
    for sentence in sentences:
        sentence.sentence.encode()
        assert sentence.citing


# Spans


def references(count: int) -> dict[str, dict[str, str]]:
    return {f"BIBREF{place}": {"doi": f"10.1000/{place}", "link": ""} for place in range(count)}


def spans_in(text: str, *spans: Span, count: int = 20, report: FullTextReport | None = None) -> tuple[Citation, ...]:
    """The citations of a paragraph of S2ORC."""
    listed = [{"start": span.start, "end": span.end, "ref_id": span.key, "text": span.text} for span in spans]
    record = {"body_text": [{"text": text, "cite_spans": listed}], "bib_entries": references(count)}
    return read(record, report).paragraphs[0].citations


@pytest.mark.parametrize(
    ("encoding", "size", "repair"), [("utf-8", 1, markers.BYTES), ("utf-16-le", 2, markers.UTF_16)]
)
def test_spans_counted_in_other_units_are_corrected(encoding: str, size: int, repair: str) -> None:
    # The same marker stands before and behind, nearer to the wrong place than the right one.
    text = "𝛼𝛽𝛾𝛿 [7] is naïve for 𝛼𝛽 [7] cells [7]."
    place = text.index("[7] cells")
    start = len(text[:place].encode(encoding)) // size
    report = FullTextReport()
    found = spans_in(text, Span(start, start + 3, "BIBREF6", "[7]"), report=report)
    assert found == (Citation(place, place + 3, ("BIBREF6",)),)
    assert report.repaired == {repair: 1}


def test_wrong_spans_are_moved_to_their_text_but_not_into_a_longer_number_or_word() -> None:
    report = FullTextReport()
    text = "In 2013 cells grew 0.3. Plants died3 in Leeds, as Lee found."
    spans = Span(5, 6, "BIBREF2", "3"), Span(42, 45, "BIBREF4", "Lee"), Span(0, 1, "BIBREF7", "1")
    found = spans_in(text, *spans, report=report)
    assert found == (Citation(35, 36, ("BIBREF2",)), Citation(50, 53, ("BIBREF4",)))
    assert report.repaired == {markers.MOVED: 2} and report.dropped == {markers.NOT_FOUND: 1}


@pytest.mark.parametrize(
    ("span", "reason"),
    [
        (Span(3, 6, None, "[1]"), NO_REFERENCE),
        (Span(3, 6, "", "[1]"), NO_REFERENCE),
        (Span(3, 6, ["BIBREF0"], "[1]"), NO_REFERENCE),
        (Span(3, 6, "BIBREF99", "[1]"), UNKNOWN_REFERENCE),
        (Span(None, 6, "BIBREF0", "[1]"), markers.NO_SPAN),
        (Span(3.0, True, "BIBREF0", "[1]"), markers.NO_SPAN),
        (Span("3", "6", "BIBREF0", "[1]"), markers.NO_SPAN),
        (Span(10**300, 10**300 + 3, "BIBREF0", "[9]"), markers.NO_SPAN),
        (Span(3, 60, "BIBREF0"), markers.OUTSIDE),
        (Span(-9, -6, "BIBREF0"), markers.OUTSIDE),
        (Span(6, 3, "BIBREF0"), markers.OUTSIDE),
        (Span(3, 6, "BIBREF0", "[9]"), markers.NOT_FOUND),
        (Span(10**15, 10**15 + 3, "BIBREF0", "[9]"), markers.NOT_FOUND),
        (Span(0, 5_000, "BIBREF0"), markers.TOO_LONG),
        (Span(0, 0, "BIBREF0", "x" * 5_000), markers.TOO_LONG),
    ],
)
def test_other_wrong_spans_are_dropped_and_counted(span: Span, reason: str) -> None:
    report = FullTextReport()
    assert spans_in("As [1] knows.", span, report=report) == ()
    assert report.dropped == {reason: 1}


@pytest.mark.parametrize(
    ("text", "keys", "wanted"),
    [
        ("in {[1]}, and {[2]}.", {"1": 0, "2": 1}, [[0], [1]]),
        ("in {[3]}–{[6]}.", {"3": 2, "6": 5}, [[2, 3, 4, 5]]),
        ("in {[3]}-{[6]}, and {[1]}.", {"3": 2, "6": 5, "1": 0}, [[2, 3, 4, 5], [0]]),
        ("in {[3}-{6]}.", {"3": 2, "6": 5}, [[2, 3, 4, 5]]),
        ("in {3} – {6}.", {"3": 2, "6": 5}, [[2, 3, 4, 5]]),
        ("in {[3-6]}.", {"3-6": 2}, [[2, 3, 4, 5]]),
        ("in {[3-6]}.", {"3-6": 5}, [[2, 3, 4, 5]]),
        ("in {[3, 6]}.", {"3, 6": 2}, [[2, 5]]),
        ("in {[3]}–[6].", {"3": 2}, [[2, 3, 4, 5]]),  # the end has no link
        ("in {[3]}, {[6]}.", {"3": 2, "6": 5}, [[2], [5]]),
        ("in {[3]} – 6 patients.", {"3": 2}, [[2]]),  # a dash, and no range
        ("in {[6]}–{[3]}.", {"3": 2, "6": 5}, [[5], [2]]),
        # The list lacks its first two entries, as all markers show.
        ("in {[3]}–{[6]}, {[8]} and {[9]}.", {"3": 0, "6": 3, "8": 5, "9": 6}, [[0, 1, 2, 3], [5], [6]]),
        # The list lacks an entry in its middle.
        ("in {[1]}, {[2]}, {[4]}, {[8]}–{[10]}.", {"1": 0, "2": 1, "4": 3, "8": 6, "10": 8},
         [[0], [1], [3], [6, 7, 8]]),
        # The ends do not agree on where they stand in the list.
        ("in {[3]}–{[6]}, {[7]}, {[8]}.", {"3": 0, "6": 12, "7": 6, "8": 7}, [[0], [12], [6], [7]]),
        ("in {(Smith 2000)}–{(Jones 2004)}.", {"Smith 2000": 2, "Jones 2004": 5}, [[2], [5]]),
        ("in {[1]}–{[5000]}.", {"1": 0, "5000": 5}, [[0], [5]]),
        ("in {[18]}–[25].", {"18": 17}, [[17, 18, 19]]),  # beyond the list's end
    ],
)  # fmt: skip
def test_ranges_are_expanded_by_the_order_of_the_references(
    text: str, keys: dict[str, int], wanted: list[list[int]]
) -> None:
    spans, plain = [], ""
    for part in text.split("{"):
        marker, closed, rest = part.partition("}")
        if closed:
            spans.append(Span(len(plain), len(plain) + len(marker), f"BIBREF{keys[marker.strip('[]()')]}", marker))
        plain += marker + rest
    found = spans_in(plain, *spans)
    assert [[int(key.removeprefix("BIBREF")) for key in citation.cited] for citation in found] == wanted


def test_keys_that_are_sorted_as_texts_are_ordered_by_number() -> None:
    spans = [{"start": 3, "end": 6, "ref_id": "BIBREF8"}, {"start": 7, "end": 11, "ref_id": "BIBREF11"}]
    entries = dict(sorted(references(20).items()))
    found = read({"body_text": [{"text": "in [9]–[12].", "cite_spans": spans}], "bib_entries": entries})
    assert found.paragraphs[0].citations[0].cited == ("BIBREF8", "BIBREF9", "BIBREF10", "BIBREF11")


def test_overlapping_spans_become_one_of_bounded_length() -> None:
    whole, inner = Span(3, 27, "BIBREF0"), Span(16, 26, "BIBREF1", "Jones 2001")
    found = spans_in("As (Smith 2000; Jones 2001) know.", inner, whole, whole)
    assert found == (Citation(3, 27, ("BIBREF0", "BIBREF1")),)
    report = FullTextReport()
    found = spans_in("x" * 2_000, *(Span(at, at + 200, "BIBREF0") for at in range(0, 1_800, 100)), report=report)
    assert all(citation.end - citation.start <= 300 for citation in found)
    assert report.dropped[markers.ENTANGLED] > 0


def test_a_document_that_cites_without_end_is_refused() -> None:
    text = "[1]–[90] " * 2_000
    with pytest.raises(FullTextError, match="cites more than 100,000 times"):
        spans_in(text, *(Span(at, at + 3, "BIBREF0") for at in range(0, len(text), 9)), count=100)


_ODD = st.one_of(st.none(), st.booleans(), st.floats(), st.text(max_size=3), st.integers(-(2**70), 2**70))
_SPANS = st.builds(
    Span,
    st.one_of(st.integers(-5, 60), _ODD),
    st.one_of(st.integers(-5, 60), _ODD),
    st.one_of(st.sampled_from([f"BIBREF{n}" for n in range(7)]), _ODD),
    st.one_of(st.none(), st.sampled_from(["[1]", "[2]", "–", "é", "1-3", ""]), _ODD),
)
_TEXTS = st.lists(st.sampled_from(["[1]", "[2]–[4]", "1-3", " ", "é", "𝛼", "\n", "a. B", "\ud800"]), max_size=20)


@given(_TEXTS.map("".join), st.lists(_SPANS, max_size=8))
@settings(max_examples=150, deadline=None)
def test_citations_of_any_spans_are_valid(text: str, spans: list[Span]) -> None:
    report = FullTextReport()
    citations = spans_in(text, *spans, count=5, report=report)
    for citation in citations:
        assert 0 <= citation.start < citation.end <= len(text)
        assert citation.cited and len(set(citation.cited)) == len(citation.cited)
        assert set(citation.cited) <= set(references(5))
    assert all(one.end <= other.start for one, other in itertools.pairwise(citations))
    assert len(citations) + report.dropped.total() <= len(spans)


def test_the_text_of_a_paragraph_keeps_its_length_and_can_be_encoded() -> None:
    text = read({"body_text": [{"text": "a\n\ud800\u2029b", "cite_spans": []}]}).paragraphs[0].text
    assert text == "a \ufffd b"
    assert Reference(()) == read({"body_text": []}).paper
