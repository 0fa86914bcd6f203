"""The queue in front of an encoder, with passes whose vectors are known: nothing is lost, mixed up or starved."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from components.encoder.queue import MAX_TOKENS, EncodingQueue, Rows

Pause = Callable[[], None] | None


def text(number: int, *, length: int = 3) -> np.ndarray:
    return np.full(length, number, dtype=np.int32)


class Passes:
    """A forward pass that gives each text's first word piece as its vector, and remembers what went together."""

    def __init__(self, *, layers: int = 4) -> None:
        self.batches: list[list[int]] = []
        self.running = 0
        self.most_running = 0
        self.layers = layers
        self.hold = threading.Event()  # a pass of text 0 waits for it
        self.entered = threading.Event()

    def __call__(self, rows: Rows, pause: Pause) -> np.ndarray:
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        names = [int(row[0]) for row in rows]
        if 0 in names:
            self.entered.set()
            assert self.hold.wait(60)
        if pause is not None:
            self.running -= 1  # what comes now is within this pass, not beside it
            for _ in range(self.layers):
                pause()
            self.running += 1
        if -1 in names:
            self.running -= 1
            raise ValueError("a bad text")
        self.batches.append(names)
        self.running -= 1
        return np.array([[name] for name in names], dtype=np.float32)


def wait_until(condition: Callable[[], bool]) -> None:
    while not condition():
        threading.Event().wait(0.001)


def test_queries_that_wait_together_go_together_and_each_gets_its_own() -> None:
    passes = Passes()
    queue = EncodingQueue(passes)
    with ThreadPoolExecutor(32) as pool:
        first = pool.submit(queue.query, [text(0)])
        assert passes.entered.wait(60)
        others = [pool.submit(queue.query, [text(n), text(100 + n)]) for n in range(1, 32)]
        wait_until(lambda: len(queue._queries) == 31)
        passes.hold.set()
        assert first.result(60).tolist() == [[0]]
        for number, other in enumerate(others, start=1):
            assert other.result(60).tolist() == [[number], [100 + number]]
    assert [len(batch) for batch in passes.batches] == [1, 62]
    assert not queue._queries


def test_a_pass_of_queries_is_bounded_and_in_the_order_of_asking() -> None:
    passes = Passes()
    queue = EncodingQueue(passes)
    third = MAX_TOKENS // 3
    with ThreadPoolExecutor(8) as pool:
        found = [pool.submit(queue.query, [text(0)])]
        assert passes.entered.wait(60)
        for number in range(1, 8):
            found.append(pool.submit(queue.query, [text(number, length=third)]))
            wait_until(lambda number=number: len(queue._queries) == number)
        passes.hold.set()
        assert [int(each.result(60)[0, 0]) for each in found] == list(range(8))
    assert passes.batches == [[0], [1, 2, 3], [4, 5, 6], [7]]


def test_a_query_of_more_than_a_pass_goes_alone() -> None:
    passes = Passes()
    huge = text(7, length=MAX_TOKENS + 1)
    assert EncodingQueue(passes).query([huge]).tolist() == [[7]]


def test_long_work_lets_queries_through_between_its_layers_and_gets_on() -> None:
    passes = Passes()
    queue = EncodingQueue(passes)
    with ThreadPoolExecutor(3) as pool:
        long = pool.submit(queue.long, [text(0)] * 5)
        assert passes.entered.wait(60)
        queries = [pool.submit(queue.query, [text(number)]) for number in (1, 2)]
        wait_until(lambda: len(queue._queries) == 2)
        passes.hold.set()
        assert {int(query.result(60)[0, 0]) for query in queries} == {1, 2}
        assert long.result(60).tolist() == [[0]] * 5
    assert sorted(passes.batches[0]) == [1, 2]
    assert passes.batches[1] == [0] * 5


def test_queries_do_not_starve_long_work() -> None:
    passes = Passes()
    passes.hold.set()
    queue = EncodingQueue(passes)
    stop = threading.Event()
    counted = [0] * 3

    def ask(place: int) -> None:
        while not stop.is_set():
            queue.query([text(1 + place)])
            counted[place] += 1

    with ThreadPoolExecutor(3) as pool:
        asking = [pool.submit(ask, place) for place in range(3)]
        wait_until(lambda: min(counted) > 5)
        for _ in range(20):
            assert len(queue.long([text(9)] * 2)) == 2
        before = list(counted)
        wait_until(lambda: all(now > then for now, then in zip(counted, before, strict=True)))
        stop.set()
        for each in asking:
            each.result(60)
    assert passes.most_running == 1


def test_one_pass_at_a_time_and_every_answer_its_own() -> None:
    passes = Passes()
    passes.hold.set()
    queue = EncodingQueue(passes)

    def work(number: int) -> bool:
        rows = [text(1 + number * 7 + i) for i in range(1 + number % 3)]
        expected = [[float(row[0])] for row in rows]
        ask = queue.long if number % 4 == 0 else queue.query
        return ask(rows).tolist() == expected

    with ThreadPoolExecutor(12) as pool:
        assert all(pool.map(work, range(400)))
    assert passes.most_running == 1
    assert not queue._queries
    assert not queue._long


def test_an_error_reaches_those_of_its_pass_and_nobody_else() -> None:
    passes = Passes()
    queue = EncodingQueue(passes)
    with ThreadPoolExecutor(3) as pool:
        good = pool.submit(queue.query, [text(0)])
        assert passes.entered.wait(60)
        bad = [pool.submit(queue.query, [text(number)]) for number in (-1, 5)]
        wait_until(lambda: len(queue._queries) == 2)
        passes.hold.set()
        assert good.result(60).tolist() == [[0]]
        for each in bad:
            with pytest.raises(ValueError, match="a bad text"):
                each.result(60)
    assert queue.query([text(5)]).tolist() == [[5]]
    with pytest.raises(ValueError, match="a bad text"):
        queue.long([text(-1)])
    assert queue.long([text(5)]).tolist() == [[5]]


def test_an_interrupt_is_for_its_own_thread_alone() -> None:
    passes = Passes()
    entered = threading.Event()

    def interrupted(rows: Rows, pause: Pause) -> np.ndarray:
        if int(rows[0][0]) == 3:
            entered.set()
            wait_until(lambda: len(queue._queries) == 1)
            raise KeyboardInterrupt
        return passes(rows, pause)

    queue = EncodingQueue(interrupted)
    with ThreadPoolExecutor(1) as pool:
        other = []

        def ask() -> None:
            assert entered.wait(60)
            other.append(queue.query([text(4)]).tolist())

        asking = pool.submit(ask)
        with pytest.raises(KeyboardInterrupt):
            queue.query([text(3)])
        asking.result(60)
    assert other == [[[4]]]
    assert not queue._queries
    assert not queue._busy
