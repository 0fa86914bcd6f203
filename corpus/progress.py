"""Progress: the one callback by which long work reports how far it is, and how it is cancelled."""

import time
from collections.abc import Callable

from corpus.errors import CociteAtlasError

# Called as (stage, done, total) from the working thread. `stage` is a name that people read, `total` is 0 while it is
# unknown. It may raise Cancelled to stop the work between two steps.
Progress = Callable[[str, int, int], None]


class Cancelled(CociteAtlasError):
    """The work was stopped by the person who started it. What was done so far is kept."""


def no_progress(stage: str, done: int, total: int) -> None:
    """No-op progress callback."""


class Throttled:
    """A progress callback that passes on each stage's first and last call, and at most five others a second."""

    def __init__(self, progress: Progress, *, seconds: float = 0.2) -> None:
        self._progress = progress
        self._seconds = seconds
        self._stage = ""
        self._next = 0.0

    def __call__(self, stage: str, done: int, total: int) -> None:
        """See Progress."""
        now = time.monotonic()
        if stage != self._stage or done >= total or now >= self._next:
            self._stage, self._next = stage, now + self._seconds
            self._progress(stage, done, total)
