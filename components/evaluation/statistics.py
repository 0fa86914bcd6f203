"""Bootstrap intervals of a mean, and a paired randomisation test of two systems.

Means are over folds of the means over each fold's queries.

B. Efron, R. Tibshirani: An Introduction to the Bootstrap, 1993, chapter 13 (percentile intervals).
M. Smucker, J. Allan, B. Carterette: A Comparison of Statistical Significance Tests for Information Retrieval
Evaluation, CIKM 2007 (the randomisation test).
B. Phipson, G. Smyth: Permutation P-values Should Never Be Zero, 2010 (why one is added to both counts).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Values = Sequence[float] | NDArray[np.float64]

BOOTSTRAP_SAMPLES = 10_000  # the ends of the interval vary by a few hundredths of its width between seeds
PAIRED_SAMPLES = 100_000  # the smallest p-value is then 0.00001
_CELLS = 2_000_000  # random numbers at a time: 16 MB


@dataclass(frozen=True, slots=True)
class PairedTest:
    """Whether the first of two systems differs from the second over the same queries.

    difference: the first's mean minus the second's. p_value: two-sided, the share of random swaps of the two systems,
    query by query, that give as large a difference. wins, losses, ties: queries at which the first is better, worse,
    equal. samples: the number of random swaps.
    """

    difference: float
    p_value: float
    wins: int
    losses: int
    ties: int
    samples: int


def bootstrap_interval(
    values_by_fold: Sequence[Values], *, samples: int = BOOTSTRAP_SAMPLES, seed: int = 0, level: float = 0.95
) -> tuple[float, float]:
    """The percentile bootstrap interval of a mean: queries are resampled with replacement within their fold.

    values_by_fold: a metric's value for each query; empty folds are ignored. The same values and seed give the same
    interval. Raises ValueError where there is no value, one is not finite, or level is not between 0 and 1.
    """
    folds = _folds(values_by_fold)
    if not 0 < level < 1:
        raise ValueError(f"level is {level}; use a value between 0 and 1")
    rng = np.random.default_rng(seed)
    means = np.zeros(samples)
    for values in folds:
        step = max(1, _CELLS // len(values))
        for start in range(0, samples, step):
            drawn = rng.integers(0, len(values), size=(min(step, samples - start), len(values)), dtype=np.int32)
            means[start : start + step] += values[drawn].mean(axis=1) / len(folds)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def paired_test(
    first_by_fold: Sequence[Values], second_by_fold: Sequence[Values], *, samples: int = PAIRED_SAMPLES, seed: int = 0
) -> PairedTest:
    """The two-sided paired randomisation test of the difference of two means.

    Value i of a fold belongs to the same query in both. p = (hits + 1) / (samples + 1), where hits are the samples
    whose difference is as large as the observed one; p is 1 where no query differs. The same values and seed give the
    same result. Raises ValueError as `bootstrap_interval` does, and where the folds have different lengths.
    """
    if [len(fold) for fold in first_by_fold] != [len(fold) for fold in second_by_fold]:
        raise ValueError(
            "the two systems were not scored on the same queries; give both, fold by fold, in the same order"
        )
    first, second = _folds(first_by_fold), _folds(second_by_fold)
    # Each query's share of the difference of the means.
    shares = np.concatenate([(a - b) / (len(a) * len(first)) for a, b in zip(first, second, strict=True)])
    swapped = shares[shares != 0]
    observed = float(shares.sum())
    # Sums of the same numbers in another order differ in their last digits, which must not count.
    bound = abs(observed) - 1e-12 * float(np.abs(shares).sum())
    rng = np.random.default_rng(seed)
    hits = 0
    step = max(1, _CELLS // max(1, len(swapped)))
    for start in range(0, samples, step):
        count = min(step, samples - start)
        bits = np.unpackbits(rng.integers(0, 256, size=(count, (len(swapped) + 7) // 8), dtype=np.uint8), axis=1)
        sums = float(swapped.sum()) - 2 * (bits[:, : len(swapped)].astype(np.float64) @ swapped)
        hits += int((np.abs(sums) >= bound).sum())
    return PairedTest(
        difference=observed,
        p_value=(hits + 1) / (samples + 1),
        wins=int((shares > 0).sum()),
        losses=int((shares < 0).sum()),
        ties=int((shares == 0).sum()),
        samples=samples,
    )


def _folds(values_by_fold: Sequence[Values]) -> list[NDArray[np.float64]]:
    """The folds that have values. Raises ValueError where there is none, or a value is not finite."""
    folds = [np.asarray(values, dtype=np.float64) for values in values_by_fold if len(values)]
    if not folds:
        raise ValueError("there are no queries; give at least one value")
    if not all(np.isfinite(values).all() for values in folds):
        raise ValueError("a value is not a finite number; score the queries again")
    return folds
