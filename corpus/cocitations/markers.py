"""Numbered citation markers: the numbers in "[3–6]" and "1-3, 7", and ranges between two markers."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from corpus.cocitations.full_text import Citation

MAX_RANGE = 100  # papers in one range; a review may cite "[12–98]"
MAX_NUMBERS = 500  # in one marker
NO_REFERENCE = "the marker names no reference"
UNKNOWN_REFERENCE = "the marker names a reference that is not in the list"
# Hyphens, dashes and the minus, up to three in a row. East Asian typesetting writes ranges with tildes.
DASH = r"(?:[-\u00ad\u2010-\u2015\u2212\ufe58\ufe63\uff0d~\u223c\uff5e]{1,3}|\bthrough\b|\bthru\b)"

_MAX_CHARS = 2_000  # of one marker
_YEARS = range(1800, 2100)  # two of these are a span of years
# "12a,b" are parts of reference 12.
_NUMBER = r"[\[(]?\s*(\d{1,4})(?:[a-z](?:\s?,\s?[a-z]\b){0,9})?(?:\s*[\])])?"
_PART = re.compile(rf"{_NUMBER}(?:\s*{DASH}\s*{_NUMBER})?", re.IGNORECASE | re.ASCII)
_LEAD = re.compile(r"(?:references?|refs?)\b\.?\s*", re.IGNORECASE)
_SEPARATORS = re.compile(r"(?:\s*(?:[,;，、；]|&|\band\b|\s))*\s*", re.IGNORECASE)
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
