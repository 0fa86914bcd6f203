"""Readings: the papers of one file, and the report of what was left out and why."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import TYPE_CHECKING, Literal, Self

import pyarrow as pa

from corpus.errors import UnreadableFileError, UnsafeFileError
from corpus.io.limits import Limits
from corpus.paper import Paper
from corpus.text.cells import guard_cell

if TYPE_CHECKING:
    from corpus.io.streams import CappedStream
    from corpus.readers.columns import ColumnMap
    from corpus.readers.parquet import ParquetTable

# Why a record gives no paper.
RejectionKind = Literal["empty", "non_english", "duplicate", "damaged"]
# What becomes of records with a title and no abstract: many libraries are full of them, and few encoders need one.
WithoutAbstract = Literal["leave_out", "keep"]

# Shown of each kind, so that a thousand records without an abstract do not hide the one that is damaged.
PROBLEMS_PER_KIND = 25


@dataclass(frozen=True, slots=True)
class Rejected:
    """A record that gives no paper. reason: what is wrong and what to do, without the place."""

    kind: RejectionKind
    reason: str


@dataclass(frozen=True, slots=True)
class Deleted:
    """A notice that an id of some earlier file is withdrawn. Not a record."""

    id: str


# What the reader of a format yields: the place (a count of `Reading.unit` from 1, or a text such as "12, line 345")
# and the record there.
Record = tuple[int | str, Paper | Rejected | Deleted]


@dataclass(frozen=True, slots=True)
class Problem:
    """A record that was left out: its place, and why."""

    file: str
    place: str
    kind: RejectionKind
    reason: str

    def __str__(self) -> str:
        return f"{self.file}, {self.place}: {self.reason}"


@dataclass(slots=True)
class ReadReport:
    """The report of one reading, complete once the reading is and its papers have gone through a Merger.

    `read` records were seen, and each is exactly one of kept, empty (no title, or no abstract where one is required),
    non_english, duplicate (merged into an earlier paper) or damaged. `without_abstract` of those kept have none.
    `deleted` counts withdrawal notices, which are not records. problems: one for each record left out.
    """

    file: str
    format: str
    read: int = 0
    kept: int = 0
    deleted: int = 0
    empty: int = 0
    non_english: int = 0
    duplicate: int = 0
    damaged: int = 0
    without_abstract: int = 0
    problems: list[Problem] = field(default_factory=list)
    _reasons: dict[str, str] = field(default_factory=dict, repr=False, compare=False)

    def reject(self, rejected: Rejected, *, place: str) -> None:
        """Count a record that gives no paper, and note why."""
        setattr(self, rejected.kind, getattr(self, rejected.kind) + 1)
        # A million records without an abstract share one sentence.
        reason = self._reasons.setdefault(rejected.reason, rejected.reason)
        self.problems.append(Problem(self.file, place, rejected.kind, reason))

    def reject_duplicate(self, reason: str, *, place: str, without_abstract: bool) -> None:
        """Count a record that was counted as kept as a duplicate."""
        self.kept -= 1
        self.without_abstract -= without_abstract
        self.reject(Rejected("duplicate", reason), place=place)

    @property
    def left_out(self) -> int:
        """How many records gave no paper of their own."""
        return self.empty + self.non_english + self.duplicate + self.damaged

    def summary(self) -> str:
        """One sentence for the person who chose the file."""
        reasons = [
            f"{count:,} {words}"
            for count, words in (
                (self.empty, "without a title or an abstract"),
                (self.non_english, "not in English"),
                (self.duplicate, "given twice"),
                (self.damaged, "damaged"),
            )
            if count
        ]
        bare = f" ({self.without_abstract:,} of them without an abstract)" if self.without_abstract else ""
        left_out = f"; left out: {', '.join(reasons)}" if reasons else ""
        return f"{self.file}: {self.kept:,} of {self.read:,} records kept{bare}{left_out}."

    def to_dict(self) -> dict[str, object]:
        """The counts, and some problems of each kind, for JSON; `problems_left_out` counts the other problems."""
        shown: list[dict[str, str]] = []
        seen: Counter[str] = Counter()
        for problem in self.problems:
            seen[problem.kind] += 1
            if seen[problem.kind] <= PROBLEMS_PER_KIND:
                shown.append({"place": problem.place, "kind": problem.kind, "reason": problem.reason})
        counts = ("file", "format", "read", "kept", "deleted", "empty", "non_english", "duplicate", "damaged")
        return {
            **{name: getattr(self, name) for name in (*counts, "without_abstract")},
            "problems": shown,
            "problems_left_out": len(self.problems) - len(shown),
        }


PROBLEMS_SCHEMA = pa.schema(
    [pa.field(name, pa.string(), nullable=False) for name in ("file", "place", "kind", "reason")]
)


def problems_table(reports: Iterable[ReadReport]) -> pa.Table:
    """The problems of all reports, in their order, with `PROBLEMS_SCHEMA`."""
    problems = [problem for report in reports for problem in report.problems]
    return pa.table(
        [[getattr(problem, name) for problem in problems] for name in PROBLEMS_SCHEMA.names], schema=PROBLEMS_SCHEMA
    )


def problems_csv(problems: Iterable[ReadReport] | pa.Table | None) -> bytes:
    """The problems of some reports, or of a table of them, as CSV (UTF-8 with a byte order mark) for a spreadsheet."""
    table = problems if isinstance(problems, pa.Table) else problems_table(problems or ())
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(PROBLEMS_SCHEMA.names)
    for batch in table.select(PROBLEMS_SCHEMA.names).to_batches(max_chunksize=1024):
        for row in zip(*(column.to_pylist() for column in batch.columns), strict=True):
            writer.writerow([guard_cell(value) for value in row])
    return text.getvalue().encode("utf-8-sig", "replace")


class Reading:
    """Iterator over the papers of one file, in its order, repeats included. `report` fills while papers are taken.

    column_map: of a table, how its columns are understood. vector_columns: of a Parquet file, those that can be
    vectors. place: of the paper taken last, as "line 3".
    Closes its file at the end, on an error, and on `close()` or leaving a `with` block before that.
    """

    def __init__(
        self,
        stream: CappedStream | ParquetTable,
        records: Iterator[Record],
        *,
        file: str,
        format: str,
        unit: str,
        limits: Limits,
        without_abstract: WithoutAbstract,
        column_map: ColumnMap | None = None,
        vector_columns: tuple[str, ...] = (),
    ):
        self.report = ReadReport(file=file, format=format)
        self.place = ""
        self.column_map = column_map
        self.vector_columns = vector_columns
        self._stream = stream
        self._records = records
        self._unit = unit
        self._limits = limits
        self._without_abstract = without_abstract

    @property
    def fraction(self) -> float:
        """How much of the file has been read, 0 to 1, for a progress bar."""
        return self._stream.fraction

    def close(self) -> None:
        """Close the file. Taking further papers then ends at once."""
        self._records = iter(())
        self._stream.close()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Paper:
        try:
            for place, record in self._records:
                if paper := self._count(record, place=f"{self._unit} {place}"):
                    return paper
        except UnreadableFileError as error:
            error.locate(file=self.report.file, records=self.report.read)
            self.close()
            raise
        self.close()
        raise StopIteration

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _count(self, record: Paper | Rejected | Deleted, *, place: str) -> Paper | None:
        report = self.report
        if isinstance(record, Deleted):
            report.deleted += 1
            return None
        if report.read >= self._limits.records:
            raise UnsafeFileError(
                f"it has more than {self._limits.records:,} records", advice="Split it into smaller files."
            )
        report.read += 1
        checked = record if isinstance(record, Rejected) else self._checked(record)
        if isinstance(checked, Rejected):
            report.reject(checked, place=place)
            return None
        report.kept += 1
        report.without_abstract += not checked.abstract
        self.place = place
        return checked

    def _checked(self, paper: Paper) -> Paper | Rejected:
        if not paper.title:
            return Rejected("empty", "no title. Add one, or drop the record.")
        if not paper.abstract and self._without_abstract == "leave_out":
            return Rejected("empty", "no abstract. Add one, or drop the record.")
        if refusal := self._limits.refusal(paper):
            return Rejected("damaged", f"{refusal}. Shorten it, or drop the record.")
        return paper


@dataclass(frozen=True, slots=True)
class Preview:
    """The head of a file.

    headers: of a table; empty for other formats. columns: the header of each field that was found, as guessed or given.
    papers: the first ones, those without an abstract included. problems: of the records before and between them; or
    why no title column is recognised. vector_columns: of a Parquet file, those that can be vectors.
    """

    format: str
    headers: tuple[str, ...]
    columns: Mapping[str, str]
    papers: tuple[Paper, ...]
    problems: tuple[Problem, ...]
    vector_columns: tuple[str, ...] = ()
