"""Citation spans as JSON full texts have them: checked against their text, mended or dropped, ranges expanded."""

import re
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

from corpus.cocitations.full_text import Citation, FullText, FullTextError, Paragraph, Reference
from corpus.cocitations.full_text_report import FullTextReport
from corpus.cocitations.ranges import DASH, between, numbers_in

_LONGEST_MARKER = 300  # characters; a longer span is no marker, and would make one sentence of many
_NEAR = 2_000  # characters round a wrong span in which its text is looked for
_MOST_CITED = (
    100_000  # of one document, each time that one is cited; a handbook of 10,000 references cites 30,000 times
)
# What is left of a range behind a marker that is closed ("[3]–[6]") and behind one that is not ("[3–6]", "3–6").
_REST_CLOSED = re.compile(rf"\s?{DASH}\s?[\[(]\s?(\d{{1,4}})\s?[\])]", re.IGNORECASE)
_REST_OPEN = re.compile(rf"\s?{DASH}\s?(\d{{1,4}})(?!\d)(?:\s?[\])])?", re.IGNORECASE)
_NUMBERED_KEY = re.compile(r"([^\d]{0,40})(\d{1,6})", re.ASCII)
_SPACE = re.compile(r"\s")
_SURROGATE = re.compile(r"[\ud800-\udfff]")

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


@dataclass(frozen=True, slots=True)
class Span:
    """A citation marker as a file has it, with nothing checked. text: what should stand there; None where not said."""

    start: Any
    end: Any
    key: Any
    text: Any = None


@dataclass(frozen=True, slots=True)
class _Marker:
    start: int
    end: int
    key: str


def plain_text(text: str) -> str:
    """A text of the same length in which white space is all blanks, and nothing stands that UTF-8 could not write."""
    return _SURROGATE.sub("\ufffd", _SPACE.sub(" ", text))


def full_text(
    paper: Reference,
    paragraphs: Iterable[tuple[str, Iterable[Span]]],
    references: Mapping[str, Reference],
    *,
    report: FullTextReport | None = None,
) -> FullText:
    """A full text of its paragraphs and their markers, which are checked; what is mended or dropped is counted.

    A span counted in bytes or in units of UTF-16 is put right, and one whose text stands near it is moved there; spans
    that lie over each other become one. A range, within a marker or between two, is expanded by the order of the
    references, in as far as their places agree with the numbers of the markers.
    Raises FullTextError where it cites more often than any document does.
    """
    report = FullTextReport() if report is None else report
    numbering = _Numbering(_ordered(references))
    read: list[tuple[str, list[_Marker]]] = []
    for raw, spans in paragraphs:
        text = plain_text(raw)
        markers = _markers(text, spans, references, report=report)
        for marker in markers:
            numbering.learn(text[marker.start : marker.end], marker.key)
        read.append((text, markers))
    cited = 0
    written: list[Paragraph] = []
    for text, markers in read:
        citations = _citations(text, markers, numbering, report=report)
        cited += sum(len(citation.cited) for citation in citations)
        if cited > _MOST_CITED:
            raise FullTextError(f"it cites more than {_MOST_CITED:,} times, as no document does. Drop it.")
        written.append(Paragraph(text, citations))
    return FullText(paper, tuple(written), references)


def _markers(
    text: str, spans: Iterable[Span], references: Mapping[str, Reference], *, report: FullTextReport
) -> list[_Marker]:
    """The markers of a paragraph whose places hold, in their order."""
    places = _Places(text)
    markers: list[_Marker] = []
    for span in spans:
        if not isinstance(span.key, str) or span.key not in references:
            report.dropped[UNKNOWN_REFERENCE if isinstance(span.key, str) and span.key else NO_REFERENCE] += 1
            continue
        found = places.of(span)
        if isinstance(found, str):
            report.dropped[found] += 1
            continue
        start, end, mended = found
        if mended:
            report.repaired[mended] += 1
        markers.append(_Marker(start, end, span.key))
    return sorted(markers, key=lambda marker: (marker.start, marker.end))


def _citations(
    text: str, markers: Sequence[_Marker], numbering: "_Numbering", *, report: FullTextReport
) -> tuple[Citation, ...]:
    """The citations of markers in their order: ranges expanded, and those that lie over each other made one."""
    by_start = {marker.start: marker for marker in markers}
    citations: list[Citation] = []
    for marker in markers:
        end, keys = numbering.expanded(text, marker, by_start)
        before = citations[-1] if citations else None
        if before is None or marker.start >= before.end:
            citations.append(Citation(marker.start, end, tuple(keys)))
        elif max(end, before.end) - before.start <= _LONGEST_MARKER:
            cited = tuple(dict.fromkeys([*before.cited, *keys]))
            citations[-1] = Citation(before.start, max(end, before.end), cited)
        else:
            report.dropped[ENTANGLED] += 1
    return tuple(citations)


class _Places:
    """Where spans lie in a text, whatever they were counted in."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._counted: dict[str, list[int]] = {}  # of each unit, how many stand before each character

    def of(self, span: Span) -> tuple[int, int, str] | str:
        """A span's start, end and what was wrong with it ("" for nothing); else why it is dropped."""
        expected = plain_text(span.text) if isinstance(span.text, str) and span.text.strip() else ""
        start, end = span.start, span.end
        if not (_is_count(start) and _is_count(end)):
            return NO_SPAN
        if (end - start if end > start else len(expected)) > _LONGEST_MARKER:
            return TOO_LONG
        if 0 <= start < end <= len(self._text) and expected in ("", self._text[start:end]):
            return start, end, ""
        if not expected:
            return OUTSIDE
        if not self._text.isascii():
            for unit, reason in (("utf-8", BYTES), ("utf-16-le", UTF_16)):
                moved = self._at(unit, start), self._at(unit, end)
                if 0 <= moved[0] < moved[1] and self._text[slice(*moved)] == expected:
                    return *moved, reason
        return self._nearest(expected, start)

    def _at(self, unit: str, count: int) -> int:
        """The character before which so many units stand; -1 where that is within one, or outside."""
        if unit not in self._counted:
            size = 2 if unit == "utf-16-le" else 1
            lengths = (len(character.encode(unit)) // size for character in self._text)
            self._counted[unit] = list(accumulate(lengths, initial=0))
        counted = self._counted[unit]
        at = bisect_left(counted, count)
        return at if at < len(counted) and counted[at] == count else -1

    def _nearest(self, expected: str, start: int) -> tuple[int, int, str] | str:
        start = min(max(start, 0), len(self._text))
        near = _alone(expected).finditer(self._text, max(0, start - _NEAR), start + _NEAR)
        place = min((found.start() for found in near), key=lambda each: abs(each - start), default=-1)
        return (place, place + len(expected), MOVED) if place >= 0 else NOT_FOUND


def _alone(marker: str) -> re.Pattern[str]:
    """Where a marker's text stands, and is no part of a longer number or word: "3" is not in "2013" or "0.3"."""
    before = r"(?<!\d)(?<!\d\.)" if marker[0].isdigit() else r"(?<![^\W\d_])" if marker[0].isalpha() else ""
    after = r"(?!\d|\.\d)" if marker[-1].isdigit() else r"(?![^\W\d_])" if marker[-1].isalpha() else ""
    return re.compile(before + re.escape(marker) + after)


class _Numbering:
    """Which number the markers of one document give to each of its references, told from the markers themselves."""

    def __init__(self, keys: Sequence[str]) -> None:
        self._keys = keys
        self._places = {key: place for place, key in enumerate(keys, start=1)}
        self._shifts: Counter[int] = Counter()  # a reference's place less its number, by how many markers say so
        self._shift: int | None = None  # what most of them say

    def learn(self, marker: str, key: str) -> None:
        """Take note of a marker that is one number."""
        if len(numbers := numbers_in(marker)) == 1:
            self._shifts[self._places[key] - numbers[0]] += 1
            self._shift = None

    def expanded(self, text: str, marker: _Marker, by_start: Mapping[int, _Marker]) -> tuple[int, list[str]]:
        """Where a marker ends, and the keys it stands for, with those of a range that begins with it."""
        written = text[marker.start : marker.end]
        numbers = numbers_in(written)
        if not numbers:
            return marker.end, [marker.key]
        place, end, shift = self._places[marker.key], marker.end, self._usual
        rest = (_REST_CLOSED if written.rstrip()[-1] in "])" else _REST_OPEN).match(text, marker.end)
        if len(numbers) == 1 and rest:
            last = int(rest[1])
            # Where markers do not count as most do, the two ends of the range must agree.
            partner = next((by_start[at] for at in range(marker.end, rest.end()) if at in by_start), None)
            if partner and self._places[partner.key] - last == place - numbers[0]:
                shift = place - numbers[0]
            if place - numbers[0] == shift and (range_of := between(numbers[0], last)):
                numbers, end = range_of, rest.end()
        if place - shift not in numbers:
            return marker.end, [marker.key]
        return end, [self._keys[number + shift - 1] for number in numbers if 0 < number + shift <= len(self._keys)]

    @property
    def _usual(self) -> int:
        if self._shift is None:
            votes = self._shifts
            self._shift = max(votes, key=lambda shift: (votes[shift], -abs(shift), shift), default=0)
        return self._shift


def _ordered(references: Mapping[str, Reference]) -> list[str]:
    """The keys in the order of the list: by their numbers where they are numbered, since files sort them as texts."""
    numbered = [found for key in references if (found := _NUMBERED_KEY.fullmatch(key))]
    if len(numbered) == len(references) and len({found[1] for found in numbered}) == 1:
        return [found[0] for found in sorted(numbered, key=lambda found: int(found[2]))]
    return list(references)


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**53
