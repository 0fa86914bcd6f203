"""Readings: papers as a file gives them, and the account of what was left out and why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import TracebackType
from typing import TYPE_CHECKING, Literal, Protocol, Self

from corpus.errors import DamagedFileError as DamagedFileError
from corpus.errors import UnknownFormatError as UnknownFormatError
from corpus.errors import UnreadableFileError as UnreadableFileError
from corpus.errors import UnsafeFileError as UnsafeFileError
from corpus.io.limits import Limits
from corpus.paper import Paper

if TYPE_CHECKING:
    from corpus.readers.columns import Mapped

# Reasons for which a record that was read gives no paper.
Kind = Literal["empty", "non_english", "duplicate", "damaged"]
# What becomes of records with a title and no abstract: many a library is full of them, and few encoders need one.
WithoutAbstract = Literal["leave_out", "keep"]

# Shown of each kind, so that a thousand records without an abstract do not hide the one that is damaged.
PROBLEMS_A_KIND = 25


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
    """The account of one reading, complete once the reading is and its papers have gone through a Merger.

    `read` records were seen, and each is exactly one of kept, empty (no title, or no abstract where one is asked for),
    non_english, duplicate (merged into a paper that was read before) or damaged. `without_abstract` of those kept have
    none. `deleted` counts withdrawal notices, which are not records. problems: one for every record left out.
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

    def repeat(self, *, place: str, reason: str, without_abstract: bool) -> None:
        """Count a record that was kept as one that repeats an earlier one after all."""
        self.kept -= 1
        self.without_abstract -= without_abstract
        self.reject(Rejected("duplicate", reason), place=place)

    @property
    def left_out(self) -> int:
        """How many records were read and gave no paper of their own."""
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
        """The counts and some problems of each kind as JSON holds them; `problems_left_out` says how many more."""
        shown: list[dict[str, str]] = []
        seen: Counter[str] = Counter()
        for problem in self.problems:
            seen[problem.kind] += 1
            if seen[problem.kind] <= PROBLEMS_A_KIND:
                shown.append({"place": problem.place, "kind": problem.kind, "reason": problem.reason})
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
            "without_abstract": self.without_abstract,
            "problems": shown,
            "problems_left_out": len(self.problems) - len(shown),
        }


class OpenFile(Protocol):
    """What a reading needs of its file: how far it is, and how to let go of it."""

    @property
    def fraction(self) -> float:
        """How much of the file has been read, 0 to 1."""

    def close(self) -> None:
        """Close the file."""


class Reading:
    """The papers of one file, once, in its order, repeats among them. `report` fills while they are taken.

    mapped: of a table, how its columns are understood. vector_columns: of a Parquet file, those that can be vectors.
    place: where the paper that was taken last stood, as "line 3". `corpus.dedup` makes one of repeats.
    Closes its file at the end, on an error, and on `close()` or leaving a `with` block before that.
    """

    def __init__(
        self,
        stream: OpenFile,
        found: Iterator[Found],
        *,
        file: str,
        format: str,
        unit: str,
        limits: Limits,
        without_abstract: WithoutAbstract = "leave_out",
    ):
        self.report = ReadReport(file=file, format=format)
        self.place = ""
        self.mapped: Mapped | None = None
        self.vector_columns: tuple[str, ...] = ()
        self._stream = stream
        self._found = found
        self._unit = unit
        self._limits = limits
        self._keeps_bare = without_abstract == "keep"

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
        if report.read >= self._limits.records:
            raise UnsafeFileError(
                f"it has more than {self._limits.records:,} records", advice="Split it into smaller files."
            )
        report.read += 1
        rejected = found if isinstance(found, Rejected) else self._refusal(found)
        if rejected is not None:
            report.reject(rejected, place=place)
            return None
        assert isinstance(found, Paper)
        report.kept += 1
        report.without_abstract += not found.abstract
        self.place = place
        return found

    def _refusal(self, paper: Paper) -> Rejected | None:
        """Why a paper is not one that can be kept, or None where it is. Readers leave this to their reading."""
        if not paper.title:
            return Rejected("empty", "no title. Add one, or drop the record.")
        if not paper.abstract and not self._keeps_bare:
            return Rejected("empty", "no abstract. Add one, or drop the record.")
        if refusal := self._limits.refusal(paper):
            return Rejected("damaged", f"{refusal}. Shorten it, or drop the record.")
        return None
