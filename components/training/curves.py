"""Curves: what a run writes down of every step and of every look at the dev set, a JSON object a line."""

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from components.training.settings import TrainingError

CURVES = "curves.jsonl"  # in the run's folder

Numbers = NDArray[np.float64]

_LARGEST = 2**30  # bytes of a file: 250 are a step, and no run has four million
_LONGEST = 10_000  # bytes of a line: a mix of a hundred layers is a fifth of it
_MOST = 1e15  # of what has no bound of its own
_MOST_LAYERS = 200
_SHARES = frozenset({"active", "dev_accuracy"})
# What may be no number, and is null on disk: a run that diverged says so in its last line.
_MAY_BE_NONE = frozenset({"loss", "gradient_norm", "dev_loss"})
_MOST_FLOAT32 = 3.5e38  # and these come to all that float32 has, before they are no number


@dataclass(frozen=True, slots=True, kw_only=True)
class StepRecord:
    """One update of the weights.

    step: from 1 on. epoch: how many epochs are done after it, a fraction. loss: the mean over its triplets.
    active: the share of its triplets with a loss above 0. self_negatives: how many triplets had their own positive as
        the negative. learning_rate: that it was taken with. gradient_norm: before clipping.
    tokens: word pieces that were read, without padding. seconds: that it took.
    """

    step: int
    epoch: float
    loss: float
    active: float
    self_negatives: int
    learning_rate: float
    gradient_norm: float
    tokens: int
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class LookRecord:
    """One look at the dev set. step: how many updates were done, 0 before the first.

    dev_loss: the mean over the dev triplets. dev_accuracy: the share of them whose positive is nearer.
    best: whether no look before it had as low a loss. mix: the scalar mix's weights, the embedding layer's first; empty
        without one. seconds: that it took.
    """

    step: int
    dev_loss: float
    dev_accuracy: float
    best: bool
    mix: tuple[float, ...]
    seconds: float


@dataclass(frozen=True, slots=True)
class Curves:
    """What was written of a run. The steps of each rise, without a repetition."""

    steps: tuple[StepRecord, ...]
    looks: tuple[LookRecord, ...]

    def best(self) -> LookRecord | None:
        """The look whose weights are kept: the last that was better than all before it."""
        return next((look for look in reversed(self.looks) if look.best), None)


NO_CURVES = Curves((), ())


def written(record: StepRecord | LookRecord) -> str:
    """A record as a line of the file, its end with it. A loss or a norm that is no number is null."""
    kind = "step" if isinstance(record, StepRecord) else "look"
    values = {
        name: None if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in asdict(record).items()
    }
    return json.dumps({"kind": kind, **values}, allow_nan=False) + "\n"


def read_curves(path: Path) -> Curves:
    """The curves in a file. A last line that was torn, by a kill or a full disk, is left out.

    Raises TrainingError where there is no such file, or a line holds what no run writes; it names the line.
    """
    steps: list[StepRecord] = []
    looks: list[LookRecord] = []
    try:
        if path.stat().st_size > _LARGEST:
            raise TrainingError(f"{path}: this is more than {_LARGEST // 2**20:,} MB, and no file of curves.")
        for number, line in enumerate(_lines(path), start=1):
            try:
                record = _record(line)
                before = steps if isinstance(record, StepRecord) else looks
                if before and before[-1].step >= record.step:
                    raise ValueError(f"step {record.step} comes after step {before[-1].step}")
            except (ValueError, TypeError, KeyError, RecursionError) as error:
                raise TrainingError(
                    f"{path}, line {number}: this is no step and no look of a run ({error!s:.200}). Remove the line, "
                    "or train again."
                ) from error
            if isinstance(record, StepRecord):
                steps.append(record)
            else:
                looks.append(record)
    except OSError as error:
        raise TrainingError(
            f"{path}: the curves cannot be read ({error.strerror}). Name the folder of a run, as `train` was given it."
        ) from error
    return Curves(tuple(steps), tuple(looks))


def trailing_mean(values: Sequence[float] | Numbers, *, window: int) -> Numbers:
    """float64 (n,): at each place the mean of the last `window` values, or of as many as there are.

    A value that is no number counts as none; where there is no other, the mean is none either.

    >>> trailing_mean([1.0, 3.0, 5.0, 7.0], window=2).tolist()
    [1.0, 2.0, 4.0, 6.0]
    """
    if window < 1:
        raise ValueError(f"a window of {window}")
    given = np.asarray(values, dtype=np.float64)
    there = np.isfinite(given)
    # Each window by its own sum, not by differences of running ones: one huge loss would spoil all that come later.
    padded = np.concatenate([np.zeros(window - 1), np.where(there, given, 0.0)])
    counted = np.concatenate([np.zeros(window - 1), there.astype(np.float64)])
    if not len(given):
        return given
    sums = np.lib.stride_tricks.sliding_window_view(padded, window).sum(axis=1)
    counts = np.lib.stride_tricks.sliding_window_view(counted, window).sum(axis=1)
    means: Numbers = np.divide(sums, counts, out=np.full(len(given), np.nan), where=counts > 0)
    return means


def thinned(values: Sequence[float] | Numbers, *, most: int) -> NDArray[np.int64]:
    """Places of about `most` values that show what all of them show: the least and the greatest of each stretch.

    >>> thinned([5.0, 1.0, 9.0, 2.0, 3.0, 4.0], most=4).tolist()
    [1, 2, 3, 5]
    """
    given = np.asarray(values, dtype=np.float64)
    if len(given) <= most:
        return np.arange(len(given))
    kept: set[int] = set()
    for stretch in np.array_split(np.arange(len(given)), max(1, most // 2)):
        there = stretch[np.isfinite(given[stretch])]
        if len(there):
            kept |= {int(there[given[there].argmin()]), int(there[given[there].argmax()])}
    return np.array(sorted(kept), dtype=np.int64)


def _lines(path: Path) -> Iterator[bytes]:
    """The whole lines of a file: one without an end was torn."""
    with path.open("rb") as file:
        while line := file.readline(_LONGEST + 1):
            if line.endswith(b"\n"):
                yield line
            elif len(line) > _LONGEST:
                yield b'"a line that is too long"'
                return


def _record(line: bytes) -> StepRecord | LookRecord:
    """Raises ValueError, TypeError, KeyError or RecursionError for what a run does not write."""
    values = json.loads(line)
    if not isinstance(values, dict):
        raise ValueError("no object")
    kinds: dict[str, type[StepRecord | LookRecord]] = {"step": StepRecord, "look": LookRecord}
    if (kind := kinds.get(str(values.get("kind")))) is None:
        raise ValueError("neither a step nor a look")
    found = {one.name: _value(one.name, one.type, values[one.name]) for one in fields(kind)}
    if kind is StepRecord and not found["step"]:
        raise ValueError("a step 0")
    return kind(**found)


def _value(name: str, kind: Any, value: Any) -> Any:
    """A value of a record, checked. Raises ValueError."""
    if kind is bool:
        if not isinstance(value, bool):
            raise ValueError(f"{name} is neither true nor false")
        return value
    if kind not in (int, float):
        if not isinstance(value, list) or len(value) > _MOST_LAYERS:
            raise ValueError(f"{name} is no list of weights")
        return tuple(_value("active", float, one) for one in value)  # shares, as that is
    if value is None and name in _MAY_BE_NONE:
        return math.nan
    if isinstance(value, bool) or not isinstance(value, int if kind is int else int | float):
        raise ValueError(f"{name} is no number")
    if not 0 <= value <= (1 + 1e-6 if name in _SHARES else _MOST_FLOAT32 if name in _MAY_BE_NONE else _MOST):
        raise ValueError(f"{name} is {value!r:.40}")
    return kind(value)
