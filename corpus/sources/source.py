"""What every source offers, and paging through results that a service lists only in part."""

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import date, timedelta

from corpus.identifiers import Identifier, IdentifierKind
from corpus.io.limits import DEFAULT_LIMITS
from corpus.paper import Paper
from corpus.readers.report import Problem, RejectionKind
from corpus.sources.client import Client
from corpus.sources.errors import SourceError, SourceRefused
from corpus.text.plain import clean

MAX_QUERY_CHARS = 2_000  # every server accepts an address of this length


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """A page of results.

    cursor: where the next page begins, readable by its source alone; "" after the last page. total: how many records
    the source counts for the query now. notes: sentences on what the source cannot give.
    """

    papers: tuple[Paper, ...]
    problems: tuple[Problem, ...]
    cursor: str
    total: int
    notes: tuple[str, ...] = ()


class Source(ABC):
    """A service that is searched for papers.

    name: for programs. title: for people. home: its web page. help: how its queries are written, in one sentence.
    kinds: the identifiers that it looks up. Every method raises SourceError.
    """

    name: str
    title: str
    home: str
    help: str
    kinds: tuple[IdentifierKind, ...]

    @abstractmethod
    def count(self, query: str, *, client: Client) -> int:
        """How many records match."""

    @abstractmethod
    def pages(self, query: str, *, client: Client, cursor: str = "", limit: int | None = None) -> Iterator[Page]:
        """The matching records, page by page from `cursor` on. limit: how many are wanted; a page may bring more."""

    @abstractmethod
    def look_up(self, identifier: Identifier, *, client: Client) -> Paper:
        """The paper with an identifier of one of `kinds`; its abstract may be empty. Raises PaperNotFound."""


@dataclass(frozen=True, slots=True)
class Skipped:
    """A record that gives no paper: which one, the kind of problem and the reason."""

    place: str
    kind: RejectionKind
    reason: str


def checked_query(query: str, *, title: str) -> str:
    """The query on one line. Raises SourceRefused where it is empty or too long."""
    query = clean(query)
    if not query:
        raise SourceRefused(f"The query for {title} is empty. Enter some words.")
    if len(query) > MAX_QUERY_CHARS:
        raise SourceRefused(
            f"The query for {title} has {len(query):,} characters; the maximum is {MAX_QUERY_CHARS:,}. Shorten it."
        )
    return query


def split_records(records: Iterable[Paper | Skipped], *, title: str) -> tuple[tuple[Paper, ...], tuple[Problem, ...]]:
    """The papers with a title and an abstract, and a problem for every other record."""
    papers: list[Paper] = []
    problems: list[Problem] = []
    for record in records:
        if isinstance(record, Paper):
            skipped = _refusal(record)
            if skipped is None:
                papers.append(record)
                continue
        else:
            skipped = record
        problems.append(Problem(title, skipped.place, skipped.kind, skipped.reason))
    return tuple(papers), tuple(problems)


def _refusal(paper: Paper) -> Skipped | None:
    missing = [name for name in ("title", "abstract") if not getattr(paper, name)]
    if missing:
        return Skipped(paper.id[:60], "empty", f"no {' and no '.join(missing)}.")
    if reason := DEFAULT_LIMITS.refusal(paper):
        return Skipped(paper.id[:60], "damaged", f"{reason}.")
    return None


# Some services list only the first records of a query. Their results are split by date until each part is short enough.

Days = tuple[date, date]  # both included


@dataclass(frozen=True, slots=True)
class Slice:
    """What a service lists for a range of days: the count of records there, and some of them.

    listed: how many it listed, usable or not. records: reads those, perhaps by another request.
    """

    count: int
    listed: int
    records: Callable[[], Iterable[Paper | Skipped]]


# (days, or None for all records; start; how many) -> Slice
AskSlice = Callable[[Days | None, int, int], Slice]


def pages_by_date(
    ask: AskSlice, *, title: str, cursor: str, first: date, last: date, max_listed: int, page: int
) -> Iterator[Page]:
    """All pages of a query, the newest days first where there are more than `max_listed` records.

    A single day with more records than that gives its first `max_listed`, and a note.
    """
    total, start = -1, 0
    ranges: list[Days | None] = [None]  # None: all days
    if cursor:
        total, ranges, start = _read_cursor(cursor, title=title)
    while ranges:
        days = ranges[-1]
        part = ask(days, start, max(0, min(page, max_listed - start)))
        if total < 0:
            total = part.count
        notes: tuple[str, ...] = ()
        if part.count > max_listed and start == 0:
            if days is None:
                ranges[-1:] = [(first, last)]
                continue
            if days[0] < days[1]:
                middle = days[0] + (days[1] - days[0]) // 2
                ranges[-1:] = [(days[0], middle), (middle + timedelta(days=1), days[1])]
                continue
            notes = (
                f"{title} has {part.count:,} records of {days[0]} and lists the first {max_listed:,} of a day. "
                "Narrow the query to reach the others.",
            )
        papers, problems = split_records(part.records(), title=title)
        start += page
        if start >= min(part.count, max_listed) or not part.listed:
            ranges.pop()
            start = 0
        following = _write_cursor(total, ranges, start) if ranges else ""
        yield Page(papers=papers, problems=problems, cursor=following, total=total, notes=notes)


def _write_cursor(total: int, ranges: list[Days | None], start: int) -> str:
    windows = [days and [days[0].isoformat(), days[1].isoformat()] for days in ranges]
    return json.dumps({"total": total, "windows": windows, "start": start})


def _read_cursor(cursor: str, *, title: str) -> tuple[int, list[Days | None], int]:
    try:
        state = json.loads(cursor)
        ranges = [w and (date.fromisoformat(w[0]), date.fromisoformat(w[1])) for w in state["windows"]]
        return int(state["total"]), ranges, int(state["start"])
    except (ValueError, TypeError, KeyError, IndexError, RecursionError) as error:
        raise bad_cursor(title) from error


def bad_cursor(title: str) -> SourceError:
    """The error for a cursor that a source cannot read."""
    return SourceError(f"{title}: the saved position of the fetch cannot be read. Start the fetch again.")
