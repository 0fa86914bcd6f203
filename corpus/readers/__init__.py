"""Readers: files in, papers out. `read` finds out by itself which format a file has.

with read(Path("library.jsonl")) as reading:
    papers = list(reading)
reading.report.summary()  # "library.jsonl: 311 of 312 records kept; left out: 1 damaged."
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path

from corpus.io.decoding import head_text
from corpus.io.limits import DEFAULT_LIMITS, Limits
from corpus.io.streams import CappedStream
from corpus.paper import Paper
from corpus.readers import bibtex, csv_table, json_stream, jsonl, medline_xml, nbib, parquet, ris
from corpus.readers.columns import Columns, ColumnsNotFound, guessed_columns
from corpus.readers.jsonl import write_jsonl
from corpus.readers.previewing import Preview
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

__all__ = [
    "DEFAULT_LIMITS",
    "PROBLEMS_SCHEMA",
    "Columns",
    "ColumnsNotFound",
    "DamagedFileError",
    "Limits",
    "Preview",
    "Problem",
    "ReadReport",
    "Reading",
    "UnknownFormatError",
    "UnreadableFileError",
    "UnsafeFileError",
    "WithoutAbstract",
    "preview",
    "problems_csv",
    "problems_table",
    "read",
    "write_jsonl",
]

# Where a file's first element or line is looked for; the prologue of a MEDLINE file has 200 bytes.
_HEAD_BYTES = 65_536
_PREVIEWED = 200  # records that give no paper before a preview gives up
_BOM = b"\xef\xbb\xbf"
_ADVICE = "Give RIS, BibTeX, PubMed's .nbib or XML, CSV, JSON or Parquet; any but Parquet may be gzip."
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
    (b"par1", "a Parquet file within gzip; unpack it first"),
    (b"arrow1", "an Arrow file"),
    (b"sqlite format 3", "an SQLite database"),
    (b"<!doctype html", "a web page"),
    (b"<html", "a web page"),
)


# How each format is read: its reader, and what a place in it is counted by.
_READERS: dict[str, tuple[Callable[..., Iterator[Found]], str]] = {
    medline_xml.FORMAT: (medline_xml.read_medline_xml, medline_xml.UNIT),
    jsonl.FORMAT: (jsonl.read_jsonl, jsonl.UNIT),
    json_stream.FORMAT: (json_stream.read_json_stream, json_stream.UNIT),
    ris.FORMAT: (ris.read_ris, ris.UNIT),
    bibtex.FORMAT: (bibtex.read_bibtex, bibtex.UNIT),
    nbib.FORMAT: (nbib.read_nbib, nbib.UNIT),
}


def read(
    path: Path,
    *,
    limits: Limits = DEFAULT_LIMITS,
    columns: Columns | None = None,
    without_abstract: WithoutAbstract = "leave_out",
) -> Reading:
    """The papers in a file, whatever its name: the format is told by the content. Repeats are not merged here.

    columns: of a table, which header each field of Paper stands under; guessed from the headers where None.
    without_abstract: what becomes of records that have a title and no abstract.
    Raises UnknownFormatError for what is in no format that is read, its subclass ColumnsNotFound for a table of which
    nobody can tell where the titles are, DamagedFileError, and UnsafeFileError for a file that no library needs.
    Taking papers may raise the last two later on.
    """
    stream: CappedStream | None = None
    try:
        stream = CappedStream(path, limits)
        head = stream.head(_HEAD_BYTES)
        if head.startswith(parquet.MAGIC) and not stream.is_gzip:
            stream.close()
            return _read_parquet(path, limits=limits, columns=columns, without_abstract=without_abstract)
        format = _format(head)
        table = csv_table.find_table(stream, columns=columns) if format == csv_table.FORMAT else None
        if table is not None:
            found, unit = csv_table.read_csv(stream, table, limits=limits), csv_table.UNIT
        else:
            reader, unit = _READERS[format]
            found = reader(stream, limits=limits)
        reading = Reading(
            stream,
            found,
            file=path.name,
            format=format,
            unit=unit,
            limits=limits,
            without_abstract=without_abstract,
        )
        reading.mapped = table.mapped if table is not None else None
        return reading
    except UnreadableFileError as error:
        if stream is not None:
            stream.close()
        error.locate(file=path.name)
        raise


def _read_parquet(path: Path, *, limits: Limits, columns: Columns | None, without_abstract: WithoutAbstract) -> Reading:
    table = parquet.ParquetTable(path, limits=limits, columns=columns)
    reading = Reading(
        table,
        table.found(),
        file=path.name,
        format=parquet.FORMAT,
        unit=parquet.UNIT,
        limits=limits,
        without_abstract=without_abstract,
    )
    reading.mapped = table.mapped
    reading.vector_columns = table.vector_columns
    return reading


def preview(path: Path, *, count: int = 5, columns: Columns | None = None, limits: Limits = DEFAULT_LIMITS) -> Preview:
    """The first `count` papers of a file, and how its columns are understood; only its head is read.

    Raises what `read` and its reading do, but for ColumnsNotFound, which the preview tells of as a problem.
    """
    few = replace(limits, records=count + _PREVIEWED)
    try:
        with read(path, limits=few, columns=columns, without_abstract="keep") as reading:
            papers: list[Paper] = []
            try:
                papers.extend(islice(reading, count))
            except UnsafeFileError:
                if reading.report.read < few.records:
                    raise
            mapped = reading.mapped
            return Preview(
                format=reading.report.format,
                headers=mapped.headers if mapped is not None else (),
                columns=mapped.columns if mapped is not None else {},
                papers=tuple(papers),
                problems=tuple(reading.report.problems),
                vector_columns=reading.vector_columns,
            )
    except ColumnsNotFound as error:
        return Preview(
            format=error.format,
            headers=error.headers,
            columns={
                **guessed_columns(error.headers),
                **{name: told for name, told in (columns or {}).items() if told},
            },
            papers=(),
            problems=(Problem(path.name, "header", "damaged", f"{error.reason}. {error.advice}"),),
            vector_columns=error.vector_columns,
        )


def _format(head: bytes) -> str:
    start = head.removeprefix(_BOM).lstrip()
    if not start:
        raise UnknownFormatError("it is empty, or begins with nothing but white space", advice=_ADVICE)
    folded = start[:32].lower()
    for magic, name in _STRANGERS:
        if folded.startswith(magic):
            raise UnknownFormatError(f"this is {name}", advice=_ADVICE)
    if start.startswith(b"<"):
        root = medline_xml.root_name(head)
        if root not in medline_xml.ROOTS:
            raise UnknownFormatError(f"this is XML with the root element <{root[:40]}>", advice=_ADVICE)
        return medline_xml.FORMAT
    text = head_text(head).lstrip()
    if text.startswith(("{", "[")):
        return json_stream.FORMAT if json_stream.is_json_stream(text) else jsonl.FORMAT
    # Cells may hold anything, also what looks like a record of another format.
    if csv_table.begins_with_header(text):
        return csv_table.FORMAT
    if reference := _reference_format(text):
        return reference
    if csv_table.may_be_table(text):
        return csv_table.FORMAT
    if head[257:262] == b"ustar":
        raise UnknownFormatError("this is a tar archive, which is not unpacked here", advice=_ADVICE)
    raise UnknownFormatError(f"it begins with {ascii(start[:24])[1:]}", advice=_ADVICE)


def _reference_format(text: str) -> str:
    """The reference format whose first record comes first in a head; "" where there is none."""
    places = {name: begins(text) for name, begins in _BEGINS.items()}
    return min((name for name in places if places[name] >= 0), key=places.__getitem__, default="")
