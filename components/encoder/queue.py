"""The queue in front of an encoder: waiting queries are encoded together, and long work lets them through.

One pass at a time, as two at once on one processor only slow each other down. It has no thread of its own: whoever
finds the processor free encodes the waiting queries with its own, and long work encodes them between two layers.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from components.encoder.base import Vectors

Rows = Sequence[NDArray[np.int32]]  # word pieces of some texts
# (rows, pause) → (len(rows), d). pause is to be called now and then during the pass.
Forward = Callable[[Rows, Callable[[], None] | None], Vectors]

MAX_QUERY_TOKENS = 16_384  # in one pass: 32 of the longest. More would make the first of them wait for the last
# For which a query that could start at once waits for others: people who search together do not arrive in the same
# microsecond, and a pass for one of them alone would delay all others.
BATCH_WINDOW_S = 0.002


class _Query:
    """A few texts whose vectors are awaited, and the result."""

    def __init__(self, rows: Rows) -> None:
        self.rows = rows
        self.tokens = sum(len(row) for row in rows)
        self.vectors: Vectors | None = None
        self.error: Exception | None = None

    @property
    def done(self) -> bool:
        return self.vectors is not None or self.error is not None


class EncodingQueue:
    """Decides which texts are encoded next. Thread-safe."""

    def __init__(self, forward: Forward) -> None:
        self._forward = forward
        self._changed = threading.Condition()
        self._queries: deque[_Query] = deque()
        self._long: deque[object] = deque()  # long work in the order of arrival
        self._busy = False

    def encode_query(self, rows: Rows) -> Vectors:
        """The vectors of a few texts, encoded together with other waiting queries. Raises what the pass raises."""
        query = _Query(rows)
        with self._changed:
            self._queries.append(query)
        try:
            while self._acquire_for(query):
                try:
                    time.sleep(BATCH_WINDOW_S)
                    self._encode_waiting()
                finally:
                    self._release()
        except BaseException:  # interrupted: nobody awaits its vectors any more
            with self._changed:
                if query in self._queries:
                    self._queries.remove(query)
            raise
        if query.error is not None:
            raise query.error
        assert query.vectors is not None
        return query.vectors

    def encode_long(self, rows: Rows) -> Vectors:
        """The vectors of a batch of long work. Queries that arrive meanwhile are encoded between its layers."""
        ticket = object()
        with self._changed:
            self._long.append(ticket)
        try:
            with self._changed:
                self._changed.wait_for(lambda: not self._busy and self._long[0] is ticket)
                self._busy = True
            try:
                return self._forward(rows, self._encode_waiting)
            finally:
                self._release()
        finally:
            with self._changed:
                self._long.remove(ticket)
                self._changed.notify_all()

    def _acquire_for(self, query: _Query) -> bool:
        """Wait until a query is done (False), or the processor is free: the caller then holds it (True)."""
        with self._changed:
            # Waiting long work goes first: it lets the queries through at once, and gets on as well.
            self._changed.wait_for(lambda: query.done or not (self._busy or self._long))
            if not query.done:
                self._busy = True
            return not query.done

    def _release(self) -> None:
        with self._changed:
            self._busy = False
            self._changed.notify_all()

    def _encode_waiting(self) -> None:
        """Encode the waiting queries, as many as fit into one pass. The caller holds the processor."""
        with self._changed:
            batch: list[_Query] = []
            tokens = 0
            while self._queries and (not batch or tokens + self._queries[0].tokens <= MAX_QUERY_TOKENS):
                batch.append(self._queries.popleft())
                tokens += batch[-1].tokens
        if not batch:
            return
        try:
            vectors = self._forward([row for query in batch for row in query.rows], None)
        except Exception as error:  # noqa: BLE001  (raised in each query's own thread)
            for query in batch:
                query.error = error
        except BaseException:
            # An interrupt is meant for this thread alone: the others' queries wait again.
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
