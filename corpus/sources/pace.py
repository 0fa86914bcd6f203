"""Waiting: no service is asked more often than it allows, and a wait can be stopped from outside."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

_SLICE = 1.0  # seconds between two looks at whether the wait still matters


def _nothing() -> None:
    """What is done during waits that nobody watches."""


_watching: ContextVar[Callable[[], None]] = ContextVar("_watching", default=_nothing)


@contextmanager
def watched(look: Callable[[], None]) -> Iterator[None]:
    """Within this, each second of waiting calls `look`, which may raise to stop it all."""
    token = _watching.set(look)
    try:
        yield
    finally:
        _watching.reset(token)


class Pace:
    """When each place was or will be asked last. One for all clients of a process, whatever their threads."""

    def __init__(self, *, sleep: Callable[[float], None] = time.sleep, clock: Callable[[], float] = time.monotonic):
        self._sleep = sleep
        self._clock = clock
        self._lock = threading.Lock()
        self._next: dict[str, float] = {}

    def take_turn(self, place: str, *, interval: float) -> None:
        """Wait until `place` may be asked again, at least `interval` seconds after the turn before."""
        with self._lock:
            now = self._clock()
            turn = max(now, self._next.get(place, now))
            self._next[place] = turn + interval
        self.wait(turn - now)

    def wait(self, seconds: float) -> None:
        """Sleep, looking up every second."""
        while seconds > 0:
            step = min(seconds, _SLICE)
            self._sleep(step)
            seconds -= step
            _watching.get()()


def retry_after(header: str, *, now: float) -> float | None:
    """The seconds that a Retry-After header asks for: a number, or a date (against `now`, in Unix time); else None.

    >>> retry_after("2", now=0.0), retry_after("Thu, 01 Jan 1970 00:01:00 GMT", now=15.0), retry_after("soon", now=0.0)
    (2.0, 45.0, None)
    """
    header = header.strip()
    if header.isascii() and header.isdigit():
        return float(header[:9])
    try:
        moment = parsedate_to_datetime(header)
        aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        return max(0.0, (aware - datetime.fromtimestamp(now, UTC)).total_seconds())
    except (ValueError, OverflowError, OSError, TypeError):
        return None


EVERYWHERE = Pace()
