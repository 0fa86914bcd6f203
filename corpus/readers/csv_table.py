"""CSV and TSV files: the dialect and the columns are recognised by the content."""

import csv
import io
import re
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Self

from corpus.io.decoding import bounded_lines, head_text
from corpus.io.limits import Limits
from corpus.io.streams import CappedStream
from corpus.paper import Paper
from corpus.readers.columns import ColumnMap, Columns, ColumnsNotFound, count_fields, map_columns
from corpus.readers.report import Record, Rejected
from corpus.text.plain import clean

FORMAT = "CSV"
UNIT = "row"

_DELIMITERS = (",", ";", "\t", "|")
_SEP = re.compile(r"sep=(.)\n", re.IGNORECASE)  # Excel names the delimiter so, before the table
_HEAD_BYTES = 65_536
_HEADER_WITHIN = 10  # rows: Dimensions begins with the search that was made
_SAMPLE_ROWS = 200  # examined before the first is read
_CONTROL = re.compile(r"[\x00-\x08\x0e-\x1a\x1c-\x1f]")


@dataclass(frozen=True, slots=True)
class Table:
    """The dialect of a table and the meaning of its columns.

    quoted: whether quotes hold cells together. header: the number of its row, from 1; earlier rows are no records.
    """

    delimiter: str
    quoted: bool
    header: int
    columns: ColumnMap


def may_be_table(text: str) -> bool:
    """Whether the head of a file can be a table: no control characters, and one of its first lines has a delimiter."""
    lines = _SEP.sub("", text[:_HEAD_BYTES].lstrip(), count=1).split("\n")[:_HEADER_WITHIN]
    if len(_CONTROL.findall(text)) * 50 > len(text):
        return False
    return any(delimiter in line for line in lines for delimiter in _DELIMITERS) or bool(count_fields([lines[0]]))


def begins_with_header(text: str) -> bool:
    """Whether the first line of a file is a header row with at least two fields that are recognised."""
    line = text.partition("\n")[0][:_HEAD_BYTES].strip()
    return any(count_fields(line.replace('"', "").split(delimiter)) > 1 for delimiter in _DELIMITERS)


def find_table(stream: CappedStream, *, columns: Columns | None = None) -> Table:
    """The table in a file, by its head. Raises ColumnsNotFound, naming the headers, where no titles are recognised."""
    text = head_text(stream.head(_HEAD_BYTES))
    stated = _SEP.match(text)
    text = text[stated.end() :] if stated else text
    best: Table | None = None
    error: ColumnsNotFound | None = None
    for delimiter in [stated[1]] if stated else _DELIMITERS:
        rows = _sample(text, delimiter, quoted=True)
        for number, row in rows[:_HEADER_WITHIN]:
            if count_fields(row, columns) > (len(best.columns.places) if best else 0):
                column_map = map_columns(row, columns)
                # The cells of Web of Science's tagged tables are never quoted, and hold quotes of their own.
                quoted = not (delimiter == "\t" and "TI" in column_map.headers)
                best = Table(delimiter, quoted, number, column_map)
        if best is None and rows and (error is None or len(rows[0][1]) > len(error.headers)):
            try:
                map_columns(rows[0][1], columns)
            except ColumnsNotFound as found:
                error = found
    if best is None:
        raise error or ColumnsNotFound("it has no row of headers", headers=())
    for number, row in _sample(text, best.delimiter, quoted=best.quoted):
        if number > best.header:
            best.columns.learn(row)
    return best


def read_csv(stream: CappedStream, table: Table, *, limits: Limits) -> Iterator[Record]:
    """What each row below the header gives, numbered as in a spreadsheet; blank rows and repeated headers are skipped.

    table: what `find_table` found in the head of the stream.
    """
    header = [clean(cell) for cell in table.columns.headers]
    for number, row in _rows(stream, table, max_chars=limits.line_bytes):
        if number <= table.header:
            continue
        if isinstance(row, Rejected):
            yield number, row
        elif any(cell.strip() for cell in row) and [clean(cell) for cell in row] != header:
            yield number, _paper(row, table)


def _paper(row: Sequence[str], table: Table) -> Paper | Rejected:
    width = len(table.columns.headers)
    if any(cell.strip() for cell in row[width:]):
        return Rejected(
            "damaged",
            f"{len(row)} cells under {width} headers. Put quotes around cells that hold {table.delimiter!r}, "
            "or drop the record.",
        )
    paper = table.columns.paper(row)
    if not paper.title and len(row) < width:
        return Rejected(
            "damaged", f"{len(row)} cells under {width} headers, and no title. Correct it, or drop the record."
        )
    return paper


def _sample(text: str, delimiter: str, *, quoted: bool) -> list[tuple[int, list[str]]]:
    """The first rows of a text that are not blank, with their numbers; the last may be cut off."""
    rows = []
    try:
        for number, row in enumerate(_reader(io.StringIO(text, newline="\n"), delimiter, quoted=quoted), start=1):
            if any(cell.strip() for cell in row):
                rows.append((number, row))
            if len(rows) == _SAMPLE_ROWS:
                break
    except csv.Error:  # a cell that fills the sample
        pass
    return rows


def _reader(lines: Iterable[str], delimiter: str, *, quoted: bool) -> Iterator[list[str]]:
    return csv.reader(lines, delimiter=delimiter, quoting=csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE)


class _TooLong(Exception):
    """A row that exceeds the limit."""


class _Lines:
    """The lines of a file for csv.reader. Remembers those of the current row, so that they can be read again."""

    def __init__(self, stream: CappedStream, *, max_chars: int) -> None:
        self._lines = bounded_lines(stream, max_chars=max_chars)
        self._again: deque[str] = deque()
        self._max_chars = max_chars
        self._length = 0
        self._spare = max_chars
        self.taken: list[str] = []

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> str:
        if self._again:
            line: str | None = self._again.popleft()
        else:
            line = next(self._lines)
            self._spare += len(line or "")
        if line is None or self._length + len(line) > self._max_chars:
            if line is not None and self.taken:
                self._again.appendleft(line)
            raise _TooLong
        self.taken.append(line)
        self._length += len(line)
        return line

    def next_row(self) -> None:
        """Forget the lines of the current row."""
        self.taken, self._length = [], 0

    def read_again(self) -> None:
        """Go back to the second line of the current row.

        Not where all lines have been read several times already: a hostile file can consist of such rows.
        """
        if self._spare >= self._length:
            self._spare -= self._length
            self._again.extendleft(reversed(self.taken[1:]))


def _rows(stream: CappedStream, table: Table, *, max_chars: int) -> Iterator[tuple[int, list[str] | Rejected]]:
    """The rows of a file and their numbers, from 1. An unclosed quote costs only the line that it is in."""
    if csv.field_size_limit() < max_chars:
        csv.field_size_limit(max_chars)  # of the whole process, so it only grows
    lines = _Lines(stream, max_chars=max_chars)
    if _SEP.match(head_text(stream.head(16))):
        next(lines)
    reader = _reader(lines, table.delimiter, quoted=table.quoted)
    number = 0
    while True:
        lines.next_row()
        number += 1
        try:
            row = next(reader)
        except StopIteration:
            return
        except (_TooLong, csv.Error):
            reason = f"the row has more than {max_chars:,} characters, or a quote that is not closed"
        else:
            if len(lines.taken) < 2 or number <= table.header or not _is_swallowed(row, lines.taken, table):
                yield number, row
                continue
            reason = "a quote is not closed, or not doubled within a quoted cell"
        yield number, Rejected("damaged", f"{reason}. Correct it, or drop the record.")
        lines.read_again()
        reader = _reader(lines, table.delimiter, quoted=table.quoted)


def _is_swallowed(row: list[str], lines: list[str], table: Table) -> bool:
    """Whether a row of several lines has an unclosed quote and took later rows for its text."""
    width = len(table.columns.headers)
    if len(row) == width and "".join(lines).count('"') % 2 == 0:
        return False
    try:
        return any(len(later) == width for later in _reader(lines[1:], table.delimiter, quoted=table.quoted))
    except csv.Error:
        return False
