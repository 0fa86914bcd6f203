"""hnswlib graphs against exact search: build, tune, save, load, extend; and the index that chooses between both."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.index.exact import ExactIndex, recall_queries
from components.index.hnsw import GRAPH_FROM, HnswIndex, HnswSettings, NeighbourIndex, tuned_graph
from tests.components.index.vectors import brute_force, clustered, noise

SETTINGS = HnswSettings()
N, D = 3000, 24


@pytest.fixture(scope="module")
def vectors() -> np.ndarray:
    return clustered()


@pytest.fixture(scope="module")
def exact(vectors: np.ndarray) -> ExactIndex:
    return ExactIndex(vectors)


@pytest.fixture(scope="module")
def graph(vectors: np.ndarray, exact: ExactIndex) -> HnswIndex:
    graph = HnswIndex.build(vectors, settings=SETTINGS, threads=2)
    graph.tune(exact, settings=SETTINGS)
    return graph


def recall(found: np.ndarray, expected: list[tuple[float, int]]) -> float:
    return len(set(found.tolist()) & {row for _, row in expected}) / len(expected)


def test_tuning_reaches_its_target_and_other_queries_do_too(
    vectors: np.ndarray, exact: ExactIndex, graph: HnswIndex
) -> None:
    tuning = graph.tune(exact, settings=SETTINGS)
    assert tuning.lowest_recall >= 0.99
    assert tuning.sample == 1000
    queries = clustered(200, seed=8)  # 2,000 neighbours
    assert np.mean([recall(graph.search(q, k=10).rows, brute_force(vectors, q, k=10)) for q in queries]) >= 0.97


def test_tuning_that_fails_reports_the_recall_it_reached() -> None:
    vectors, starved = noise(4000, 96), HnswSettings(m=2, ef_construction=4)  # no step of ef_search is enough
    graph = HnswIndex.build(vectors, settings=starved)
    tuning = graph.tune(ExactIndex(vectors), settings=starved)
    assert tuning.ann_recall_at_10 < 0.99
    rows = range(0, 4000, 40)
    found = [recall(graph.search(vectors[i], k=11).rows, brute_force(vectors, vectors[i], k=11)) for i in rows]
    assert np.mean(found) == pytest.approx(tuning.ann_recall_at_10, abs=0.08)


@pytest.mark.parametrize("n", [1, 2, 10, 11, 12])
def test_graphs_of_few_rows_are_exact(n: int) -> None:
    vectors = clustered(n)
    graph, exact = HnswIndex.build(vectors, settings=SETTINGS), ExactIndex(vectors)
    assert graph.tune(exact, settings=SETTINGS).ann_recall_at_10 == 1.0
    for k in (1, n, n + 1, 50):
        assert graph.search(vectors[0], k=k).rows.tolist() == exact.search(vectors[0], k=k).rows.tolist()


def test_a_corpus_of_duplicates_can_be_tuned_and_searched() -> None:
    vectors = clustered(2000)
    vectors[:1500] = vectors[0]
    graph, exact = HnswIndex.build(vectors, settings=SETTINGS, threads=1), ExactIndex(vectors)
    assert 0 <= graph.tune(exact, settings=SETTINGS).ann_recall_at_10 <= 1
    for row in (0, 1999):
        for k in (10, 400, 1900):
            assert len(NeighbourIndex(exact, graph).search(vectors[row], k=k)) == k


def test_measuring_at_another_ef_search_keeps_the_tuned_one() -> None:
    vectors, k = noise(1500, 32, seed=2), 10
    exact, graph = ExactIndex(vectors), HnswIndex.build(vectors, settings=HnswSettings(m=6), threads=1)
    graph.tune(exact, settings=SETTINGS)
    texts = noise(60, 32, seed=3)
    before = [graph.search(text, k=k).rows.tolist() for text in texts]
    queries = recall_queries(exact, np.arange(50), k=k, out_of_sample=20, rng=np.random.default_rng(0))
    assert graph.recall(queries, ef_search=len(vectors)) == (1.0, 1.0)
    assert max(graph.recall(queries, ef_search=k + 1)) < 0.95
    for text in texts:
        assert graph.search(text, k=k, ef_search=1500).rows.tolist() == exact.search(text, k=k).rows.tolist()
    assert [graph.search(text, k=k).rows.tolist() for text in texts] == before


def test_queries_that_reach_too_few_rows_count_as_missed() -> None:
    # Small heaps far apart, and two links per row: some heaps are islands.
    random = np.random.default_rng(0)
    heaps = np.repeat(100 * random.normal(size=(100, 8)), 12, axis=0)
    heaps += 0.001 * random.normal(size=heaps.shape)
    vectors = heaps[random.permutation(len(heaps))].astype(np.float32)
    starved = HnswIndex.build(vectors, settings=HnswSettings(m=2, ef_construction=2), threads=1)
    with pytest.raises(RuntimeError):
        starved._graph.knn_query(vectors[:100], k=21)
    rng = np.random.default_rng(0)
    queries = recall_queries(ExactIndex(vectors), np.arange(100), k=20, out_of_sample=100, rng=rng)
    assert all(0 <= recall < 0.9 for recall in starved.recall(queries, ef_search=21))


def test_a_saved_graph_gives_the_same_hits(vectors: np.ndarray, graph: HnswIndex, tmp_path: Path) -> None:
    graph.save(tmp_path / "graph")
    loaded = HnswIndex.load(tmp_path / "graph", vectors, ef_search=graph._ef_search)
    mask = np.random.default_rng(2).random(N) < 0.5
    for query in clustered(30, seed=5):
        for allowed in (None, mask):
            one, two = loaded.search(query, k=10, allowed=allowed), graph.search(query, k=10, allowed=allowed)
            assert one.rows.tolist() == two.rows.tolist()
            assert one.l2_distances.tolist() == two.l2_distances.tolist()


def test_files_that_are_no_graph_over_the_vectors_are_refused(
    vectors: np.ndarray, graph: HnswIndex, tmp_path: Path
) -> None:
    graph.save(tmp_path / "graph")
    with pytest.raises(ValueError, match="3000 rows; the atlas has 2999"):
        HnswIndex.load(tmp_path / "graph", vectors[:-1], ef_search=64)
    (tmp_path / "empty").write_bytes(b"")
    for name in ("empty", "absent"):
        with pytest.raises(ValueError, match=name):
            HnswIndex.load(tmp_path / name, vectors, ef_search=64)
    with pytest.raises((OSError, RuntimeError)):
        graph.save(tmp_path / "absent" / "graph")


def test_one_thread_builds_the_same_graph_each_time(tmp_path: Path) -> None:
    for name in ("one", "two"):
        HnswIndex.build(clustered(500), settings=SETTINGS, threads=1).save(tmp_path / name)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


@pytest.mark.parametrize(
    "wrong",
    [np.full((4, 3), np.nan, np.float32), np.zeros((4, 3)), np.zeros((4, 3), np.float16), np.zeros(4, np.float32)],
)
def test_invalid_vectors_are_refused(wrong: np.ndarray) -> None:
    with pytest.raises(ValueError, match="vectors"):
        ExactIndex(wrong)
    with pytest.raises(ValueError, match="vectors"):
        HnswIndex.build(wrong, settings=SETTINGS)


def test_an_empty_graph_is_refused() -> None:
    with pytest.raises(ValueError, match="no vectors"):
        HnswIndex.build(np.empty((0, 4), np.float32), settings=SETTINGS)


@pytest.mark.parametrize("kind", ["exact", "graph", "both"])
def test_invalid_queries_are_refused(kind: str, exact: ExactIndex, graph: HnswIndex) -> None:
    index = {"exact": exact, "graph": graph, "both": NeighbourIndex(exact, graph)}[kind]
    good = np.zeros(D, np.float32)
    for query, k, allowed, message in (
        (np.full(D, np.nan, np.float32), 5, None, "not finite"),
        (np.full(D, np.inf, np.float32), 5, None, "not finite"),
        (good[:-1], 5, None, "dimensions"),
        (good[None], 5, None, "dimensions"),
        (good, 0, None, "k = 0"),
        (good, 5, np.ones(N - 1, np.bool_), "mask"),
        (good, 5, np.ones(N, np.int64), "mask"),
    ):
        with pytest.raises(ValueError, match=message):
            index.search(query, k=k, allowed=allowed)


# The index of an atlas


@settings(max_examples=60)
@given(
    share=st.sampled_from([0.0, 0.001, 0.1, 0.24, 0.26, 0.34, 0.5, 0.9, 0.999, 1.0]),
    far=st.booleans(),
    k=st.sampled_from([1, 2, 10, 200, 1000, 2999, 3000, 5000]),
    seed=st.integers(0, 1000),
)
def test_k_hits_are_returned_wherever_k_rows_are_allowed(
    vectors: np.ndarray, exact: ExactIndex, graph: HnswIndex, share: float, far: bool, k: int, seed: int
) -> None:
    query, count = vectors[seed], round(share * N)
    allowed = np.zeros(N, np.bool_)
    if far:  # all allowed rows lie on the far side of the graph
        allowed[np.argsort(-np.linalg.norm(vectors - query, axis=1))[:count]] = True
    else:
        allowed[np.random.default_rng(seed).permutation(N)[:count]] = True
    found = NeighbourIndex(exact, graph).search(query, k=k, allowed=allowed)
    assert len(found) == len(set(found.rows.tolist())) == min(k, count)
    assert allowed[found.rows].all()
    expected = exact.search(query, k=k, allowed=allowed)
    assert len(set(found.rows.tolist()) & set(expected.rows.tolist())) >= 0.8 * len(expected)


def test_the_index_is_exact_without_a_graph_and_for_narrow_filters(exact: ExactIndex, graph: HnswIndex) -> None:
    narrow = np.zeros(N, np.bool_)
    narrow[: GRAPH_FROM - 1] = True
    for query in clustered(10, seed=13):
        for index, allowed in ((NeighbourIndex(exact, None), None), (NeighbourIndex(exact, graph), narrow)):
            expected = [row for _, row in brute_force(exact.vectors, query, k=15, allowed=allowed)]
            assert index.search(query, k=15, allowed=allowed).rows.tolist() == expected


def test_concurrent_queries_of_different_k_do_not_disturb_each_other(exact: ExactIndex, graph: HnswIndex) -> None:
    index, half = NeighbourIndex(exact, graph), np.arange(N) % 2 == 0
    calls = [(q, k, mask) for q in clustered(16, seed=21) for k in (1, 10, 150) for mask in (None, half)]

    def search(call: tuple[np.ndarray, int, np.ndarray | None]) -> list[int]:
        query, k, mask = call
        return index.search(query, k=k, allowed=mask).rows.tolist()

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(search, calls)) == [search(call) for call in calls]


# Extending


def test_an_extended_graph_finds_its_new_rows(tmp_path: Path) -> None:
    vectors = clustered()
    before = tuned_graph(vectors[:2000], settings=SETTINGS)
    assert before is not None
    before[0].save(tmp_path / "index.hnsw")
    loaded = HnswIndex.load(tmp_path / "index.hnsw", vectors[:2000], ef_search=64)
    progress: list[int] = []
    grown = tuned_graph(vectors, settings=SETTINGS, grown=loaded, on_progress=progress.append)
    assert grown is not None
    graph, tuning = grown
    assert graph is loaded
    assert progress[-1] == 3000
    assert tuning.lowest_recall >= 0.99
    new = vectors[2000::10]
    assert np.mean([recall(graph.search(v, k=10).rows, brute_force(vectors, v, k=10)) for v in new]) >= 0.99
    graph.save(tmp_path / "grown.hnsw")
    loaded = HnswIndex.load(tmp_path / "grown.hnsw", vectors, ef_search=tuning.ef_search)
    assert loaded.search(vectors[2500], k=5).rows.tolist() == graph.search(vectors[2500], k=5).rows.tolist()


def test_a_graph_that_extends_badly_is_built_again() -> None:
    vectors = clustered(1500)
    poor = HnswIndex.build(vectors[:1400], settings=HnswSettings(m=2, ef_construction=1), threads=1)
    tuned = tuned_graph(vectors, settings=SETTINGS, grown=poor)
    assert tuned is not None
    assert tuned[0] is not poor
    assert tuned[1].lowest_recall >= 0.99


def test_few_rows_need_no_graph_and_progress_may_stop_the_build() -> None:
    assert tuned_graph(clustered(GRAPH_FROM - 1), settings=SETTINGS) is None

    def stop(rows: int) -> None:
        raise KeyError(rows)

    with pytest.raises(KeyError):
        tuned_graph(clustered(GRAPH_FROM), settings=SETTINGS, on_progress=stop)


def test_a_graph_is_extended_only_by_vectors_that_follow_its_own() -> None:
    vectors = clustered(100)
    graph = HnswIndex.build(vectors, settings=SETTINGS, threads=1)
    for wrong in (vectors[:99], vectors[:, :5]):
        with pytest.raises(ValueError, match="for a graph over"):
            graph.extend(np.ascontiguousarray(wrong))
    graph.extend(vectors)
    assert graph.search(vectors[99], k=1).rows.tolist() == [99]
