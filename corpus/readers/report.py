"""Readings: papers as a file gives them, and the account of what was left out and why."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from types import TracebackType
from typing import TYPE_CHECKING, Literal, Self

from corpus.errors import CociteAtlasError
from corpus.paper import Paper
from corpus.readers.limits import Limits

if TYPE_CHECKING:
    from corpus.readers.streams import CappedStream

# Reasons for which a record that was read gives no paper.
Kind = Literal["empty", "non_english", "duplicate", "damaged"]

# Kept for each kind, so that a thousand records without an abstract do not hide the one that is damaged.
PROBLEMS_A_KIND = 25


class UnreadableFileError(CociteAtlasError):
    """A file that cannot be read, or not to its end. The base class of the three below."""

    def __init__(self, reason: str, *, advice: str):
        super().__init__(reason, advice)
        self.reason = reason
        self.advice = advice
        self.file = ""
        self.records: int | None = None

    def locate(self, *, file: str, records: int | None = None) -> None:
        """Add what only the caller knows: the file's name and how many records were read before this."""
        self.file = file
        self.records = records

    def __str__(self) -> str:
        place = f"{self.file}: " if self.file else ""
        before = "" if self.records is None else f" Records read before that: {self.records:,}."
        return f"{place}{self.reason}.{before} {self.advice}"


class UnknownFormatError(UnreadableFileError):
    """A file that holds something else than the formats that are read."""


class DamagedFileError(UnreadableFileError):
    """A file that ends too early, or breaks the rules of its format where no single record can be blamed."""


class UnsafeFileError(UnreadableFileError):
    """A file refused because reading on could cost more memory or time than any library needs."""


@dataclass(frozen=True, slots=True)
class Rejected:
    """A record that gives no paper. reason: what is wrong and what to do, without the place."""

    kind: Kind
    reason: str


@dataclass(frozen=True, slots=True)
class Deleted:
    """A notice that an id given in some earlier file is withdrawn. Not a record."""

    id: str


# What the reader of a format yields: the place (a count of `Reading.unit`, from 1; or such with more to it, as in
# "12, line 345") and what was found there.
Found = tuple[int | str, Paper | Rejected | Deleted]


@dataclass(frozen=True, slots=True)
class Problem:
    """One record that was left out: where it is, of which kind, and why."""

    file: str
    place: str
    kind: Kind
    reason: str

    def __str__(self) -> str:
        return f"{self.file}, {self.place}: {self.reason}"


@dataclass(slots=True)
class ReadReport:
    """The account of one reading, complete once the reading is.

    `read` records were seen, and each is exactly one of kept, empty (no title or no abstract), non_english,
    duplicate (an id seen before) or damaged. `deleted` counts withdrawal notices, which are not records.
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
    problems: list[Problem] = field(default_factory=list)

    def reject(self, rejected: Rejected, *, place: str) -> None:
        """Count a record that gives no paper, and note why unless its kind has been noted often enough."""
        count = getattr(self, rejected.kind) + 1
        setattr(self, rejected.kind, count)
        if count <= PROBLEMS_A_KIND:
            self.problems.append(Problem(self.file, place, rejected.kind, rejected.reason))

    @property
    def left_out(self) -> int:
        """How many records were read and gave no paper."""
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
        left_out = f"; left out: {', '.join(reasons)}" if reasons else ""
        return f"{self.file}: {self.kept:,} of {self.read:,} records kept{left_out}."

    def to_dict(self) -> dict[str, object]:
        """Everything as JSON holds it; `problems_left_out` says how many more there were."""
        return {
            "file": self.file,
            "format": self.format,
            "read": self.read,
            "kept": self.kept,
            "deleted": self.deleted,
            "empty": self.empty,
            "non_english": self.non_english,
            "duplicate": self.duplicate,
            "damaged": self.damaged,
            "problems": [
                {"place": problem.place, "kind": problem.kind, "reason": problem.reason} for problem in self.problems
            ],
            "problems_left_out": self.left_out - len(self.problems),
        }


class Reading:
    """The papers of one file, once, in its order, each id once. `report` fills while they are taken.

    Closes its file at the end, on an error, and on `close()` or leaving a `with` block before that.
    """

    def __init__(
        self,
        stream: CappedStream,
        found: Iterator[Found],
        *,
        file: str,
        format: str,
        unit: str,
        limits: Limits,
    ):
        self.report = ReadReport(file=file, format=format)
        self._stream = stream
        self._found = found
        self._unit = unit
        self._limits = limits
        self._ids: set[str] = set()

    @property
    def fraction(self) -> float:
        """How much of the file has been read, 0 to 1, for a progress bar."""
        return self._stream.fraction

    def close(self) -> None:
        """Close the file. Taking further papers then ends at once."""
        self._found = iter(())
        self._stream.close()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Paper:
        try:
            for number, found in self._found:
                if paper := self._count(found, place=f"{self._unit} {number}"):
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
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _count(self, found: Paper | Rejected | Deleted, *, place: str) -> Paper | None:
        report = self.report
        if isinstance(found, Deleted):
            report.deleted += 1
            return None
        report.read += 1
        if isinstance(found, Paper):
            if refusal := self._limits.refusal(found):
                found = Rejected("damaged", f"{refusal}. Shorten it, or drop the record.")
            elif found.id in self._ids:
                found = Rejected("duplicate", f"id {found.id!r} was given before. The first one is kept.")
        if isinstance(found, Rejected):
            report.reject(found, place=place)
            return None
        self._ids.add(found.id)
        report.kept += 1
        return found
