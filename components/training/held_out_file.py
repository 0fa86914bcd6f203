"""The file of a run's held-out ranks: written once training is done, and checked where it is read."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.training.settings import TrainingError

HELD_OUT = "held-out.json"  # in the run's folder
_LARGEST = 2**20  # bytes: it is a few hundred
_CALLED = {"mean_rank": "Mean rank", "MAP": "MAP", "recall@10": "Recall in 10"}  # in this order
_MOST = 1e12
_CHANCE = 0.05  # a p-value from which on nothing is claimed


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldOutRow:
    """One metric before and after training. called: for people. interval: of `after`, 95 %; queries, papers: counts."""

    metric: str
    before: float
    after: float
    interval: tuple[float, float]
    p_value: float
    queries: int
    papers: int

    @property
    def called(self) -> str:
        """The metric's name for people."""
        return _CALLED[self.metric]

    @property
    def before_words(self) -> str:
        """What it was before, as people read it."""
        return self._words(self.before)

    @property
    def after_words(self) -> str:
        """What it was after, as people read it."""
        return self._words(self.after)

    @property
    def difference_words(self) -> str:
        """After less before, signed."""
        difference = self.after - self.before
        return ("−" if difference < 0 else "+") + self._words(abs(difference))

    @property
    def interval_words(self) -> str:
        """The interval of `after`."""
        return f"{self._words(self.interval[0])} to {self._words(self.interval[1])}"

    @property
    def p_words(self) -> str:
        """The p-value; one below what the samples can tell is said as such."""
        return f"{self.p_value:.4f}" if self.p_value >= 0.0001 else "< 0.0001"

    def _words(self, value: float) -> str:
        return f"{value:,.2f}" if self.metric == "mean_rank" else f"{100 * value:.2f} %"


def verdict(rows: Sequence[HeldOutRow]) -> str:
    """What the scores say of a training, by MAP, in a sentence or two; "" without MAP."""
    row = next((row for row in rows if row.metric == "MAP"), None)
    if row is None:
        return ""
    if row.p_value >= _CHANCE:
        return "By MAP, the difference from the start may be chance."
    if row.after > row.before:
        return "Papers that were cited together rank higher than they did by the start."
    return (
        "Papers that were cited together rank lower than they did by the start, whatever the dev loss says: the start "
        "is the better encoder. Drawn negatives are mostly easy, and a margin that keeps them all active pushes apart "
        "what is far already. Try a smaller --margin, a lower --learning-rate, or more pairs."
    )


def read_held_out(path: Path) -> list[HeldOutRow]:
    """The scores in a file; none where there is no such file. Raises TrainingError where it is damaged or foreign."""
    try:
        with path.open("rb") as file:
            content = file.read(_LARGEST + 1)
    except FileNotFoundError:
        return []
    except OSError as error:
        raise TrainingError(f"{path}: it cannot be read ({error.strerror}).") from error
    try:
        if len(content) > _LARGEST:
            raise ValueError(f"it is longer than {_LARGEST:,} bytes")
        told = json.loads(content)
        return held_out_rows(told)
    except (ValueError, TypeError, KeyError, IndexError, RecursionError) as error:
        raise TrainingError(
            f"{path}: these are no scores of held-out pairs ({error!s:.200}). Remove the file; the command that "
            "trained measures them again."
        ) from error


def held_out_rows(told: Mapping[str, Any]) -> list[HeldOutRow]:
    """The rows of `HeldOutChange.as_json()`. Raises ValueError, TypeError, KeyError or IndexError for anything else."""
    before, after, tests = told["before"], told["after"], told["tests"]
    return [
        HeldOutRow(
            metric=metric,
            before=_number(before["means"][metric]),
            after=_number(after["means"][metric]),
            interval=(_number(after["intervals"][metric][0]), _number(after["intervals"][metric][1])),
            p_value=_number(tests[metric]["p_value"]),
            queries=int(_number(after["queries"])),
            papers=int(_number(after["papers"])),
        )
        for metric in _CALLED
    ]


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or abs(value) > _MOST:
        raise ValueError(f"{value!r:.40} is no such number")
    return float(value)
