"""The live display: what stands in the terminal and in a log of planted steps, by a clock that the test moves."""

import io
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.training.live import Live, spark
from tests.components.training.planted_runs import planted_look, planted_step


class _Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def _live(stream: io.StringIO, *, redraw: bool, width: int = 100) -> tuple[Live, _Clock]:
    clock = _Clock()
    return Live(stream, total_steps=lambda: 20, redraw=redraw, width=lambda: width, clock=clock), clock


def _screen(text: str) -> list[str]:
    """What a terminal shows in the end, of lines, "go up" and "clear below"."""
    lines: list[str] = []
    at = 0
    for found in re.finditer(r"\x1b\[(\d+)F|\x1b\[J|([^\x1b\n]*)\n", text):
        if found[1]:
            at -= int(found[1])
            assert at >= 0
        elif found[0] == "\x1b[J":
            del lines[at:]
        else:
            assert at == len(lines)
            lines.append(found[2])
            at += 1
    return lines


def test_a_terminal_has_its_lines_redrawn() -> None:
    stream = io.StringIO()
    live, clock = _live(stream, redraw=True)
    with live:
        live.told("Reading the dev set", 0, 10)
        live.look(planted_look(0, 0.9, best=True))
        for step in range(1, 11):
            live.step(planted_step(step, loss=0.25))
            clock.now += 1
        live.look(planted_look(10, 0.5, best=True))
        live.told("Looking at the dev set", 3, 10)
    shown = _screen(stream.getvalue())
    assert len(shown) == 5
    # Ten steps of half a second and a look of one: 0.6 s a step for the ten that are left.
    assert shown[0] == "step 10 of 20 (50%)  0.10 epochs  2.00 steps/s  2,000 word pieces/s  6.0 s left"
    assert shown[1].startswith("loss ") and shown[1].endswith("0.2500  mean of 10 steps")
    assert shown[2] == "dev loss  █▁  0.5000  best 0.5000 at step 10  75.0% right"
    assert shown[3].endswith("1.00e-05  50% of the triplets teach")
    assert shown[4] == "mix       ▁▁█  by layer, 25.00% to 50.00%, most: layer 2"


def test_what_is_said_stands_above() -> None:
    stream = io.StringIO()
    live, _ = _live(stream, redraw=True)
    live.step(planted_step(1))
    live.say("Stopping.")
    live.close()
    shown = _screen(stream.getvalue())
    assert shown[0] == "Stopping." and len(shown) == 4


def test_a_log_has_plain_lines_and_few() -> None:
    stream = io.StringIO()
    live, clock = _live(stream, redraw=False)
    live.told("Reading the dev set", 0, 10)
    live.told("Reading the dev set", 5, 10)
    live.look(planted_look(0, 0.9, best=True))
    for step in range(1, 11):
        live.step(planted_step(step))
        clock.now += 10
    live.look(planted_look(10, 1.5, best=False))
    live.close()
    text = stream.getvalue()
    assert "\x1b" not in text
    said = text.splitlines()
    assert said[0] == "Reading the dev set …"
    assert said[1] == "step 0: dev loss 0.9000, 75.0% right, the best so far"
    assert [line.split(" of")[0] for line in said[2:6]] == ["step 1", "step 4", "step 7", "step 10"]
    assert said[6] == "step 10: dev loss 1.5000, 75.0% right"
    assert len(said) == 8


@pytest.mark.parametrize("width", [1, 20, 40, 80, 300])
def test_no_line_is_longer_than_the_terminal(width: int) -> None:
    live, _ = _live(io.StringIO(), redraw=True, width=width)
    live.look(planted_look(0, 0.9, best=True, mix=(1 / 13,) * 13))
    for step in range(1, 60):
        live.step(planted_step(step))
    assert all(len(line) < max(width, 21) for line in live.lines())


def test_a_terminal_without_bars_gets_letters() -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    live = Live(stream, total_steps=lambda: 0, redraw=True, width=lambda: 80)
    live.look(planted_look(0, 0.9, best=True))
    live.step(planted_step(1, loss=float("nan")))
    live.close()


@given(st.lists(st.floats(allow_nan=True, allow_infinity=True), max_size=50), st.integers(1, 20))
def test_a_line_of_bars_never_fails(values: list[float], width: int) -> None:
    assert len(spark(values, width=width)) == min(len(values), width)
