"""RIS files of reference managers and publishers. Their lines are repaired here; rispy reads the records."""

import re
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any

from corpus.identifiers import find_pmid, is_pmid
from corpus.io.limits import Limits
from corpus.io.streams import CappedStream
from corpus.paper import Paper
from corpus.readers.fields import RecordLines, join_wrapped, merge_abstracts, numbered_lines, reference_paper
from corpus.readers.report import Record
from corpus.text.markup import plain

FORMAT = "RIS"
UNIT = "record"
# As "database" of a record it says that ID is an id of ours, not a library's own number.
OUR_DATABASE = "Cocite Atlas"

# Tags that rispy's table lacks, or keeps apart.
_MORE_TAGS = {
    "A1": "authors",  # as AU: one list, in the order of the record
    "BT": "book_title",
    "CT": "chapter_title",
    "ED": "editors",
    "J1": "alternate_title0",
    "JA": "alternate_title2",
    "DI": "doi_too",
    "PM": "pubmed_id",
    "LK": "link",
    "L3": "link3",
    "M2": "note2",
    **{f"U{number}": f"user{number}" for number in range(1, 6)},
}
# "TY  - " by the book; with fewer spaces, if capitals and a space after it show that it is a tag (text has
# "T2-weighted"); and anything like it, in a record that begins so.
_STRICT = re.compile(r"[ \t]{0,3}([A-Za-z][A-Za-z0-9])  -(?:[ \t](.*)|(\S.*)?)$", re.DOTALL)
_LOOSE = re.compile(r"([A-Z][A-Z0-9])[ \t]{0,3}-(?:[ \t](.*)|)$", re.DOTALL)
_LOOSEST = re.compile(r"[ \t]{0,3}([A-Za-z][A-Za-z0-9])[ \t]{0,3}-(.*)$", re.DOTALL)
_TYPE = re.compile(r"[ \t]*[A-Za-z]{2,12}[ \t]*")
_START = re.compile(r"^[ \t\ufeff]{0,3}TY[ \t]{0,3}-[ \t]*[A-Z]{2,12}[ \t]*$", re.MULTILINE | re.IGNORECASE)
_TAGGED = re.compile(r"^[ \t\ufeff]{0,3}([A-Z][A-Z0-9])  ?-(?: |$)", re.MULTILINE)
_ONE_A_LINE = ("KW", "UR", "N1", "AU", "A1")
_LABELLED_DOI = re.compile(r"\s*(?:doi\b|https?://(?:dx\.)?doi\.org/)", re.IGNORECASE)
# Of several keywords on one KW line. MeSH headings hold up to three.
_MIN_COMMAS = 4


def begins(text: str) -> int:
    """Where the first record begins in the head of a file; -1 where there is none."""
    if match := _START.search(text):
        return match.start()
    # Without TY, two tags show that it is RIS, the first of them on the first line.
    start = len(text) - len(text.lstrip())
    tags = {match[1] for match in _TAGGED.finditer(text[:20_000]) if match[1] in _tag_names()}
    first = _TAGGED.match(text, start)
    return start if first and first[1] in tags and len(tags) > 1 else -1


def read_ris(stream: CappedStream, *, limits: Limits) -> Iterator[Record]:
    """What each record of a file gives."""
    import rispy

    tags = _tag_names()
    parser = rispy.RisParser(
        mapping=tags,
        list_tags=[tag for tag in tags if tag not in ("TY", "ER", "UK")],
        delimiter_tags_mapping={},
        skip_unknown_tags=True,
    )
    for number, record in enumerate(_records(stream, limits.record_bytes), start=1):
        place = f"{number}, line {record.start}"
        yield place, record.refusal if record.too_large else _paper(record.texts, parser)


def _records(stream: CappedStream, max_bytes: int) -> Iterator[RecordLines]:
    """Records as "TAG  - text" lines and the further lines of a value. ER is often missing, and TY at times."""
    record: RecordLines | None = None
    loose = typed = blank = False
    for number, line, begins_line in numbered_lines(stream):
        text = line.rstrip("\n")
        tag, value = _tagged(text, loose=loose) if begins_line else (None, text)
        if tag == "ER":
            if record:
                yield record
            record, loose = None, False
        elif tag is not None and (record is None or tag == "TY" or (blank and not typed)):
            if record:
                yield record
            typed = tag == "TY"
            loose = typed and not _STRICT.match(text)
            record = RecordLines(number, max_bytes)
            record.add(f"{tag}  - {value}")
        elif record:
            # A space shows that a line is no tag, whatever it looks like.
            record.add(f" {text}" if tag is None else f"{tag}  - {value}")
        blank = not text.strip()
    if record:
        yield record


def _tagged(line: str, *, loose: bool) -> tuple[str | None, str]:
    """The tag of a line in capitals, or None, and the text after it."""
    match = _STRICT.match(line) or _LOOSE.match(line)
    if not match and (loose or _START.match(line)):
        match = _LOOSEST.match(line)
    if not match:
        return None, line
    tag = match[1].upper()
    value = next(filter(None, match.groups()[1:]), "")
    known = tag in _tag_names() or (_STRICT.match(line) and match[1].isupper())
    if not known or (tag == "TY" and not _TYPE.fullmatch(value)) or (tag == "ER" and value.strip()):
        return None, line
    return tag, value


@cache
def _tag_names() -> dict[str, str]:
    from rispy.config import TAG_KEY_MAPPING

    return {**TAG_KEY_MAPPING, **_MORE_TAGS}


def _paper(lines: Sequence[str], parser: Any) -> Paper:
    if lines[0].startswith("TY"):
        lines = lines[1:]
    (record,) = parser.parse_lines(iter(["TY  - GEN", *_unfolded(lines), "ER  - "]))

    def values(*names: str) -> list[str]:
        return [value for name in names for value in record.get(name, ()) if value.strip()]

    def first(*names: str) -> str:
        return next(iter(values(*names)), "")

    urls = [url for text in values("urls", "link") for url in re.split(r"[;\s]\s*(?=https?://)", text)]
    notes = values("type_of_work", "link3", "note", "notes")
    venues = ("alternate_title3", "secondary_title", "journal_name", "book_title", "alternate_title2")
    authors, topics = values("authors"), values("keywords")
    ours = OUR_DATABASE in values("name_of_database")  # our export has one name, and one topic, per line
    if not ours:
        authors = _authors(authors or values("editors"), twice={"A1", "AU"} <= {line[:2] for line in lines})
        topics = _keywords(topics)
    return reference_paper(
        title=first("title", "primary_title", "chapter_title", "book_title", "short_title", "translated_title"),
        # N2 is a note in some exports and the abstract in others.
        abstract=merge_abstracts(values("abstract")) or merge_abstracts(values("notes_abstract")),
        authors=authors,
        year=values("year", "publication_year", "date"),
        venue=first(*venues, "alternate_title1", "alternate_title0"),
        dois=[*values("doi", "doi_too"), *filter(_LABELLED_DOI.match, notes), *urls],
        pmid=_pmid(values),
        urls=urls,
        topics=topics,
        own_id=first("id") if ours else "",
    )


def _unfolded(lines: Sequence[str]) -> Iterator[str]:
    """One line per value. Each further line of keywords, addresses and names is one more, as EndNote writes them."""
    tag, folded = "", [""]
    for line in [*lines, "XX  - "]:
        if line.startswith(" "):
            folded.append(line)
            continue
        if tag in _ONE_A_LINE:
            for text in folded:
                yield f"{tag}  - {' '.join(text.split())}"
        elif tag:
            yield f"{tag}  - {join_wrapped(folded)}"
        tag, folded = line[:2], [line[6:]]


def _pmid(values: Any) -> str:
    """The PMID, which every exporter puts elsewhere. A bare number is one only where it can be nothing else."""
    custom = [f"custom{number}" for number in range(1, 9)]
    users = [f"user{number}" for number in range(1, 6)]
    labelled = find_pmid(values("accession_number", "id", *custom, "note", "note2", "notes", *users, "research_notes"))
    own = next(filter(is_pmid, values("pubmed_id")), "")
    database = " ".join(values("name_of_database", "database_provider")).lower()
    medical = any(word in database for word in ("pubmed", "medline", "nlm", "national library", OUR_DATABASE.lower()))
    found = ""
    if medical or not database:
        found = next(filter(is_pmid, values("accession_number")), "")
    if medical and not found and OUR_DATABASE.lower() not in database:
        # M1 and C7 also hold issues and article numbers, which are shorter.
        found = next((text for text in values("id", "custom7", "note") if is_pmid(text) and len(text.strip()) > 6), "")
    return (own or labelled or found or find_pmid(values("urls", "link", "file_attachments2"))).strip()


def _authors(lines: Sequence[str], *, twice: bool) -> list[str]:
    """Names, one or more per line. twice: the record has both A1 and AU, which some exporters fill alike."""
    names = [name.strip() for line in lines for name in plain(line).split(";")]
    half = len(names) // 2
    return names[:half] if twice and names[:half] == names[half:] else names


def _keywords(lines: Sequence[str]) -> list[str]:
    keywords = [keyword for line in lines for keyword in plain(line).split(";")]
    if len(keywords) == 1 and keywords[0].count(",") >= _MIN_COMMAS:
        return keywords[0].split(",")
    return keywords
