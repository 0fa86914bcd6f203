"""CSV and TSV: tables as spreadsheets and databases write them, their dialect and their columns told by the content."""

import csv
import io
import re
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from corpus.io.decoding import head_text
from corpus.io.limits import Limits
from corpus.io.lines import bounded_lines
from corpus.io.streams import CappedStream
from corpus.paper import Paper
from corpus.readers.columns import Columns, ColumnsNotFound, Mapped, map_columns, recognised
from corpus.readers.report import Found, Rejected
from corpus.text.plain import clean

FORMAT = "CSV"
UNIT = "row"

_DELIMITERS = (",", ";", "\t", "|")
_SEP = re.compile(r"sep=(.)\n", re.IGNORECASE)  # Excel's own word on the delimiter, before the table
_HEAD_BYTES = 65_536
_HEADER_WITHIN = 10  # rows: Dimensions begins with what was searched for
_SAMPLE = 200  # rows that are looked at before the first is read
_NO_TEXT = re.compile(r"[\x00-\x08\x0e-\x1a\x1c-\x1f]")


@dataclass(frozen=True, slots=True)
class Table:
    """How a file is a table: what parts its cells, whether quotes hold cells together, and where its header stands.

    header: its row, from 1; rows before it say nothing.
    """

    delimiter: str
    quoted: bool
    header: int
    mapped: Mapped


def may_be_table(text: str) -> bool:
    """Whether the first text of a file can be a table: no control characters, and a first line of several cells."""
    lines = _SEP.sub("", text[:_HEAD_BYTES].lstrip(), count=1).split("\n")[:_HEADER_WITHIN]
    if len(_NO_TEXT.findall(text)) * 50 > len(text):
        return False
    return any(delimiter in line for line in lines for delimiter in _DELIMITERS) or bool(recognised([lines[0]]))


def begins_with_header(text: str) -> bool:
    """Whether the first line of a file is a table's header, two fields of which can be told at the least."""
    line = text.partition("\n")[0][:_HEAD_BYTES].strip()
    return any(recognised(line.replace('"', "").split(delimiter)) > 1 for delimiter in _DELIMITERS)


def find_table(stream: CappedStream, *, columns: Columns | None = None) -> Table:
    """How a file is a table, from its head. Raises ColumnsNotFound, naming the headers, where that is unclear."""
    text = head_text(stream.head(_HEAD_BYTES))
    told = _SEP.match(text)
    best: Table | None = None
    score = 0
    fewest: ColumnsNotFound | None = None
    for delimiter in [told[1]] if told else _DELIMITERS:
        rows = _sample(text[told.end() :] if told else text, delimiter, quoted=True)
        for number, row in rows[:_HEADER_WITHIN]:
            found = recognised(row, columns)
            if found > score:
                score = found
                mapped = map_columns(row, columns)
                # Web of Science's tags come with cells that are never quoted, and hold quotes of their own.
                quoted = not (delimiter == "\t" and "TI" in mapped.headers)
                best = Table(delimiter, quoted, number, mapped)
        if not score and rows and (fewest is None or len(rows[0][1]) > len(fewest.headers)):
            try:
                map_columns(rows[0][1], columns)
            except ColumnsNotFound as error:
                fewest = error
    if best is None:
        raise fewest or ColumnsNotFound("it has no row of headers", headers=())
    for number, row in _sample(text[told.end() :] if told else text, best.delimiter, quoted=best.quoted):
        if number > best.header:
            best.mapped.learn(row)
    return best


def read_csv(stream: CappedStream, table: Table, *, limits: Limits) -> Iterator[Found]:
    """What each row under the header gives, in its order, numbered as in a spreadsheet; blank rows are passed over.

    table: what `find_table` found in the head of the stream.
    """
    header = [clean(cell) for cell in table.mapped.headers]
    for number, row in _rows(stream, table, most=limits.line_bytes):
        if number <= table.header:
            continue
        if isinstance(row, Rejected):
            yield number, row
        elif any(cell.strip() for cell in row) and [clean(cell) for cell in row] != header:
            yield number, _paper(row, table)


def _paper(row: Sequence[str], table: Table) -> Paper | Rejected:
    wanted = len(table.mapped.headers)
    if any(cell.strip() for cell in row[wanted:]):
        return Rejected(
            "damaged",
            f"{len(row)} cells under {wanted} headers. Put quotes around cells that hold {table.delimiter!r}, "
            "or drop the record.",
        )
    paper = table.mapped.paper(row)
    if not paper.title and len(row) < wanted:
        return Rejected(
            "damaged", f"{len(row)} cells under {wanted} headers, and no title. Correct it, or drop the record."
        )
    return paper


def _sample(text: str, delimiter: str, *, quoted: bool) -> list[tuple[int, list[str]]]:
    """The first rows of a text that are not blank, with their numbers; the last may be half of one."""
    rows = []
    reader = csv.reader(io.StringIO(text, newline="\n"), delimiter=delimiter, quoting=_quoting(quoted))
    try:
        for number, row in enumerate(reader, start=1):
            if any(cell.strip() for cell in row):
                rows.append((number, row))
            if len(rows) == _SAMPLE:
                break
    except csv.Error:  # a cell that fills the sample
        pass
    return rows


def _quoting(quoted: bool) -> Literal[0, 3]:
    return csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE


class _TooLong(Exception):
    """A row that goes on for longer than a row may."""


class _Lines:
    """The lines of a file for csv.reader, which remembers those of the present row so that they can be read again."""

    def __init__(self, stream: CappedStream, *, most: int) -> None:
        self._lines = bounded_lines(stream, most=most)
        self._again: deque[str] = deque()
        self._most = most
        self._length = 0
        self._spare = most
        self.taken: list[str] = []

    def __iter__(self) -> "_Lines":
        return self

    def __next__(self) -> str:
        if self._again:
            line: str | None = self._again.popleft()
        else:
            line = next(self._lines)
            self._spare += len(line or "")
        if line is None or self._length + len(line) > self._most:
            if line is not None and self.taken:
                self._again.appendleft(line)
            raise _TooLong
        self.taken.append(line)
        self._length += len(line)
        return line

    def next_row(self) -> None:
        """Forget the lines of the row that was read."""
        self.taken, self._length = [], 0

    def read_again(self) -> None:
        """Give out once more what follows the first line of the row that was read.

        Not where all lines have been gone through several times already: a file can be made of such rows alone.
        """
        if self._spare >= self._length:
            self._spare -= self._length
            self._again.extendleft(reversed(self.taken[1:]))


def _rows(stream: CappedStream, table: Table, *, most: int) -> Iterator[tuple[int, list[str] | Rejected]]:
    """The rows of a file and their numbers, from 1. A quote that is never closed costs the line that it is in."""
    if csv.field_size_limit() < most:
        csv.field_size_limit(most)  # of the whole process, and no smaller than what others may count on
    lines = _Lines(stream, most=most)
    if _SEP.match(head_text(stream.head(16))):
        next(lines)
    wanted = len(table.mapped.headers)
    number = 0
    while True:
        reader = csv.reader(lines, delimiter=table.delimiter, quoting=_quoting(table.quoted))
        while True:
            lines.next_row()
            number += 1
            try:
                row = next(reader)
            except StopIteration:
                return
            except (_TooLong, csv.Error):
                reason = f"the row has more than {most:,} characters, or a quote that is not closed"
                yield number, Rejected("damaged", f"{reason}. Correct it, or drop the record.")
                lines.read_again()
                break
            if len(lines.taken) > 1 and number > table.header and _swallowed(row, lines.taken, table, wanted=wanted):
                reason = "a quote is not closed, or not doubled within a quoted cell. Correct it, or drop the record."
                yield number, Rejected("damaged", reason)
                lines.read_again()
                break
            yield number, row


def _swallowed(row: list[str], lines: list[str], table: Table, *, wanted: int) -> bool:
    """Whether a row of several lines is one with a quote that is not closed, and others that it took for its text."""
    if len(row) == wanted and "".join(lines).count('"') % 2 == 0:
        return False
    later = csv.reader(lines[1:], delimiter=table.delimiter, quoting=_quoting(table.quoted))
    try:
        return any(len(other) == wanted for other in later)
    except csv.Error:
        return False
