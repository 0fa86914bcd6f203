"""Waiting between requests: rate limits, Retry-After, and waits that can be cancelled."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

_SLICE = 1.0  # seconds between two calls of the wait's callback

_callback: ContextVar[Callable[[], None]] = ContextVar("_callback", default=lambda: None)


@contextmanager
def during_waits(callback: Callable[[], None]) -> Iterator[None]:
    """Call `callback` every second of each wait in this block. It may raise, which ends the wait."""
    token = _callback.set(callback)
    try:
        yield
    finally:
        _callback.reset(token)


class Pace:
    """When each server was asked last. One for all clients of a process, so that threads share the rate limit."""

    def __init__(self, *, sleep: Callable[[float], None] = time.sleep, clock: Callable[[], float] = time.monotonic):
        self._sleep = sleep
        self._clock = clock
        self._lock = threading.Lock()
        self._next: dict[str, float] = {}

    def take_turn(self, server: str, *, interval: float) -> None:
        """Wait until at least `interval` seconds after the turn before."""
        with self._lock:
            now = self._clock()
            turn = max(now, self._next.get(server, now))
            self._next[server] = turn + interval
        self.wait(turn - now)

    def wait(self, seconds: float) -> None:
        """Sleep, calling the callback of `during_waits` every second."""
        while seconds > 0:
            step = min(seconds, _SLICE)
            self._sleep(step)
            seconds -= step
            _callback.get()()


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


SHARED_PACE = Pace()
