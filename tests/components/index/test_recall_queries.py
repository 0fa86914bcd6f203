"""Asking an index what exact search knows: the reach of the true neighbours, and recall at any ef_search."""

from __future__ import annotations

import numpy as np
import pytest

from components.index import ExactIndex, HnswIndex, HnswSettings
from components.index import recall_queries as questions

N, K = 1500, 10


@pytest.fixture(scope="module")
def vectors() -> np.ndarray:
    return np.random.default_rng(2).normal(size=(N, 32)).astype(np.float32)


@pytest.fixture(scope="module")
def graph(vectors: np.ndarray) -> HnswIndex:
    graph = HnswIndex.build(vectors, settings=HnswSettings(m=6), threads=1)
    graph.tune(ExactIndex(vectors), settings=HnswSettings())
    return graph


def test_the_reach_is_the_distance_of_the_true_last_neighbour(vectors: np.ndarray) -> None:
    rows = np.array([3, 700, 1499, 20])
    asked = questions(ExactIndex(vectors), rows, k=K, off_rows=2, rng=np.random.default_rng(0))
    assert (asked.on == vectors[rows]).all()
    nearest = []
    for row, reach in zip(rows.tolist(), asked.on_reach, strict=True):
        away = np.sort(np.linalg.norm(vectors.astype(np.float64) - vectors[row], axis=1))
        assert away[0] == 0  # the row itself
        nearest.append(away[1])
        assert reach == pytest.approx(away[K], rel=1e-5)
    assert asked.off.shape == (2, 32)
    for query, row, reach in zip(asked.off, rows, asked.off_reach, strict=False):
        assert np.linalg.norm(query - vectors[row]) == pytest.approx(1.5 * np.median(nearest), rel=1e-4)
        away = np.sort(np.linalg.norm(vectors.astype(np.float64) - query, axis=1))
        assert reach == pytest.approx(away[K - 1], rel=1e-5)


def test_measuring_at_another_ef_search_leaves_the_tuned_one(vectors: np.ndarray, graph: HnswIndex) -> None:
    exact = ExactIndex(vectors)
    queries = np.random.default_rng(3).normal(size=(60, 32)).astype(np.float32)
    before = [graph.search(query, k=K).rows.tolist() for query in queries]
    asked = questions(exact, np.arange(50), k=K, off_rows=20, rng=np.random.default_rng(0))
    assert graph.shares_found(asked, ef_search=N) == (1.0, 1.0)  # every row is looked at
    few = graph.shares_found(asked, ef_search=K + 1)
    assert max(few) < 0.95
    missed = 0
    for query in queries:
        truth = exact.search(query, k=K).rows.tolist()
        assert graph.search(query, k=K, ef_search=N).rows.tolist() == truth
        missed += len(set(truth) - set(graph.search(query, k=K, ef_search=K).rows.tolist()))
    assert missed > 0.05 * K * len(queries)
    assert [graph.search(query, k=K).rows.tolist() for query in queries] == before


def test_where_a_graph_reaches_too_few_rows_nothing_was_found() -> None:
    # Small heaps far apart, and two links a row: some heaps are islands.
    random = np.random.default_rng(0)
    heaps = np.repeat(100 * random.normal(size=(100, 8)), 12, axis=0)
    heaps += 0.001 * random.normal(size=heaps.shape)
    vectors = heaps[random.permutation(len(heaps))].astype(np.float32)
    starved = HnswIndex.build(vectors, settings=HnswSettings(m=2, ef_construction=2), threads=1)
    with pytest.raises(RuntimeError):
        starved._graph.knn_query(vectors[:100], k=21)
    asked = questions(ExactIndex(vectors), np.arange(100), k=20, off_rows=100, rng=np.random.default_rng(0))
    on, off = starved.shares_found(asked, ef_search=21)
    assert 0 <= on < 0.9
    assert 0 <= off < 0.9
