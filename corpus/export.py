"""Export papers: CSV for spreadsheets, RIS and BibTeX for reference managers, JSON Lines and Parquet for programs.

Each is safe to open in its program, and `corpus.readers.read` gives the same papers back.
"""

import csv
import gzip
import hashlib
import io
import itertools
import json
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

import pyarrow as pa

from corpus.identifiers import derived_id
from corpus.io.files import BufferedSink, beside
from corpus.paper import SCHEMA, Paper, to_table
from corpus.readers.bibtex import ID_FIELD
from corpus.readers.columns import OWN_HEADERS
from corpus.readers.fields import begins_paragraph
from corpus.readers.ris import OUR_DATABASE
from corpus.text.cells import guard_cell
from corpus.text.plain import clean, clean_paragraphs

_DISTANCE_HEADER = "l2_distance"
_BATCH = 500  # papers held at a time: the longest take some megabytes


# CSV


def to_csv(papers: Sequence[Paper], *, distances: Sequence[float] | None = None) -> bytes:
    """Papers as a table, one row each, in UTF-8 with a byte order mark, as spreadsheets need.

    distances: the L2 distance of each paper to the query, for a column of their own.
    A cell that a spreadsheet would run as a formula begins with an apostrophe. Raises ValueError if papers and
    distances differ in number.
    """
    if distances is not None and len(distances) != len(papers):
        raise ValueError(f"{len(distances)} distances for {len(papers)} papers")
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\r\n")
    if distances is None:
        writer.writerow(OWN_HEADERS)
        writer.writerows(map(_cells, papers))
    else:
        writer.writerow((*OWN_HEADERS, _DISTANCE_HEADER))
        writer.writerows(
            (*_cells(paper), round(float(distance), 6)) for paper, distance in zip(papers, distances, strict=True)
        )
    return text.getvalue().encode("utf-8-sig")


def _cells(paper: Paper) -> list[str]:
    cells = []
    for name in OWN_HEADERS:
        value = getattr(paper, name)
        text = "; ".join(value) if isinstance(value, tuple) else "" if value is None else str(value)
        cells.append(guard_cell(clean_paragraphs(text)))
    return cells


# RIS


def to_ris(papers: Iterable[Paper]) -> str:
    """Papers as RIS, one journal article each.

    Every value is one line, so that no text passes for a tag; only a paragraph that begins with a label ("AIM:") is a
    line of its own.
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
            # Says that the id is ours, and that each author and topic has a line of its own.
            "name_of_database": OUR_DATABASE,
            "title": clean(paper.title),
            "authors": _lines(paper.authors),
            "year": "" if paper.year is None else str(paper.year),
            "journal_name": clean(paper.venue),
            "doi": clean(paper.doi),
            "accession_number": clean(paper.pmid),
            # In UR, a semicolon separates two addresses.
            "urls": _lines([paper.url.replace(";", "%3B")]),
            "keywords": _lines(paper.topics),
            "abstract": _labelled(paper.abstract, newline=Writer.NEWLINE),
        }
        references.append({key: value for key, value in reference.items() if value})
    return str(rispy.dumps(references, implementation=Writer))


def _lines(texts: Iterable[str]) -> list[str]:
    return list(filter(None, map(clean, texts)))


def _labelled(abstract: str, *, newline: str) -> str:
    """An abstract on one line, except that a paragraph that begins with a label begins a line."""
    parts: list[str] = []
    for paragraph in filter(None, map(clean, abstract.split("\n"))):
        if parts:
            parts.append(newline if begins_paragraph(paragraph) else " ")
        parts.append(paragraph)
    return "".join(parts)


# JSON Lines


def to_jsonl(papers: Iterable[Paper]) -> bytes:
    """Papers as JSON Lines in our own shape, the only format that keeps all of every field: UTF-8."""
    # backslashreplace turns a lone surrogate into JSON's own escape for it.
    lines = (json.dumps(asdict(paper), ensure_ascii=False).encode("utf-8", "backslashreplace") for paper in papers)
    return b"".join(line + b"\n" for line in lines)


def write_jsonl(papers: Iterable[Paper], path: Path) -> int:
    """Write papers as JSON Lines, atomically, gzip if the name ends in .gz; return how many.

    The same papers give the same bytes.
    """
    count = 0
    with beside(path) as partial, partial.open("wb") as file:
        # No name and no time in the gzip header: both would change the bytes.
        packed = gzip.GzipFile(filename="", mode="wb", fileobj=file, mtime=0) if path.suffix == ".gz" else None
        with packed or nullcontext(file) as out:
            for paper in papers:
                out.write(to_jsonl([paper]))
                count += 1
    return count


# BibTeX

# Signs that LaTeX sets as one where they stand together: -- as a dash, `` and '' as quotation marks, ?` as ¿.
_LIGATURE = re.compile(r"-(?=-)|'(?=')|[`?!](?=`)")
_LATEX_SPECIALS = r"\%&$#_~^"
# BibTeX counts braces even behind a backslash, so \{ and \} could end a field: the named forms cannot.
_BRACES = {"{": r"\textbraceleft{}", "}": r"\textbraceright{}"}


def to_bibtex(papers: Iterable[Paper], *, used: set[str] | None = None) -> str:
    """Papers as BibTeX in UTF-8, one @article each.

    A paper's key is made of its first author, year and id, so it is the same in every export. Special characters of
    LaTeX are escaped, except in the DOI and the address, which styles print verbatim.
    used: keys already in the file; the new ones are added.
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
            # The inner braces keep a style from lower-casing "DNA".
            "title": f"{{{_latex(paper.title)}}}",
            "author": " and ".join(filter(None, map(_bibtex_name, paper.authors))),
            "journal": _latex(paper.venue),
            "year": "" if paper.year is None else str(paper.year),
            "doi": _verbatim(paper.doi),
            "pmid": _latex(paper.pmid),
            "url": _verbatim(paper.url),
            # Not by commas: MeSH headings contain them, as in "Behavior, Animal".
            "keywords": _keywords(paper.topics),
            "abstract": "\n\n".join(filter(None, map(_latex, paper.abstract.split("\n")))),
            ID_FIELD: "" if paper.id == _derived(paper) else _latex(paper.id),
        }
        entries.append(Entry("article", key, [Field(name, value) for name, value in fields.items() if value]))
    return write_string(Library(entries))


@cache
def _latex_table() -> dict[int, str]:
    """The escape of each special character. All others stay: the file is UTF-8."""
    from pylatexenc.latexencode import UnicodeToLatexEncoder

    encoder = UnicodeToLatexEncoder(replacement_latex_protection="braces-after-macro")
    escapes = {special: str(encoder.unicode_to_latex(special)) for special in _LATEX_SPECIALS}
    return str.maketrans(escapes | _BRACES)


def _latex(text: str) -> str:
    return _LIGATURE.sub(r"\g<0>{}", clean(text).translate(_latex_table()))


def _derived(paper: Paper) -> str:
    return derived_id(title=clean(paper.title), year=paper.year, doi=paper.doi, pmid=paper.pmid)


def _keywords(topics: Sequence[str]) -> str:
    """Keywords separated by semicolons, in braces where a reader would split them."""
    parts = [
        f"{{{_latex(topic)}}}" if ";" in topic or ("," in topic and len(topics) == 1) else _latex(topic)
        for topic in topics
    ]
    return "; ".join(filter(None, parts))


def _verbatim(text: str) -> str:
    """An address with braces, backslashes and spaces percent-encoded."""
    return re.sub(r"[{}\\\s]", lambda match: f"%{ord(match[0]):02X}", clean(text))


def _bibtex_name(name: str) -> str:
    """A name for an author field, in braces where BibTeX would split it: groups, and any "and" inside."""
    plain, latex = clean(name), _latex(name)
    person = plain.count(",") == plain.count(", ") == 1 and not re.search(r" ,|;| and ", f" {plain} ", re.IGNORECASE)
    return latex if person or not latex else f"{{{latex}}}"


def _key(paper: Paper) -> str:
    """smith2021_33301246: in lower case, since Smith and smith are one key to BibTeX."""
    family = _ascii(paper.authors[0].split(",")[0]) if paper.authors else ""
    safe_id = _ascii(paper.id)
    if safe_id != paper.id:
        # 10.1/a-b and 10.1/ab need different keys.
        safe_id = f"{safe_id[:20]}{hashlib.sha256(paper.id.encode('utf-8', 'replace')).hexdigest()[:8]}"
    return f"{family[:30] or 'anon'}{paper.year or ''}_{safe_id}"


def _ascii(text: str) -> str:
    """The ASCII letters and digits of a text in lower case, without accents."""
    decomposed = unicodedata.normalize("NFKD", text).lower()
    return re.sub(r"[^a-z0-9]", "", decomposed)


# Whole corpora, piece by piece


@dataclass(frozen=True, slots=True)
class Export:
    """An export format."""

    label: str
    ending: str
    media_type: str
    pieces: Callable[[Iterator[list[Paper]]], Iterator[bytes]]


def export_pieces(papers: Iterable[Paper], format: str) -> Iterator[bytes]:
    """The bytes of a file in one of EXPORTS, piece by piece, in little memory. Raises ValueError for another format."""
    if format not in EXPORTS:
        raise ValueError(f"{format!r} is none of {', '.join(EXPORTS)}")
    return EXPORTS[format].pieces(_batches(papers))


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
    """The bytes of a Parquet file, piece by piece; each table is a row group."""
    import pyarrow.parquet as pq

    sink = BufferedSink()
    with pq.ParquetWriter(sink, schema, compression="zstd") as writer:
        for table in tables:
            writer.write_table(table)
            yield sink.take()
    yield sink.take()


EXPORTS: Mapping[str, Export] = {
    "csv": Export("CSV, for a spreadsheet", "csv", "text/csv", _csv_pieces),
    "ris": Export("RIS, for Zotero or EndNote", "ris", "application/x-research-info-systems", _ris_pieces),
    "bibtex": Export("BibTeX", "bib", "application/x-bibtex", _bibtex_pieces),
    "jsonl": Export("JSON Lines", "jsonl", "application/x-ndjson", lambda batches: map(to_jsonl, batches)),
    "parquet": Export("Parquet", "parquet", "application/vnd.apache.parquet", _parquet_pieces),
}
