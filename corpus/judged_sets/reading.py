"""Files of judged sets, opened safely: lines, tables and long JSON of bounded size; errors name the place."""

import csv
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

from corpus.io.decoding import head_text, text_lines
from corpus.io.limits import Limits
from corpus.io.lines import bounded_lines
from corpus.io.streams import CappedStream
from corpus.judged_sets.judged import SetError
from corpus.progress import Progress, no_progress
from corpus.readers.cells import unguarded
from corpus.readers.json_shapes import kind_of
from corpus.readers.json_values import BrokenJson, JsonValues
from corpus.readers.report import UnreadableFileError
from corpus.text.plain import clean

# CORD-19's table has more than 1 GB. Long rows of equal grades pack to gzip's own limit: only the sum tells a bomb.
LIMITS = Limits(file_bytes=4 * 2**30, unpacked_bytes=4 * 2**30, unpacked_ratio=1_100, record_bytes=32 * 2**20)
_SMALL_BYTES = 32 * 2**20  # of a file that is read at once: lists of queries, topics
SMALL_LIMITS = Limits(file_bytes=_SMALL_BYTES, unpacked_bytes=_SMALL_BYTES, record_bytes=_SMALL_BYTES)
MOST_JUDGEMENTS = 20_000_000  # rows that are read at once; TRECCOVID-RF would have 11 million
_WHOLE = re.compile(r"-?[0-9]{1,9}")
_EVERY = 1_000  # lines between two reports of progress
_HEAD_BYTES = 65_536


@contextmanager
def opened(path: Path, *, limits: Limits = LIMITS) -> Iterator[CappedStream]:
    """The bytes of a file, gzip or not. What readers and decoders raise becomes a SetError that names the file."""
    stream: CappedStream | None = None
    try:
        stream = CappedStream(path, limits)
        yield stream
    except UnreadableFileError as error:
        error.locate(file=path.name)
        raise SetError(str(error)) from error
    except BrokenJson as error:
        raise SetError(f"{path.name}: it is no JSON, or ends too early ({error}). Download it again.") from error
    except csv.Error as error:
        raise SetError(f"{path.name}: it is no table ({error}). Download it again.") from error
    finally:
        if stream is not None:
            stream.close()


def json_lines(path: Path, *, stage: str, progress: Progress = no_progress) -> Iterator[tuple[int, dict[str, Any]]]:
    """The objects of a JSON Lines file with the numbers of their lines. Raises SetError for a line that is none."""
    with opened(path) as stream:
        for number, line in _lines(path, stream, stage=stage, progress=progress):
            if not line.strip():
                continue
            _few(path, number)
            try:
                record = json.loads(line, parse_constant=_refuse_constant)
            except (ValueError, RecursionError) as error:
                raise SetError(f"{path.name}, line {number}: it is no JSON ({error}). Correct it.") from error
            if not isinstance(record, dict):
                raise SetError(f"{path.name}, line {number}: it is {kind_of(record)}; it should be an object.")
            yield number, record


def table_rows(path: Path, *, stage: str, progress: Progress = no_progress) -> Iterator[tuple[int, dict[str, str]]]:
    """The rows of a table as header → cell, with their numbers; tabs part the cells where the header has one.

    Headers are in small letters. Cells of tab-separated tables are never quoted: titles hold quotes of their own.
    """
    if csv.field_size_limit() < LIMITS.line_bytes:
        csv.field_size_limit(LIMITS.line_bytes)  # of the whole process, and no smaller than what others may count on
    with opened(path) as stream:
        first = head_text(stream.head(_HEAD_BYTES)).partition("\n")[0]
        lines = (line for _, line in _lines(path, stream, stage=stage, progress=progress))
        rows = csv.reader(lines, delimiter="\t", quoting=csv.QUOTE_NONE) if "\t" in first else csv.reader(lines)
        header = [clean(cell).lower() for cell in next(rows, [])]
        for number, row in enumerate(rows, start=2):
            if any(row):
                _few(path, number)
                yield number, {name: unguarded(cell) for name, cell in zip(header, row, strict=False)}


def is_json(path: Path) -> bool:
    """Whether a file begins as JSON does."""
    with opened(path) as stream:
        return head_text(stream.head(_HEAD_BYTES)).lstrip()[:1] in ("{", "[")


class Members(list[tuple[str, Any]]):
    """The members of a JSON object in their order, of which some may have the same name."""


def json_items(path: Path, *, stage: str, progress: Progress = no_progress) -> Iterator[tuple[str, Any]]:
    """The keys of a file's one JSON object with their values, one after another; a key may come again.

    Objects among the values are Members.
    """
    with opened(path) as stream:
        values = JsonValues(text_lines(stream), most=LIMITS.record_bytes, object_of=Members)
        if values.next() != "{":
            raise SetError(f"{path.name}: it does not begin with an object in braces. Check that it is the right file.")
        for key in values.keys_of_object():
            progress(stage, int(100 * stream.fraction), 100)
            yield key, values.value()
        _end(values)


def json_members(path: Path, *, stage: str, progress: Progress = no_progress) -> Iterator[Any]:
    """The members of a file's one JSON list, one after another."""
    with opened(path) as stream:
        values = JsonValues(text_lines(stream), most=LIMITS.record_bytes)
        if values.next() != "[":
            raise SetError(f"{path.name}: it does not begin with a list in brackets. Check that it is the right file.")
        for member in values.records(lists=None):
            progress(stage, int(100 * stream.fraction), 100)
            yield member


def qrels(path: Path, *, stage: str, progress: Progress = no_progress) -> Iterator[tuple[str, str, int]]:
    """Topic, document and judgement of each row of judgements as TREC writes them: four columns, the second unused."""
    with opened(path) as stream:
        for number, line in _lines(path, stream, stage=stage, progress=progress):
            cells = line.split()
            if not cells:
                continue
            _few(path, number, most=MOST_JUDGEMENTS)
            if len(cells) != 4 or not _WHOLE.fullmatch(cells[3]):
                raise SetError(
                    f"{path.name}, line {number}: it should be topic, iteration, document and a whole number as the "
                    f"judgement, parted by spaces, and is {clean(line)[:80]!r}. Correct it."
                )
            yield identifier(cells[0]), identifier(cells[2]), int(cells[3])


def small_json(path: Path) -> Any:
    """The JSON of a small file."""
    with opened(path, limits=SMALL_LIMITS) as stream:
        values = JsonValues(text_lines(stream), most=_SMALL_BYTES)
        value = values.value()
        _end(values)
        return value


def identifier(value: object) -> str:
    """An id as this project keeps it: a text, or the whole number that files have in its place. "" for any other."""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return clean(value) if isinstance(value, str) else ""


def grade_in(value: object) -> int | None:
    """A grade that is a whole number, 0 or more, also where it is written as 2.0; None for any other."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def texts_of(record: dict[str, Any], key: str, *, place: str) -> str:
    """A text, or a list of sentences joined by spaces; "" where there is none. place: for the error."""
    value = record.get(key)
    if value is None:
        return ""
    if isinstance(value, list) and all(isinstance(sentence, str) for sentence in value):
        return " ".join(value)
    if not isinstance(value, str):
        raise SetError(f"{place}: {key} is {kind_of(value)}; it should be a text or a list of sentences. Correct it.")
    return value


def _lines(path: Path, stream: CappedStream, *, stage: str, progress: Progress) -> Iterator[tuple[int, str]]:
    for number, line in enumerate(bounded_lines(stream, most=LIMITS.line_bytes), start=1):
        if number % _EVERY == 0:
            progress(stage, int(100 * stream.fraction), 100)
        if line is None:
            raise SetError(
                f"{path.name}, line {number}: it has more than {LIMITS.line_bytes:,} characters. Shorten it."
            )
        yield number, line


def _few(path: Path, number: int, *, most: int = LIMITS.records) -> None:
    """Refuse what has more records than memory: a small archive can hold gigabytes of short ones."""
    if number > most:
        raise SetError(f"{path.name}: it has more than {most:,} records. Split it.")


def _end(values: JsonValues) -> None:
    if rest := values.next():
        raise BrokenJson(f"{rest!r} stands behind its end")


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")
