"""The projection: vectors → map coordinates when an atlas is built, and the position of a query on the map.

A map point is a float32 pair inside [-1, 1] × [-1, 1]; its unit is half the longer side of the map.
"""

import io
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from corpus.progress import Progress, no_progress

Array = npt.NDArray[Any]
Float32 = npt.NDArray[np.float32]

PROJECTING = "Drawing the map"  # stage of progress
_INT16_STEPS = 32767
# The width around a neighbour in which others count as beside it: a twentieth of the map's width. Papers of the default
# corpus, placed by their ten neighbours, came out a median 0.016 from where UMAP had put them; by distance alone 0.035,
# and 0.015 to 0.018 with a third to three times this width.
_BESIDE = 0.1


@dataclass(frozen=True, slots=True)
class ProjectionSettings:
    """The settings of a map. Equal settings and vectors give the same map, to the bit, on one machine."""

    seed: int = 20211  # fixed: without a seed UMAP runs in parallel, and no two maps are equal
    n_neighbors: int = 15  # more blurs the small subjects of a corpus
    min_dist: float = 0.1  # in UMAP's unit; with less, points overprint; with more, islands merge
    pca_components: int = 100  # faster than all 384, and keeps 8 % more neighbours near on the map than 50 do
    smallest_umap: int = 15  # papers; with fewer, each is a neighbour of every other and UMAP draws noise

    def __post_init__(self) -> None:
        if self.n_neighbors < 2:
            raise ValueError(f"n_neighbors is {self.n_neighbors}; UMAP needs at least 2")
        if not 0.0 <= self.min_dist <= 1.0:
            raise ValueError(f"min_dist is {self.min_dist}; it must be between 0 and 1, UMAP's spread")
        if self.pca_components < 2:
            raise ValueError(f"pca_components is {self.pca_components}; a map needs at least 2")
        if self.smallest_umap < 5:
            raise ValueError(f"smallest_umap is {self.smallest_umap}; UMAP fails with fewer than 5 papers")


DEFAULT_SETTINGS = ProjectionSettings()


def fit_projection(
    vectors: Array, *, settings: ProjectionSettings = DEFAULT_SETTINGS, progress: Progress = no_progress
) -> Float32:
    """Map coordinates of every vector, in their order: float32 (n, 2), centred, the longer side spanning [-1, 1].

    vectors: float (n, d), d ≥ 1, compared by L2 distance. Fewer than `settings.smallest_umap` vectors are placed by
    their two principal components; one vector, or equal ones, at the origin.
    progress: in UMAP's epochs, after its search for neighbours; may raise to stop it.
    Raises ValueError for another shape, and for a vector that is not finite.
    """
    if vectors.ndim != 2 or vectors.shape[1] == 0:
        raise ValueError(f"vectors have shape {vectors.shape}; a map needs (n, d) with d of at least 1")
    unit: Float32 = vectors.astype(np.float32)
    finite = np.isfinite(unit).all(axis=1)
    if not finite.all():
        raise ValueError(f"vector {int(np.flatnonzero(~finite)[0])} is not finite; encode that paper again")
    n = len(unit)
    # The map does not depend on the unit; without this, huge or tiny vectors overflow or vanish in float32.
    unit /= np.abs(unit).max(initial=0.0) or np.float32(1.0)
    if n == 0 or bool((unit == unit[0]).all()):
        return np.zeros((n, 2), dtype=np.float32)
    reduced = _principal_components(unit, at_most=settings.pca_components)
    if n < settings.smallest_umap:
        return _fit_square(reduced[:, :2])
    layout = _umap_layout(reduced, settings, progress)
    # Only seen with contrived input, but one NaN would spoil every later drawing.
    return _fit_square(layout if np.isfinite(layout).all() else reduced[:, :2])


def _principal_components(unit: Float32, *, at_most: int) -> Float32:
    """The first principal components, float32 (n, c): min(at_most, n, d) of them, and at least 2."""
    from sklearn.decomposition import PCA

    count = min(at_most, *unit.shape)
    # Exact solvers: the randomised one is no faster at these widths, and less reproducible.
    reduced = PCA(n_components=count, svd_solver="full" if len(unit) < 512 else "covariance_eigh")
    components = np.asarray(reduced.fit_transform(unit), dtype=np.float32)
    return np.pad(components, ((0, 0), (0, max(0, 2 - count))))


class _Epochs(io.StringIO):
    """The output of UMAP's progress bar, which is the only place where UMAP reports its epochs."""

    def __init__(self, progress: Progress) -> None:
        super().__init__()
        self._progress = progress

    def write(self, text: str) -> int:
        done, slash, total = text.strip().partition("/")
        if slash and done.isdigit() and total.isdigit():
            self._progress(PROJECTING, int(done), int(total))
        return len(text)


def _umap_layout(points: Float32, settings: ProjectionSettings, progress: Progress) -> Float32:
    """UMAP's coordinates, float32 (n, 2), in UMAP's unit."""
    from umap import UMAP

    reducer = UMAP(
        n_neighbors=min(settings.n_neighbors, len(points) - 1),
        n_components=2,
        metric="euclidean",
        min_dist=settings.min_dist,
        # The principal plane keeps distant papers apart, and cannot fail to converge as the spectral start does on
        # corpora with many equal papers.
        init="pca",
        random_state=settings.seed,
        tqdm_kwds={
            "disable": False,
            "file": _Epochs(progress),
            "bar_format": "{n_fmt}/{total_fmt}",
            "mininterval": 0.3,
        },
        n_jobs=1,  # implied by random_state; UMAP warns where it is not stated
    )
    return np.asarray(reducer.fit_transform(points), dtype=np.float32)


def _fit_square(layout: Array) -> Float32:
    """A layout centred in [-1, 1]² and scaled, equally on both axes, until its longer side fills it."""
    wide = layout.astype(np.float64)
    low, high = wide.min(axis=0), wide.max(axis=0)
    half = float((high - low).max()) / 2 or 1.0
    square: Float32 = np.clip((wide - (low + high) / 2) / half, -1.0, 1.0).astype(np.float32)
    return square


def place(coordinates: Array, rows: Array, distances: Array) -> Float32:
    """The position of a query on the map, float32 (2,): the weighted mean of its nearest neighbours' coordinates.

    coordinates: (n, 2). rows: integers (k,), k ≥ 1, the query's neighbours in the vector space. distances: (k,), L2.
    A neighbour's weight is (the nearest distance / its own)⁴, times the square of the number of others beside it on
    the map: where most neighbours are together and a few far off, the query is with the most, and not in between.
    Neighbours at distance 0 are the query itself: it takes their (mean) position.
    """
    away = np.asarray(distances, dtype=np.float64)
    nearest = away.min()
    points = coordinates[np.asarray(rows)].astype(np.float64)
    if nearest == 0:
        weights = (away == 0).astype(np.float64)
    else:
        apart = np.linalg.norm(points[:, None] - points[None, :], axis=2)
        beside = np.exp(-np.square(apart / _BESIDE)).sum(axis=1)
        weights = (nearest / away) ** 4 * beside**2
    return np.asarray(np.average(points, axis=0, weights=weights), dtype=np.float32)


def near_on_map(coordinates: Array, point: Array, rows: Array, *, share: float = 0.01) -> int:
    """How many of `rows` are also near `point` on the map: how far the map can be trusted for this query.

    coordinates: (n, 2). point: (2,). rows: integers (k,), distinct. Near are the `share` of all map points (rounded
    up, and at least k points) that are closest to `point`, and those as far as the last of them.
    """
    if len(rows) == 0:
        return 0
    away = np.square(coordinates.astype(np.float64) - np.asarray(point, dtype=np.float64)).sum(axis=1)
    count = min(len(away), max(len(rows), math.ceil(share * len(away))))
    return int((away[np.asarray(rows)] <= np.partition(away, count - 1)[count - 1]).sum())


def quantise(coordinates: Array) -> tuple[npt.NDArray[np.int16], float]:
    """Coordinates in 4 bytes per point, for the browser: (steps, int16 (n, 2), scale).

    steps × scale is within scale / 2 of each coordinate. For a map in [-1, 1] that is 0.000016: a fiftieth of a pixel
    on a map 2,500 pixels wide.
    """
    wide = coordinates.astype(np.float64)
    scale = float(np.abs(wide).max(initial=0.0)) / _INT16_STEPS or 1.0
    return np.rint(wide / scale).astype(np.int16), scale
