"""Fields: what files write for a year, an identifier, a list of names or topics, in the form that Paper has."""

import math
import re
from collections.abc import Iterable
from datetime import date
from decimal import Decimal, InvalidOperation

from corpus.identifiers import normalised_doi
from corpus.text.plain import clean

YEARS = range(1000, 3000)  # int16 in a table of papers; a year outside these is a slip, as in 20211
WEB = ("https://", "http://")

_YEAR = re.compile(r"(?<!\d)[12]\d{3}(?!\d)", re.ASCII)
_PMID = re.compile(
    r"(?:(?:https?://)?(?:www\.ncbi\.nlm\.nih\.gov/pubmed/|pubmed\.ncbi\.nlm\.nih\.gov/)|(?:PMID|MEDLINE)\s*:?\s*)?"
    r"([1-9]\d{0,8})/?",
    re.ASCII | re.IGNORECASE,
)
_NUMBER = re.compile(r"\d{1,9}(?:\.\d{1,20})?(?:[eE]\+?\d{1,2})?", re.ASCII)
_QUOTED = re.compile(r"'((?:[^'\\]|\\.)*)'|\"((?:[^\"\\]|\\.)*)\"")  # the texts of a list as Python prints it
_SUFFIX = re.compile(r"(?:jr|sr|ii|iii|iv)\.?", re.IGNORECASE)
_SCOPUS_ID = re.compile(r"\s*\(\d{5,}\)$")
_AND = re.compile(r"^(?:and|&)\s+", re.IGNORECASE)
_ET_AL = re.compile(r"et al\.?|…|\.\.\.", re.IGNORECASE)


def year_of(value: object) -> int | None:
    """The year in a number, a date or a text such as "1988-05-01" or "May 1988"; None where there is none.

    >>> year_of("1988"), year_of(1988.0), year_of("3 Mar. 1988"), year_of("in press"), year_of("20211")
    (1988, 1988, 1988, None, None)
    """
    if isinstance(value, date):
        value = value.year
    if isinstance(value, int | float | Decimal) and not isinstance(value, bool):
        return int(value) if _is_whole(value) and int(value) in YEARS else None
    found = _YEAR.search(value) if isinstance(value, str) else None
    return int(found[0]) if found else None


def pmid_of(value: object) -> str:
    """The PMID in a number or a text such as "PMID: 123", "123.0" or PubMed's address of it; "" where there is none.

    A number of which a spreadsheet has dropped digits is none.

    >>> pmid_of(31234567), pmid_of("31234567.0"), pmid_of("3.1234567E+07"), pmid_of("3.12E+07"), pmid_of("n/a")
    ('31234567', '31234567', '31234567', '', '')
    """
    if isinstance(value, int | float | Decimal) and not isinstance(value, bool):
        value = str(int(value)) if _is_whole(value) and value < 10**9 else ""
    text = clean(value) if isinstance(value, str) else ""
    if found := _PMID.fullmatch(text):
        return found[1]
    if _NUMBER.fullmatch(text):
        try:
            number = Decimal(text)
        except InvalidOperation:
            return ""
        digits = len(number.as_tuple().digits)
        if (
            number == int(number)
            and 0 < number < 10**9
            and ("e" not in text.lower() or digits >= len(str(int(number))))
        ):
            return str(int(number))
    return ""


def doi_of(text: str) -> str:
    """The DOI in a text, its case kept where it stands alone; "" where there is none."""
    doi = normalised_doi(clean(text))
    return clean(text) if clean(text).lower() == doi else doi


def url_of(text: str, *, alone: bool = False) -> str:
    """The first web address in a text, or the text where it is one `alone`; "" where there is none.

    Cards show it as a link, and a link can also be a script.
    """
    parts = [clean(text)] if alone else re.split(r"\s+|[;|,](?=https?://)", clean(text))
    return next((part if alone else part.rstrip(";|,") for part in parts if part.lower().startswith(WEB)), "")


def topics_of(text: str, *, commas: bool = True) -> list[str]:
    """The topics in one text, parted by semicolons, bars or line ends, else, where `commas`, by commas."""
    if listed := _printed_list(text):
        return listed
    parts = re.split(r"\s*[;|\n]\s*", text)
    if len(parts) == 1 and commas:
        parts = text.split(",")
    return [part for part in map(clean, parts) if part]


def names_of(text: str, *, commas: bool = True) -> list[str]:
    """The names in one text, parted by semicolons, bars or line ends, else, where `commas`, by commas that part names.

    >>> names_of("Noether, Emmy; Hilbert, David"), names_of("Emmy Noether, David Hilbert"), names_of("Noether, Emmy")
    (['Noether, Emmy', 'Hilbert, David'], ['Emmy Noether', 'David Hilbert'], ['Noether, Emmy'])
    """
    parts = _printed_list(text) or re.split(r"\s*[;|\n]\s*", text)
    if len(parts) == 1:
        joined = re.split(r"\s+and\s+", parts[0])
        listed = [part for part in map(clean, parts[0].split(",")) if part and not _ET_AL.fullmatch(part)]
        if len(joined) > 1 and all("," in part for part in joined):  # as BibTeX has them
            parts = joined
        elif len(listed) > 1 and all(map(_has_initials, listed)):
            parts = listed
        elif commas:
            parts = _by_commas(parts[0])
    names = (_SCOPUS_ID.sub("", _AND.sub("", clean(part))).strip(", ") for part in parts)
    return [name for name in names if name and not _ET_AL.fullmatch(name)]


def _by_commas(text: str) -> list[str]:
    parts = [part for part in map(clean, text.split(",")) if part and not _ET_AL.fullmatch(part)]
    if len(parts) > 1:  # a list may end with "and" before its last name
        parts[-1:] = [part for part in re.split(r"\band\b|&", parts[-1]) if part.strip()]
    named = [part.strip() for part in parts if not _SUFFIX.fullmatch(part)]
    single = sum(len(part.split()) == 1 for part in named)
    if len(named) < 2:
        return named if len(parts) == 1 else [text]
    if len(named) == 2:
        # "van Dyke, Mary Jane" is one; "Mary Jane van Dyke, John Smith" are two.
        return [text] if single or named[0][0].islower() else named
    if 3 * single > len(named) and len(named) % 2 == 0:  # Family, Given, Family, Given
        return [f"{family}, {given}" for family, given in zip(named[::2], named[1::2], strict=True)]
    return named


def _has_initials(name: str) -> bool:
    """Whether a name is as PubMed writes it: "van Dyke MJ"."""
    *family, last = name.split()
    return bool(family) and len(last.rstrip(".")) <= 4 and last.rstrip(".").isupper()


def _is_whole(value: int | float | Decimal) -> bool:
    # Of an int of hundreds of digits, math.isfinite raises.
    return isinstance(value, int) or (math.isfinite(value) and value == int(value))


def _printed_list(text: str) -> list[str]:
    """The texts in "['A', 'B']", as programs print lists into tables; none where it is no such list."""
    text = text.strip()
    if not (text.startswith("[") and text.endswith("]")):
        return []
    return [one or other for one, other in _QUOTED.findall(text)]


def joined_lines(texts: Iterable[str]) -> str:
    """Texts as paragraphs, a line each, without empty ones."""
    return "\n".join(text for text in texts if text.strip())
