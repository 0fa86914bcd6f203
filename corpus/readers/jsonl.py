"""JSON Lines in our own shape: one object a line, with the keys of Paper. Read here, and written."""

import gzip
import io
import json
import os
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import IO, NoReturn
from uuid import uuid4

from corpus.identity import derived_id
from corpus.paper import Paper
from corpus.readers.limits import Limits
from corpus.readers.report import Found, Rejected
from corpus.readers.streams import CappedStream
from corpus.readers.text import clean, clean_paragraphs, distinct

FORMAT = "JSON Lines"
UNIT = "line"

# int16 in a table of papers; a year outside these is a slip, as in 20211.
_YEARS = range(1000, 3000)
_WEB = ("https://", "http://")
_BOM = b"\xef\xbb\xbf"


class _RecordError(Exception):
    """Why one line gives no paper."""


def read_jsonl(stream: CappedStream, *, limits: Limits) -> Iterator[Found]:
    """What each line of a file gives, in its order; blank lines are passed over."""
    for number, line in _lines(stream, limits.line_bytes):
        if line is None:
            reason = f"the line has more than {limits.line_bytes:,} bytes. Shorten it, or drop it."
            yield number, Rejected("damaged", reason)
        elif stripped := line.strip():
            yield number, _parse(stripped)


def write_jsonl(papers: Iterable[Paper], path: Path) -> int:
    """Write papers as JSON Lines, gzip where the name ends in .gz, and return how many.

    `read` gives back the same papers, their text cleaned as readers clean it. The file is there whole or not
    at all, and the same papers give the same bytes.
    """
    count = 0
    part = path.with_name(f".{path.name}.{uuid4().hex}")
    try:
        with part.open("xb") as file:
            with ExitStack() as stack:
                out: IO[bytes] | gzip.GzipFile = file
                if path.suffix == ".gz":
                    # No name and no time in the header: both would change the bytes.
                    packed = gzip.GzipFile(filename="", mode="wb", fileobj=file, mtime=0)
                    out = stack.enter_context(packed)
                for paper in papers:
                    # backslashreplace turns a lone surrogate into JSON's own escape for it.
                    line = json.dumps(asdict(paper), ensure_ascii=False).encode("utf-8", "backslashreplace")
                    out.write(line + b"\n")
                    count += 1
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    return count


def _lines(stream: CappedStream, most: int) -> Iterator[tuple[int, bytes | None]]:
    """Lines and their numbers, from 1; None for one of more than `most` bytes, which is passed over."""
    buffered = io.BufferedReader(stream)
    number = 0
    while line := buffered.readline(most + 1):
        number += 1
        too_long = len(line) > most
        while too_long and not line.endswith(b"\n") and line:
            stream.mark()
            line = buffered.readline(most)
        stream.mark()
        yield number, None if too_long else line.removeprefix(_BOM if number == 1 else b"")


def _parse(line: bytes) -> Paper | Rejected:
    try:
        record = json.loads(line.decode("utf-8"), parse_constant=_refuse_constant)
        if not isinstance(record, dict):
            raise _RecordError(f"the line is {_kind(record)}; it should be an object")
        return _paper(record)
    except UnicodeDecodeError as error:
        reason = f"byte {error.start + 1} of the line is not UTF-8. Save the file as UTF-8"
    except json.JSONDecodeError as error:
        reason = f"not JSON ({error.msg}, character {error.pos + 1}). Correct it"
    except RecursionError:
        reason = "lists or objects nested too deep. Flatten it"
    except _RecordError as error:
        reason = f"{error}. Correct it"
    except ValueError as error:  # an integer of thousands of digits
        reason = f"not readable as JSON ({error}). Correct it"
    return Rejected("damaged", f"{reason}, or drop the record.")


def _paper(record: dict[str, object]) -> Paper:
    title, year = clean(_text(record, "title")), _year(record)
    doi, pmid = clean(_text(record, "doi")), clean(_identifier(record, "pmid"))
    return Paper(
        id=clean(_identifier(record, "id")) or derived_id(title=title, year=year, doi=doi, pmid=pmid),
        title=title,
        abstract=clean_paragraphs(_abstract(record)),
        authors=tuple(filter(None, map(clean, _texts(record, "authors")))),
        year=year,
        venue=clean(_text(record, "venue")),
        doi=doi,
        pmid=pmid,
        url=_url(record),
        topics=distinct(_texts(record, "topics")),
    )


def _text(record: dict[str, object], key: str) -> str:
    value = record.get(key)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise _RecordError(f"{key} is {_kind(value)}; it should be text")
    return value


def _texts(record: dict[str, object], key: str) -> list[str]:
    value = record.get(key)
    if value is None:
        return []
    if not isinstance(value, list):
        raise _RecordError(f"{key} is {_kind(value)}; it should be a list of texts")
    texts = [item for item in value if isinstance(item, str)]
    if len(texts) != len(value):
        stranger = next(item for item in value if not isinstance(item, str))
        raise _RecordError(f"{key} holds {_kind(stranger)}; it should hold texts only")
    return texts


def _identifier(record: dict[str, object], key: str) -> str:
    """Text, or the whole number as which tables often keep a PMID."""
    value = record.get(key)
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return _text(record, key)


def _abstract(record: dict[str, object]) -> str:
    """A text, or a list of sentences."""
    if isinstance(record.get("abstract"), list):
        return " ".join(_texts(record, "abstract"))
    return _text(record, "abstract")


def _year(record: dict[str, object]) -> int | None:
    value = record.get("year")
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool):
        raise _RecordError(f"year is {_kind(value)}; it should be a whole number")
    if value not in _YEARS:
        raise _RecordError(f"year is not within {_YEARS[0]} to {_YEARS[-1]}")
    return value


def _url(record: dict[str, object]) -> str:
    """A web address. Cards show it as a link, and a link can also be a script."""
    url = clean(_text(record, "url"))
    if url and not url.lower().startswith(_WEB):
        raise _RecordError(f"url {url[:40]!r} begins with neither https:// nor http://")
    return url


def _kind(value: object) -> str:
    """What a JSON value is, in words."""
    if isinstance(value, bool):
        return "true or false"
    names: dict[type, str] = {str: "a text", list: "a list", dict: "an object", type(None): "null"}
    return names.get(type(value), "a number")


def _refuse_constant(name: str) -> NoReturn:
    raise _RecordError(f"{name} is not JSON")
