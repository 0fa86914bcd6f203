"""The projection: planted clusters stay together, equal input gives an equal map, a query lies with its neighbours."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from components.mapping.projection import (
    PROJECTING,
    ProjectionSettings,
    fit_projection,
    near_on_map,
    place,
    quantise,
)

CLUSTERS, EACH, DIMENSIONS = 4, 30, 96
SQUARE = np.array([[-1.0, -1.0], [1.0, -1.0], [1.0, 1.0], [-1.0, 1.0]], dtype=np.float32)


@pytest.fixture(scope="module")
def labels() -> np.ndarray:
    return np.repeat(np.arange(CLUSTERS), EACH)


@pytest.fixture(scope="module")
def vectors(labels: np.ndarray) -> np.ndarray:
    """Four clusters, ten times as far apart as they are wide."""
    random = np.random.default_rng(7)
    centres = random.normal(size=(CLUSTERS, DIMENSIONS)) * 10
    return (centres[labels] + random.normal(size=(len(labels), DIMENSIONS))).astype(np.float32)


@pytest.fixture(scope="module")
def coordinates(vectors: np.ndarray) -> np.ndarray:
    return fit_projection(vectors)


def assert_is_a_map(coordinates: np.ndarray, n: int) -> None:
    assert coordinates.shape == (n, 2)
    assert coordinates.dtype == np.float32
    assert np.isfinite(coordinates).all()
    assert np.abs(coordinates).max(initial=0.0) <= 1.0


def nearest(vectors: np.ndarray, query: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    distances = np.linalg.norm(vectors - query, axis=1)
    rows = np.argsort(distances, kind="stable")[:k]
    return rows, distances[rows]


def test_planted_clusters_stay_together_in_a_centred_square(coordinates: np.ndarray, labels: np.ndarray) -> None:
    assert_is_a_map(coordinates, len(labels))
    low, high = coordinates.min(axis=0), coordinates.max(axis=0)
    assert (high - low).max() == pytest.approx(2.0, abs=1e-5)
    assert low + high == pytest.approx([0.0, 0.0], abs=1e-5)
    for row in range(len(labels)):
        rows, _ = nearest(coordinates, coordinates[row], 11)
        assert (labels[rows] == labels[row]).all()


def test_the_map_depends_on_the_vectors_and_the_seed_alone(vectors: np.ndarray, coordinates: np.ndarray) -> None:
    reports: list[tuple[str, int, int]] = []
    again = fit_projection(vectors.copy(), progress=lambda *report: reports.append(report))
    assert again.tobytes() == coordinates.tobytes()
    assert reports == sorted(reports)
    assert reports[-1][0] == PROJECTING
    assert reports[-1][1] == reports[-1][2] > 0
    assert not np.array_equal(fit_projection(vectors, settings=ProjectionSettings(seed=1)), coordinates)


def test_progress_can_stop_the_layout(vectors: np.ndarray) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit_projection(vectors, progress=stop)


def test_a_query_lies_in_its_cluster(vectors: np.ndarray, coordinates: np.ndarray, labels: np.ndarray) -> None:
    random = np.random.default_rng(3)
    for cluster in range(CLUSTERS):
        query = vectors[labels == cluster].mean(axis=0) + random.normal(size=DIMENSIONS)
        rows, distances = nearest(vectors, query, 10)
        point = place(coordinates, rows, distances)
        closest, _ = nearest(coordinates, point, 5)
        assert (labels[closest] == cluster).all()
        assert near_on_map(coordinates, point, rows, share=0.25) == 10


@pytest.mark.parametrize("n", [0, 1, 2, 14, 15, 16])
@pytest.mark.parametrize("d", [1, 2, 60])
def test_small_corpora_have_a_map(n: int, d: int) -> None:
    coordinates = fit_projection(np.random.default_rng(n).normal(size=(n, d)).astype(np.float32))
    assert_is_a_map(coordinates, n)
    if n > 1:
        assert np.ptp(coordinates, axis=0).max() == pytest.approx(2.0, abs=1e-5)


def test_few_papers_keep_their_distances_in_a_plane() -> None:
    flat = np.array([[0.0, 0.0], [4.0, 0.0], [4.0, 1.0], [0.0, 1.0]], dtype=np.float32)
    vectors = np.zeros((4, 80), dtype=np.float32)
    vectors[:, [3, 70]] = flat
    coordinates = fit_projection(vectors)
    for i, j in itertools.combinations(range(4), 2):
        apart = np.linalg.norm(flat[i] - flat[j]) / 2
        assert np.linalg.norm(coordinates[i] - coordinates[j]) == pytest.approx(apart, rel=1e-4)


@pytest.mark.parametrize("n", [2, 15, 60])
def test_equal_papers_share_the_origin_and_duplicates_do_no_harm(n: int) -> None:
    assert fit_projection(np.full((n, 64), 0.5, dtype=np.float32)).tolist() == [[0.0, 0.0]] * n
    vectors = np.random.default_rng(0).normal(size=(n, 64)).astype(np.float32)
    vectors[: n * 2 // 3] = vectors[0]
    assert_is_a_map(fit_projection(vectors), n)


@pytest.mark.parametrize("unit", [1e-42, 1e-30, 1e30, 3e37])
def test_the_unit_of_the_vectors_does_not_matter(unit: float) -> None:
    coordinates = fit_projection((np.random.default_rng(0).normal(size=(12, 64)) * unit).astype(np.float32))
    assert_is_a_map(coordinates, 12)
    assert np.ptp(coordinates, axis=0).max() == pytest.approx(2.0, abs=1e-5)


@pytest.mark.parametrize(
    ("vectors", "reason"),
    [
        (np.zeros(5), "shape"),
        (np.zeros((5, 0)), "shape"),
        (np.array([[0.0, 1.0], [np.nan, 0.0]]), "vector 1 is not finite"),
    ],
)
def test_invalid_vectors_are_refused(vectors: np.ndarray, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        fit_projection(vectors)


@pytest.mark.parametrize("wrong", [{"n_neighbors": 1}, {"min_dist": 1.5}, {"pca_components": 1}, {"smallest_umap": 4}])
def test_settings_that_umap_cannot_use_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        ProjectionSettings(**wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("rows", "distances", "point"),
    [
        # Weights 1 and (1/3)⁴ = 1/81, each without others beside it: −1 · 81/82 + 1 · 1/82.
        ([0, 1], [1.0, 3.0], [-80 / 82, -1.0]),
        ([2, 0, 1], [0.0, 1e-9, 1.0], [1.0, 1.0]),
        ([2, 1, 0], [0.0, 0.0, 1.0], [1.0, 0.0]),
        ([2, 0], [1e-9, 1.0], [1.0, 1.0]),
    ],
)
def test_nearer_neighbours_weigh_more_and_equal_papers_are_the_query(
    rows: list[int], distances: list[float], point: list[float]
) -> None:
    assert place(SQUARE, np.array(rows), np.array(distances)) == pytest.approx(point, abs=1e-6)


def test_a_query_lies_with_most_of_its_neighbours() -> None:
    group = np.full((9, 2), 0.8) + np.linspace(-0.01, 0.01, 9)[:, None]
    coordinates = np.vstack([group, [[-0.9, -0.9]]]).astype(np.float32)
    # The distant one on the map is even the nearest in the vector space.
    point = place(coordinates, np.arange(10), np.array([1.1] * 9 + [1.0]))
    assert point == pytest.approx([0.8, 0.8], abs=0.05)


@given(st.lists(st.floats(0, 1e300), min_size=1, max_size=4))
def test_a_query_lies_among_its_neighbours(distances: list[float]) -> None:
    rows = np.arange(len(distances))
    point = place(SQUARE, rows, np.array(distances))
    assert point.dtype == np.float32
    assert (point >= SQUARE[rows].min(axis=0) - 1e-6).all()
    assert (point <= SQUARE[rows].max(axis=0) + 1e-6).all()


def test_near_on_map_counts_the_closest_share_of_all_points() -> None:
    line = np.column_stack([np.arange(1000), np.zeros(1000)]).astype(np.float32)
    point = np.array([0.0, 0.0])
    assert near_on_map(line, point, np.array([0, 9, 10, 500])) == 2  # the nearest 1 % are rows 0 to 9
    assert near_on_map(line, point, np.array([0, 9, 10, 500]), share=1.0) == 4
    assert near_on_map(line, point, np.arange(20)) == 20  # at least as many points as rows
    assert near_on_map(line, point, np.array([], dtype=int)) == 0
    assert near_on_map(SQUARE, np.zeros(2), np.array([3]), share=0.25) == 1  # all are as far as the last


@given(hnp.arrays(np.float32, st.tuples(st.integers(0, 30), st.just(2)), elements=st.floats(-1e6, 1e6, width=32)))
def test_quantised_coordinates_are_within_half_a_step(coordinates: np.ndarray) -> None:
    steps, scale = quantise(coordinates)
    assert steps.dtype == np.int16
    assert np.abs(steps * scale - coordinates).max(initial=0.0) <= scale / 2 * (1 + 1e-9)


def test_a_quantised_map_loses_no_pixel(coordinates: np.ndarray) -> None:
    steps, scale = quantise(coordinates)
    assert np.abs(steps * scale - coordinates).max() <= 1.6e-5
