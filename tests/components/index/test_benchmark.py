"""Index curves: their recalls computed again by hand with hnswlib and brute force."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import hnswlib
import numpy as np
import pytest

from components.index.benchmark import MEASURING, Curve, CurveRefused, CurveSettings, MeasuredAtlas, measure_curve
from tests.components.index.vectors import brute_force, noise

K, QUERIES, SEED = 5, 60, 4
FEW = CurveSettings(k=K, ms=(4,), ef_searches=(6, 40), sizes=(300, 900), queries=QUERIES, seed=SEED, threads=1)


@pytest.fixture(scope="module")
def vectors() -> np.ndarray:
    return noise(900, 24)


@pytest.fixture(scope="module")
def curve(vectors: np.ndarray) -> Curve:
    return measure_curve(vectors, settings=FEW)


def recalls(curve: Curve) -> dict[tuple[int, int, int], tuple[float, float]]:
    return {(p.m, p.size, p.ef_search): (p.recall, p.recall_off_rows) for p in curve.points}


@pytest.mark.parametrize("size", [300, 900])
@pytest.mark.parametrize("ef_search", [6, 40])
def test_recall_is_that_of_a_graph_built_and_asked_by_hand(
    vectors: np.ndarray, curve: Curve, size: int, ef_search: int
) -> None:
    sample = vectors[np.random.default_rng(SEED).permutation(len(vectors))][:size]
    nearest = [brute_force(sample, sample[row], k=2)[1][0] for row in range(QUERIES)]
    moves = np.random.default_rng(SEED).normal(size=(QUERIES, sample.shape[1])).astype(np.float32)
    moves *= 1.5 * np.median(nearest) / np.linalg.norm(moves, axis=1, keepdims=True)
    graph = hnswlib.Index(space="l2", dim=sample.shape[1])
    graph.init_index(max_elements=size, M=4, ef_construction=200, random_seed=SEED)
    graph.add_items(sample, np.arange(size), num_threads=1)
    graph.set_ef(ef_search)
    found_rows = found_off_rows = 0
    for row in range(QUERIES):
        others = {other for _, other in brute_force(sample, sample[row], k=K + 1)} - {row}
        labels, _ = graph.knn_query(sample[row], k=K + 1)
        found_rows += len(others & set(labels[0].tolist()))
        query = sample[row] + moves[row].astype(np.float32)
        labels, _ = graph.knn_query(query, k=K)
        found_off_rows += len({other for _, other in brute_force(sample, query, k=K)} & set(labels[0].tolist()))
    recall, recall_off_rows = recalls(curve)[4, size, ef_search]
    assert recall == pytest.approx(found_rows / (QUERIES * K), abs=1e-6)
    assert recall_off_rows == pytest.approx(found_off_rows / (QUERIES * K), abs=1e-6)
    if (ef_search, size) == (6, 900):
        assert max(recall, recall_off_rows) < 0.95  # else this has shown little


def test_a_graph_that_visits_every_row_misses_none(vectors: np.ndarray) -> None:
    curve = measure_curve(vectors[:200], settings=replace(FEW, ms=(8, 16), ef_searches=(200,), sizes=(100, 200)))
    assert list(recalls(curve).values()) == [(1.0, 1.0)] * 4


def test_every_planned_point_is_measured(curve: Curve) -> None:
    assert curve.complete
    assert list(recalls(curve)) == [(4, 300, 6), (4, 300, 40), (4, 900, 6), (4, 900, 40)]
    assert [time.size for time in curve.exact] == [300, 900]
    assert all(0 < one.p50_ms <= one.p95_ms for one in (*curve.points, *curve.exact))
    assert 0 < curve.points[0].build_seconds <= curve.points[-1].build_seconds
    assert curve.versions["hnswlib"]
    assert "cores" in curve.machine


def test_a_seed_repeats_and_sizes_are_nested(vectors: np.ndarray, curve: Curve) -> None:
    assert recalls(measure_curve(vectors, settings=FEW)) == recalls(curve)
    # A size is the same sample whether or not a larger one follows.
    assert recalls(measure_curve(vectors, settings=replace(FEW, sizes=(300,)))).items() <= recalls(curve).items()
    assert recalls(measure_curve(vectors, settings=replace(FEW, seed=SEED + 1))) != recalls(curve)


def test_defaults_suit_the_vectors_and_include_the_atlas_setting() -> None:
    progress: list[tuple[str, int, int]] = []
    curve = measure_curve(
        noise(1200, 4),
        settings=CurveSettings(queries=20, threads=1),
        about=MeasuredAtlas(m=12, ef_search=50),
        progress=lambda *step: progress.append(step),
    )
    assert curve.sizes == (1000, 1200)
    assert curve.ms == (8, 12, 16, 32)
    assert {11, 50, 512} <= {point.ef_search for point in curve.points}
    done = [step[1] for step in progress]
    assert done == sorted(done)
    assert (progress[0][:2], done[-1]) == ((MEASURING, 0), progress[-1][2])
    large = measure_curve(noise(300, 4), settings=CurveSettings(k=100, ms=(8,), queries=20, threads=1))
    assert min(point.ef_search for point in large.points) == 101


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"k": 0}, "k is 0"),
        ({"k": 900}, "too few"),
        ({"k": 5000}, "k is 5,000"),
        ({"ms": (1,)}, "M is 1[.]"),
        ({"ms": (8, 100_000)}, "M is 100,000"),
        ({"ef_searches": (5,)}, "ef_search is 5. Use a value from 6"),
        ({"ef_construction": 0}, "ef_construction is 0"),
        ({"sizes": (901,)}, "from 6 to 900"),
        ({"queries": 0}, "queries is 0"),
        ({"seed": -1}, "the seed is -1"),
        ({"ms": tuple(range(2, 200)), "ef_searches": tuple(range(6, 40))}, "more than 2,000 points"),
    ],
)
def test_invalid_settings_are_named(vectors: np.ndarray, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(CurveRefused, match=message):
        measure_curve(vectors, settings=replace(FEW, **changes))
