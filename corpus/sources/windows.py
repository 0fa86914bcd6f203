"""Results that a service gives only the first of: split by dates until each part is small enough."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date, timedelta

from corpus.paper import Paper
from corpus.readers.report import Problem
from corpus.sources.errors import SourceError
from corpus.sources.source import Page

Days = tuple[date, date]  # both included


@dataclass(frozen=True, slots=True)
class Slice:
    """What a service answers for one stretch of days: how many records it counts there, and some of them.

    given: how many records the service listed, whatever came of them; 0 where there are no more.
    """

    count: int
    given: int
    papers: tuple[Paper, ...] = ()
    problems: tuple[Problem, ...] = ()


# (days, or None for all records; start; how many) -> Slice
Ask = Callable[[Days | None, int, int], Slice]


def windowed_pages(
    ask: Ask, *, title: str, cursor: str, first: date, last: date, most_a_window: int, page: int
) -> Iterator[Page]:
    """All pages of a query, newest days first where there are too many records for one list.

    A single day with more than `most_a_window` records is given as far as the service goes, with a note.
    """
    total, todo, start = _read(cursor, title=title) if cursor else (-1, [None], 0)
    while todo:
        days = todo[-1]
        part = ask(days, start, max(0, min(page, most_a_window - start)))
        if total < 0:
            total = part.count
        notes: tuple[str, ...] = ()
        if part.count > most_a_window and start == 0:
            if days is None:
                todo[-1:] = [(first, last)]
                continue
            if days[0] < days[1]:
                middle = days[0] + (days[1] - days[0]) // 2
                todo[-1:] = [(days[0], middle), (middle + timedelta(days=1), days[1])]
                continue
            notes = (
                f"{title} has {part.count:,} records of {days[0]}, and gives the first {most_a_window:,} of a day. "
                "Narrow the query to reach the others.",
            )
        start += page
        if start >= min(part.count, most_a_window) or not part.given:
            todo.pop()
            start = 0
        yield Page(
            papers=part.papers,
            problems=part.problems,
            cursor=_written(total, todo, start) if todo else "",
            total=total,
            notes=notes,
        )


def _written(total: int, todo: list[Days | None], start: int) -> str:
    windows = [days and [days[0].isoformat(), days[1].isoformat()] for days in todo]
    return json.dumps({"total": total, "windows": windows, "start": start})


def _read(cursor: str, *, title: str) -> tuple[int, list[Days | None], int]:
    try:
        said = json.loads(cursor)
        windows = [w and (date.fromisoformat(w[0]), date.fromisoformat(w[1])) for w in said["windows"]]
        return int(said["total"]), windows, int(said["start"])
    except (ValueError, TypeError, KeyError, IndexError, RecursionError) as error:
        raise SourceError(f"{title}: the place to go on from cannot be read. Start the fetch again.") from error
