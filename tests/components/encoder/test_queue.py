"""The encoder's queue, with passes of known vectors: no query is lost, mixed up or starved."""

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import pytest

from components.encoder.queue import MAX_QUERY_TOKENS, EncodingQueue, Rows

Pause = Callable[[], None] | None


def text(number: int, *, length: int = 3) -> np.ndarray:
    return np.full(length, number, dtype=np.int32)


class Passes:
    """A forward pass whose vectors are each text's first word piece. It records what was encoded together.

    A pass of text 0 waits for `hold`; one of text -1 fails.
    """

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.running = self.most_running = 0
        self.hold = threading.Event()
        self.entered = threading.Event()
        self.queue = EncodingQueue(self)

    def __call__(self, rows: Rows, pause: Pause) -> np.ndarray:
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        names = [int(row[0]) for row in rows]
        if 0 in names:
            self.entered.set()
            assert self.hold.wait(60)
        if pause is not None:
            self.running -= 1  # passes that start now are within this one, not beside it
            for _ in range(4):
                pause()
            self.running += 1
        self.running -= 1
        if -1 in names:
            raise ValueError("a bad text")
        self.batches.append(names)
        return np.array([[name] for name in names], dtype=np.float32)

    def start(self, pool: ThreadPoolExecutor, rows: Rows, *, long: bool = False) -> Future[np.ndarray]:
        """Start a pass that waits for `hold`."""
        first = pool.submit(self.queue.encode_long if long else self.queue.encode_query, rows)
        assert self.entered.wait(60)
        return first

    def wait_for(self, queries: int) -> None:
        wait_until(lambda: len(self.queue._queries) == queries)


def wait_until(condition: Callable[[], bool]) -> None:
    while not condition():
        threading.Event().wait(0.001)


@pytest.fixture
def passes() -> Passes:
    return Passes()


def test_waiting_queries_are_encoded_together(passes: Passes) -> None:
    with ThreadPoolExecutor(32) as pool:
        first = passes.start(pool, [text(0)])
        others = [pool.submit(passes.queue.encode_query, [text(n), text(100 + n)]) for n in range(1, 32)]
        passes.wait_for(31)
        passes.hold.set()
        assert first.result(60).tolist() == [[0]]
        for number, other in enumerate(others, start=1):
            assert other.result(60).tolist() == [[number], [100 + number]]
    assert [len(batch) for batch in passes.batches] == [1, 62]
    assert not passes.queue._queries


def test_a_pass_of_queries_is_limited_and_in_order(passes: Passes) -> None:
    third = MAX_QUERY_TOKENS // 3
    with ThreadPoolExecutor(8) as pool:
        found = [passes.start(pool, [text(0)])]
        for number in range(1, 8):
            found.append(pool.submit(passes.queue.encode_query, [text(number, length=third)]))
            passes.wait_for(number)
        passes.hold.set()
        assert [int(each.result(60)[0, 0]) for each in found] == list(range(8))
    assert passes.batches == [[0], [1, 2, 3], [4, 5, 6], [7]]
    assert passes.queue.encode_query([text(7, length=MAX_QUERY_TOKENS + 1)]).tolist() == [[7]]


def test_long_work_lets_queries_through_between_its_layers(passes: Passes) -> None:
    with ThreadPoolExecutor(3) as pool:
        long = passes.start(pool, [text(0)] * 5, long=True)
        queries = [pool.submit(passes.queue.encode_query, [text(number)]) for number in (1, 2)]
        passes.wait_for(2)
        passes.hold.set()
        assert {int(query.result(60)[0, 0]) for query in queries} == {1, 2}
        assert long.result(60).tolist() == [[0]] * 5
    assert sorted(passes.batches[0]) == [1, 2]
    assert passes.batches[1] == [0] * 5


def test_queries_do_not_starve_long_work(passes: Passes) -> None:
    stop = threading.Event()
    counts = [0] * 3

    def query(place: int) -> None:
        while not stop.is_set():
            passes.queue.encode_query([text(1 + place)])
            counts[place] += 1

    with ThreadPoolExecutor(3) as pool:
        querying = [pool.submit(query, place) for place in range(3)]
        wait_until(lambda: min(counts) > 5)
        for _ in range(20):
            assert len(passes.queue.encode_long([text(9)] * 2)) == 2
        before = list(counts)
        wait_until(lambda: all(now > then for now, then in zip(counts, before, strict=True)))
        stop.set()
        for each in querying:
            each.result(60)
    assert passes.most_running == 1


def test_one_pass_runs_at_a_time_and_each_caller_gets_its_vectors(passes: Passes) -> None:
    def work(number: int) -> bool:
        rows = [text(1 + number * 7 + i) for i in range(1 + number % 3)]
        encode = passes.queue.encode_long if number % 4 == 0 else passes.queue.encode_query
        return encode(rows).tolist() == [[float(row[0])] for row in rows]

    with ThreadPoolExecutor(12) as pool:
        assert all(pool.map(work, range(400)))
    assert passes.most_running == 1
    assert not passes.queue._queries
    assert not passes.queue._long


def test_an_error_is_raised_to_the_callers_of_its_pass(passes: Passes) -> None:
    with ThreadPoolExecutor(3) as pool:
        good = passes.start(pool, [text(0)])
        bad = [pool.submit(passes.queue.encode_query, [text(number)]) for number in (-1, 5)]
        passes.wait_for(2)
        passes.hold.set()
        assert good.result(60).tolist() == [[0]]
        for each in bad:
            with pytest.raises(ValueError, match="a bad text"):
                each.result(60)
    assert passes.queue.encode_query([text(5)]).tolist() == [[5]]
    with pytest.raises(ValueError, match="a bad text"):
        passes.queue.encode_long([text(-1)])
    assert passes.queue.encode_long([text(5)]).tolist() == [[5]]


def test_an_interrupt_stops_its_own_thread_alone(passes: Passes) -> None:
    entered = threading.Event()

    def interrupted(rows: Rows, pause: Pause) -> np.ndarray:
        if int(rows[0][0]) == 3:
            entered.set()
            wait_until(lambda: len(queue._queries) == 1)
            raise KeyboardInterrupt
        return passes(rows, pause)

    queue = EncodingQueue(interrupted)

    def query() -> list[list[float]]:
        assert entered.wait(60)
        return queue.encode_query([text(4)]).tolist()

    with ThreadPoolExecutor(1) as pool:
        other = pool.submit(query)
        with pytest.raises(KeyboardInterrupt):
            queue.encode_query([text(3)])
        assert other.result(60) == [[4]]
    assert not queue._queries
    assert not queue._busy
