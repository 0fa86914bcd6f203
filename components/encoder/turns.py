"""Turns: a lock that is had in the order in which it was asked for."""

import threading
from collections import deque


class Turns:
    """`with turns:` waits for all that asked before, and for none that asks later.

    threading.Lock makes no such promise: a thread that lets go of it and asks again at once may have it again, so that
    a long encoding in batches could keep a query waiting to its end.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._queue: deque[object] = deque()  # who asked, in that order; the first one has the turn

    def __enter__(self) -> None:
        mine = object()
        with self._changed:
            self._queue.append(mine)
            try:
                self._changed.wait_for(lambda: self._queue[0] is mine)
            except BaseException:  # interrupted: nobody may wait for a turn that is not taken
                self._queue.remove(mine)
                self._changed.notify_all()
                raise

    def __exit__(self, *_: object) -> None:
        with self._changed:
            self._queue.popleft()
            self._changed.notify_all()
