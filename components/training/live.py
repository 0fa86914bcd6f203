"""Live curves of a run in the terminal: a few lines that are redrawn, or plain lines in a log."""

import math
import time
from collections import deque
from collections.abc import Sequence
from functools import partial

import humanize
import rich.live
from rich.console import Console, Group
from rich.text import Text

from components.training.run import CurveRecord, Curves, StepRecord, ValidationRecord

_BARS = "▁▂▃▄▅▆▇█"
_ASCII_BARS = "_.-=+*%#"
_SPARK = 40  # bars of a line
_KEPT = 4_000  # steps that are drawn
_RECENT = 50  # steps of a mean
_LOG_SECONDS = 30.0  # between two lines of a log, validations aside


class LiveCurves:
    """A context manager that shows records and progress: on_record=live.record, progress=live.progress.

    console: where to draw; on standard error, as a rule. total_steps: of the run, 0 if unknown. before: of the sessions
    before this one.
    """

    def __init__(self, console: Console, *, total_steps: int = 0, before: Curves | None = None) -> None:
        before = before or Curves()
        self._console, self._total = console, total_steps
        self._steps: deque[StepRecord] = deque(before.steps, maxlen=_KEPT)
        self._validations = list(before.validations)
        self._stage = ""
        self._status = ""
        self._next_log = 0.0
        self._live = rich.live.Live(
            console=console, get_renderable=self._drawing, refresh_per_second=5, transient=False
        )

    def __enter__(self) -> "LiveCurves":
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._status = ""
        self._live.stop()

    def say(self, message: str) -> None:
        """Print a line above the curves."""
        self._console.print(message, markup=False)

    def record(self, record: CurveRecord) -> None:
        """Add a step or a validation."""
        drawn: deque[StepRecord] | list[ValidationRecord]
        drawn = self._steps if isinstance(record, StepRecord) else self._validations
        while drawn and drawn[-1].step >= record.step:  # repeated after a kill
            drawn.pop()
        drawn.append(record)  # type: ignore[arg-type]
        if self._console.is_terminal:
            return
        if isinstance(record, ValidationRecord):
            best = ", the best so far" if record.best else ""
            self.say(f"step {record.step:,}: dev loss {record.dev_loss:.4f}, {record.dev_accuracy:.1%} right{best}")
        elif time.monotonic() >= self._next_log:
            self._next_log = time.monotonic() + _LOG_SECONDS
            self.say(f"{self._pace()}, loss {_mean([one.loss for one in self._recent()]):.4f}")

    def progress(self, stage: str, done: int, total: int) -> None:
        """Show a stage (see corpus.progress)."""
        self._status = f"{stage}: {done:,} of {total:,}" if total else stage
        if stage == "Training":
            self._total, self._status = total, ""
        elif stage != self._stage and not self._console.is_terminal and not self._steps:
            self.say(f"{stage} …")
        self._stage = stage

    def _recent(self) -> list[StepRecord]:
        return list(self._steps)[-_RECENT:]

    def _pace(self) -> str:
        last, recent = self._steps[-1], self._recent()
        share = f" of {self._total:,} ({last.step / self._total:.0%})" if self._total else ""
        words = [f"step {last.step:,}{share}", f"{last.epoch:.2f} epochs"]
        seconds = sum(one.seconds for one in recent)
        if seconds > 0:
            pace = len(recent) / seconds
            words += [f"{pace:,.2f} steps/s", f"{sum(one.tokens for one in recent) / seconds:,.0f} word pieces/s"]
            if self._total > last.step:
                words.append(f"{humanize.naturaldelta((self._total - last.step) / pace)} left")
        return ", ".join(words)

    def _drawing(self) -> Group:
        """What the terminal shows now."""
        bars = _BARS if self._console.encoding.startswith("utf") else _ASCII_BARS
        spark = partial(draw_bars, bars=bars)
        lines: list[str] = []
        if self._steps:
            losses, rates = [one.loss for one in self._steps], [one.learning_rate for one in self._steps]
            active = _mean([one.active for one in self._recent()])
            lines.append(self._pace())
            lines.append(f"loss      {spark(losses)}  {_mean(losses[-_RECENT:]):.4f}")
            lines.append(f"rate      {spark(rates)}  {rates[-1]:.2e}, {active:.0%} of the triplets are active")
        if self._validations:
            last = self._validations[-1]
            best = next((f", best at step {one.step:,}" for one in reversed(self._validations) if one.best), "")
            dev = spark([one.dev_loss for one in self._validations])
            lines.append(f"dev loss  {dev}  {last.dev_loss:.4f}, {last.dev_accuracy:.1%} right{best}")
            if last.mix:
                layer = last.mix.index(max(last.mix))
                lines.append(f"mix       {spark(last.mix)}  by layer, {max(last.mix):.2%} for {layer_name(layer)}")
        if self._status:
            lines.append(self._status)
        return Group(*(Text(line, no_wrap=True, overflow="ellipsis") for line in lines))


def layer_name(place: int) -> str:
    """A hidden state of a scalar mix in words; 0 is the embedding layer's."""
    return f"layer {place}" if place else "the embedding layer"


def draw_bars(values: Sequence[float], *, width: int = _SPARK, bars: str = _BARS) -> str:
    """Values as a line of at most `width` bars, each the mean of its stretch; "?" for no finite value.

    >>> draw_bars([0, 1, 2, 3, 4, 5, 6, 7]), draw_bars([3.0, 3.0]), draw_bars([])
    ('▁▂▃▄▅▆▇█', '▁▁', '')
    """
    count = min(len(values), width)
    means = [_mean(values[i * len(values) // count : (i + 1) * len(values) // count]) for i in range(count)]
    finite = [mean for mean in means if math.isfinite(mean)]
    low, high = (min(finite), max(finite)) if finite else (0.0, 0.0)
    scale = (len(bars) - 1) / (high - low) if high > low else 0.0
    return "".join(bars[round((mean - low) * scale)] if math.isfinite(mean) else "?" for mean in means)


def _mean(values: Sequence[float]) -> float:
    """The mean of the finite values; NaN without any."""
    finite = [value for value in values if math.isfinite(value)]
    return math.fsum(finite) / len(finite) if finite else math.nan
