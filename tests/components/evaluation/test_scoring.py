"""Scores of a ranking against a plain oracle; what is not a ranking of its pools; means over folds."""

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.evaluation import METRICS, RankingError, by_fold, means, rank_by_vectors, ranked_grades, score
from components.evaluation.results import RankedPool, Ranking
from corpus.judged_sets.model import JudgedSet

Sets = Callable[..., JudgedSet]
Grades = dict[str, dict[str, int]]
POOLS = st.lists(st.lists(st.integers(0, 3), min_size=1, max_size=30), min_size=1, max_size=4)


def named(pools: list[list[int]]) -> Grades:
    return {f"q{i}": {f"c{i}-{j:02}": grade for j, grade in enumerate(pool)} for i, pool in enumerate(pools)}


def shuffled(judged: JudgedSet, seed: int) -> Ranking:
    """Every pool in a random order."""
    rng = np.random.default_rng(seed)
    orders = [(pool, rng.permutation(pool.rows).astype(np.int32)) for pool in judged.pools]
    ranked = [RankedPool(pool.query, rows, np.arange(len(rows), dtype=np.float32)) for pool, rows in orders]
    return Ranking(tuple(reversed(ranked)), ascending=True)


def plain_scores(grades: list[int], relevant_from: int) -> tuple[float, float]:
    """MAP's part and NDCG%20 of grades in rank order, written down a second time."""
    hits = [rank for rank in range(1, len(grades) + 1) if grades[rank - 1] >= relevant_from]
    precision = sum((i + 1) / rank for i, rank in enumerate(hits)) / len(hits) if hits else 0.0

    def dcg(ranked: list[int]) -> float:
        return sum(grade if i < 2 else grade / math.log2(i + 1) for i, grade in enumerate(ranked))

    cut = int(0.20 * len(grades))
    ideal = dcg(sorted(grades, reverse=True)[:cut])
    return precision, dcg(grades[:cut]) / ideal if ideal else 0.0


@given(POOLS, st.integers(1, 3), st.integers(0, 99))
def test_scores_are_those_of_a_plain_loop(
    judged_set: Sets, pools: list[list[int]], relevant_from: int, seed: int
) -> None:
    grades = named(pools)
    judged = judged_set(grades, relevant_from=relevant_from)
    ranking = shuffled(judged, seed)
    found = score(judged, judged.folds("test"), ranking)
    assert [one.query for one in found] == list(grades)
    order = {pool.query: [judged.papers[row].id for row in pool.rows] for pool in ranking.pools}
    for one in found:
        ranked = [grades[one.query][candidate] for candidate in order[one.query]]
        expected = plain_scores(ranked, relevant_from)
        assert (one.metrics["MAP"], one.metrics["NDCG%20"]) == pytest.approx(expected)
        assert tuple(one.metrics) == METRICS
        assert (one.paper, one.title, one.fold) == (one.query, f"Title of {one.query}", 0)
        assert one.candidates == len(ranked)
        assert one.relevant == sum(grade >= relevant_from for grade in ranked)
    plain = [plain_scores([grades[one][c] for c in order[one]], relevant_from) for one in grades]
    together = means(found, judged.folds("test"))
    assert together["MAP"] == pytest.approx(sum(a for a, _ in plain) / len(plain))
    assert together["NDCG%20"] == pytest.approx(sum(b for _, b in plain) / len(plain))


def test_more_queries_than_are_scored_together_keep_their_order(judged_set: Sets) -> None:
    judged = judged_set({f"q{i}": {"a": i % 2, "b": 1 - i % 2} for i in range(600)})
    vectors = np.array([[0.0] if paper.id != "b" else [1.0] for paper in judged.papers], np.float32)
    found = score(judged, judged.folds("test"), rank_by_vectors(judged, judged.pools, vectors))
    assert [one.metrics["RR"] for one in found] == [0.5, 1.0] * 300
    assert [one.metrics["MAP"] for one in found] == [0.5, 1.0] * 300


@pytest.fixture
def planted(judged_set: Sets) -> tuple[JudgedSet, Ranking]:
    """Three pools whose candidates stand in the best order."""
    grades: Grades = {"q": {"a": 2, "b": 1, "c": 0, "d": 0, "e": 0}, "none": {"a": 0, "b": 0, "c": 0, "d": 0, "e": 0}}
    judged = judged_set(grades | {"few": {"a": 2, "b": 0}}, relevant_from=2, folds=[["q", "none"], ["few"]])
    pools = (
        RankedPool(pool.query, pool.rows.copy(), np.arange(len(pool.rows), dtype=np.float32)) for pool in judged.pools
    )
    return judged, Ranking(tuple(pools), ascending=True)


def test_queries_without_positives_and_small_pools_count_with_0(planted: tuple[JudgedSet, Ranking]) -> None:
    judged, ranking = planted
    q, none, few = score(judged, judged.folds("test"), ranking)
    assert (q.metrics["MAP"], q.metrics["NDCG%20"]) == (1.0, 1.0)
    assert set(none.metrics.values()) == {0.0}
    assert (few.metrics["MAP"], few.metrics["NDCG%20"], few.metrics["nDCG@10"]) == (1.0, 0.0, 1.0)


def test_the_mean_is_over_folds_of_the_means_over_their_queries(planted: tuple[JudgedSet, Ranking]) -> None:
    judged, ranking = planted
    found = score(judged, judged.folds("test"), ranking)
    assert [one.fold for one in found] == [0, 0, 1]
    assert [values.tolist() for values in by_fold(found, "MAP")] == [[1.0, 0.0], [1.0]]
    together = means(found, judged.folds("test"))
    assert together["MAP"] == 0.75  # over queries it would be 2/3
    assert together["NDCG%20"] == 0.25


def test_a_query_in_two_folds_counts_in_both(judged_set: Sets) -> None:
    judged = judged_set({"q": {"a": 1, "b": 0}, "r": {"a": 0, "b": 1}}, folds=[["q", "r"], ["q"]])
    ranking = rank_by_vectors(judged, judged.pools, np.array([[0], [0], [1], [2]], np.float32))
    found = score(judged, judged.folds("test"), ranking)
    assert [(one.query, one.fold) for one in found] == [("q", 0), ("r", 0), ("q", 1)]
    assert means(found, judged.folds("test"))["MAP"] == 0.875


def test_a_fold_without_queries_is_no_fold(judged_set: Sets) -> None:
    judged = judged_set({"q": {"a": 1, "b": 0}}, folds=[[], ["q"]])
    ranking = rank_by_vectors(judged, judged.pools, np.array([[0], [0], [1]], np.float32))
    found = score(judged, judged.folds("test"), ranking)
    assert means(found, judged.folds("test"))["MAP"] == 1.0


def test_a_changed_judgement_changes_the_scores(planted: tuple[JudgedSet, Ranking]) -> None:
    judged, ranking = planted
    before = score(judged, judged.folds("test"), ranking)
    for place, grade in ((0, 1), (0, 0), (2, 2), (4, 2)):
        pool = judged.pools[0]
        grades = pool.grades.copy()
        grades[place] = grade
        mutated = replace(judged, pools=(replace(pool, grades=grades), *judged.pools[1:]))
        after = score(mutated, mutated.folds("test"), ranking)
        assert after[0].metrics["MAP"] < before[0].metrics["MAP"]
        assert after[1:] == before[1:]


def test_swapping_two_candidates_lowers_what_was_perfect(planted: tuple[JudgedSet, Ranking]) -> None:
    judged, ranking = planted
    swapped = replace(ranking.pools[0], rows=ranking.pools[0].rows[[1, 0, 2, 3, 4]])
    found = score(judged, judged.folds("test"), replace(ranking, pools=(swapped, *ranking.pools[1:])))
    assert found[0].metrics["MAP"] == 0.5
    assert found[0].metrics["NDCG%20"] == 0.5
    assert found[0].metrics["RR"] == 0.5


@pytest.mark.parametrize(
    "change",
    [
        lambda rows: rows[:-1],
        lambda rows: np.append(rows, rows[0]),
        lambda rows: np.append(rows[:-1], rows[0]),
        lambda rows: np.append(rows[:-1], 0),
        lambda rows: np.append(rows[:-1], -1),
        lambda rows: np.append(rows[:-1], 99),
        lambda rows: rows[:0],
    ],
    ids=["one missing", "one too many", "one twice", "its query", "negative", "beyond the set", "empty"],
)
def test_what_is_not_a_ranking_of_the_whole_pool_is_refused(
    planted: tuple[JudgedSet, Ranking], change: Callable[[np.ndarray], np.ndarray]
) -> None:
    judged, ranking = planted
    rows = change(ranking.pools[0].rows).astype(np.int32)
    torn = replace(ranking, pools=(replace(ranking.pools[0], rows=rows), *ranking.pools[1:]))
    with pytest.raises(
        RankingError, match=r"planted, query q: its pool has 5 candidates and the ranking, of \d, is not"
    ):
        score(judged, judged.folds("test"), torn)


def test_a_query_without_a_ranking_is_refused(planted: tuple[JudgedSet, Ranking]) -> None:
    judged, ranking = planted
    with pytest.raises(RankingError, match="1 of 3 queries are not in the ranking, none first"):
        score(judged, judged.folds("test"), replace(ranking, pools=(ranking.pools[0], ranking.pools[2])))


def test_grades_follow_the_ranking_and_leave_the_pool_as_it_was(planted: tuple[JudgedSet, Ranking]) -> None:
    judged, ranking = planted
    pool = judged.pools[0]
    before = pool.grades.copy()
    ranked = replace(ranking.pools[0], rows=ranking.pools[0].rows[::-1])
    assert ranked_grades(judged, pool, ranked).tolist() == [0, 0, 0, 1, 2]
    assert pool.grades.tolist() == before.tolist()


def test_means_over_other_queries_than_asked_for_are_not_given(planted: tuple[JudgedSet, Ranking]) -> None:
    judged, ranking = planted
    folds = judged.folds("test")
    found = score(judged, folds, ranking)
    for scores in (found[:-1], found[1:], [*found, found[0]], []):
        with pytest.raises(RankingError, match="Score all of them"):
            means(scores, folds)
