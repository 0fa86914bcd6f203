"""Planted sets, evaluations and scores for tests of results, storage and reports."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from components.evaluation.results import Evaluation, PoolSizes, QueryScores, System
from corpus.judged_sets.model import DataIssue, JudgedSet, Pool, PoolPaper


def judged_of(ids: list[str], *, fingerprint: str = "f" * 16) -> JudgedSet:
    """A set in which every paper is a query, and all others are its candidates, relevant."""
    rows = np.arange(len(ids), dtype=np.int32)
    grades = np.ones(len(ids) - 1, dtype=np.int16)
    return JudgedSet(
        name="planted",
        facet="",
        origin="own",
        papers=tuple(PoolPaper(id, f"Title of {id}", "Abstract") for id in ids),
        pools=tuple(Pool(query, row, np.delete(rows, row), grades) for row, query in enumerate(ids)),
        splits={"all": (tuple(ids),)},
        relevant_from=1,
        handled=(),
        fingerprint=fingerprint,
    )


def evaluation(
    id: str = "a", name: str = "specter", *, means: tuple[float, float] = (0.5, 0.6), **changes: Any
) -> Evaluation:
    """An evaluation on RELISH with the id `id` repeated 16 times. means: MAP and NDCG%20."""
    one = Evaluation(
        id=id * 16,
        made="2026-11-22T21:40:00Z",
        system=System("encoder", name, id * 64, name, "float32"),
        set_name="relish",
        facet="",
        split="test",
        origin="released",
        set_fingerprint="f" * 16,
        rules="",
        relevant_from=2,
        papers=70,
        folds=(4,),
        pool_sizes=PoolSizes(smallest=3, median=50, mean=50.25, largest=60),
        means={"MAP": means[0], "NDCG%20": means[1], "nDCG@20": 0.123},
        intervals={"MAP": (0.4, 0.55), "NDCG%20": (0.5, 0.65)},
        handled=(DataIssue("title_only", 1234, ("p1", "p2")),),
        without_positive=1,
        pools_under_five=2,
        not_comparable=(),
        seconds={"encoding": 1.26},
        versions={"python": "3.11.7"},
        machine="A machine",
    )
    return replace(one, **changes)


def scores_of(ids: Sequence[str]) -> list[QueryScores]:
    """Scores with a title that is hostile to spreadsheets."""
    metrics = {"MAP": 1 / 3, "NDCG%20": 0.1 + 0.2}
    return [QueryScores(id, id, f'=Title, "of"\n{id}', "", 0, len(ids) - 1, 1, metrics) for id in ids]
