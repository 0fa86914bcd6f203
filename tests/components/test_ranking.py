"""Ranking a pool by distance, and the means over runs."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.evaluation import Run, average_precision, evaluate, ndcg_at_percent, rank_pool

POOLS = st.integers(1, 4).flatmap(
    lambda d: st.tuples(
        st.lists(st.integers(-3, 3), min_size=d, max_size=d),
        st.lists(st.lists(st.integers(-3, 3), min_size=d, max_size=d), min_size=1, max_size=25),
    )
)


@given(POOLS)
def test_order_is_that_of_the_distances_and_ties_keep_their_places(pool: tuple[list[int], list[list[int]]]) -> None:
    query, candidates = pool
    expected = sorted(range(len(candidates)), key=lambda i: (math.dist(query, candidates[i]), i))
    order = rank_pool(np.array(query, dtype=np.float32), np.array(candidates, dtype=np.float32))
    assert order.tolist() == expected


def test_rank_is_by_l2_and_neither_by_cosine_nor_by_inner_product() -> None:
    query = np.array([1.0, 0.0], dtype=np.float32)
    candidates = np.array([[9.0, 0.0], [1.0, 0.5]], dtype=np.float32)
    assert rank_pool(query, candidates).tolist() == [1, 0]


def test_near_neighbours_far_from_the_origin_keep_their_order() -> None:
    query = np.array([10_000.0, 0.0], dtype=np.float32)
    candidates = np.array([[10_000.0, 0.03], [10_000.0, 0.02], [10_000.0, 0.01]], dtype=np.float32)
    assert rank_pool(query, candidates).tolist() == [2, 1, 0]


def test_an_empty_pool_has_an_empty_order() -> None:
    assert rank_pool(np.ones(3), np.empty((0, 3))).tolist() == []


def test_shapes_and_numbers_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="shape"):
        rank_pool(np.ones(3), np.ones((2, 4)))
    with pytest.raises(ValueError, match="finite"):
        rank_pool(np.ones(2), np.array([[1.0, np.nan]]))


def test_evaluate_is_the_mean_over_queries() -> None:
    runs = [Run("a", (2, 0, 1, 2, 0)), Run("b", (0, 1, 2, 0, 0, 0, 0, 2, 1, 1)), Run("c", (0,) * 7)]
    scores = evaluate(iter(runs), relevant_from=2)
    assert scores.queries == 3
    precisions = [average_precision([grade == 2 for grade in run.grades]) for run in runs]
    assert scores.mean_average_precision == pytest.approx(sum(precisions) / 3)
    assert scores.ndcg_at_20_percent == pytest.approx(sum(ndcg_at_percent(run.grades) for run in runs) / 3)


def test_the_lowest_relevant_grade_moves_map_alone() -> None:
    runs = [Run("a", (1, 2, 0, 0, 0))]
    strict, lenient = evaluate(runs, relevant_from=2), evaluate(runs, relevant_from=1)
    assert strict.mean_average_precision == 0.5
    assert lenient.mean_average_precision == 1.0
    assert strict.ndcg_at_20_percent == lenient.ndcg_at_20_percent


def test_no_runs_are_refused() -> None:
    with pytest.raises(ValueError, match="no runs"):
        evaluate([], relevant_from=1)
