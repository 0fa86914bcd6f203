"""Papers out again: CSV for spreadsheets, RIS and BibTeX for reference managers, JSON Lines and Parquet for programs.

Each is safe to open where it is meant for, and `corpus.readers.read` gives the same papers back.
"""

import csv
import hashlib
import io
import itertools
import json
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from typing import IO

import pyarrow as pa

from corpus.identifiers import derived_id
from corpus.io.buffer import Held
from corpus.paper import SCHEMA, Paper, to_table
from corpus.readers.bibtex import ID_FIELD
from corpus.readers.cells import guarded
from corpus.readers.columns import OWN_HEADERS
from corpus.readers.references import begins_paragraph
from corpus.readers.ris import OUR_DATABASE
from corpus.text.plain import clean, clean_paragraphs

_CSV_COLUMNS = OWN_HEADERS
_DISTANCE_COLUMN = "l2_distance"
_BATCH = 500  # papers held at a time: the longest take some megabytes

# Signs that LaTeX sets as one where they stand together: -- as a dash, `` and '' as quotation marks, ?` as ¿.
_LIGATURE = re.compile(r"-(?=-)|'(?=')|[`?!](?=`)")
_LATEX_SPECIALS = r"\%&$#_~^"
# BibTeX counts braces even behind a backslash, so \{ and \} could end a field: the named forms cannot.
_BRACES = {"{": r"\textbraceleft{}", "}": r"\textbraceright{}"}


def to_csv(papers: Sequence[Paper], *, distances: Sequence[float] | None = None) -> bytes:
    """Papers as a table, one row each, with what a spreadsheet needs to read it as UTF-8.

    distances: the L2 distance of each paper to the query; they make a column of their own.
    A cell that a spreadsheet would run as a formula begins with an apostrophe instead. Raises ValueError
    where papers and distances differ in number.
    """
    if distances is not None and len(distances) != len(papers):
        raise ValueError(f"{len(distances)} distances for {len(papers)} papers")
    rows = zip(papers, itertools.repeat(None) if distances is None else distances, strict=False)
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow((*_CSV_COLUMNS, *(() if distances is None else (_DISTANCE_COLUMN,))))
    writer.writerows((*_cells(paper), *(() if away is None else (round(float(away), 6),))) for paper, away in rows)
    return text.getvalue().encode("utf-8-sig")


def to_ris(papers: Iterable[Paper]) -> str:
    """Papers as RIS, one journal article each.

    Every value is one line, so that none can pass for a tag; but a paragraph that a label begins is one more line.
    """
    import rispy

    class Writer(rispy.RisWriter):  # type: ignore[misc]
        """RIS as its specification has it: CRLF, and no number before a reference."""

        NEWLINE = "\r\n"

        def set_header(self, count: int) -> str:  # noqa: ARG002
            return ""

    references: list[dict[str, str | list[str]]] = []
    for paper in papers:
        reference: dict[str, str | list[str]] = {
            "type_of_reference": "JOUR",
            "id": clean(paper.id),
            # Says that the id is ours, and that each line of a name or a topic is a whole one.
            "name_of_database": OUR_DATABASE,
            "title": clean(paper.title),
            "authors": _lines(paper.authors),
            "year": "" if paper.year is None else str(paper.year),
            "journal_name": clean(paper.venue),
            "doi": clean(paper.doi),
            "accession_number": clean(paper.pmid),
            # In UR a semicolon parts two addresses.
            "urls": _lines([paper.url.replace(";", "%3B")]),
            "keywords": _lines(paper.topics),
            "abstract": _labelled(paper.abstract, newline=Writer.NEWLINE),
        }
        references.append({key: value for key, value in reference.items() if value})
    return str(rispy.dumps(references, implementation=Writer))


def to_jsonl(papers: Iterable[Paper]) -> bytes:
    """Papers as JSON Lines in our own shape, which alone keeps all of every field: one object a line, UTF-8."""
    # backslashreplace turns a lone surrogate into JSON's own escape for it.
    lines = (json.dumps(asdict(paper), ensure_ascii=False).encode("utf-8", "backslashreplace") for paper in papers)
    return b"".join(line + b"\n" for line in lines)


def to_bibtex(papers: Iterable[Paper], *, used: set[str] | None = None) -> str:
    """Papers as BibTeX in UTF-8, one @article each.

    A paper's key comes from its first author, year and id, so it is the same in every export. Special
    characters of LaTeX are escaped; the DOI and the address stand as they are, since styles print them verbatim.
    used: keys that others of the same file have; those given here are added.
    """
    from bibtexparser.entrypoint import write_string
    from bibtexparser.library import Library
    from bibtexparser.model import Block, Entry, Field

    entries: list[Block] = []
    used = set() if used is None else used
    for paper in papers:
        key = _key(paper)
        while key in used:
            key += "x"
        used.add(key)
        fields = {
            # The inner braces keep a style from lower-casing DNA.
            "title": f"{{{_latex(paper.title)}}}",
            "author": " and ".join(filter(None, map(_bibtex_name, paper.authors))),
            "journal": _latex(paper.venue),
            "year": "" if paper.year is None else str(paper.year),
            "doi": _verbatim(paper.doi),
            "pmid": _latex(paper.pmid),
            "url": _verbatim(paper.url),
            # Not by commas: MeSH headings hold them, as in "Behavior, Animal".
            "keywords": _keywords(paper.topics),
            "abstract": "\n\n".join(filter(None, map(_latex, paper.abstract.split("\n")))),
            ID_FIELD: "" if paper.id == _derived(paper) else _latex(paper.id),
        }
        entries.append(Entry("article", key, [Field(name, value) for name, value in fields.items() if value]))
    return write_string(Library(entries))


# Whole corpora


@dataclass(frozen=True, slots=True)
class Export:
    """A format that papers are exported in: what people call it, how its files end, and its media type."""

    label: str
    ending: str
    media_type: str
    pieces: Callable[[Iterator[list[Paper]]], Iterator[bytes]]


def export_pieces(papers: Iterable[Paper], format: str) -> Iterator[bytes]:
    """Any number of papers as a file of one of EXPORTS, a piece at a time, in little memory.

    Raises ValueError for another format.
    """
    if format not in EXPORTS:
        raise ValueError(f"{format!r} is none of {', '.join(EXPORTS)}")
    return EXPORTS[format].pieces(_batches(papers))


def write_export(papers: Iterable[Paper], format: str, stream: IO[bytes]) -> None:
    """Write papers onto a stream, which need not be seekable, in one of EXPORTS. Raises ValueError for another."""
    for piece in export_pieces(papers, format):
        stream.write(piece)


def _batches(papers: Iterable[Paper]) -> Iterator[list[Paper]]:
    rest = iter(papers)
    while batch := list(itertools.islice(rest, _BATCH)):
        yield batch


def _csv_pieces(batches: Iterator[list[Paper]]) -> Iterator[bytes]:
    head = to_csv([])
    yield head
    for batch in batches:
        yield to_csv(batch)[len(head) :]


def _ris_pieces(batches: Iterator[list[Paper]]) -> Iterator[bytes]:
    for number, batch in enumerate(batches):
        yield (b"\r\n" if number else b"") + to_ris(batch).encode()


def _bibtex_pieces(batches: Iterator[list[Paper]]) -> Iterator[bytes]:
    used: set[str] = set()
    for number, batch in enumerate(batches):
        yield (b"\n\n" if number else b"") + to_bibtex(batch, used=used).encode()


def _parquet_pieces(batches: Iterator[list[Paper]]) -> Iterator[bytes]:
    return parquet_pieces((to_table(batch) for batch in batches), SCHEMA)


def parquet_pieces(tables: Iterable[pa.Table], schema: pa.Schema) -> Iterator[bytes]:
    """Tables of one schema as a Parquet file, a piece at a time; each table is a row group of its own."""
    import pyarrow.parquet as pq

    held = Held()
    # To arrow a Python object that can be written to is a file like any other.
    with pq.ParquetWriter(held, schema, compression="zstd") as writer:
        for table in tables:
            writer.write_table(table)
            yield held.taken()
    yield held.taken()


EXPORTS: Mapping[str, Export] = {
    "csv": Export("CSV, for a spreadsheet", "csv", "text/csv", _csv_pieces),
    "ris": Export("RIS, for Zotero or EndNote", "ris", "application/x-research-info-systems", _ris_pieces),
    "bibtex": Export("BibTeX", "bib", "application/x-bibtex", _bibtex_pieces),
    "jsonl": Export("JSON Lines", "jsonl", "application/x-ndjson", lambda batches: map(to_jsonl, batches)),
    "parquet": Export("Parquet", "parquet", "application/vnd.apache.parquet", _parquet_pieces),
}


def _cells(paper: Paper) -> list[str | int | None]:
    return [
        _cell(paper.id),
        _cell(paper.title),
        _cell("; ".join(paper.authors)),
        paper.year,
        _cell(paper.venue),
        _cell(paper.doi),
        _cell(paper.pmid),
        _cell(paper.url),
        _cell("; ".join(paper.topics)),
        _cell(paper.abstract),
    ]


def _cell(text: str) -> str:
    """Text that no spreadsheet takes for a formula."""
    return guarded(clean_paragraphs(text))


def _lines(texts: Iterable[str]) -> list[str]:
    return [line for line in map(clean, texts) if line]


@cache
def _latex_table() -> dict[int, str]:
    """What stands for each special character. All others stay: the file is UTF-8."""
    from pylatexenc.latexencode import UnicodeToLatexEncoder

    encoder = UnicodeToLatexEncoder(replacement_latex_protection="braces-after-macro")
    escapes = {special: str(encoder.unicode_to_latex(special)) for special in _LATEX_SPECIALS}
    return str.maketrans(escapes | _BRACES)


def _latex(text: str) -> str:
    return _LIGATURE.sub(r"\g<0>{}", clean(text).translate(_latex_table()))


def _derived(paper: Paper) -> str:
    return derived_id(title=clean(paper.title), year=paper.year, doi=paper.doi, pmid=paper.pmid)


def _labelled(abstract: str, *, newline: str) -> str:
    """An abstract on one line, but for paragraphs that a label (AIM:) begins, which no reader takes for a tag."""
    parts: list[str] = []
    for paragraph in map(clean, abstract.split("\n")):
        parts += [newline if begins_paragraph(paragraph) else " ", paragraph] if parts and paragraph else [paragraph]
    return "".join(parts)


def _keywords(topics: Sequence[str]) -> str:
    """Keywords parted by semicolons, in braces where a reader would part them once more."""
    parts = [
        f"{{{_latex(topic)}}}" if ";" in topic or ("," in topic and len(topics) == 1) else _latex(topic)
        for topic in topics
    ]
    return "; ".join(filter(None, parts))


def _verbatim(text: str) -> str:
    """An address whose braces balance and that holds no backslash, both by percent-encoding."""
    return re.sub(r"[{}\\\s]", lambda found: f"%{ord(found[0]):02X}", clean(text))


def _bibtex_name(name: str) -> str:
    """A name for an author field, in braces where BibTeX would take it apart: groups, and any "and" inside."""
    plain, latex = clean(name), _latex(name)
    person = plain.count(",") == plain.count(", ") == 1 and not re.search(r" ,|;| and ", f" {plain} ", re.IGNORECASE)
    return latex if person or not latex else f"{{{latex}}}"


def _key(paper: Paper) -> str:
    """smith2021_33301246: lower case, since BibTeX takes Smith and smith for one key."""
    family = _ascii(paper.authors[0].split(",")[0]) if paper.authors else ""
    safe_id = _ascii(paper.id)
    if safe_id != paper.id:
        # 10.1/a-b and 10.1/ab must not end up with one key.
        safe_id = f"{safe_id[:20]}{hashlib.sha256(paper.id.encode('utf-8', 'replace')).hexdigest()[:8]}"
    return f"{family[:30] or 'anon'}{paper.year or ''}_{safe_id}"


def _ascii(text: str) -> str:
    """The letters and digits of ASCII in a text, accents dropped, in lower case."""
    decomposed = unicodedata.normalize("NFKD", text).lower()
    return re.sub(r"[^a-z0-9]", "", decomposed)
