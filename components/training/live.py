"""The live display: a run's curves in the terminal while it goes. A few lines redrawn, or plain ones in a log."""

import math
import shutil
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import TextIO

from components.training.curves import NO_CURVES, Curves, LookRecord, StepRecord
from components.training.wording import layer_words, time_words

_BARS = "▁▂▃▄▅▆▇█"
_PLAIN_BARS = "_.-=+*%#"  # where a terminal's encoding has no others
_SPARK = 40  # characters of a line of bars
_KEPT = 4_000  # steps that its lines are drawn of
_RECENT = 50  # steps that a mean or a speed is of
_REDRAW, _LOG = 0.2, 30.0  # seconds between two drawings, and between two lines of a log beside its looks
_UP, _CLEAR = "\x1b[{}F", "\x1b[J"


class Live:
    """A `Watch` that draws. Close it at the end, so that what follows stands below."""

    def __init__(
        self,
        stream: TextIO,
        *,
        total_steps: Callable[[], int],
        before: Curves = NO_CURVES,
        redraw: bool | None = None,
        width: Callable[[], int] = lambda: shutil.get_terminal_size().columns,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """total_steps: asked for at the first record. before: of the sittings before this one.

        redraw: by default whether the stream is a terminal.

        clock: seconds, for how often to draw, and for nothing that is said.
        """
        self._stream, self._total_steps, self._width, self._clock = stream, total_steps, width, clock
        self._redraws = stream.isatty() if redraw is None else redraw
        self._bars = _BARS if _can_show(stream, _BARS) else _PLAIN_BARS
        self._steps: deque[StepRecord] = deque(before.steps, maxlen=_KEPT)
        self._looks = list(before.looks)
        self._total = 0
        self._stage = ""
        self._told = ""
        self._closed = False
        self._drawn = 0  # lines that are to be drawn over
        self._next = -math.inf
        self._done, self._spent = 0, 0.0  # steps of this process, and seconds of them and of the looks between them

    def __enter__(self) -> "Live":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def step(self, record: StepRecord) -> None:
        """See `Watch`."""
        self._ask()
        while self._steps and self._steps[-1].step >= record.step:  # done once more, after a kill
            self._steps.pop()
        self._steps.append(record)
        self._done += 1
        self._spent += record.seconds
        self._told = ""
        if self._due(_REDRAW if self._redraws else _LOG):
            self._show()

    def look(self, record: LookRecord) -> None:
        """See `Watch`."""
        self._ask()
        while self._looks and self._looks[-1].step >= record.step:
            self._looks.pop()
        self._looks.append(record)
        self._told = ""
        if self._done:  # the first look is no part of the pace
            self._spent += record.seconds
        if self._redraws:
            self._draw()
        else:
            self._write(f"{self._look_words(record)}\n")

    def told(self, stage: str, done: int, total: int) -> None:
        """See `Watch`."""
        self._told = f"{stage}: {done:,} of {total:,}" if total else stage
        new, self._stage = stage != self._stage, stage
        if self._redraws:
            if self._due(_REDRAW):
                self._draw()
        elif new and not self._done:  # later ones are said when they are done
            self._write(f"{stage} …\n")

    def say(self, words: str) -> None:
        """A line of its own, above what is redrawn."""
        self._erase()
        self._write(f"{words}\n")
        if self._redraws and not self._closed and (self._steps or self._looks):
            self._draw()

    def close(self) -> None:
        """Draw the last state, and leave it there."""
        if self._closed:
            return
        self._told, self._closed = "", True
        self._erase()
        if self._done or (self._redraws and (self._steps or self._looks)):
            self._show()
        self._drawn = 0

    def lines(self) -> list[str]:
        """What a terminal shows now, each line within its width."""
        found: list[str] = []
        if self._steps:
            found.append(self._pace_words())
            recent = list(self._steps)[-_RECENT:]
            loss = _mean([one.loss for one in recent])
            found.append(
                self._line("loss", [one.loss for one in self._steps], f"{loss:.4f}  mean of {len(recent)} steps")
            )
        if self._looks:
            last, best = self._looks[-1], next((one for one in reversed(self._looks) if one.best), None)
            kept = f"  best {best.dev_loss:.4f} at step {best.step:,}" if best else ""
            told = f"{last.dev_loss:.4f}{kept}  {last.dev_accuracy:.1%} right"
            found.append(self._line("dev loss", [one.dev_loss for one in self._looks], told))
        if self._steps:
            rates = [one.learning_rate for one in self._steps]
            active = _mean([one.active for one in recent])
            found.append(self._line("rate", rates, f"{rates[-1]:.2e}  {active:.0%} of the triplets teach"))
        mixes = [one.mix for one in self._looks if one.mix]
        if mixes:
            mix = mixes[-1]
            most, least = max(mix), min(mix)
            told = f"by layer, {least:.2%} to {most:.2%}, most: {layer_words(mix.index(most))}"
            found.append(f"{'mix':<9} {spark(mix, width=len(mix), bars=self._bars)}  {told}")
        if self._told:
            found.append(self._told)
        width = max(20, self._width() - 1)
        return [one if len(one) <= width else one[: width - 1] + "~" for one in found]

    def _line(self, name: str, values: Sequence[float], told: str) -> str:
        width = max(8, min(_SPARK, self._width() - len(told) - 14))
        return f"{name:<9} {spark(values, width=width, bars=self._bars)}  {told}"

    def _pace_words(self) -> str:
        last, recent = self._steps[-1], list(self._steps)[-_RECENT:]
        seconds = sum(one.seconds for one in recent)
        of_all = f" of {self._total:,} ({last.step / self._total:.0%})" if self._total else ""
        words = [f"step {last.step:,}{of_all}", f"{last.epoch:.2f} epochs"]
        if seconds > 0:
            words.append(f"{len(recent) / seconds:,.2f} steps/s")
            words.append(f"{sum(one.tokens for one in recent) / seconds:,.0f} word pieces/s")
        left = (self._total - last.step) * self._spent / self._done if self._done else 0.0
        if self._total > last.step and left > 0:
            words.append(f"{time_words(left)} left")
        return "  ".join(words)

    def _look_words(self, look: LookRecord) -> str:
        kept = ", the best so far" if look.best else ""
        return f"step {look.step:,}: dev loss {look.dev_loss:.4f}, {look.dev_accuracy:.1%} right{kept}"

    def _ask(self) -> None:
        if not self._total:
            self._total = self._total_steps()

    def _due(self, seconds: float) -> bool:
        now = self._clock()
        if now < self._next:
            return False
        self._next = now + seconds
        return True

    def _show(self) -> None:
        """Draw, or write one plain line of the last steps."""
        if self._redraws:
            self._draw()
            return
        if self._steps:
            recent = list(self._steps)[-_RECENT:]
            loss = f"loss {_mean([one.loss for one in recent]):.4f}"
            self._write(f"{self._pace_words()}  {loss}\n")

    def _draw(self) -> None:
        lines = self.lines()
        self._write((_UP.format(self._drawn) if self._drawn else "") + _CLEAR + "".join(f"{one}\n" for one in lines))
        self._drawn = len(lines)

    def _erase(self) -> None:
        if self._drawn:
            self._write(_UP.format(self._drawn) + _CLEAR)
            self._drawn = 0

    def _write(self, text: str) -> None:
        self._stream.write(text)
        self._stream.flush()


def spark(values: Sequence[float], *, width: int, bars: str = _BARS) -> str:
    """Values as a line of bars, at most `width` of them, each the mean of its stretch; the lowest bar is the least.

    >>> spark([0, 1, 2, 3, 4, 5, 6, 7], width=8), spark([3.0, 3.0], width=8), spark([], width=8)
    ('▁▂▃▄▅▆▇█', '▁▁', '')
    """
    count = min(len(values), width)
    stretches = [values[i * len(values) // count : (i + 1) * len(values) // count] for i in range(count)]
    means = [_mean(stretch) for stretch in stretches]
    there = [one for one in means if math.isfinite(one)]
    if not there:
        return "?" * count
    low, high = min(there), max(there)
    scale = (len(bars) - 1) / (high - low) if high > low else 0.0
    return "".join(bars[round((one - low) * scale)] if math.isfinite(one) else "?" for one in means)


def _mean(values: Sequence[float]) -> float:
    """Of those that are numbers; of none, none."""
    there = [one for one in values if math.isfinite(one)]
    return math.fsum(there) / len(there) if there else math.nan


def _can_show(stream: TextIO, text: str) -> bool:
    try:
        text.encode(stream.encoding or "utf-8")
    except (UnicodeEncodeError, LookupError):
        return False
    return True
