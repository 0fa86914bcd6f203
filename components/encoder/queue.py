"""The queue in front of an encoder: waiting queries share a pass, and long work lets them through.

One pass at a time: two at once on one processor only slow each other down. There is no thread of its own: whichever
caller finds the processor free encodes the waiting queries, and long work does it between two layers of its pass.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

Rows = Sequence[NDArray[np.int32]]  # word pieces of some texts
Vectors = NDArray[np.float32]
# (rows, pause) → (len(rows), d). pause is to be called now and then during the pass.
Forward = Callable[[Rows, Callable[[], None] | None], Vectors]

# Queries in one pass: 32 of the longest. More would make the first of them wait for the last.
MAX_TOKENS = 16_384
# Seconds that a query which could go at once waits for others: people who search together do not arrive in the same
# microsecond, and a pass for one of them alone would cost all the others its time.
BATCH_WINDOW_S = 0.002


class _Query:
    """Some texts whose vectors are waited for, and what came of them."""

    def __init__(self, rows: Rows) -> None:
        self.rows = rows
        self.tokens = sum(len(row) for row in rows)
        self.vectors: Vectors | None = None
        self.error: Exception | None = None

    @property
    def done(self) -> bool:
        return self.vectors is not None or self.error is not None


class EncodingQueue:
    """Who goes next. Every method may be called from any thread."""

    def __init__(self, forward: Forward) -> None:
        self._forward = forward
        self._changed = threading.Condition()
        self._queries: deque[_Query] = deque()
        self._long: deque[object] = deque()  # long work in the order in which it asked
        self._busy = False

    def query(self, rows: Rows) -> Vectors:
        """The vectors of a few texts, with those of whoever else waits. Raises what the pass raises."""
        mine = _Query(rows)
        with self._changed:
            self._queries.append(mine)
        try:
            while self._may_lead(mine):
                try:
                    time.sleep(BATCH_WINDOW_S)
                    self._serve()
                finally:
                    self._free()
        except BaseException:  # interrupted: nobody needs its vectors any more
            with self._changed:
                if mine in self._queries:
                    self._queries.remove(mine)
            raise
        if mine.error is not None:
            raise mine.error
        assert mine.vectors is not None
        return mine.vectors

    def long(self, rows: Rows) -> Vectors:
        """The vectors of a batch of long work. Queries that come meanwhile are served between its layers."""
        me = object()
        with self._changed:
            self._long.append(me)
        try:
            with self._changed:
                self._changed.wait_for(lambda: not self._busy and self._long[0] is me)
                self._busy = True
            try:
                return self._forward(rows, self._serve)
            finally:
                self._free()
        finally:
            with self._changed:
                self._long.remove(me)
                self._changed.notify_all()

    def _may_lead(self, mine: _Query) -> bool:
        """Wait until a query is done (False), or the processor is free for whoever waits: it is the caller's then."""
        with self._changed:
            # Long work that waits goes first: it lets the queries through at once, and gets on as well.
            self._changed.wait_for(lambda: mine.done or not (self._busy or self._long))
            if not mine.done:
                self._busy = True
            return not mine.done

    def _free(self) -> None:
        with self._changed:
            self._busy = False
            self._changed.notify_all()

    def _serve(self) -> None:
        """Encode the queries that wait, as many as go together. The caller has the processor."""
        with self._changed:
            batch: list[_Query] = []
            tokens = 0
            while self._queries and (not batch or tokens + self._queries[0].tokens <= MAX_TOKENS):
                batch.append(self._queries.popleft())
                tokens += batch[-1].tokens
        if not batch:
            return
        try:
            vectors = self._forward([row for query in batch for row in query.rows], None)
        except Exception as error:  # noqa: BLE001  (each of them raises it)
            for query in batch:
                query.error = error
        except BaseException:
            # Interrupted, which is meant for this thread alone: the others' turn is still to come.
            with self._changed:
                self._queries.extendleft(reversed(batch))
            raise
        else:
            start = 0
            for query in batch:
                query.vectors = vectors[start : start + len(query.rows)]
                start += len(query.rows)
        with self._changed:
            self._changed.notify_all()
