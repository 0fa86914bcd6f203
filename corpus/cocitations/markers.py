"""Citation markers: the numbers in "[3–6]" and "1-3, 7", ranges between two markers, and spans that files state."""

import re
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import accumulate
from typing import Any

from corpus.cocitations.full_text import Citation, FullText, FullTextError, FullTextReport, Paragraph, Reference

MAX_RANGE = 100  # papers in one range; a review may cite "[12–98]"
MAX_NUMBERS = 500  # in one marker
NO_REFERENCE = "the marker names no reference"
UNKNOWN_REFERENCE = "the marker names a reference that is not in the list"
NO_SPAN = "the marker has no place in its text"
OUTSIDE = "the marker lies outside its text"
NOT_FOUND = "the marker's text does not stand near its place"
TOO_LONG = "the marker is longer than markers are"
ENTANGLED = "the marker runs into too long a row of others"
BYTES = "the place was counted in bytes"
UTF_16 = "the place was counted in units of UTF-16"
MOVED = "the place was wrong; the text stood near it"
# Hyphens, dashes and the minus, up to three in a row. East Asian typesetting writes ranges with tildes.
DASH = r"(?:[-\u00ad\u2010-\u2015\u2212\ufe58\ufe63\uff0d~\u223c\uff5e]{1,3}|\bthrough\b|\bthru\b)"

_MAX_MARKER_CHARS = 300  # a longer span is no marker, and would make one sentence of many
_MAX_DISTANCE = 2_000  # characters from a wrong span in which its text is searched
_MAX_CITATIONS = 100_000  # of one document; a handbook with 10,000 references has 30,000
_SPACE, _SURROGATE = re.compile(r"\s"), re.compile(r"[\ud800-\udfff]")
_MAX_CHARS = 2_000  # of one marker
_YEARS = range(1800, 2100)  # two of these are a span of years
# "12a,b" are parts of reference 12.
_NUMBER = r"[\[(]?\s*(\d{1,4})(?:[a-z](?:\s?,\s?[a-z]\b){0,9})?(?:\s*[\])])?"
_PART = re.compile(rf"{_NUMBER}(?:\s*{DASH}\s*{_NUMBER})?", re.IGNORECASE | re.ASCII)
_LEAD = re.compile(r"(?:references?|refs?)\b\.?\s*", re.IGNORECASE)
_SEPARATORS = re.compile(r"(?:[\s,;，、；&]|\band\b)*", re.IGNORECASE)
_TO_NEXT_MARKER = re.compile(rf"[\s\])]*{DASH}[\s\[(]*", re.IGNORECASE)
# The rest of a range whose end is no marker: behind a closed marker ("[3]–[6]"), and behind an open one ("[3–6]").
_REST_CLOSED = re.compile(rf"\s?{DASH}\s?[\[(]\s?(\d{{1,4}})\s?[\])]", re.IGNORECASE)
_REST_OPEN = re.compile(rf"\s?{DASH}\s?(\d{{1,4}})(?!\d)", re.IGNORECASE)


def between(first: int, last: int) -> list[int]:
    """The numbers of a range, both ends included; none where it does not rise, is too long, or goes from year to year.

    >>> between(3, 6), between(6, 3), between(1950, 1960), between(1, 5_000)
    ([3, 4, 5, 6], [], [], [])
    """
    if not (0 < first < last < first + MAX_RANGE) or (first in _YEARS and last in _YEARS):
        return []
    return list(range(first, last + 1))


@lru_cache(maxsize=4096)  # most markers of a document occur many times
def numbers_in(marker: str) -> tuple[int, ...]:
    """The distinct numbers of a marker, in its order; none where it is no numbered marker.

    Of an invalid range its two ends, unless they are years.

    >>> numbers_in("[3–6]"), numbers_in("1-3, 7"), numbers_in("[12]–[14]"), numbers_in("Refs. 4 and 9a")
    ((3, 4, 5, 6), (1, 2, 3, 7), (12, 13, 14), (4, 9))
    >>> numbers_in("Smith 2000"), numbers_in("1990–1999"), numbers_in("0.05")
    ((), (), ())
    """
    text = marker.strip() if len(marker) <= _MAX_CHARS else ""
    # Brackets around the whole marker; those around a part belong to the part.
    while len(text) > 1 and text[0] in "[(" and text[-1] in "])" and text.find(text[-1]) == len(text) - 1:
        text = text[1:-1].strip()
    if lead := _LEAD.match(text):
        text = text[lead.end() :]
    numbers: dict[int, None] = {}
    position = 0
    while position < len(text):
        part = _PART.match(text, position)
        if not part:
            return ()
        ends = [int(end) for end in part.groups() if end]
        if len(ends) == 2 and all(end in _YEARS for end in ends):
            return ()
        numbers.update(dict.fromkeys((between(*ends) if len(ends) == 2 else []) or ends))
        separators = _SEPARATORS.match(text, part.end())
        position = separators.end() if separators else part.end()
        if position == part.end() < len(text) and text[position] not in "[(":
            return ()
    return tuple(number for number in numbers if number) if len(numbers) <= MAX_NUMBERS else ()


@dataclass(slots=True)
class Numbering:
    """Which number the text uses for each reference. keys_of: several keys where one entry lists several papers."""

    number_of: dict[str, int] = field(default_factory=dict)
    keys_of: dict[int, tuple[str, ...]] = field(default_factory=dict)

    def keys(self, numbers: Iterable[int]) -> list[str]:
        """The keys of the references with these numbers."""
        return [key for number in numbers for key in self.keys_of.get(number, ())]


@dataclass(slots=True)
class Marker:
    """A marker at text[start:end]. keys: of the references that it links to. hidden: of those that empty markers
    beside it link to.

    numbers, shift: set by `expanded_markers`; what the marker prints, and how far its references' numbers are from it.
    """

    start: int
    end: int
    keys: list[str]
    hidden: list[str] = field(default_factory=list)
    numbers: tuple[int, ...] = ()
    shift: int = 0


def expanded_citations(text: str, markers: Sequence[Marker], numbering: Numbering) -> tuple[Citation, ...]:
    """The citations of a paragraph's markers, with all ranges expanded.

    A range is expanded within a marker ("[3–6]"), between two markers whose printed numbers are equally far from the
    numbers of their references ("[3]–[6]"), and from a marker to a number without a link. markers: in order, without
    overlap.
    """
    joined: list[Marker] = []
    for marker in markers:
        _expand_marker(text, marker, numbering)
        first = joined[-1] if joined else None
        if first and first.numbers and marker.numbers and first.shift == marker.shift:
            inner = between(first.numbers[-1], marker.numbers[0])
            if inner and _TO_NEXT_MARKER.fullmatch(text, first.end, marker.start):
                first.keys += [*numbering.keys(number + first.shift for number in inner), *marker.keys]
                first.end, first.numbers = marker.end, marker.numbers
                continue
        joined.append(marker)
    citations = []
    for number, marker in enumerate(joined):
        end = marker.end
        rest = (_REST_CLOSED if text[end - 1] in "])" else _REST_OPEN).match(text, end)
        if rest and marker.numbers and not marker.shift and (inner := between(marker.numbers[-1], int(rest[1]))):
            marker.keys += numbering.keys(inner)
            following = joined[number + 1].start if number + 1 < len(joined) else len(text)
            end = rest.end() if rest.end() <= following else end
        if cited := tuple(dict.fromkeys(marker.keys)):
            citations.append(Citation(marker.start, end, cited))
    return tuple(citations)


def _expand_marker(text: str, marker: Marker, numbering: Numbering) -> None:
    """Set a marker's numbers and shift, and add the keys of all its numbers where they agree with what it links to."""
    numbers = numbers_in(text[marker.start : marker.end])
    linked = {numbering.number_of[key] for key in marker.keys if key in numbering.number_of}
    if not linked.isdisjoint(numbers):
        marker.numbers = numbers
        if len(numbers) > len(linked) and linked.issubset(numbers):
            marker.keys = [*numbering.keys(numbers), *marker.keys]
    elif len(numbers) == len(linked) == 1:
        marker.numbers, marker.shift = numbers, linked.pop() - numbers[0]
    marker.keys += marker.hidden


# Spans that files state: checked against their text, repaired or dropped


@dataclass(frozen=True, slots=True)
class Span:
    """A citation marker as a file has it, unchecked. text: what should stand there; None where that is not given."""

    start: Any
    end: Any
    key: Any
    text: Any = None


def checked_full_text(
    paper: Reference,
    paragraphs: Iterable[tuple[str, Iterable[Span]]],
    references: Mapping[str, Reference],
    report: FullTextReport,
) -> FullText:
    """A full text of paragraphs and their spans. report: counts what is repaired or dropped.

    A span counted in bytes or in units of UTF-16 is corrected, and one whose text stands near it is moved there;
    overlapping spans become one. Numbers are those that most markers print.
    Raises FullTextError where it cites more often than any document does.
    """
    keys = _ordered(references)
    place_of = {key: place for place, key in enumerate(keys, start=1)}
    shifts: Counter[int] = Counter()  # a reference's place minus its printed number, by the markers that print one
    read: list[tuple[str, list[Marker]]] = []
    for raw, spans in paragraphs:
        text = _plain(raw)
        markers = _checked_markers(text, spans, references, report)
        for marker in markers:
            if len(numbers := numbers_in(text[marker.start : marker.end])) == 1:
                shifts[place_of[marker.keys[0]] - numbers[0]] += 1
        read.append((text, markers))
    shift = max(shifts, key=lambda shift: (shifts[shift], -abs(shift), shift), default=0)
    number_of = {key: place - shift for key, place in place_of.items()}
    numbering = Numbering(number_of, {number: (key,) for key, number in number_of.items()})
    written: list[Paragraph] = []
    cited = 0
    for text, markers in read:
        citations = expanded_citations(text, markers, numbering)
        cited += sum(len(citation.cited) for citation in citations)
        if cited > _MAX_CITATIONS:
            raise FullTextError(f"it cites more than {_MAX_CITATIONS:,} times, which no document does. Drop it.")
        written.append(Paragraph(text, citations))
    return FullText(paper, tuple(written), references)


def _plain(text: str) -> str:
    """A text of the same length, with blanks as its only white space, and only characters that UTF-8 can encode."""
    return text if text.isascii() and text.isprintable() else _SURROGATE.sub("\ufffd", _SPACE.sub(" ", text))


def _ordered(references: Mapping[str, Reference]) -> list[str]:
    """The keys in the order of the list: by number where all have one, because files sort them as texts."""
    numbered = [found for key in references if (found := re.fullmatch(r"([^\d]{0,40})(\d{1,6})", key, re.ASCII))]
    if len(numbered) == len(references) and len({found[1] for found in numbered}) == 1:
        return [found[0] for found in sorted(numbered, key=lambda found: int(found[2]))]
    return list(references)


def _checked_markers(
    text: str, spans: Iterable[Span], references: Mapping[str, Reference], report: FullTextReport
) -> list[Marker]:
    """The valid markers of a paragraph, in order, overlapping ones joined."""
    places = _SpanPlaces(text)
    valid: list[Marker] = []
    for span in spans:
        if not isinstance(span.key, str) or span.key not in references:
            report.dropped[UNKNOWN_REFERENCE if isinstance(span.key, str) and span.key else NO_REFERENCE] += 1
        elif isinstance(place := places.find(span), str):
            report.dropped[place] += 1
        else:
            start, end, repair = place
            report.repaired.update([repair] if repair else [])
            valid.append(Marker(start, end, [span.key]))
    apart: list[Marker] = []
    for marker in sorted(valid, key=lambda marker: (marker.start, marker.end)):
        before = apart[-1] if apart else None
        if before is None or marker.start >= before.end:
            apart.append(marker)
        elif max(marker.end, before.end) - before.start <= _MAX_MARKER_CHARS:
            before.end = max(marker.end, before.end)
            before.keys += [key for key in marker.keys if key not in before.keys]
        else:
            report.dropped[ENTANGLED] += 1
    return apart


class _SpanPlaces:
    """The places of spans in a text, in whatever unit they were counted."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._counted: dict[str, list[int]] = {}  # by unit, how many stand before each character

    def find(self, span: Span) -> tuple[int, int, str] | str:
        """A span's start, end and repair ("" for none), or the reason why it is dropped."""
        expected = _plain(span.text) if isinstance(span.text, str) and span.text.strip() else ""
        start, end = span.start, span.end
        if not (_is_count(start) and _is_count(end)):
            return NO_SPAN
        if (end - start if end > start else len(expected)) > _MAX_MARKER_CHARS:
            return TOO_LONG
        if 0 <= start < end <= len(self._text) and expected in ("", self._text[start:end]):
            return start, end, ""
        if not expected:
            return OUTSIDE
        if not self._text.isascii():
            for unit, repair in (("utf-8", BYTES), ("utf-16-le", UTF_16)):
                moved = self._character(unit, start), self._character(unit, end)
                if 0 <= moved[0] < moved[1] and self._text[slice(*moved)] == expected:
                    return *moved, repair
        return self._nearest(expected, start)

    def _character(self, unit: str, count: int) -> int:
        """The character that so many units precede; -1 where that is within a character, or outside."""
        if unit not in self._counted:
            size = 2 if unit == "utf-16-le" else 1
            lengths = (len(character.encode(unit)) // size for character in self._text)
            self._counted[unit] = list(accumulate(lengths, initial=0))
        counted = self._counted[unit]
        at = bisect_left(counted, count)
        return at if at < len(counted) and counted[at] == count else -1

    def _nearest(self, expected: str, start: int) -> tuple[int, int, str] | str:
        start = min(max(start, 0), len(self._text))
        # Not as a part of a longer number or word: "3" is not in "2013" or "0.3".
        before = r"(?<!\d)(?<!\d\.)" if expected[0].isdigit() else r"(?<![^\W\d_])" if expected[0].isalpha() else ""
        after = r"(?!\d|\.\d)" if expected[-1].isdigit() else r"(?![^\W\d_])" if expected[-1].isalpha() else ""
        pattern = re.compile(before + re.escape(expected) + after)
        near = pattern.finditer(self._text, max(0, start - _MAX_DISTANCE), start + _MAX_DISTANCE)
        place = min((found.start() for found in near), key=lambda each: abs(each - start), default=-1)
        return (place, place + len(expected), MOVED) if place >= 0 else NOT_FOUND


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**53
