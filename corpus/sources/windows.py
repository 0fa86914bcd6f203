"""Results that a service gives only the first of: split by dates until each part is small enough."""

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import date, timedelta

from corpus.paper import Paper
from corpus.sources.errors import SourceError
from corpus.sources.source import Left, Page, sort_out

Days = tuple[date, date]  # both included


@dataclass(frozen=True, slots=True)
class Slice:
    """What a service lists for one stretch of days: how many records it counts there, and some of them.

    listed: how many it listed, whatever comes of them. records: gives those, and may ask again for that.
    """

    count: int
    listed: int
    records: Callable[[], Iterable[Paper | Left]]


# (days, or None for all records; start; how many) -> Slice
Ask = Callable[[Days | None, int, int], Slice]


def windowed_pages(
    ask: Ask, *, title: str, cursor: str, first: date, last: date, most_a_window: int, page: int
) -> Iterator[Page]:
    """All pages of a query, newest days first where there are too many records for one list.

    A single day with more than `most_a_window` records is given as far as the service goes, with a note.
    """
    total, start = -1, 0
    todo: list[Days | None] = [None]
    if cursor:
        total, todo, start = _read(cursor, title=title)
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
        papers, problems = sort_out(part.records(), title=title)
        start += page
        if start >= min(part.count, most_a_window) or not part.listed:
            todo.pop()
            start = 0
        yield Page(
            papers=papers,
            problems=problems,
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
