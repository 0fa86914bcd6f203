"""Scores of a ranking against a plain loop, means over folds, ids, and results as JSON and CSV."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from components.evaluation.metrics import METRICS
from components.evaluation.ranking import RankedPool, Ranking, RankingError, rank_by_vectors
from components.evaluation.results import (
    System,
    by_fold,
    evaluation_from_json,
    evaluation_id,
    evaluation_to_json,
    means,
    ranked_grades,
    score,
    scores_from_csv,
    scores_to_csv,
)
from corpus.judged_sets.model import JudgedSet
from tests.components.evaluation.planted import evaluation, judged_of, scores_of

Sets = Callable[..., JudgedSet]
Grades = dict[str, dict[str, int]]


def plain_scores(grades: list[int], relevant_from: int) -> tuple[float, float]:
    """Average precision and NDCG%20 of grades in rank order."""
    hits = [rank for rank in range(1, len(grades) + 1) if grades[rank - 1] >= relevant_from]
    precision = sum((i + 1) / rank for i, rank in enumerate(hits)) / len(hits) if hits else 0.0

    def dcg(ranked: list[int]) -> float:
        return sum(grade if i < 2 else grade / math.log2(i + 1) for i, grade in enumerate(ranked))

    cut = int(0.20 * len(grades))
    ideal = dcg(sorted(grades, reverse=True)[:cut])
    return precision, dcg(grades[:cut]) / ideal if ideal else 0.0


@given(
    st.lists(st.lists(st.integers(0, 3), min_size=1, max_size=30), min_size=1, max_size=4),
    st.integers(1, 3),
    st.integers(0, 99),
)
def test_scores_are_those_of_a_plain_loop(
    judged_set: Sets, pools: list[list[int]], relevant_from: int, seed: int
) -> None:
    grades = {f"q{i}": {f"c{i}-{j:02}": grade for j, grade in enumerate(pool)} for i, pool in enumerate(pools)}
    judged = judged_set(grades, relevant_from=relevant_from)
    rng = np.random.default_rng(seed)
    orders = {pool.query: rng.permutation(pool.rows).astype(np.int32) for pool in judged.pools}
    ranked = [RankedPool(query, rows, np.arange(len(rows), dtype=np.float32)) for query, rows in orders.items()]
    found = score(judged, judged.folds("test"), Ranking(tuple(reversed(ranked)), ascending=True))
    assert [one.query for one in found] == list(grades)
    expected = []
    for one in found:
        in_order = [grades[one.query][judged.papers[row].id] for row in orders[one.query]]
        expected.append(plain_scores(in_order, relevant_from))
        assert (one.metrics["MAP"], one.metrics["NDCG%20"]) == pytest.approx(expected[-1])
        assert tuple(one.metrics) == METRICS
        assert (one.paper, one.title, one.fold) == (one.query, f"Title of {one.query}", 0)
        assert (one.candidates, one.relevant) == (len(in_order), sum(grade >= relevant_from for grade in in_order))
    together = means(found, judged.folds("test"))
    assert (together["MAP"], together["NDCG%20"]) == pytest.approx(tuple(np.mean(expected, axis=0)))


def test_more_queries_than_a_batch_keep_their_order(judged_set: Sets) -> None:
    judged = judged_set({f"q{i}": {"a": i % 2, "b": 1 - i % 2} for i in range(600)})
    vectors = np.array([[0.0] if paper.id != "b" else [1.0] for paper in judged.papers], np.float32)
    found = score(judged, judged.folds("test"), rank_by_vectors(judged, judged.pools, vectors))
    assert [one.metrics["RR"] for one in found] == [0.5, 1.0] * 300
    assert [one.metrics["MAP"] for one in found] == [0.5, 1.0] * 300


@pytest.fixture
def planted(judged_set: Sets) -> tuple[JudgedSet, Ranking]:
    """Three pools whose candidates are in the best order."""
    grades: Grades = {"q": {"a": 2, "b": 1, "c": 0, "d": 0, "e": 0}, "none": {"a": 0, "b": 0, "c": 0, "d": 0, "e": 0}}
    judged = judged_set(grades | {"few": {"a": 2, "b": 0}}, relevant_from=2, folds=[["q", "none"], ["few"]])
    pools = (
        RankedPool(pool.query, pool.rows.copy(), np.arange(len(pool.rows), dtype=np.float32)) for pool in judged.pools
    )
    return judged, Ranking(tuple(pools), ascending=True)


def test_means_are_over_folds_and_empty_cases_count_as_0(planted: tuple[JudgedSet, Ranking]) -> None:
    judged, ranking = planted
    q, none, few = found = score(judged, judged.folds("test"), ranking)
    assert (q.metrics["MAP"], q.metrics["NDCG%20"]) == (1.0, 1.0)
    assert set(none.metrics.values()) == {0.0}
    assert (few.metrics["MAP"], few.metrics["NDCG%20"], few.metrics["nDCG@10"]) == (1.0, 0.0, 1.0)
    assert [values.tolist() for values in by_fold(found, "MAP")] == [[1.0, 0.0], [1.0]]
    together = means(found, judged.folds("test"))
    assert (together["MAP"], together["NDCG%20"]) == (0.75, 0.25)  # over queries, MAP would be 2/3
    for scores in (found[:-1], found[1:], [*found, found[0]], []):
        with pytest.raises(RankingError, match="Score all of them"):
            means(scores, judged.folds("test"))


def test_a_query_in_two_folds_counts_in_both_and_an_empty_fold_does_not(judged_set: Sets) -> None:
    judged = judged_set({"q": {"a": 1, "b": 0}, "r": {"a": 0, "b": 1}}, folds=[["q", "r"], [], ["q"]])
    folds = judged.folds("test")
    found = score(judged, folds, rank_by_vectors(judged, judged.pools, np.array([[0], [0], [1], [2]], np.float32)))
    assert [one.query for one in found] == ["q", "r", "q"]
    assert means(found, folds)["MAP"] == 0.875


def test_a_changed_judgement_or_order_changes_the_scores(planted: tuple[JudgedSet, Ranking]) -> None:
    judged, ranking = planted
    before = score(judged, judged.folds("test"), ranking)
    pool = judged.pools[0]
    for place, grade in ((0, 1), (0, 0), (2, 2), (4, 2)):
        grades = pool.grades.copy()
        grades[place] = grade
        changed = replace(judged, pools=(replace(pool, grades=grades), *judged.pools[1:]))
        after = score(changed, changed.folds("test"), ranking)
        assert after[0].metrics["MAP"] < before[0].metrics["MAP"]
        assert after[1:] == before[1:]
    swapped = replace(ranking.pools[0], rows=ranking.pools[0].rows[[1, 0, 2, 3, 4]])
    found = score(judged, judged.folds("test"), replace(ranking, pools=(swapped, *ranking.pools[1:])))
    assert [found[0].metrics[name] for name in ("MAP", "NDCG%20", "RR")] == [0.5, 0.5, 0.5]
    backwards = replace(ranking.pools[0], rows=ranking.pools[0].rows[::-1])
    assert ranked_grades(judged, pool, backwards).tolist() == [0, 0, 0, 1, 2]


@pytest.mark.parametrize(
    "change",
    [
        lambda rows: rows[:-1],
        lambda rows: np.append(rows, rows[0]),
        lambda rows: np.append(rows[:-1], rows[0]),
        lambda rows: np.append(rows[:-1], 0),
        lambda rows: np.append(rows[:-1], -1),
        lambda rows: np.append(rows[:-1], 99),
    ],
    ids=["one missing", "one too many", "one twice", "its query", "negative", "beyond the set"],
)
def test_a_ranking_must_be_of_exactly_the_pool(
    planted: tuple[JudgedSet, Ranking], change: Callable[[np.ndarray], np.ndarray]
) -> None:
    judged, ranking = planted
    rows = change(ranking.pools[0].rows).astype(np.int32)
    torn = replace(ranking, pools=(replace(ranking.pools[0], rows=rows), *ranking.pools[1:]))
    with pytest.raises(RankingError, match="planted, query q: the ranking, of ., is not of exactly the 5 candidates"):
        score(judged, judged.folds("test"), torn)
    with pytest.raises(RankingError, match="1 of 3 queries are not in the ranking, none first"):
        score(judged, judged.folds("test"), replace(ranking, pools=(ranking.pools[0], ranking.pools[2])))


def test_an_id_depends_on_system_set_and_split_alone() -> None:
    judged = judged_of(["a", "b"])
    system = System("encoder", "enc", "e" * 64, "enc", "float32")
    different = [
        (system, judged, "all"),
        (replace(system, precision="bfloat16"), judged, "all"),
        (replace(system, fingerprint="d" * 64), judged, "all"),
        (replace(system, name="other"), judged, "all"),
        (replace(system, kind="rankings"), judged, "all"),
        (system, judged, "test"),
        (system, replace(judged, facet="method"), "all"),
        (system, judged_of(["a", "b"], fingerprint="e" * 16), "all"),
        (system, replace(judged, relevant_from=2), "all"),
    ]
    assert len({evaluation_id(*one) for one in different}) == len(different)
    assert evaluation_id(replace(system, source="/elsewhere"), judged, "all") == evaluation_id(system, judged, "all")


def test_every_field_of_the_json_is_required() -> None:
    one = evaluation()
    whole = json.loads(evaluation_to_json(one, more=1))
    assert evaluation_from_json(json.dumps(whole)) == one
    for name in whole.keys() - {"more", "notes", "format"}:
        with pytest.raises(ValidationError):
            evaluation_from_json(json.dumps({field: value for field, value in whole.items() if field != name}))


def test_the_csv_needs_the_main_metrics_and_whole_rows() -> None:
    scores = scores_of(["a", "=b"])
    text = scores_to_csv(scores)
    assert scores_from_csv(io.StringIO(text, newline="")) == scores
    for damaged in (
        text.replace(",MAP", ",other"),
        text.replace(",NDCG%20", ",other"),
        text[: text.rindex(",")],
        text.replace("0.3", "x"),
    ):
        with pytest.raises(ValueError):
            scores_from_csv(io.StringIO(damaged, newline=""))
