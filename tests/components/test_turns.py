"""Turns are had in the order in which they are asked for, and none is lost."""

import threading

import pytest

from components.encoder.turns import Turns


def asking(turns: Turns, thread: threading.Thread, waiting: int) -> None:
    """Start a thread, and come back when it waits as one of so many."""
    thread.start()
    while len(turns._queue) < waiting + 1:
        threading.Event().wait(0.001)


def test_turns_come_in_the_order_of_asking() -> None:
    turns, order = Turns(), []

    def take(number: int) -> None:
        with turns:
            order.append(number)

    threads = [threading.Thread(target=take, args=(number,)) for number in range(20)]
    with turns:
        for number, thread in enumerate(threads):
            asking(turns, thread, number + 1)
    for thread in threads:
        thread.join(10)
    assert order == list(range(20))


def test_one_at_a_time() -> None:
    turns, inside, most = Turns(), [0], [0]

    def take() -> None:
        for _ in range(200):
            with turns:
                inside[0] += 1
                most[0] = max(most[0], inside[0])
                inside[0] -= 1

    threads = [threading.Thread(target=take) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert most == [1]
    assert not turns._queue


def test_an_error_inside_or_while_waiting_passes_the_turn_on(monkeypatch: pytest.MonkeyPatch) -> None:
    turns = Turns()
    with pytest.raises(KeyError), turns:
        raise KeyError
    with monkeypatch.context() as patch:

        def interrupt(_: object) -> None:
            raise KeyboardInterrupt

        patch.setattr(turns._changed, "wait_for", interrupt)
        with pytest.raises(KeyboardInterrupt), turns:
            pass
    with turns:
        assert len(turns._queue) == 1
