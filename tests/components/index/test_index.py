"""Neighbours: exact search against float64 brute force, hnswlib against exact search, the chooser against both."""

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from components.index import GRAPH_FROM, ExactIndex, HnswIndex, HnswSettings, NeighbourIndex, tuned_graph

SETTINGS = HnswSettings()
N, D = 3000, 24


def clustered(n: int = N, d: int = D, *, seed: int = 3) -> np.ndarray:
    """Vectors of length 1 in thirty clusters, the same for every seed."""
    centres = np.random.default_rng(0).normal(size=(30, d))
    random = np.random.default_rng(seed)
    vectors = centres[random.integers(0, 30, size=n)] + 0.4 * random.normal(size=(n, d))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def brute(vectors: np.ndarray, query: np.ndarray, *, k: int, allowed: np.ndarray | None = None) -> list[tuple]:
    """(distance, row), nearest first, rows at one distance by number; in Python's and numpy's double precision."""
    distances = np.sqrt(np.square(vectors.astype(np.float64) - query.astype(np.float64)).sum(axis=1))
    rows = range(len(vectors)) if allowed is None else np.flatnonzero(allowed).tolist()
    return sorted((float(distances[row]), row) for row in rows)[:k]


def assert_exact(index: ExactIndex, query: np.ndarray, *, k: int, allowed: np.ndarray | None = None) -> None:
    found = index.search(query, k=k, allowed=allowed)
    wanted = brute(index.vectors, query, k=k, allowed=allowed)
    assert found.rows.dtype == np.int64
    assert found.l2_distances.dtype == np.float32
    assert found.rows.tolist() == [row for _, row in wanted]
    assert found.l2_distances == pytest.approx([distance for distance, _ in wanted], rel=1e-6, abs=1e-12)


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


# Exact search


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
    allowed = data.draw(st.none() | hnp.arrays(np.bool_, n))
    assert_exact(ExactIndex(vectors), query, k=k, allowed=allowed)


@given(
    seed=st.integers(0, 10**6),
    spread=st.sampled_from([1e-4, 1e-2, 1.0]),
    offset=st.sampled_from([0.0, 1.0, 30.0, 1000.0]),
    k=st.integers(1, 60),
)
def test_exact_search_does_not_lose_rows_to_cancellation(seed: int, spread: float, offset: float, k: int) -> None:
    random = np.random.default_rng(seed)
    vectors = (offset + spread * random.normal(size=(300, 16))).astype(np.float32)
    query = (offset + spread * random.normal(size=16)).astype(np.float32)
    assert_exact(ExactIndex(vectors), query, k=k)


def test_of_many_equal_rows_the_first_come_back() -> None:
    vectors = np.ones((500, 8), dtype=np.float32)
    vectors[::50] = 2
    rows = ExactIndex(vectors).search(np.ones(8, np.float32), k=12).rows.tolist()
    assert rows == [row for row in range(500) if row % 50][:12]


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_exact_search_survives_values_whose_squares_overflow() -> None:
    vectors = np.array([[3e20, 0], [1e20, 0], [2e20, 0], [0, 1]], dtype=np.float32)
    assert_exact(ExactIndex(np.repeat(vectors, 30, axis=0)), np.array([1.1e20, 0], np.float32), k=40)


def test_all_neighbours_are_the_nearest_others(vectors: np.ndarray, exact: ExactIndex) -> None:
    rows = np.array([0, 17, 2999, 300])
    found = exact.all_neighbours(rows, k=10, block=3)
    for row, neighbours in zip(rows.tolist(), found, strict=True):
        wanted = [other for _, other in brute(vectors, vectors[row], k=11) if other != row][:10]
        assert set(neighbours.tolist()) == set(wanted)


# hnswlib


def recall(found: np.ndarray, wanted: list[tuple]) -> float:
    return len(set(found.tolist()) & {row for _, row in wanted}) / len(wanted)


def test_tuning_reaches_its_target_and_new_queries_have_it_too(
    vectors: np.ndarray, exact: ExactIndex, graph: HnswIndex
) -> None:
    tuning = graph.tune(exact, settings=SETTINGS)
    assert tuning.ann_recall_at_10 >= 0.99
    assert tuning.sample == 1000
    queries = clustered(200, seed=8)
    mean = np.mean([recall(graph.search(q, k=10).rows, brute(vectors, q, k=10)) for q in queries])
    assert mean >= 0.97  # queries that are no rows; 2,000 neighbours looked at


def test_distances_are_true_ones_nearest_first(vectors: np.ndarray, graph: HnswIndex) -> None:
    query = clustered(1, seed=9)[0]
    found = graph.search(query, k=20)
    away = np.linalg.norm(vectors[found.rows].astype(np.float64) - query, axis=1)
    assert found.l2_distances == pytest.approx(away, rel=1e-6)
    assert (np.diff(found.l2_distances) >= 0).all()
    assert len(set(found.rows.tolist())) == 20


def test_tuning_that_fails_says_what_it_reached() -> None:
    # Noise in many dimensions and a starved graph: no ef_search on the ladder is enough.
    noise = np.random.default_rng(1).normal(size=(4000, 96)).astype(np.float32)
    starved = HnswSettings(m=2, ef_construction=4)
    graph, exact = HnswIndex.build(noise, settings=starved), ExactIndex(noise)
    tuning = graph.tune(exact, settings=starved)
    assert tuning.ann_recall_at_10 < 0.99
    found = [recall(graph.search(noise[i], k=11).rows, brute(noise, noise[i], k=11)) for i in range(0, 4000, 40)]
    assert np.mean(found) == pytest.approx(tuning.ann_recall_at_10, abs=0.08)


@pytest.mark.parametrize("n", [1, 2, 5, 10, 11, 12])
def test_graphs_of_few_rows(n: int) -> None:
    vectors = clustered(n)
    graph, exact = HnswIndex.build(vectors, settings=SETTINGS), ExactIndex(vectors)
    assert graph.tune(exact, settings=SETTINGS).ann_recall_at_10 == 1.0
    for k in (1, n, n + 1, 50):
        assert graph.search(vectors[0], k=k).rows.tolist() == exact.search(vectors[0], k=k).rows.tolist()


def test_a_corpus_of_duplicates_is_tuned_and_searched() -> None:
    vectors = clustered(2000)
    vectors[:1500] = vectors[0]
    graph, exact = HnswIndex.build(vectors, settings=SETTINGS, threads=1), ExactIndex(vectors)
    tuning = graph.tune(exact, settings=SETTINGS)
    assert 0 <= tuning.ann_recall_at_10 <= 1
    chooser = NeighbourIndex(exact, graph)
    for row in (0, 1999):
        for k in (10, 400, 1900):
            assert len(chooser.search(vectors[row], k=k)) == k


def test_saved_and_loaded_it_gives_the_same_hits(vectors: np.ndarray, graph: HnswIndex, tmp_path: Path) -> None:
    graph.save(tmp_path / "graph")
    again = HnswIndex.load(tmp_path / "graph", vectors, ef_search=64)
    other = HnswIndex.load(tmp_path / "graph", vectors, ef_search=64)
    mask = np.random.default_rng(2).random(N) < 0.5
    for query in clustered(30, seed=5):
        for allowed in (None, mask):
            one, two = again.search(query, k=10, allowed=allowed), other.search(query, k=10, allowed=allowed)
            assert one.rows.tolist() == two.rows.tolist()
            assert one.l2_distances.tolist() == two.l2_distances.tolist()
    tuned = HnswIndex.load(tmp_path / "graph", vectors, ef_search=graph._ef_search)
    for query in clustered(30, seed=6):
        assert tuned.search(query, k=10).rows.tolist() == graph.search(query, k=10).rows.tolist()


def test_a_graph_over_other_vectors_is_refused(vectors: np.ndarray, graph: HnswIndex, tmp_path: Path) -> None:
    graph.save(tmp_path / "graph")
    with pytest.raises(ValueError, match="3000 rows; the atlas has 2999"):
        HnswIndex.load(tmp_path / "graph", vectors[:-1], ef_search=64)


def test_files_that_are_no_graph_are_refused(vectors: np.ndarray, tmp_path: Path) -> None:
    (tmp_path / "empty").write_bytes(b"")
    for name in ("empty", "absent"):
        with pytest.raises(ValueError, match=name):
            HnswIndex.load(tmp_path / name, vectors, ef_search=64)


def test_saving_where_nothing_can_be_written_raises(graph: HnswIndex, tmp_path: Path) -> None:
    with pytest.raises((OSError, RuntimeError)):
        graph.save(tmp_path / "absent" / "graph")


def test_one_thread_builds_the_same_graph_each_time(tmp_path: Path) -> None:
    vectors = clustered(500)
    for name in ("one", "two"):
        HnswIndex.build(vectors, settings=SETTINGS, threads=1).save(tmp_path / name)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_progress_of_a_build_reaches_the_end() -> None:
    seen: list[int] = []
    HnswIndex.build(clustered(2500, 4), settings=SETTINGS, on_progress=seen.append)
    assert seen == [2000, 2500]


def test_no_vectors_are_refused() -> None:
    with pytest.raises(ValueError, match="no vectors"):
        HnswIndex.build(np.empty((0, 4), np.float32), settings=SETTINGS)


@pytest.mark.parametrize(
    "wrong",
    [
        np.full((4, 3), np.nan, np.float32),
        np.full((4, 3), np.inf, np.float32),
        np.zeros((4, 3)),
        np.zeros((4, 3), np.float16),
        np.zeros(4, np.float32),
        np.zeros((2, 2, 2), np.float32),
    ],
)
def test_vectors_that_are_none_are_refused(wrong: np.ndarray) -> None:
    with pytest.raises(ValueError, match="vectors"):
        ExactIndex(wrong)
    with pytest.raises(ValueError, match="vectors"):
        HnswIndex.build(wrong, settings=SETTINGS)


@pytest.mark.parametrize("kind", ["exact", "graph", "chooser"])
def test_wrong_calls_are_named(kind: str, exact: ExactIndex, graph: HnswIndex) -> None:
    index = {"exact": exact, "graph": graph, "chooser": NeighbourIndex(exact, graph)}[kind]
    good = np.zeros(D, np.float32)
    bad = good.copy()
    bad[3] = np.nan
    for query, k, allowed, what in (
        (bad, 5, None, "not finite"),
        (np.full(D, np.inf, np.float32), 5, None, "not finite"),
        (good[:-1], 5, None, "dimensions"),
        (good[None], 5, None, "dimensions"),
        (good, 0, None, "k = 0"),
        (good, -3, None, "k = -3"),
        (good, 5, np.ones(N - 1, np.bool_), "mask"),
        (good, 5, np.ones(N, np.int64), "mask"),
        (good, 5, np.ones((N, 1), np.bool_), "mask"),
    ):
        with pytest.raises(ValueError, match=what):
            index.search(query, k=k, allowed=allowed)


# The chooser


@settings(max_examples=60)
@given(
    share=st.sampled_from([0.0, 0.001, 0.1, 0.24, 0.26, 0.34, 0.5, 0.9, 0.999, 1.0]),
    near=st.booleans(),
    k=st.sampled_from([1, 2, 10, 200, 1000, 2999, 3000, 5000]),
    seed=st.integers(0, 1000),
)
def test_k_hits_come_back_whenever_k_rows_are_allowed(
    vectors: np.ndarray, exact: ExactIndex, graph: HnswIndex, share: float, near: bool, k: int, seed: int
) -> None:
    query = vectors[seed]
    count = round(share * N)
    allowed = np.zeros(N, np.bool_)
    if near:  # all that is allowed lies on the far side of the graph
        allowed[np.argsort(-np.linalg.norm(vectors - query, axis=1))[:count]] = True
    else:
        allowed[np.random.default_rng(seed).permutation(N)[:count]] = True
    found = NeighbourIndex(exact, graph).search(query, k=k, allowed=allowed)
    assert len(found) == min(k, count)
    assert allowed[found.rows].all()
    assert len(set(found.rows.tolist())) == len(found)
    wanted = exact.search(query, k=k, allowed=allowed)
    if count:
        assert len(set(found.rows.tolist()) & set(wanted.rows.tolist())) >= 0.8 * len(wanted)


@pytest.mark.parametrize("count", [0, 1])
def test_masks_of_no_and_one_row(exact: ExactIndex, graph: HnswIndex, count: int) -> None:
    allowed = np.zeros(N, np.bool_)
    allowed[2000 : 2000 + count] = True
    for index in (exact, graph, NeighbourIndex(exact, graph), NeighbourIndex(exact, None)):
        try:
            found = index.search(exact.vectors[5], k=10, allowed=allowed)
        except ValueError:
            assert index is graph  # it may miss a single row, and says so; the chooser may not
            continue
        assert found.rows.tolist() == [2000] * count


def test_the_chooser_is_exact_without_a_graph_and_for_narrow_filters(exact: ExactIndex, graph: HnswIndex) -> None:
    narrow = np.zeros(N, np.bool_)
    narrow[: GRAPH_FROM - 1] = True
    for query in clustered(10, seed=13):
        for index, allowed in ((NeighbourIndex(exact, None), None), (NeighbourIndex(exact, graph), narrow)):
            wanted = [row for _, row in brute(exact.vectors, query, k=15, allowed=allowed)]
            assert index.search(query, k=15, allowed=allowed).rows.tolist() == wanted


def test_queries_of_different_k_at_once_do_not_disturb_each_other(exact: ExactIndex, graph: HnswIndex) -> None:
    chooser = NeighbourIndex(exact, graph)
    half = np.arange(N) % 2 == 0
    queries = clustered(16, seed=21)
    calls = [(q, k, mask) for q in queries for k in (1, 10, 150) for mask in (None, half)]
    alone = [chooser.search(q, k=k, allowed=mask).rows.tolist() for q, k, mask in calls]
    start = threading.Barrier(4)

    def work(part: int) -> list[list[int]]:
        start.wait()
        return [chooser.search(q, k=k, allowed=mask).rows.tolist() for q, k, mask in calls[part::4]]

    with ThreadPoolExecutor(4) as pool:
        parts = list(pool.map(work, range(4)))
    for part in range(4):
        assert parts[part] == alone[part::4]


# Growing


def test_a_graph_takes_in_rows_and_finds_them_as_a_fresh_one_does(tmp_path: Path) -> None:
    vectors = clustered(3000)
    there, _ = tuned_graph(vectors[:2000], settings=SETTINGS)
    there.save(tmp_path / "index.hnsw")
    loaded = HnswIndex.load(tmp_path / "index.hnsw", vectors[:2000], ef_search=64)
    told: list[int] = []
    graph, tuning = tuned_graph(vectors, settings=SETTINGS, grown=loaded, on_progress=told.append)
    assert graph is loaded
    assert told[-1] == 3000
    assert min(tuning.ann_recall_at_10, tuning.ann_recall_at_10_outside) >= 0.99
    # Measured apart from what the index says of itself, for the new rows: their ten nearest by brute force.
    found = 0
    for row in range(2000, 3000, 10):
        squared = np.square(vectors.astype(np.float64) - vectors[row]).sum(axis=1)
        limit = np.sqrt(np.partition(squared, 9)[9])
        hits = graph.search(vectors[row], k=10)
        assert hits.rows[0] == row
        found += int((hits.l2_distances <= limit * (1 + 1e-5)).sum())
    assert found / 1000 >= 0.99
    graph.save(tmp_path / "grown.hnsw")
    again = HnswIndex.load(tmp_path / "grown.hnsw", vectors, ef_search=tuning.ef_search)
    assert again.search(vectors[2500], k=5).rows.tolist() == graph.search(vectors[2500], k=5).rows.tolist()


def test_a_graph_that_cannot_be_grown_well_is_built_afresh() -> None:
    vectors = clustered(1500)
    settings = HnswSettings(m=2, ef_construction=1)
    poor = HnswIndex.build(vectors[:1400], settings=settings, threads=1)
    graph, tuning = tuned_graph(vectors, settings=SETTINGS, grown=poor)
    assert graph is not poor
    assert min(tuning.ann_recall_at_10, tuning.ann_recall_at_10_outside) >= 0.99


def test_few_rows_need_no_graph_and_a_fault_of_progress_comes_through() -> None:
    assert tuned_graph(clustered(GRAPH_FROM - 1), settings=SETTINGS) is None

    def fail(rows: int) -> None:
        raise KeyError(rows)

    with pytest.raises(KeyError):
        tuned_graph(clustered(GRAPH_FROM), settings=SETTINGS, on_progress=fail)


def test_rows_that_do_not_follow_its_own_are_refused() -> None:
    vectors = clustered(100)
    graph = HnswIndex.build(vectors, settings=SETTINGS, threads=1)
    for wrong in (vectors[:99], vectors[:, :5]):
        with pytest.raises(ValueError, match="for a graph over"):
            graph.extend(np.ascontiguousarray(wrong))
    graph.extend(vectors)
    assert graph.search(vectors[99], k=1).rows.tolist() == [99]
