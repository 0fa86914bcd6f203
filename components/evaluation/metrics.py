"""Metrics of ranked pools: MAP and NDCG%20 as the published numbers compute them, and the standard ones by ir-measures.

NDCG%20 is not nDCG@20: it has another cut-off and another discount.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

MAP, NDCG_20_PERCENT = "MAP", "NDCG%20"  # what the paper reports
STANDARD_METRICS = ("nDCG@10", "nDCG@20", "P@20", "R@20", "RR", "Rprec")  # ir-measures' names; the mean of RR is MRR
METRICS = (MAP, NDCG_20_PERCENT, *STANDARD_METRICS)  # in the order of tables
_MAX_CUT_OFF = 20  # of the standard metrics


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
        raise ValueError(f"the cut-off is {k}; use 0 ranks or more")
    gains = np.asarray(grades)
    valid = (gains >= 0) & np.isfinite(gains)
    if not valid.all():
        first = int(np.argmin(valid))
        raise ValueError(f"the grade at rank {first + 1} is {gains[first]}; grades are finite and not negative")
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
        raise ValueError(f"percent is {percent}; use 0 to 100")
    # In integers: int(percent / 100 * n) falls one short for some percents (29 % of 100 gives 28).
    return ndcg_at(grades, len(grades) * percent // 100)


def standard_metrics(ranked_grades: Sequence[NDArray[np.int16]], *, relevant_from: int) -> list[dict[str, float]]:
    """The STANDARD_METRICS of each query, 0 … 1, in the order given.

    ranked_grades: for each query the grades of its whole pool, int16 (n,), in rank order. relevant_from: the lowest
    relevant grade, 1 or more; the gain of nDCG is every grade. As in trec_eval, a query without a relevant candidate
    has 0, and P@20 divides by 20 in smaller pools too.
    Raises ValueError for a relevant_from below 1: trec_eval cannot tell grade 0 from an unjudged paper.
    """
    import ir_measures
    from ir_measures import RR, P, R, Rprec, nDCG

    if relevant_from < 1:
        raise ValueError(f"relevant_from is {relevant_from}; only grades of 1 or more can be relevant")
    rel = relevant_from
    measures = (nDCG @ 10, nDCG @ 20, P(rel=rel) @ 20, R(rel=rel) @ 20, RR(rel=rel), Rprec(rel=rel))
    names = dict(zip(measures, STANDARD_METRICS, strict=True))
    qrels: dict[str, dict[str, int]] = {}
    run: dict[str, dict[str, float]] = {}
    for number, grades in enumerate(ranked_grades):
        relevant = np.flatnonzero(grades >= rel)
        # No metric depends on the order below this rank, and a pool can have thousands: of those below, only grades
        # above 0 are given, which ideals and denominators need.
        depth = max(_MAX_CUT_OFF, len(relevant), int(relevant[0]) + 1 if len(relevant) else 0)
        ranks = np.concatenate([np.arange(min(depth, len(grades))), depth + np.flatnonzero(grades[depth:])])
        qrels[str(number)] = {str(rank): int(grade) for rank, grade in zip(ranks, grades[ranks], strict=True)}
        # Ranks in place of scores: pytrec_eval keeps 32-bit scores and breaks the ties that this makes.
        run[str(number)] = {str(rank): -float(rank) for rank in range(min(depth, len(grades)))}
    values: list[dict[str, float]] = [dict.fromkeys(STANDARD_METRICS, 0.0) for _ in ranked_grades]
    for metric in ir_measures.iter_calc(list(measures), qrels, run):
        values[int(metric.query_id)][names[metric.measure]] = float(metric.value)
    return values
