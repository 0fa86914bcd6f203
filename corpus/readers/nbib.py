"""PubMed's .nbib files: a tag of four letters, a hyphen and a value, whose further lines are indented."""

import re
from collections.abc import Iterator, Sequence

from corpus.identifiers import is_pmid
from corpus.io.limits import Limits
from corpus.io.streams import CappedStream
from corpus.paper import Paper
from corpus.readers.fields import RecordLines, join_wrapped, merge_abstracts, numbered_lines, reference_paper
from corpus.readers.report import Record, Rejected
from corpus.text.plain import clean, medline_title

FORMAT = "PubMed text"
UNIT = "record"

_TAGGED = re.compile(r"([A-Z][A-Z0-9]{1,3}) {0,2}- ?(.*)$", re.DOTALL)
_START = re.compile(r"^\ufeff?PMID ?- *[0-9]", re.MULTILINE)
_DOI = re.compile(r"(.*\S)\s*\[doi\]\s*$", re.IGNORECASE | re.DOTALL)
# "Smith JA", where the full name is not given; after the initials may come "Jr" or "3rd".
_SHORT_NAME = re.compile(r"([^,]+?) ([A-Z][A-Z-]{0,4})( (?:Jr|Sr|2nd|3rd|[4-9]th))?")


def begins(text: str) -> int:
    """Where the first record begins in the head of a file; -1 where there is none."""
    match = _START.search(text)
    return match.start() if match else -1


def read_nbib(stream: CappedStream, *, limits: Limits) -> Iterator[Record]:
    """What each record of a file gives."""
    for number, record in enumerate(_records(stream, limits.record_bytes), start=1):
        place = f"{number}, line {record.start}"
        yield place, record.refusal if record.too_large else _paper(record.texts)


def _records(stream: CappedStream, max_bytes: int) -> Iterator[RecordLines]:
    """Records as "TAG-value" lines and the further lines of a value, which begin with a space."""
    record: RecordLines | None = None
    for number, line, begins_line in numbered_lines(stream):
        text = line.rstrip("\n")
        tagged = _TAGGED.match(text) if begins_line else None
        if tagged and (record is None or tagged[1] == "PMID"):
            if record:
                yield record
            record = RecordLines(number, max_bytes)
        if record and text.strip():
            record.add(f"{tagged[1]}-{tagged[2]}" if tagged else f" {text}")
    if record:
        yield record


def _fields(lines: Sequence[str]) -> dict[str, list[str]]:
    """The values of each tag; those of AU, FAU and CN also under "names", with their tags."""
    fields: dict[str, list[str]] = {}
    tag, folded = "", [""]
    for line in [*lines, "-"]:
        if line.startswith(" "):
            folded.append(line)
            continue
        if tag and (value := join_wrapped(folded)):
            fields.setdefault(tag, []).append(value)
            if tag in ("FAU", "AU", "CN"):
                fields.setdefault("names", []).append(f"{tag} {value}")
        tag, _, first = line.partition("-")
        folded = [first]
    return fields


def _paper(lines: Sequence[str]) -> Paper | Rejected:
    fields = _fields(lines)

    def values(*tags: str) -> list[str]:
        return [value for tag in tags for value in fields.get(tag, ())]

    pmid = next((clean(text) for text in values("PMID") if is_pmid(text)), "")
    stated = next(iter(values("PMID")), "")
    if stated and not pmid:
        return Rejected("damaged", f"the PMID {clean(stated)[:20]!r} is not valid. Correct it, or drop the record.")
    return reference_paper(
        title=medline_title(clean(next(iter(values("TI", "BTI", "CTI", "TT")), ""))),
        abstract=merge_abstracts(values("AB")) or merge_abstracts(values("OAB")),
        authors=_authors(values("names")),
        year=values("DP", "DEP", "PHST", "EDAT", "CRDT"),
        venue=next(iter(values("JT", "TA")), "").split(" : ")[0],
        dois=[match[1] for text in values("LID", "AID") if (match := _DOI.fullmatch(text))],
        pmid=pmid,
        urls=[f"https://pubmed.ncbi.nlm.nih.gov/{pmid}/"] if pmid else [],
        # "Heart Failure/*drug therapy/genetics": a heading and its qualifiers; an asterisk marks a main topic.
        topics=[
            *(text.split("/")[0].replace("*", "") for text in values("MH")),
            *(text.lstrip("*").strip() for text in values("OT")),
        ],
    )


def _authors(names: Sequence[str]) -> list[str]:
    """Full names where the record has them, and groups, in the order of the authors."""
    person = "FAU" if any(name.startswith("FAU ") for name in names) else "AU"
    authors = []
    for tagged in names:
        tag, _, name = tagged.partition(" ")
        if tag == "CN":
            authors.append(name)
        elif tag == person:
            family, comma, given = name.partition(",")
            short = None if comma else _SHORT_NAME.fullmatch(name)
            if short:
                family, given = short[1], f"{short[2]}{short[3] or ''}"
            # "Smith, John A, Jr." as in "Smith, John A Jr."
            authors.append(f"{family}, {' '.join(given.replace(',', ' ').split())}" if given else family)
    return authors
