"""Exact search against brute force in float64; recall queries against their description."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from components.index.exact import ExactIndex, recall_queries
from tests.components.index.vectors import brute_force, clustered, noise


def assert_exact(index: ExactIndex, query: np.ndarray, *, k: int, allowed: np.ndarray | None = None) -> None:
    found = index.search(query, k=k, allowed=allowed)
    expected = brute_force(index.vectors, query, k=k, allowed=allowed)
    assert (found.rows.dtype, found.l2_distances.dtype) == (np.int64, np.float32)
    assert found.rows.tolist() == [row for _, row in expected]
    assert found.l2_distances == pytest.approx([distance for distance, _ in expected], rel=1e-6, abs=1e-12)


@given(
    # Few values on a coarse grid: ties, duplicates and zero vectors in every example; all sums are exact.
    vectors=hnp.arrays(np.float32, st.tuples(st.integers(1, 120), st.integers(1, 4)), elements=st.integers(-2, 2)),
    k=st.integers(1, 150),
    data=st.data(),
)
def test_exact_search_is_brute_force_with_ties_duplicates_and_masks(
    vectors: np.ndarray, k: int, data: st.DataObject
) -> None:
    n, d = vectors.shape
    query = data.draw(hnp.arrays(np.float32, d, elements=st.integers(-2, 2)))
    assert_exact(ExactIndex(vectors), query, k=k, allowed=data.draw(st.none() | hnp.arrays(np.bool_, n)))


@given(
    seed=st.integers(0, 10**6),
    spread=st.sampled_from([1e-4, 1e-2, 1.0]),
    offset=st.sampled_from([0.0, 1.0, 30.0, 1000.0]),
    k=st.integers(1, 60),
)
def test_exact_search_loses_no_rows_to_cancellation(seed: int, spread: float, offset: float, k: int) -> None:
    random = np.random.default_rng(seed)
    vectors = (offset + spread * random.normal(size=(300, 16))).astype(np.float32)
    assert_exact(ExactIndex(vectors), (offset + spread * random.normal(size=16)).astype(np.float32), k=k)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_squares_may_overflow() -> None:
    vectors = np.array([[3e20, 0], [1e20, 0], [2e20, 0], [0, 1]], dtype=np.float32)
    assert_exact(ExactIndex(np.repeat(vectors, 30, axis=0)), np.array([1.1e20, 0], np.float32), k=40)


def test_all_neighbours_are_the_nearest_other_rows() -> None:
    vectors = clustered()
    rows = np.array([0, 17, 2999, 300])
    found = ExactIndex(vectors).all_neighbours(rows, k=10, block=3)
    for row, neighbours in zip(rows.tolist(), found, strict=True):
        expected = [other for _, other in brute_force(vectors, vectors[row], k=11) if other != row][:10]
        assert set(neighbours.tolist()) == set(expected)


def test_recall_queries_know_the_distance_of_the_kth_neighbour() -> None:
    vectors, rows, k = noise(1500, 32, seed=2), np.array([3, 700, 1499, 20]), 10
    queries = recall_queries(ExactIndex(vectors), rows, k=k, out_of_sample=2, rng=np.random.default_rng(0))
    assert (queries.row_queries == vectors[rows]).all()
    nearest = []
    for row, reach in zip(rows.tolist(), queries.row_reach, strict=True):
        distances = brute_force(vectors, vectors[row], k=k + 1)
        assert distances[0] == (0, row)
        nearest.append(distances[1][0])
        assert reach == pytest.approx(distances[k][0], rel=1e-5)
    assert queries.out_of_sample.shape == (2, 32)
    for query, row, reach in zip(queries.out_of_sample, rows, queries.out_of_sample_reach, strict=False):
        assert np.linalg.norm(query - vectors[row]) == pytest.approx(1.5 * np.median(nearest), rel=1e-4)
        assert reach == pytest.approx(brute_force(vectors, query, k=k)[-1][0], rel=1e-5)
