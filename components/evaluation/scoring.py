"""Scoring: the metrics of every query of a ranking, and their means."""

from collections import Counter
from collections.abc import Sequence, Sized

import numpy as np
from numpy.typing import NDArray

from components.evaluation.metrics import average_precision, ndcg_at_percent
from components.evaluation.ranking import RankingError
from components.evaluation.results import MAP, NDCG_20_PERCENT, QueryScores, RankedPool, Ranking
from components.evaluation.standard_metrics import USUAL, usual_metrics
from corpus.judged_sets.model import JudgedSet, Pool

METRICS = (MAP, NDCG_20_PERCENT, *USUAL)  # the order of tables
_BATCH = 256  # queries whose grades are in memory together


def score(judged: JudgedSet, folds: Sequence[Sequence[Pool]], ranking: Ranking) -> list[QueryScores]:
    """The scores of every query of every fold, in their order; a query in two folds is told in both.

    Raises RankingError where a query is not in the ranking, or its ranking is not of its whole pool and no more.
    """
    ranked = {pool.query: pool for pool in ranking.pools}
    asked = [(fold, pool) for fold, pools in enumerate(folds) for pool in pools]
    if missing := [pool.query for _, pool in asked if pool.query not in ranked]:
        raise RankingError(
            f"{judged.name}: {len(missing):,} of {len(asked):,} queries are not in the ranking, {missing[0]!s:.80} "
            "first. Rank their pools too."
        )
    scores: list[QueryScores] = []
    for start in range(0, len(asked), _BATCH):
        batch = asked[start : start + _BATCH]
        grades = [ranked_grades(judged, pool, ranked[pool.query]) for _, pool in batch]
        usual = usual_metrics(grades, relevant_from=judged.relevant_from)
        for (fold, pool), mine, others in zip(batch, grades, usual, strict=True):
            relevant = mine >= judged.relevant_from
            paper = judged.papers[pool.row]
            scores.append(
                QueryScores(
                    query=pool.query,
                    paper=paper.id,
                    title=paper.title,
                    group=pool.group,
                    fold=fold,
                    candidates=len(mine),
                    relevant=int(relevant.sum()),
                    metrics={MAP: average_precision(relevant), NDCG_20_PERCENT: ndcg_at_percent(mine), **others},
                )
            )
    return scores


def ranked_grades(judged: JudgedSet, pool: Pool, ranked: RankedPool) -> NDArray[np.int16]:
    """The grades of a pool in the order of a ranking: int16 (n,).

    Raises RankingError where the ranking is not of all of the pool's candidates, each once.
    """
    grade_of = np.full(len(judged.papers), -1, dtype=np.int16)
    grade_of[pool.rows] = pool.grades
    whole = len(ranked.rows) == len(pool.rows) and bool(((ranked.rows >= 0) & (ranked.rows < len(grade_of))).all())
    if whole:
        found: NDArray[np.int16] = grade_of[ranked.rows]
        grade_of[ranked.rows] = -1
        # As many as are wanted, all of them candidates, and none of the candidates left: each is there once.
        if bool((found >= 0).all()) and bool((grade_of[pool.rows] < 0).all()):
            return found
    raise RankingError(
        f"{judged.name}, query {pool.query!s:.80}: its pool has {len(pool.rows):,} candidates and the ranking, of "
        f"{len(ranked.rows):,}, is not of just those. Rank the pool again."
    )


def by_fold(scores: Sequence[QueryScores], metric: str) -> list[NDArray[np.float64]]:
    """The values of a metric, an array a fold, in the order of the scores: what `statistics` takes."""
    folds: dict[int, list[float]] = {}
    for one in scores:
        folds.setdefault(one.fold, []).append(one.metrics[metric])
    return [np.array(folds[fold]) for fold in sorted(folds)]


def means(scores: Sequence[QueryScores], folds: Sequence[Sized]) -> dict[str, float]:
    """The mean of each metric over a fold's queries, and over folds where there are several.

    folds: what was asked for; a mean over other queries than those is not given. Raises RankingError where there are
    fewer or more of a fold, or none at all.
    """
    there = Counter(one.fold for one in scores)
    if not scores or there != Counter({fold: len(pools) for fold, pools in enumerate(folds) if len(pools)}):
        asked = ", ".join(f"{len(pools):,}" for pools in folds) or "none"
        told = ", ".join(f"{there[fold]:,}" for fold in sorted(there)) or "none"
        raise RankingError(f"Queries that were asked for, by fold: {asked}; with scores: {told}. Score all of them.")
    return {
        metric: float(np.mean([values.mean() for values in by_fold(scores, metric)])) for metric in scores[0].metrics
    }
