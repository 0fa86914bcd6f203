"""The usual measures of a ranking, by ir-measures. NDCG%20 is none of them: nDCG@20 cuts and discounts otherwise."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

USUAL = ("nDCG@10", "nDCG@20", "P@20", "R@20", "RR", "Rprec")  # as ir-measures calls them; the mean of RR is MRR
_DEEPEST = 20  # ranks that those with a cut-off look at


def usual_metrics(ranked_grades: Sequence[NDArray[np.int16]], *, relevant_from: int) -> list[dict[str, float]]:
    """Each query's value of each of USUAL, 0 … 1, in the order given.

    ranked_grades: for each query the grades of its whole pool, int16 (n,), in rank order. relevant_from: the lowest
    grade that is relevant, 1 or more; nDCG takes every grade as its gain. A query without a relevant candidate has 0,
    and P@20 divides by 20 in a smaller pool, too: both as trec_eval does.
    Raises ValueError for a relevant_from below 1: trec_eval cannot tell a grade of 0 from a paper nobody judged.
    """
    import ir_measures
    from ir_measures import RR, P, R, Rprec, nDCG

    if relevant_from < 1:
        raise ValueError(f"relevant_from is {relevant_from}; grades of 1 or more can be relevant")
    rel = relevant_from
    measures = dict(
        zip((nDCG @ 10, nDCG @ 20, P(rel=rel) @ 20, R(rel=rel) @ 20, RR(rel=rel), Rprec(rel=rel)), USUAL, strict=True)
    )
    judged: dict[str, dict[str, int]] = {}
    run: dict[str, dict[str, float]] = {}
    for number, grades in enumerate(ranked_grades):
        relevant = np.flatnonzero(grades >= rel)
        # No measure looks further down than this, and a pool can have thousands: of those below, only what has a grade
        # is told, which ideals and denominators need.
        depth = max(_DEEPEST, len(relevant), int(relevant[0]) + 1 if len(relevant) else 0)
        ranks = np.concatenate([np.arange(min(depth, len(grades))), depth + np.flatnonzero(grades[depth:])])
        judged[str(number)] = {str(rank): int(grade) for rank, grade in zip(ranks, grades[ranks], strict=True)}
        # Ranks in place of scores: pytrec_eval keeps scores as 32-bit floats, and breaks ties of its own making.
        run[str(number)] = {str(rank): -float(rank) for rank in range(min(depth, len(grades)))}
    found: list[dict[str, float]] = [dict.fromkeys(USUAL, 0.0) for _ in ranked_grades]
    for metric in ir_measures.iter_calc(list(measures), judged, run):
        found[int(metric.query_id)][measures[metric.measure]] = float(metric.value)
    return found
