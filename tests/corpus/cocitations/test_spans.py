import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corpus.cocitations import spans as checks
from corpus.cocitations.full_text import Citation, FullText, FullTextError, Reference
from corpus.cocitations.full_text_report import FullTextReport
from corpus.cocitations.spans import Span, full_text


def references(count: int, prefix: str = "BIBREF") -> dict[str, Reference]:
    return {f"{prefix}{place}": Reference((f"doi:10.1000/{place}",)) for place in range(count)}


def read(text: str, *found: Span, count: int = 20, report: FullTextReport | None = None) -> tuple[Citation, ...]:
    read = full_text(Reference(()), [(text, found)], references(count), report=report)
    return read.paragraphs[0].citations


def cited(text: str, **keys: int) -> list[list[int]]:
    """The numbers of references that markers written as {name} in a text cite, by the numbers in their keys."""
    found, plain = [], ""
    for part in text.split("{"):
        marker, closed, rest = part.partition("}")
        if closed:
            found.append(Span(len(plain), len(plain) + len(marker), f"BIBREF{keys[marker.strip('[]()')]}", marker))
            plain += marker + rest
        else:
            plain += part
    return [[int(key.removeprefix("BIBREF")) for key in citation.cited] for citation in read(plain, *found)]


def test_spans_that_hold_are_kept_as_they_are() -> None:
    text = "As known [1], and [2]."
    report = FullTextReport()
    found = read(text, Span(9, 12, "BIBREF0", "[1]"), Span(18, 21, "BIBREF1", "[2]"), report=report)
    assert found == (Citation(9, 12, ("BIBREF0",)), Citation(18, 21, ("BIBREF1",)))
    assert not report.repaired and not report.dropped


@pytest.mark.parametrize(("encoding", "size", "reason"), [("utf-8", 1, checks.BYTES), ("utf-16-le", 2, checks.UTF_16)])
def test_spans_counted_in_other_units_are_put_right(encoding: str, size: int, reason: str) -> None:
    # The same marker stands before and behind, nearer to the wrong place than the right one.
    text = "𝛼𝛽𝛾𝛿 [7] is naïve for 𝛼𝛽 [7] cells [7]."
    place = text.index("[7] cells")
    start = len(text[:place].encode(encoding)) // size
    report = FullTextReport()
    assert read(text, Span(start, start + 3, "BIBREF6", "[7]"), report=report) == (
        Citation(place, place + 3, ("BIBREF6",)),
    )
    assert report.repaired == {reason: 1}


def test_a_span_is_moved_to_where_its_text_stands_near_it() -> None:
    report = FullTextReport()
    assert read("As [1] knows.", Span(8, 11, "BIBREF0", "[1]"), report=report) == (Citation(3, 6, ("BIBREF0",)),)
    assert report.repaired == {checks.MOVED: 1}


def test_a_span_is_not_moved_into_a_longer_number_or_word() -> None:
    report = FullTextReport()
    text = "In 2013 cells grew 0.3. Plants died3 in Leeds, as Lee found."
    spans = Span(5, 6, "BIBREF2", "3"), Span(42, 45, "BIBREF4", "Lee"), Span(0, 1, "BIBREF7", "1")
    assert read(text, *spans, report=report) == (Citation(35, 36, ("BIBREF2",)), Citation(50, 53, ("BIBREF4",)))
    assert report.repaired == {checks.MOVED: 2} and report.dropped == {checks.NOT_FOUND: 1}


@pytest.mark.parametrize(
    ("span", "reason"),
    [
        (Span(3, 6, None, "[1]"), checks.NO_REFERENCE),
        (Span(3, 6, "", "[1]"), checks.NO_REFERENCE),
        (Span(3, 6, ["BIBREF0"], "[1]"), checks.NO_REFERENCE),
        (Span(3, 6, "BIBREF99", "[1]"), checks.UNKNOWN_REFERENCE),
        (Span(None, 6, "BIBREF0", "[1]"), checks.NO_SPAN),
        (Span(3.0, True, "BIBREF0", "[1]"), checks.NO_SPAN),
        (Span("3", "6", "BIBREF0", "[1]"), checks.NO_SPAN),
        (Span(3, 60, "BIBREF0"), checks.OUTSIDE),
        (Span(-9, -6, "BIBREF0"), checks.OUTSIDE),
        (Span(6, 3, "BIBREF0"), checks.OUTSIDE),
        (Span(3, 6, "BIBREF0", "[9]"), checks.NOT_FOUND),
        (Span(10**15, 10**15 + 3, "BIBREF0", "[9]"), checks.NOT_FOUND),
        (Span(10**300, 10**300 + 3, "BIBREF0", "[9]"), checks.NO_SPAN),
        (Span(0, 5_000, "BIBREF0"), checks.TOO_LONG),
        (Span(0, 0, "BIBREF0", "x" * 5_000), checks.TOO_LONG),
    ],
)
def test_what_cannot_be_mended_is_dropped_and_counted(span: Span, reason: str) -> None:
    report = FullTextReport()
    assert read("As [1] knows.", span, report=report) == ()
    assert report.dropped == {reason: 1}


@pytest.mark.parametrize(
    ("text", "keys", "wanted"),
    [
        ("in {[3]}–{[6]}.", {"3": 2, "6": 5}, [[2, 3, 4, 5]]),
        ("in {[3]}-{[6]}, and {[1]}.", {"3": 2, "6": 5, "1": 0}, [[2, 3, 4, 5], [0]]),
        ("in {[3}-{6]}.", {"3": 2, "6": 5}, [[2, 3, 4, 5]]),
        ("in {3} – {6}.", {"3": 2, "6": 5}, [[2, 3, 4, 5]]),
        ("in {[3-6]}.", {"3-6": 2}, [[2, 3, 4, 5]]),
        ("in {[3-6]}.", {"3-6": 5}, [[2, 3, 4, 5]]),
        ("in {[3, 6]}.", {"3, 6": 2}, [[2, 5]]),
        ("in {[3]}–[6].", {"3": 2}, [[2, 3, 4, 5]]),  # the other end is no marker of its own
        ("in {[3]}, {[6]}.", {"3": 2, "6": 5}, [[2], [5]]),
        ("in {[3]} – 6 patients.", {"3": 2}, [[2]]),  # a dash, and no range
        ("in {[6]}–{[3]}.", {"3": 2, "6": 5}, [[5], [2]]),
        # The list lacks its first two entries, as all markers say.
        ("in {[3]}–{[6]}, {[8]} and {[9]}.", {"3": 0, "6": 3, "8": 5, "9": 6}, [[0, 1, 2, 3], [5], [6]]),
        # The ends do not agree on where they stand in the list.
        ("in {[3]}–{[6]}, {[7]}, {[8]}.", {"3": 0, "6": 12, "7": 6, "8": 7}, [[0], [12], [6], [7]]),
        ("in {(Smith 2000)}–{(Jones 2004)}.", {"Smith 2000": 2, "Jones 2004": 5}, [[2], [5]]),
        ("in {[1]}–{[5000]}.", {"1": 0, "5000": 5}, [[0], [5]]),
        ("in {[18]}–[25].", {"18": 17}, [[17, 18, 19]]),  # beyond the list's end
    ],
)
def test_ranges_are_expanded_by_the_order_of_the_references(
    text: str, keys: dict[str, int], wanted: list[list[int]]
) -> None:
    assert cited(text, **keys) == wanted


def test_keys_sorted_as_texts_are_taken_by_their_numbers() -> None:
    shuffled = {key: Reference((key,)) for key in sorted(references(20))}
    text = "in [9]–[12]."
    read = full_text(Reference(()), [(text, [Span(3, 6, "BIBREF8"), Span(7, 11, "BIBREF11")])], shuffled)
    assert read.paragraphs[0].citations[0].cited == ("BIBREF8", "BIBREF9", "BIBREF10", "BIBREF11")


def test_spans_over_each_other_become_one() -> None:
    text = "As (Smith 2000; Jones 2001) know."
    whole, one = Span(3, 27, "BIBREF0"), Span(16, 26, "BIBREF1", "Jones 2001")
    assert read(text, one, whole, whole) == (Citation(3, 27, ("BIBREF0", "BIBREF1")),)


def test_a_chain_of_spans_does_not_become_a_page() -> None:
    text = "x" * 2_000
    report = FullTextReport()
    found = read(text, *(Span(at, at + 200, "BIBREF0") for at in range(0, 1_800, 100)), report=report)
    assert all(citation.end - citation.start <= 300 for citation in found)
    assert report.dropped[checks.ENTANGLED] > 0


def test_a_document_that_cites_without_end_is_refused() -> None:
    text = "[1]–[90] " * 2_000
    found = [Span(at, at + 3, "BIBREF0") for at in range(0, len(text), 9)]
    with pytest.raises(FullTextError, match="cites more than 100,000 times"):
        full_text(Reference(()), [(text, found)], references(100))


_ODD = st.one_of(st.none(), st.booleans(), st.floats(), st.text(max_size=3), st.integers(-(2**70), 2**70))
_SPANS = st.builds(
    Span,
    st.one_of(st.integers(-5, 60), _ODD),
    st.one_of(st.integers(-5, 60), _ODD),
    st.one_of(st.sampled_from([f"BIBREF{n}" for n in range(7)]), _ODD),
    st.one_of(st.none(), st.sampled_from(["[1]", "[2]", "–", "é", "1-3", ""]), _ODD),
)
_TEXTS = st.lists(st.sampled_from(["[1]", "[2]–[4]", "1-3", " ", "é", "𝛼", "\n", "a. B", "\ud800"]), max_size=20).map(
    "".join
)


@given(st.lists(st.tuples(_TEXTS, st.lists(_SPANS, max_size=8)), max_size=3))
@settings(max_examples=150, deadline=None)
def test_whatever_the_spans_what_is_kept_holds(paragraphs: list[tuple[str, list[Span]]]) -> None:
    report = FullTextReport()
    read: FullText = full_text(Reference(()), paragraphs, references(5), report=report)
    for (raw, _), paragraph in zip(paragraphs, read.paragraphs, strict=True):
        assert len(paragraph.text) == len(raw)
        paragraph.text.encode()
        for citation in paragraph.citations:
            assert 0 <= citation.start < citation.end <= len(paragraph.text)
            assert citation.cited and len(set(citation.cited)) == len(citation.cited)
            assert set(citation.cited) <= set(read.references)
        for one, other in itertools.pairwise(paragraph.citations):
            assert one.end <= other.start
    given_spans = sum(len(found) for _, found in paragraphs)
    kept = sum(len(paragraph.citations) for paragraph in read.paragraphs)
    assert kept + report.dropped.total() <= given_spans
