"""Fields of records as files write them: years, addresses, lists of names and topics, abstracts; text → Paper."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal

from corpus.identifiers import derived_id, find_doi, is_whole
from corpus.io.decoding import text_lines
from corpus.io.streams import CappedStream
from corpus.paper import Paper
from corpus.readers.report import Rejected
from corpus.text.markup import plain
from corpus.text.plain import clean, clean_paragraphs, distinct

YEARS = range(1000, 3000)  # int16 in a table of papers; a year outside these is a slip, as in 20211
WEB = ("https://", "http://")

# Also of 20190101 and 201901, but not of 20211.
_YEAR = re.compile(r"(?<!\d)[12]\d{3}(?:(?!\d)|(?=(?:0[1-9]|1[0-2])(?:[0-3]\d)?(?!\d)))", re.ASCII)
_WEB_ADDRESS = re.compile(r"https?://\S", re.IGNORECASE)
_QUOTED = re.compile(r"'((?:[^'\\]|\\.)*)'|\"((?:[^\"\\]|\\.)*)\"")  # the texts of a list as Python prints it
_SUFFIX = re.compile(r"(?:jr|sr|ii|iii|iv)\.?", re.IGNORECASE)
_SCOPUS_ID = re.compile(r"\s*\(\d{5,}\)$")
_AND = re.compile(r"^(?:and|&)\s+", re.IGNORECASE)
_ET_AL = re.compile(r"et al\.?|…|\.\.\.", re.IGNORECASE)
_NO_NAMES = frozenset({"others", "et al", "et al.", "[et al.]", "anonymous", "anon"})
# The label of a structured abstract: "BACKGROUND: …". A line that begins so begins a paragraph.
_LABEL = re.compile(r"(?!..? {0,3}-)[A-Z][A-Z/&,() -]{2,60}:\s")
_MAX_ABSTRACTS = 8  # of one record, in as many languages; each is compared with each
_LINE_OVERHEAD = 64  # bytes that a line takes beside its text


def year_of(value: object) -> int | None:
    """The year in a number, a date or a text such as "1988-05-01", "19880501" or "May 1988"; None if there is none.

    >>> year_of("1988"), year_of(1988.0), year_of("3 Mar. 1988"), year_of("in press"), year_of("20211")
    (1988, 1988, 1988, None, None)
    """
    if isinstance(value, date):
        value = value.year
    if isinstance(value, int | float | Decimal) and not isinstance(value, bool):
        return int(value) if is_whole(value) and int(value) in YEARS else None
    match = _YEAR.search(value) if isinstance(value, str) else None
    return int(match[0]) if match else None


def url_of(text: str, *, alone: bool = False) -> str:
    """The first web address in a text, or the whole text if it is one (`alone`); "" if there is none.

    Cards show it as a link, and a link can also be a script.
    """
    parts = [clean(text)] if alone else re.split(r"\s+|[;|,](?=https?://)", clean(text))
    return next((part if alone else part.rstrip(";|,") for part in parts if part.lower().startswith(WEB)), "")


def topics_of(text: str, *, commas: bool = True) -> list[str]:
    """The topics in a text, separated by semicolons, bars or line ends, else (if `commas`) by commas."""
    if topics := _printed_list(text):
        return topics
    parts = re.split(r"\s*[;|\n]\s*", text)
    if len(parts) == 1 and commas:
        parts = text.split(",")
    return [part for part in map(clean, parts) if part]


def names_of(text: str, *, commas: bool = True) -> list[str]:
    """The names in a text, separated by semicolons, bars or line ends, else (if `commas`) by commas between names.

    >>> names_of("Noether, Emmy; Hilbert, David"), names_of("Emmy Noether, David Hilbert"), names_of("Noether, Emmy")
    (['Noether, Emmy', 'Hilbert, David'], ['Emmy Noether', 'David Hilbert'], ['Noether, Emmy'])
    """
    parts = _printed_list(text) or re.split(r"\s*[;|\n]\s*", text)
    if len(parts) == 1:
        by_and = re.split(r"\s+and\s+", parts[0])
        by_comma = [part for part in map(clean, parts[0].split(",")) if part and not _ET_AL.fullmatch(part)]
        if len(by_and) > 1 and all("," in part for part in by_and):  # as in BibTeX
            parts = by_and
        elif len(by_comma) > 1 and all(map(_has_initials, by_comma)):
            parts = by_comma
        elif commas:
            parts = _names_by_comma(parts[0], by_comma)
    names = (_SCOPUS_ID.sub("", _AND.sub("", clean(part))).strip(", ") for part in parts)
    return [name for name in names if name and not _ET_AL.fullmatch(name)]


def _names_by_comma(text: str, parts: list[str]) -> list[str]:
    """The names in a text of which `parts` are between commas: "Family, Given" is one name, "A B, C D" are two."""
    if len(parts) > 1:  # a list may end with "and" before its last name
        parts = [*parts[:-1], *(part for part in re.split(r"\band\b|&", parts[-1]) if part.strip())]
    names = [part.strip() for part in parts if not _SUFFIX.fullmatch(part)]
    single_words = sum(len(part.split()) == 1 for part in names)
    if len(names) < 2:
        return names if len(parts) == 1 else [text]
    if len(names) == 2:
        # "van Dyke, Mary Jane" is one; "Mary Jane van Dyke, John Smith" are two.
        return [text] if single_words or names[0][0].islower() else names
    if 3 * single_words > len(names) and len(names) % 2 == 0:  # Family, Given, Family, Given
        return [f"{family}, {given}" for family, given in zip(names[::2], names[1::2], strict=True)]
    return names


def _has_initials(name: str) -> bool:
    """Whether a name is as PubMed writes it: "van Dyke MJ"."""
    *family, last = name.split()
    return bool(family) and len(last.rstrip(".")) <= 4 and last.rstrip(".").isupper()


def _printed_list(text: str) -> list[str]:
    """The texts in "['A', 'B']", as programs print lists into tables; [] for any other text."""
    text = text.strip()
    if not (text.startswith("[") and text.endswith("]")):
        return []
    return [single or double for single, double in _QUOTED.findall(text)]


def join_paragraphs(texts: Iterable[str]) -> str:
    """Texts as paragraphs, one per line, without empty ones."""
    return "\n".join(text for text in texts if text.strip())


def clean_paper(
    *,
    own_id: str,
    title: str,
    abstract: str,
    authors: Iterable[str],
    year: int | None,
    venue: str,
    doi: str,
    pmid: str,
    url: str,
    topics: Iterable[str],
) -> Paper:
    """A paper with its texts cleaned, and a derived id if `own_id` is empty. doi, pmid and url are clean already."""
    title = clean(title)
    return Paper(
        id=clean(own_id) or derived_id(title=title, year=year, doi=doi, pmid=pmid),
        title=title,
        abstract=clean_paragraphs(abstract),
        authors=tuple(filter(None, map(clean, authors))),
        year=year,
        venue=clean(venue),
        doi=doi,
        pmid=pmid,
        url=url,
        topics=distinct(topics),
    )


# Reference formats: RIS, BibTeX, .nbib


def numbered_lines(stream: CappedStream) -> Iterator[tuple[int, str, bool]]:
    """The lines of a file, a long one in pieces: its number, from 1, the piece, and whether it begins a line."""
    number = 1
    begins_line = True
    for line in text_lines(stream):
        yield number, line, begins_line
        begins_line = line.endswith("\n")
        number += begins_line


@dataclass(slots=True)
class RecordLines:
    """The lines of one record, kept up to a limit. A record that exceeds it keeps no line.

    start: the number of its first line, from 1. max_bytes: near enough.
    """

    start: int
    max_bytes: int
    texts: list[str] = field(default_factory=list)
    size: int = 0

    def add(self, text: str) -> None:
        """Add a line."""
        self.size += len(text) + _LINE_OVERHEAD
        if self.too_large:
            self.texts.clear()
        else:
            self.texts.append(text)

    @property
    def too_large(self) -> bool:
        """Whether the record exceeds the limit."""
        return self.size > self.max_bytes

    @property
    def refusal(self) -> Rejected:
        """What a report says of a record that is too large."""
        return Rejected("damaged", f"the record has more than {self.max_bytes:,} bytes. Shorten it, or drop it.")


def reference_paper(
    *,
    title: str,
    abstract: str,
    authors: Iterable[str],
    year: Iterable[str],
    venue: str,
    dois: Iterable[str],
    pmid: str,
    urls: Iterable[str],
    topics: Iterable[str],
    own_id: str = "",
) -> Paper:
    """A paper from the fields of a record, cleaned; of several dates, DOIs and addresses, the first valid one.

    title, abstract, authors, venue and topics may hold entities and tags; line feeds separate the abstract's
    paragraphs. Title and abstract may come out empty.
    """
    names = (clean(plain(name)).strip(",; ") for name in authors)
    return clean_paper(
        own_id=own_id,
        title=plain(title),
        abstract=plain(abstract),
        authors=(name for name in names if name.casefold() not in _NO_NAMES),
        year=next(filter(None, map(year_of, year)), None),
        venue=plain(venue),
        doi=next(filter(None, map(find_doi, dois)), ""),
        pmid=pmid,
        url=next((clean(url).replace("&amp;", "&") for url in urls if _WEB_ADDRESS.match(url.strip())), ""),
        topics=map(plain, topics),
    )


def begins_paragraph(line: str) -> bool:
    """Whether a line begins with the label of a structured abstract, which no tag of RIS looks like."""
    return bool(_LABEL.match(line))


def join_wrapped(lines: Sequence[str]) -> str:
    """The wrapped lines of one value as paragraphs; a blank line and a label begin a new one.

    >>> join_wrapped(["AIM: To know", "this.", "RESULTS: Known.", "", "More."])
    'AIM: To know this.\\nRESULTS: Known.\\nMore.'
    """
    parts: list[str] = []
    for line in lines:
        text = line.strip()
        if not text or begins_paragraph(text):
            parts.append("\n")
        elif parts:
            parts.append(" ")
        parts.append(text)
    return re.sub(r"\s*\n\s*", "\n", "".join(parts)).strip()


def merge_abstracts(abstracts: Iterable[str]) -> str:
    """Several abstracts of one record as one, without those that are part of another."""
    kept: list[str] = []
    for abstract in abstracts:
        text = clean(abstract)
        if not text or any(text in clean(other) for other in kept):
            continue
        kept = [*(other for other in kept if clean(other) not in text), abstract]
        if len(kept) == _MAX_ABSTRACTS:
            break
    return "\n".join(kept)
