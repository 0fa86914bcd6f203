"""RIS, as reference managers and publishers write it. rispy reads the records, once their lines are in order."""

import re
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any

from corpus.io.decoding import text_lines
from corpus.io.limits import Limits
from corpus.io.streams import CappedStream
from corpus.paper import Paper
from corpus.readers.references import Lines, fullest, is_pmid, joined, paper_of, pmid_in
from corpus.readers.report import Found, Rejected
from corpus.text.markup import plain

FORMAT = "RIS"
UNIT = "record"
# In "database" this says that ID is an id of ours, and no number of a library's own.
OUR_DATABASE = "Cocite Atlas"

# Tags that rispy's table lacks, or keeps apart.
_MORE_TAGS = {
    "A1": "authors",  # as AU: one list, in the order of the record
    "BT": "book_title",
    "CT": "chapter_title",
    "DI": "doi_too",
    "ED": "editors",
    "J1": "alternate_title0",
    "JA": "alternate_title2",
    "L3": "link3",
    "LK": "link",
    "M2": "note2",
    "PM": "pubmed_id",
    "U1": "user1",
    "U2": "user2",
    "U3": "user3",
    "U4": "user4",
    "U5": "user5",
}
# "TY  - ", as it should be; with fewer spaces, where capitals and the space behind it show that it is a tag: text has
# "T2-weighted"; and anything like it, in a record that begins so.
_STRICT = re.compile(r"[ \t]{0,3}([A-Za-z][A-Za-z0-9])  -(?:[ \t](.*)|(\S.*)?)$", re.DOTALL)
_LOOSE = re.compile(r"([A-Z][A-Z0-9])[ \t]{0,3}-(?:[ \t](.*)|)$", re.DOTALL)
_LOOSEST = re.compile(r"[ \t]{0,3}([A-Za-z][A-Za-z0-9])[ \t]{0,3}-(.*)$", re.DOTALL)
_TYPE = re.compile(r"[ \t]*[A-Za-z]{2,12}[ \t]*")
_START = re.compile(r"^[ \t\ufeff]{0,3}TY[ \t]{0,3}-[ \t]*[A-Z]{2,12}[ \t]*$", re.MULTILINE | re.IGNORECASE)
_TAGGED = re.compile(r"^[ \t\ufeff]{0,3}([A-Z][A-Z0-9])  ?-(?: |$)", re.MULTILINE)
_ONE_A_LINE = ("KW", "UR", "N1", "AU", "A1")
_NAMED_DOI = re.compile(r"\s*(?:doi\b|https?://(?:dx\.)?doi\.org/)", re.IGNORECASE)
# The most of these ("KW  - a, b") are MeSH headings, which hold commas; more than that no heading holds.
_COMMAS_OF_A_HEADING = 4


def begins(text: str) -> int:
    """Where the first record begins in the head of a file; -1 where the file is no RIS."""
    if found := _START.search(text):
        return found.start()
    # Without TY, two tags show it, the first of them on the first line.
    start = len(text) - len(text.lstrip())
    tags = {found[1] for found in _TAGGED.finditer(text[:20_000]) if found[1] in _mapping()}
    first = _TAGGED.match(text, start)
    return start if first and first[1] in tags and len(tags) > 1 else -1


def read_ris(stream: CappedStream, *, limits: Limits) -> Iterator[Found]:
    """What each record of a file gives, in its order."""
    parser = _parser()
    for number, record in enumerate(_records(stream, limits.record_bytes), start=1):
        place = f"{number}, line {record.start}"
        yield place, record.refusal if record.too_large else _paper(record.texts, parser)


def _records(stream: CappedStream, most: int) -> Iterator[Lines]:
    """Records as "TAG  - text" lines and the lines that go on with one. ER is often missing, and TY at times."""
    record: Lines | None = None
    loose = typed = blank = False
    whole_line = True
    for number, line in _numbered(text_lines(stream)):
        text = line.rstrip("\n")
        goes_on, whole_line = not whole_line, line.endswith("\n")
        tag, value = (None, text) if goes_on else _tagged(text, loose=loose)
        if tag == "ER":
            if record:
                yield record
            record, loose = None, False
        elif tag is not None and (record is None or tag == "TY" or (blank and not typed)):
            if record:
                yield record
            typed = tag == "TY"
            loose = typed and not _STRICT.match(text)
            record = Lines(number, most)
            record.add(f"{tag}  - {value}")
        elif record:
            # A space shows that a line is no tag, whatever it looks like.
            record.add(f" {text}" if tag is None else f"{tag}  - {value}")
        blank = not text.strip()
    if record:
        yield record


def _numbered(lines: Iterator[str]) -> Iterator[tuple[int, str]]:
    number = 1
    for line in lines:
        yield number, line
        number += line.endswith("\n")


def _tagged(line: str, *, loose: bool) -> tuple[str | None, str]:
    """The tag of a line in capitals, or None, and what stands behind it."""
    found = _STRICT.match(line) or _LOOSE.match(line) or (_LOOSEST.match(line) if loose else None)
    if not found and _START.match(line):
        found = _LOOSEST.match(line)
    if not found:
        return None, line
    tag = found[1].upper()
    value = next((text for text in found.groups()[1:] if text), "")
    known = tag in _mapping() or (_STRICT.match(line) and found[1].isupper())
    if not known or (tag == "TY" and not _TYPE.fullmatch(value)) or (tag == "ER" and value.strip()):
        return None, line
    return tag, value


@cache
def _mapping() -> dict[str, str]:
    from rispy.config import TAG_KEY_MAPPING

    return {**TAG_KEY_MAPPING, **_MORE_TAGS}


def _parser() -> Any:
    import rispy

    mapping = _mapping()
    return rispy.RisParser(
        mapping=mapping,
        list_tags=[tag for tag in mapping if tag not in ("TY", "ER", "UK")],
        delimiter_tags_mapping={},
        skip_unknown_tags=True,
    )


def _paper(lines: Sequence[str], parser: Any) -> Paper | Rejected:
    if lines[0].startswith("TY"):
        lines = lines[1:]
    (record,) = parser.parse_lines(iter(["TY  - GEN", *_unfolded(lines), "ER  - "]))

    def values(*names: str) -> list[str]:
        return [value for name in names for value in record.get(name, ()) if value.strip()]

    def first(*names: str) -> str:
        return next(iter(values(*names)), "")

    urls = [url for text in values("urls", "link") for url in re.split(r"[;\s]\s*(?=https?://)", text)]
    ours = OUR_DATABASE in values("name_of_database")  # an export of this app has one name, and one topic, a line
    return paper_of(
        title=first("title", "primary_title", "chapter_title", "book_title", "short_title", "translated_title"),
        # N2 is a note in some exports and the abstract in others.
        abstract=fullest(values("abstract")) or fullest(values("notes_abstract")),
        authors=values("authors")
        if ours
        else _authors(values("authors") or values("editors"), twice={"A1", "AU"} <= {line[:2] for line in lines}),
        year=values("year", "publication_year", "date"),
        venue=first(
            "alternate_title3",
            "secondary_title",
            "journal_name",
            "book_title",
            "alternate_title2",
            "alternate_title1",
            "alternate_title0",
        ),
        dois=[
            *values("doi", "doi_too"),
            *(text for text in values("type_of_work", "link3", "note", "notes") if _NAMED_DOI.match(text)),
            *urls,
        ],
        pmid=_pmid(values),
        urls=urls,
        topics=values("keywords") if ours else _keywords(values("keywords")),
        own_id=first("id") if ours else "",
    )


def _unfolded(lines: Sequence[str]) -> Iterator[str]:
    """One line a value. Of keywords, addresses and names each further line is one more, as EndNote writes them."""
    tag, folded = "", [""]
    for line in [*lines, "XX  - "]:
        if line.startswith(" "):
            folded.append(line)
            continue
        if tag in _ONE_A_LINE:
            for text in folded:
                yield f"{tag}  - {' '.join(text.split())}"
        elif tag:
            yield f"{tag}  - {joined(folded)}"
        tag, folded = line[:2], [line[6:]]


def _pmid(values: Any) -> str:
    """The PMID, which each exporter puts elsewhere. A bare number is one only where it can be nothing else."""
    custom = [f"custom{number}" for number in range(1, 9)]
    users = [f"user{number}" for number in range(1, 6)]
    named = pmid_in(values("accession_number", "id", *custom, "note", "note2", "notes", *users, "research_notes"))
    own = next(filter(is_pmid, values("pubmed_id")), "")
    database = " ".join(values("name_of_database", "database_provider")).lower()
    medical = any(word in database for word in ("pubmed", "medline", "nlm", "national library", OUR_DATABASE.lower()))
    found = ""
    if medical or not database:
        found = next(filter(is_pmid, values("accession_number")), "")
    if medical and not found and OUR_DATABASE.lower() not in database:
        # M1 and C7 hold issues and article numbers as well, which are shorter.
        found = next((text for text in values("id", "custom7", "note") if is_pmid(text) and len(text.strip()) > 6), "")
    return (own or named or found or pmid_in(values("urls", "link", "file_attachments2"))).strip()


def _authors(lines: Sequence[str], *, twice: bool) -> list[str]:
    """Names, one a line or more. twice: the record has both A1 and AU, which some exporters fill alike."""
    names = [name.strip() for line in lines for name in plain(line).split(";")]
    half = len(names) // 2
    return names[:half] if twice and names[:half] == names[half:] else names


def _keywords(lines: Sequence[str]) -> list[str]:
    keywords = [keyword for line in lines for keyword in plain(line).split(";")]
    if len(keywords) == 1 and keywords[0].count(",") >= _COMMAS_OF_A_HEADING:
        return keywords[0].split(",")
    return keywords
