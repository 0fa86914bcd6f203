"""Readers: files in, papers out. `read` finds out by itself which format a file has.

with read(Path("library.jsonl")) as reading:
    papers = list(reading)
reading.report.summary()  # "library.jsonl: 311 of 312 records kept; left out: 1 damaged."
"""

from collections.abc import Callable, Iterator
from pathlib import Path

from corpus.readers import bibtex, jsonl, medline_xml, nbib, ris
from corpus.readers.decoding import head_text
from corpus.readers.jsonl import write_jsonl
from corpus.readers.limits import DEFAULT_LIMITS, Limits
from corpus.readers.report import (
    DamagedFileError,
    Found,
    Problem,
    Reading,
    ReadReport,
    UnknownFormatError,
    UnreadableFileError,
    UnsafeFileError,
)
from corpus.readers.streams import CappedStream

__all__ = [
    "DEFAULT_LIMITS",
    "DamagedFileError",
    "Limits",
    "Problem",
    "ReadReport",
    "Reading",
    "UnknownFormatError",
    "UnreadableFileError",
    "UnsafeFileError",
    "read",
    "write_jsonl",
]

# Where a file's first element or line is looked for; the prologue of a MEDLINE file has 200 bytes.
_HEAD_BYTES = 65_536
_BOM = b"\xef\xbb\xbf"
_ADVICE = "Give RIS, BibTeX, PubMed's .nbib or XML, or JSON Lines, plain or gzip."
# Reference formats by name: where the first record begins in the head of a file, or -1; and the reader.
_REFERENCES: dict[str, tuple[Callable[[str], int], Callable[..., Iterator[Found]]]] = {
    ris.FORMAT: (ris.begins, ris.read_ris),
    bibtex.FORMAT: (bibtex.begins, bibtex.read_bibtex),
    nbib.FORMAT: (nbib.begins, nbib.read_nbib),
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


def read(path: Path, *, limits: Limits = DEFAULT_LIMITS) -> Reading:
    """The papers in a file, whatever its name: the format is told by the content.

    Raises UnknownFormatError for anything but RIS, BibTeX, PubMed's text and XML, and JSON Lines, and UnsafeFileError
    for one that no library needs. Taking papers may raise UnsafeFileError and DamagedFileError later on.
    """
    stream: CappedStream | None = None
    try:
        stream = CappedStream(path, limits)
        head = stream.head(_HEAD_BYTES)
        format = _format(head)
        if format in _REFERENCES:
            found = _REFERENCES[format][1](stream, limits=limits)
            return Reading(stream, found, file=path.name, format=format, unit="record", limits=limits)
        if format == medline_xml.FORMAT:
            return Reading(
                stream,
                medline_xml.read_medline_xml(stream),
                file=path.name,
                format=medline_xml.FORMAT,
                unit=medline_xml.UNIT,
                limits=limits,
            )
        return Reading(
            stream,
            jsonl.read_jsonl(stream, limits=limits),
            file=path.name,
            format=jsonl.FORMAT,
            unit=jsonl.UNIT,
            limits=limits,
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
    places = {name: begins(text) for name, (begins, _reader) in _REFERENCES.items()}
    return min((name for name in places if places[name] >= 0), key=places.__getitem__, default="")
