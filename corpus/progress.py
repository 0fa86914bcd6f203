"""Progress: the one callback by which long work reports how far it is, and how it is cancelled."""

from collections.abc import Callable

from corpus.errors import CociteAtlasError

# Called as (stage, done, total) from the working thread. `stage` is a name that people read, `total` is 0 while it is
# unknown. It may raise Cancelled to stop the work between two steps.
Progress = Callable[[str, int, int], None]


class Cancelled(CociteAtlasError):
    """The work was stopped by the person who started it. What was done so far is kept."""


def no_progress(stage: str, done: int, total: int) -> None:
    """No-op progress callback."""
