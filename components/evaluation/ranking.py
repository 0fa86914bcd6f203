"""From vectors to a ranked pool, and from ranked pools to the mean scores of a system."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from components.evaluation.metrics import average_precision, ndcg_at_percent

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class Run:
    """One query's pool, ranked. grades: of its candidates, in rank order, nearest first, the query left out."""

    query: str
    grades: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Scores:
    """Means over `queries` queries, each counting once; fractions 0 … 1, where papers print percent."""

    queries: int
    mean_average_precision: float
    ndcg_at_20_percent: float


def rank_pool(query_vector: Array, candidate_vectors: Array) -> npt.NDArray[np.intp]:
    """The order of a pool by L2 distance to the query, nearest first: positions (n,) into the candidates.

    query_vector: float (d,). candidate_vectors: float (n, d). Equal distances keep the candidates' order, so
    that a run can be repeated. Raises ValueError where the shapes do not agree or a number is not finite.
    """
    query = np.asarray(query_vector, dtype=np.float64)
    candidates = np.asarray(candidate_vectors, dtype=np.float64)
    if query.ndim != 1 or candidates.ndim != 2 or candidates.shape[1] != len(query):
        raise ValueError(f"a query of shape {query.shape} and candidates of {candidates.shape}; give (d,), (n, d)")
    # Differences first: |q|² + |c|² - 2qc is faster, but rounds near neighbours into ties of its own.
    squared = np.square(candidates - query).sum(axis=1)
    if not np.isfinite(squared).all():
        raise ValueError("a query or candidate vector is not finite; encode its paper again")
    return np.argsort(squared, kind="stable")


def evaluate(runs: Iterable[Run], *, relevant_from: float) -> Scores:
    """MAP and NDCG%20 of a system: the plain mean over its runs, as published numbers are made.

    relevant_from: the lowest grade that counts as relevant in average precision; NDCG uses every grade. A query
    without a relevant candidate stays in the mean with 0. Raises ValueError where there are no runs.
    """
    precisions: list[float] = []
    gains: list[float] = []
    for run in runs:
        precisions.append(average_precision([grade >= relevant_from for grade in run.grades]))
        gains.append(ndcg_at_percent(run.grades))
    if not precisions:
        raise ValueError("no runs to evaluate; rank at least one query's pool")
    return Scores(
        queries=len(precisions),
        mean_average_precision=sum(precisions) / len(precisions),
        ndcg_at_20_percent=sum(gains) / len(gains),
    )
