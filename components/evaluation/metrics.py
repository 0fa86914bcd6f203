"""MAP and NDCG%20 of one ranked pool, as the published numbers compute them. Textbooks differ; see each."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray


def average_precision(relevant: Sequence[bool] | NDArray[np.bool_]) -> float:
    """Average precision of one query, 0 … 1. Its mean over queries is MAP.

    relevant: whether each candidate is relevant, in rank order, nearest first; the whole pool.
    Gain: 1 for a relevant candidate. Discount: none; at each relevant rank r counts the precision at r, the
    share of relevant candidates among the first r. Cut-off: none. Denominator: the relevant candidates of the
    pool. Empty case: 0 where nothing is relevant.

    Relevant at ranks 1 and 3: (1/1 + 2/3) / 2.

    >>> round(average_precision([True, False, True, False]), 4)
    0.8333
    >>> average_precision([])
    0.0
    """
    ranks = np.flatnonzero(np.asarray(relevant, dtype=bool)) + 1
    return float(np.mean(np.arange(1, len(ranks) + 1) / ranks)) if len(ranks) else 0.0


def ndcg_at(grades: Sequence[float] | NDArray[Any], k: int) -> float:
    """NDCG of one query over the first k ranks, 0 … 1.

    grades: the grade of each candidate (0 or more), in rank order, nearest first; the whole pool, because the
    ideal is drawn from all of it.
    Gain: the grade itself, not 2^grade - 1. Discount: ranks 1 and 2 stay whole, rank i from 3 on is divided by
    log2(i); the textbook divides by log2(i + 1) from rank 2 on. Cut-off: k ranks, or the pool where it is
    shorter. Denominator: the same sum over the pool's grades sorted from high to low, at the same cut-off.
    Empty case: 0 where that ideal is 0 (no grade above 0, or k is 0).
    Raises ValueError for a negative k and for a grade that is negative or not finite.

    Grades 2, 1, 2, 0 at cut-off 4: (2 + 1 + 2 / log2(3)) / (2 + 2 + 1 / log2(3)).

    >>> round(ndcg_at([2, 1, 2, 0], 4), 4)
    0.9203
    >>> ndcg_at([0, 0, 0], 3)
    0.0
    """
    if k < 0:
        raise ValueError(f"the cut-off is {k}; it is a number of ranks, 0 or more")
    gains = np.asarray(grades)
    if len(gains) and not bool(((gains >= 0) & np.isfinite(gains)).all()):
        first = int(np.argmin((gains >= 0) & np.isfinite(gains)))
        raise ValueError(f"the grade at rank {first + 1} is {gains[first]}; grades are finite and 0 or more")
    weights = 1 / np.log2(np.maximum(np.arange(1, min(k, len(gains)) + 1), 2))
    ideal = float(np.sort(gains)[::-1][:k] @ weights)
    return float(gains[:k] @ weights) / ideal if ideal > 0 else 0.0


def ndcg_at_percent(grades: Sequence[float] | NDArray[Any], *, percent: int = 20) -> float:
    """NDCG over the nearest `percent` of the pool, 0 … 1; at 20 it is NDCG%20, which is not NDCG@20.

    grades: as in `ndcg_at`, whose gain, discount and denominator these are.
    Cut-off: percent / 100 of the pool's size, rounded down. Empty case: 0 where no grade is above 0, and where
    the cut-off is 0 (with 20 percent: a pool of fewer than 5).
    Raises ValueError as `ndcg_at` does, and for a percent outside 0 … 100.

    Ten candidates are cut at 2, and both ranks count whole: (0 + 2) / (2 + 1).

    >>> round(ndcg_at_percent([0, 2, 1, 0, 0, 0, 0, 0, 0, 0]), 4)
    0.6667
    """
    if not 0 <= percent <= 100:
        raise ValueError(f"percent is {percent}; it lies between 0 and 100")
    # In integers: int(percent / 100 * n) falls one short for some percents (29 % of 100 gives 28).
    return ndcg_at(grades, len(grades) * percent // 100)
