"""Maps: planted clusters stay apart, the same input gives the same map, and small corpora have one too."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from components.mapping.projection import (
    ProjectionSettings,
    fit_projection,
    near_on_map,
    place,
    quantise,
)

CLUSTERS, EACH, DIMENSIONS = 4, 60, 96


def planted(seed: int = 7) -> tuple[np.ndarray, np.ndarray]:
    """Four clusters of 60 vectors each, in 96 dimensions, ten times as far apart as they are wide."""
    random = np.random.default_rng(seed)
    centres = random.normal(size=(CLUSTERS, DIMENSIONS)) * 10
    labels = np.repeat(np.arange(CLUSTERS), EACH)
    return (centres[labels] + random.normal(size=(len(labels), DIMENSIONS))).astype(np.float32), labels


@pytest.fixture(scope="module")
def vectors() -> np.ndarray:
    return planted()[0]


@pytest.fixture(scope="module")
def labels() -> np.ndarray:
    return planted()[1]


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


def test_the_longer_side_fills_the_square_and_both_are_centred(coordinates: np.ndarray) -> None:
    assert_is_a_map(coordinates, CLUSTERS * EACH)
    low, high = coordinates.min(axis=0), coordinates.max(axis=0)
    assert (high - low).max() == pytest.approx(2.0, abs=1e-5)
    assert low + high == pytest.approx([0.0, 0.0], abs=1e-5)


def test_planted_clusters_stay_together(coordinates: np.ndarray, labels: np.ndarray) -> None:
    for row in range(len(labels)):
        rows, _ = nearest(coordinates, coordinates[row], 11)
        assert (labels[rows] == labels[row]).all()


def test_same_vectors_give_the_same_map_to_the_bit(vectors: np.ndarray, coordinates: np.ndarray) -> None:
    again = fit_projection(vectors.copy())
    assert again.tobytes() == coordinates.tobytes()


def test_another_seed_gives_another_map(vectors: np.ndarray, coordinates: np.ndarray) -> None:
    assert not np.array_equal(fit_projection(vectors, settings=ProjectionSettings(seed=1)), coordinates)


def test_a_query_lies_in_its_cluster(vectors: np.ndarray, coordinates: np.ndarray, labels: np.ndarray) -> None:
    random = np.random.default_rng(3)
    for cluster in range(CLUSTERS):
        query = vectors[labels == cluster].mean(axis=0) + random.normal(size=DIMENSIONS)
        rows, distances = nearest(vectors, query, 10)
        point = place(coordinates, rows, distances)
        closest, _ = nearest(coordinates, point, 5)
        assert (labels[closest] == cluster).all()
        assert near_on_map(coordinates, point, rows, share=0.25) == 10


@pytest.mark.parametrize("n", [0, 1, 2, 3, 5, 14, 15, 16, 40])
@pytest.mark.parametrize("d", [1, 2, 60])
def test_small_corpora_have_a_map(n: int, d: int) -> None:
    vectors = np.random.default_rng(n).normal(size=(n, d)).astype(np.float32)
    coordinates = fit_projection(vectors)
    assert_is_a_map(coordinates, n)
    if n == 1:
        assert coordinates.tolist() == [[0.0, 0.0]]
    elif n > 1:
        assert np.ptp(coordinates, axis=0).max() == pytest.approx(2.0, abs=1e-5)


def test_under_the_limit_of_umap_distances_in_a_plane_are_kept() -> None:
    flat = np.array([[0.0, 0.0], [4.0, 0.0], [4.0, 1.0], [0.0, 1.0]], dtype=np.float32)
    vectors = np.zeros((4, 80), dtype=np.float32)
    vectors[:, [3, 70]] = flat
    coordinates = fit_projection(vectors)
    for i, j in itertools.combinations(range(4), 2):
        assert np.linalg.norm(coordinates[i] - coordinates[j]) == pytest.approx(
            np.linalg.norm(flat[i] - flat[j]) / 2, rel=1e-4
        )


@pytest.mark.parametrize("n", [2, 14, 15, 60])
def test_equal_papers_share_the_origin(n: int) -> None:
    assert fit_projection(np.full((n, 64), 0.5, dtype=np.float32)).tolist() == [[0.0, 0.0]] * n


@pytest.mark.parametrize("n", [6, 15, 80])
def test_duplicates_do_not_break_a_map(n: int) -> None:
    vectors = np.random.default_rng(0).normal(size=(n, 64)).astype(np.float32)
    vectors[: n * 2 // 3] = vectors[0]
    assert_is_a_map(fit_projection(vectors), n)


@pytest.mark.parametrize("unit", [1e-42, 1e-30, 1e30, 3e37])
def test_the_unit_of_the_vectors_does_not_matter(unit: float) -> None:
    vectors = (np.random.default_rng(0).normal(size=(12, 64)) * unit).astype(np.float32)
    coordinates = fit_projection(vectors)
    assert_is_a_map(coordinates, 12)
    assert np.ptp(coordinates, axis=0).max() == pytest.approx(2.0, abs=1e-5)


def test_half_precision_vectors_are_read() -> None:
    assert_is_a_map(fit_projection(np.random.default_rng(0).normal(size=(9, 70)).astype(np.float16)), 9)


def test_vectors_that_make_no_map_are_refused() -> None:
    with pytest.raises(ValueError, match="shape"):
        fit_projection(np.zeros(5, dtype=np.float32))
    with pytest.raises(ValueError, match="shape"):
        fit_projection(np.zeros((5, 0), dtype=np.float32))
    broken = np.zeros((5, 3), dtype=np.float32)
    broken[3, 1] = np.nan
    with pytest.raises(ValueError, match="vector 3"):
        fit_projection(broken)


@pytest.mark.parametrize("wrong", [{"n_neighbors": 1}, {"min_dist": 1.5}, {"pca_components": 1}, {"smallest_umap": 4}])
def test_settings_that_umap_cannot_use_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        ProjectionSettings(**wrong)  # type: ignore[arg-type]


SQUARE = np.array([[-1.0, -1.0], [1.0, -1.0], [1.0, 1.0], [-1.0, 1.0]], dtype=np.float32)


def test_the_nearer_of_two_lone_neighbours_weighs_more_by_the_fourth_power() -> None:
    # Weights 1 and (1/3)⁴ = 1/81, each with none but itself beside it: −1 · 81/82 + 1 · 1/82.
    assert place(SQUARE, np.array([0, 1]), np.array([1.0, 3.0])) == pytest.approx([-80 / 82, -1.0])


def test_a_query_lies_with_most_of_its_neighbours_and_not_in_the_void_between() -> None:
    gathering = np.full((9, 2), 0.8) + np.linspace(-0.01, 0.01, 9)[:, None]
    coordinates = np.vstack([gathering, [[-0.9, -0.9]]]).astype(np.float32)
    # The stray one is even the nearest.
    x, y = place(coordinates, np.arange(10), np.array([1.1] * 9 + [1.0]))
    assert x == pytest.approx(0.8, abs=0.05)
    assert y == pytest.approx(0.8, abs=0.05)


def test_an_identical_paper_takes_the_query() -> None:
    assert place(SQUARE, np.array([2, 0, 1]), np.array([0.0, 1e-9, 1.0])).tolist() == [1.0, 1.0]
    assert place(SQUARE, np.array([2, 1, 0]), np.array([0.0, 0.0, 1.0])).tolist() == [1.0, 0.0]


def test_nearly_identical_is_nearly_there() -> None:
    assert place(SQUARE, np.array([2, 0]), np.array([1e-9, 1.0])) == pytest.approx([1.0, 1.0], abs=1e-6)


@given(st.lists(st.floats(0, 1e300), min_size=1, max_size=4))
def test_a_query_lies_among_its_neighbours(distances: list[float]) -> None:
    rows = np.arange(len(distances))
    point = place(SQUARE, rows, np.array(distances))
    assert point.dtype == np.float32
    assert (point >= SQUARE[rows].min(axis=0) - 1e-6).all()
    assert (point <= SQUARE[rows].max(axis=0) + 1e-6).all()


@pytest.mark.parametrize(
    ("rows", "distances", "says"),
    [
        ([], [], "without neighbours"),
        ([0, 1], [1.0], "one distance a row"),
        ([0], [np.nan], "not finite"),
        ([0], [np.inf], "not finite"),
        ([0], [-1.0], "negative"),
        ([4], [1.0], "row 4"),
        ([-1], [1.0], "row -1"),
        ([0.5], [1.0], "integers"),
    ],
)
def test_neighbours_that_place_nothing_are_refused(rows: list[int], distances: list[float], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        place(SQUARE, np.array(rows), np.array(distances))


def test_a_map_with_a_hole_is_refused() -> None:
    with pytest.raises(ValueError, match="not finite"):
        place(np.array([[np.nan, 0.0]]), np.array([0]), np.array([1.0]))


def test_near_on_map_counts_what_lies_close() -> None:
    line = np.column_stack([np.arange(1000), np.zeros(1000)]).astype(np.float32)
    point = np.array([0.0, 0.0])
    assert near_on_map(line, point, np.array([0, 9, 10, 500])) == 2  # the nearest 1 % are rows 0 to 9
    assert near_on_map(line, point, np.array([0, 9, 10, 500]), share=1.0) == 4
    assert near_on_map(line, point, np.arange(20)) == 20  # never fewer points than rows
    assert near_on_map(line, point, np.array([], dtype=int)) == 0


def test_points_as_far_as_the_last_are_near_too() -> None:
    assert near_on_map(SQUARE, np.zeros(2), np.array([3]), share=0.25) == 1


def test_near_on_map_refuses_what_it_cannot_count() -> None:
    with pytest.raises(ValueError, match="share"):
        near_on_map(SQUARE, np.zeros(2), np.array([0]), share=0.0)
    with pytest.raises(ValueError, match="point"):
        near_on_map(SQUARE, np.array([np.nan, 0.0]), np.array([0]))
    with pytest.raises(ValueError, match="row 7"):
        near_on_map(SQUARE, np.zeros(2), np.array([7]))


@given(hnp.arrays(np.float32, st.tuples(st.integers(0, 30), st.just(2)), elements=st.floats(-1e6, 1e6, width=32)))
def test_quantised_coordinates_come_back_within_half_a_step(coordinates: np.ndarray) -> None:
    steps, scale = quantise(coordinates)
    assert steps.dtype == np.int16
    assert steps.nbytes == 4 * len(coordinates)
    error = np.abs(steps * scale - coordinates)
    rounding = np.spacing(np.abs(coordinates).max(initial=0.0), dtype=np.float32)
    assert (error <= scale / 2 * (1 + 1e-9) + rounding).all()


def test_a_map_in_the_square_loses_no_pixel(coordinates: np.ndarray) -> None:
    steps, scale = quantise(coordinates)
    assert np.abs(steps * scale - coordinates).max() <= 1.6e-5


def test_what_is_not_finite_is_not_quantised() -> None:
    with pytest.raises(ValueError, match="finite"):
        quantise(np.array([[np.inf, 0.0]]))


def test_progress_is_reported_and_can_stop_the_layout() -> None:
    vectors = np.random.default_rng(3).normal(size=(60, 8)).astype(np.float32)
    told: list[tuple[int, int]] = []
    with_words = fit_projection(vectors, progress=lambda stage, done, total: told.append((done, total)))
    assert told and told == sorted(told) and told[-1][0] == told[-1][1]
    assert np.array_equal(with_words, fit_projection(vectors))  # listening changes nothing

    class Stopped(Exception):
        pass

    def stop(stage: str, done: int, total: int) -> None:
        raise Stopped

    with pytest.raises(Stopped):
        fit_projection(vectors, progress=stop)
