"""Numbered citation markers: "[3–6]" and "1-3, 7" as the numbers that they stand for."""

import re

MOST_IN_RANGE = 100  # papers in one range; a review may cite "[12–98]", but hardly more at once
MOST_NUMBERS = 500  # in one marker
_MOST_CHARS = 2_000  # of one marker; a longer text is none
_YEARS = range(1800, 2100)  # two of these are a span of years

# Hyphens, dashes and the minus, and two or three of them in a row. Tildes part ranges in East Asian typesetting.
DASH = r"(?:[-\u00ad\u2010-\u2015\u2212\ufe58\ufe63\uff0d~\u223c\uff5e]{1,3}|\bthrough\b|\bthru\b)"
# "12a,b" are parts of reference 12.
_NUMBER = r"[\[(]?\s*(\d{1,4})(?:[a-z](?:\s?,\s?[a-z]\b){0,9})?(?:\s*[\])])?"
_PART = re.compile(rf"{_NUMBER}(?:\s*{DASH}\s*{_NUMBER})?", re.IGNORECASE | re.ASCII)
_LEAD = re.compile(r"(?:references?|refs?)\b\.?\s*", re.IGNORECASE)
_BETWEEN = re.compile(r"\s*(?:[,;，、；]|&|\band\b|\s)\s*", re.IGNORECASE)


def between(first: int, last: int) -> list[int]:
    """The numbers from one to another, both included; none where that is no citation range.

    None: a range that does not rise, of more than `MOST_IN_RANGE`, or from a year to a year.

    >>> between(3, 6), between(6, 3), between(1950, 1960), between(1, 5_000)
    ([3, 4, 5, 6], [], [], [])
    """
    if not (0 < first < last and last - first < MOST_IN_RANGE) or (first in _YEARS and last in _YEARS):
        return []
    return list(range(first, last + 1))


def numbers_in(marker: str) -> list[int]:
    """The numbers that a whole marker stands for, rising or not, each once; none where it is no numbered marker.

    Of a range that is none by `between`, its two ends, unless they are years.

    >>> numbers_in("[3–6]"), numbers_in("1-3, 7"), numbers_in("[12]–[14]"), numbers_in("Refs. 4 and 9a")
    ([3, 4, 5, 6], [1, 2, 3, 7], [12, 13, 14], [4, 9])
    >>> numbers_in("Smith 2000"), numbers_in("1990–1999"), numbers_in("0.05")
    ([], [], [])
    """
    text = marker.strip() if len(marker) <= _MOST_CHARS else ""
    # Brackets round the whole of it; those of a part are the part's.
    while len(text) > 1 and text[0] in "[(" and text[-1] in "])" and text.find(text[-1]) == len(text) - 1:
        text = text[1:-1].strip()
    if lead := _LEAD.match(text):
        text = text[lead.end() :]
    numbers: dict[int, None] = {}
    position = 0
    while position < len(text):
        part = _PART.match(text, position)
        if not part:
            return []
        ends = [int(end) for end in part.groups() if end]
        if len(ends) == 2 and all(end in _YEARS for end in ends):
            return []
        numbers.update(dict.fromkeys(between(*ends) or ends if len(ends) == 2 else ends))
        position = part.end()
        parted = _BETWEEN.match(text, position)
        while parted and parted.end() > position:  # ", and" is two
            position = parted.end()
            parted = _BETWEEN.match(text, position)
        if not parted and position == part.end() < len(text) and text[position] not in "[(":
            return []
    return [number for number in numbers if number] if len(numbers) <= MOST_NUMBERS else []
