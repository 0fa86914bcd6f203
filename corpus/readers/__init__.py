"""Readers: files in, papers out. `read` recognises the format of a file by its content.

with read(Path("library.jsonl")) as reading:
    papers = list(reading)
reading.report.summary()  # "library.jsonl: 311 of 312 records kept; left out: 1 damaged."
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path

from corpus.errors import UnknownFormatError, UnreadableFileError, UnsafeFileError
from corpus.io.decoding import head_text
from corpus.io.limits import DEFAULT_LIMITS, Limits
from corpus.io.safe_xml import root_name
from corpus.io.streams import CappedStream
from corpus.paper import Paper
from corpus.readers import bibtex, csv_table, json_files, medline_xml, nbib, parquet, ris
from corpus.readers.columns import Columns, ColumnsNotFound, guess_columns
from corpus.readers.report import Preview, Problem, Reading, Record, WithoutAbstract

_HEAD_BYTES = 65_536  # in which the format is recognised; the prologue of a MEDLINE file has 200 bytes
_MAX_SKIPPED = 200  # records without a paper before a preview gives up
_BOM = b"\xef\xbb\xbf"
_ADVICE = "Give RIS, BibTeX, PubMed's .nbib or XML, CSV, JSON or Parquet; any but Parquet may be gzip."
# What people try, by its first bytes (in lower case, without white space), so that the refusal can name it.
_UNSUPPORTED = (
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
# Format → its reader, and what its places are counted in. Tables are not among them: see `read`.
_READERS: dict[str, tuple[Callable[..., Iterator[Record]], str]] = {
    medline_xml.FORMAT: (medline_xml.read_medline_xml, medline_xml.UNIT),
    json_files.LINES_FORMAT: (json_files.read_jsonl, json_files.LINES_UNIT),
    json_files.FORMAT: (json_files.read_json, json_files.UNIT),
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
    """The papers in a file of any name. Repeats are not merged here.

    columns: of a table, the header of each field; guessed from the headers where None. without_abstract: what becomes
    of records that have a title and no abstract.
    Raises UnknownFormatError for any other format, its subclass ColumnsNotFound for a table without recognisable
    titles, DamagedFileError, and UnsafeFileError for a file that exceeds the limits. Taking papers may also raise the
    last two.
    """
    file: CappedStream | parquet.ParquetTable | None = None
    column_map = None
    vector_columns: tuple[str, ...] = ()
    try:
        file = CappedStream(path, limits)
        head = file.head(_HEAD_BYTES)
        if head.startswith(parquet.MAGIC) and not file.is_gzip:
            file.close()
            file = table = parquet.ParquetTable(path, limits=limits, columns=columns)
            records, format, unit = table.records(), parquet.FORMAT, parquet.UNIT
            column_map, vector_columns = table.column_map, table.vector_columns
        elif (format := _format(head)) == csv_table.FORMAT:
            csv = csv_table.find_table(file, columns=columns)
            records, unit, column_map = csv_table.read_csv(file, csv, limits=limits), csv_table.UNIT, csv.columns
        else:
            reader, unit = _READERS[format]
            records = reader(file, limits=limits)
    except UnreadableFileError as error:
        if file is not None:
            file.close()
        error.locate(file=path.name)
        raise
    return Reading(
        file,
        records,
        file=path.name,
        format=format,
        unit=unit,
        limits=limits,
        without_abstract=without_abstract,
        column_map=column_map,
        vector_columns=vector_columns,
    )


def preview(path: Path, *, count: int = 5, columns: Columns | None = None, limits: Limits = DEFAULT_LIMITS) -> Preview:
    """The first `count` papers of a file, and how its columns are understood; only its head is read.

    Raises what `read` and its reading do, except ColumnsNotFound, which the preview shows as a problem.
    """
    few = replace(limits, records=count + _MAX_SKIPPED)
    try:
        with read(path, limits=few, columns=columns, without_abstract="keep") as reading:
            papers: list[Paper] = []
            try:
                papers.extend(islice(reading, count))
            except UnsafeFileError:
                if reading.report.read < few.records:
                    raise
            column_map = reading.column_map
            return Preview(
                format=reading.report.format,
                headers=column_map.headers if column_map is not None else (),
                columns=column_map.columns if column_map is not None else {},
                papers=tuple(papers),
                problems=tuple(reading.report.problems),
                vector_columns=reading.vector_columns,
            )
    except ColumnsNotFound as error:
        given = {name: header for name, header in (columns or {}).items() if header}
        return Preview(
            format=error.format,
            headers=error.headers,
            columns=guess_columns(error.headers) | given,
            papers=(),
            problems=(Problem(path.name, "header", "damaged", f"{error.reason}. {error.advice}"),),
            vector_columns=error.vector_columns,
        )


def _format(head: bytes) -> str:
    """The format of a file by its head. Raises UnknownFormatError, and what `root_name` does."""
    start = head.removeprefix(_BOM).lstrip()
    if not start:
        raise UnknownFormatError("it is empty, or begins with nothing but white space", advice=_ADVICE)
    folded = start[:32].lower()
    for magic, name in _UNSUPPORTED:
        if folded.startswith(magic):
            raise UnknownFormatError(f"this is {name}", advice=_ADVICE)
    if start.startswith(b"<"):
        root = root_name(head)
        if root not in medline_xml.ROOTS:
            raise UnknownFormatError(f"this is XML with the root element <{root[:40]}>", advice=_ADVICE)
        return medline_xml.FORMAT
    text = head_text(head).lstrip()
    if text.startswith(("{", "[")):
        return json_files.LINES_FORMAT if json_files.is_json_lines(text) else json_files.FORMAT
    # Before the reference formats: the cells of a table may hold anything, also what looks like a record of these.
    if csv_table.begins_with_header(text):
        return csv_table.FORMAT
    # The reference format whose first record comes first.
    begins = {ris.FORMAT: ris.begins(text), bibtex.FORMAT: bibtex.begins(text), nbib.FORMAT: nbib.begins(text)}
    if present := [name for name in begins if begins[name] >= 0]:
        return min(present, key=begins.__getitem__)
    if csv_table.may_be_table(text):
        return csv_table.FORMAT
    if head[257:262] == b"ustar":
        raise UnknownFormatError("this is a tar archive, which is not unpacked here", advice=_ADVICE)
    raise UnknownFormatError(f"it begins with {ascii(start[:24])[1:]}", advice=_ADVICE)
