"""Readers: files in, papers out. `read` finds out by itself which format a file has.

with read(Path("library.jsonl")) as reading:
    papers = list(reading)
reading.report.summary()  # "library.jsonl: 311 of 312 records kept; left out: 1 damaged."
"""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from corpus.readers import bibtex, jsonl, medline_xml, nbib, ris
from corpus.readers.decoding import head_text
from corpus.readers.jsonl import write_jsonl
from corpus.readers.limits import DEFAULT_LIMITS, Limits
from corpus.readers.problems import PROBLEMS_SCHEMA, problems_csv, problems_table
from corpus.readers.report import (
    DamagedFileError,
    Found,
    Problem,
    Reading,
    ReadReport,
    UnknownFormatError,
    UnreadableFileError,
    UnsafeFileError,
    WithoutAbstract,
)
from corpus.readers.streams import CappedStream

__all__ = [
    "DEFAULT_LIMITS",
    "PROBLEMS_SCHEMA",
    "Columns",
    "DamagedFileError",
    "Limits",
    "Problem",
    "ReadReport",
    "Reading",
    "UnknownFormatError",
    "UnreadableFileError",
    "UnsafeFileError",
    "WithoutAbstract",
    "problems_csv",
    "problems_table",
    "read",
    "write_jsonl",
]

# A field of Paper, and the header of a table that it stands under.
Columns = Mapping[str, str]

# Where a file's first element or line is looked for; the prologue of a MEDLINE file has 200 bytes.
_HEAD_BYTES = 65_536
_BOM = b"\xef\xbb\xbf"
_ADVICE = "Give RIS, BibTeX, PubMed's .nbib or XML, or JSON Lines, plain or gzip."
# Where the first record of a reference format begins in the head of a file; -1 where there is none.
_BEGINS: dict[str, Callable[[str], int]] = {
    ris.FORMAT: ris.begins,
    bibtex.FORMAT: bibtex.begins,
    nbib.FORMAT: nbib.begins,
}
# What people try, by its first bytes (white space and case aside), so that the refusal can name it.
_STRANGERS = (
    (b"%pdf", "a PDF"),
    (b"pk\x03\x04", "a ZIP archive or an Office document"),
    (b"\x1f\x8b", "gzip packed twice"),
    (b"bzh", "a bzip2 file"),
    (b"\xfd7zxz", "an xz file"),
    (b"\x28\xb5\x2f\xfd", "a Zstandard file"),
    (b"par1", "a Parquet file"),
    (b"arrow1", "an Arrow file"),
    (b"sqlite format 3", "an SQLite database"),
    (b"<!doctype html", "a web page"),
    (b"<html", "a web page"),
    (b"[", "a JSON list; write one object a line instead"),
)


# How each format is read: its reader, and what a place in it is counted by.
_READERS: dict[str, tuple[Callable[..., Iterator[Found]], str]] = {
    medline_xml.FORMAT: (medline_xml.read_medline_xml, medline_xml.UNIT),
    jsonl.FORMAT: (jsonl.read_jsonl, jsonl.UNIT),
    ris.FORMAT: (ris.read_ris, ris.UNIT),
    bibtex.FORMAT: (bibtex.read_bibtex, bibtex.UNIT),
    nbib.FORMAT: (nbib.read_nbib, nbib.UNIT),
}


def read(
    path: Path,
    *,
    limits: Limits = DEFAULT_LIMITS,
    columns: Columns | None = None,  # noqa: ARG001
    without_abstract: WithoutAbstract = "leave_out",
) -> Reading:
    """The papers in a file, whatever its name: the format is told by the content. Repeats are not merged here.

    columns: of a table, which header each field of Paper stands under; guessed from the headers where None.
    without_abstract: what becomes of records that have a title and no abstract.
    Raises UnknownFormatError for anything but the formats of `_READERS`, and UnsafeFileError for
    one that no library needs. Taking papers may raise UnsafeFileError and DamagedFileError later on.
    """
    stream: CappedStream | None = None
    try:
        stream = CappedStream(path, limits)
        format = _format(stream.head(_HEAD_BYTES))
        reader, unit = _READERS[format]
        return Reading(
            stream,
            reader(stream, limits=limits),
            file=path.name,
            format=format,
            unit=unit,
            limits=limits,
            without_abstract=without_abstract,
        )
    except UnreadableFileError as error:
        if stream is not None:
            stream.close()
        error.locate(file=path.name)
        raise


def _format(head: bytes) -> str:
    start = head.removeprefix(_BOM).lstrip()
    if start.startswith(b"{"):
        return jsonl.FORMAT
    if not start:
        raise UnknownFormatError("it is empty, or begins with nothing but white space", advice=_ADVICE)
    folded = start[:32].lower()
    for magic, name in _STRANGERS:
        if folded.startswith(magic):
            raise UnknownFormatError(f"this is {name}", advice=_ADVICE)
    if not start.startswith(b"<") and (reference := _reference_format(head)):
        return reference
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise UnknownFormatError("this is text in UTF-16", advice=_ADVICE)
    if not start.startswith(b"<"):
        raise UnknownFormatError(f"it begins with {ascii(start[:24])[1:]}", advice=_ADVICE)
    root = medline_xml.root_name(head)
    if root not in medline_xml.ROOTS:
        raise UnknownFormatError(f"this is XML with the root element <{root[:40]}>", advice=_ADVICE)
    return medline_xml.FORMAT


def _reference_format(head: bytes) -> str:
    """The reference format whose first record comes first in a head; "" where there is none."""
    text = head_text(head)
    places = {name: begins(text) for name, begins in _BEGINS.items()}
    return min((name for name in places if places[name] >= 0), key=places.__getitem__, default="")
