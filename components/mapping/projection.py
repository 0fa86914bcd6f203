"""The map: vectors to coordinates at build time, and where a query lies on it afterwards.

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


@dataclass(frozen=True, slots=True)
class ProjectionSettings:
    """What shapes a map. Equal settings on equal vectors give the same map, to the bit, on one machine."""

    seed: int = 20211  # any fixed number; without one UMAP runs in parallel and no two maps agree
    n_neighbors: int = 15  # papers that a paper is held to; more blurs the small subjects of a corpus
    min_dist: float = 0.1  # in UMAP's own unit; under it dots overprint, over it islands run together
    pca_components: int = 100  # quicker than all 384, and keeps 8 % more neighbours near on the map than 50 do
    smallest_umap: int = 15  # papers; with fewer each is a neighbour of every other and UMAP draws noise

    def __post_init__(self) -> None:
        if self.n_neighbors < 2:
            raise ValueError(f"n_neighbors is {self.n_neighbors}; UMAP needs at least 2")
        if not 0.0 <= self.min_dist <= 1.0:
            raise ValueError(f"min_dist is {self.min_dist}; it lies between 0 and 1, UMAP's spread")
        if self.pca_components < 2:
            raise ValueError(f"pca_components is {self.pca_components}; a map needs at least 2")
        if self.smallest_umap < 5:
            raise ValueError(f"smallest_umap is {self.smallest_umap}; UMAP fails with fewer than 5 papers")


DEFAULT_SETTINGS = ProjectionSettings()


def fit_projection(
    vectors: Array,
    *,
    settings: ProjectionSettings = DEFAULT_SETTINGS,
    progress: Progress = no_progress,
) -> Float32:
    """Map coordinates of every vector, in their order.

    vectors: float32 (n, d), d ≥ 1, finite. Returns float32 (n, 2), finite, centred, scaled alike on both
    axes so that the longer side spans [-1, 1]. Euclidean throughout. Fewer than `settings.smallest_umap`
    vectors lie by their two principal components; one vector, or only equal ones, lie at the origin.
    progress: in UMAP's epochs, after its search for neighbours; may raise to stop it.
    Raises ValueError for another shape or a number that is not finite.
    """
    if vectors.ndim != 2 or vectors.shape[1] == 0:
        raise ValueError(f"vectors have shape {vectors.shape}; a map is made of (n, d) with d of at least 1")
    unit: Float32 = vectors.astype(np.float32)
    finite = np.isfinite(unit).all(axis=1)
    if not finite.all():
        bad = int(np.flatnonzero(~finite)[0])
        raise ValueError(f"vector {bad} holds a number that is not finite; encode that paper again")
    n = len(unit)
    # Neither PCA nor UMAP minds the unit; without this, huge or tiny vectors overflow or vanish in float32.
    unit /= np.abs(unit).max(initial=0.0) or np.float32(1.0)
    if n == 0 or bool((unit == unit[0]).all()):
        return np.zeros((n, 2), dtype=np.float32)
    reduced = _principal_components(unit, at_most=settings.pca_components)
    if n < settings.smallest_umap:
        return _fit_square(reduced[:, :2])
    layout = _umap_layout(reduced, settings, progress)
    # Seen only with contrived input, but a NaN here would take every later drawing with it.
    return _fit_square(layout if np.isfinite(layout).all() else reduced[:, :2])


def _principal_components(unit: Float32, *, at_most: int) -> Float32:
    """The first principal components, float32 (n, c): min(at_most, n, d) of them, and at least 2."""
    from sklearn.decomposition import PCA

    count = min(at_most, *unit.shape)
    # The exact solver: the randomised one is no faster at these widths and adds a source of difference.
    reduced = PCA(n_components=count, svd_solver="full" if len(unit) < 512 else "covariance_eigh")
    components = np.asarray(reduced.fit_transform(unit), dtype=np.float32)
    if count < 2:
        components = np.pad(components, ((0, 0), (0, 2 - count)))
    return components


class _Epochs(io.StringIO):
    """What UMAP's progress bar is written to: the one place where UMAP tells how far it is."""

    def __init__(self, progress: Progress) -> None:
        super().__init__()
        self._progress = progress

    def write(self, text: str) -> int:
        done, slash, total = text.strip().partition("/")
        if slash and done.isdigit() and total.isdigit():
            self._progress(PROJECTING, int(done), int(total))
        return len(text)


def _umap_layout(points: Float32, settings: ProjectionSettings, progress: Progress) -> Float32:
    """UMAP's own coordinates, float32 (n, 2), in UMAP's own unit."""
    from umap import UMAP

    reducer = UMAP(
        n_neighbors=min(settings.n_neighbors, len(points) - 1),
        n_components=2,
        metric="euclidean",
        min_dist=settings.min_dist,
        # The principal plane keeps far things apart where they were far, and cannot fail to converge as the
        # spectral start does on corpora with many equal papers.
        init="pca",
        random_state=settings.seed,
        tqdm_kwds={
            "disable": False,
            "file": _Epochs(progress),
            "bar_format": "{n_fmt}/{total_fmt}",
            "mininterval": 0.3,
        },
        n_jobs=1,  # what random_state forces; said here because UMAP warns where it has to override
    )
    return np.asarray(reducer.fit_transform(points), dtype=np.float32)


def _fit_square(layout: Array) -> Float32:
    """A layout centred in [-1, 1]² and scaled alike on both axes until its longer side fills it."""
    wide = layout.astype(np.float64)
    low, high = wide.min(axis=0), wide.max(axis=0)
    half = float((high - low).max()) / 2
    square: Float32 = np.zeros(layout.shape, dtype=np.float32)
    if half > 0.0:
        square[:] = np.clip((wide - (low + high) / 2) / half, -1.0, 1.0)
    return square


# A twentieth of the map's width. Papers of the default corpus, placed by their ten neighbours, came out a median 0.016
# from where UMAP had put them; by distance alone 0.035, and 0.015 to 0.018 with a third to three times this width.
_BESIDE = 0.1


def place(coordinates: Array, rows: Array, distances: Array) -> Float32:
    """Where a query lies on the map: the weighted mean of its nearest neighbours' coordinates.

    coordinates: (n, 2). rows: integers (k,), the query's neighbours in the vector space. distances: (k,),
    L2, not squared. A neighbour weighs (the nearest distance / its own)⁴, times the square of how many of the others
    lie beside it on the map: where most neighbours gather in one place and a few lie far off, the query lies with the
    most, and not in the void between. Where one or more lie at distance 0 the query is those papers and lies on
    (the middle of) them. Returns float32 (2,).
    Raises ValueError where there is no neighbour, where rows and distances differ in length, where a row is
    not on the map, where a distance is negative and where a number is not finite.
    """
    _check_map(coordinates)
    rows = _checked_rows(coordinates, rows)
    if len(rows) == 0:
        raise ValueError("a query without neighbours cannot be placed on the map; search for at least one")
    away = np.asarray(distances, dtype=np.float64)
    if away.shape != rows.shape:
        raise ValueError(f"{len(rows)} rows with distances of shape {away.shape}; give one distance a row")
    if not np.isfinite(away).all() or bool((away < 0).any()):
        raise ValueError("a distance is negative or not finite; give L2 distances")
    nearest = away.min()
    points = coordinates[rows].astype(np.float64)
    if not np.isfinite(points).all():
        raise ValueError("a neighbour's coordinates are not finite; build the map again")
    if nearest == 0:
        weights = (away == 0).astype(np.float64)
    else:
        apart = np.linalg.norm(points[:, None] - points[None, :], axis=2)
        beside = np.exp(-np.square(apart / _BESIDE)).sum(axis=1)
        weights = (nearest / away) ** 4 * beside**2
    return np.asarray(np.average(points, axis=0, weights=weights), dtype=np.float32)


def near_on_map(coordinates: Array, point: Array, rows: Array, *, share: float = 0.01) -> int:
    """How many of `rows` are also near `point` on the map: how far the map can be believed for this query.

    coordinates: (n, 2), finite. point: (2,). rows: integers (k,), distinct. Near means among the `share` of
    all map points (rounded up, and never fewer than k points) that lie closest to `point`; points as far as
    the last of those are near too. Returns 0 … k; 0 for no rows. Raises ValueError for a share outside
    (0, 1], a row that is not on the map, and a point that is not a finite pair.
    """
    _check_map(coordinates)
    rows = _checked_rows(coordinates, rows)
    if not 0.0 < share <= 1.0:
        raise ValueError(f"share is {share}; it is a part of all map points, above 0 and at most 1")
    centre = np.asarray(point, dtype=np.float64)
    if centre.shape != (2,) or not np.isfinite(centre).all():
        raise ValueError(f"point is {point!r}; give a finite pair of map coordinates")
    if len(rows) == 0:
        return 0
    away = np.square(coordinates.astype(np.float64) - centre).sum(axis=1)
    count = min(len(away), max(len(rows), math.ceil(share * len(away))))
    return int((away[rows] <= np.partition(away, count - 1)[count - 1]).sum())


def quantise(coordinates: Array) -> tuple[npt.NDArray[np.int16], float]:
    """Coordinates in 4 bytes a point, for the way to the browser: (int16 (n, 2), scale).

    The steps times the scale are within scale / 2 of the coordinates. For a map in [-1, 1] that is 0.000016: a
    fiftieth of a pixel on a map 2,500 pixels wide. Raises ValueError where a coordinate is not finite.
    """
    _check_map(coordinates)
    if not np.isfinite(coordinates).all():
        raise ValueError("a coordinate is not finite; build the map again")
    wide = coordinates.astype(np.float64)
    scale = float(np.abs(wide).max(initial=0.0)) / _INT16_STEPS or 1.0
    return np.rint(wide / scale).astype(np.int16), scale


def _check_map(coordinates: Array) -> None:
    if coordinates.ndim != 2 or coordinates.shape[1] != 2:
        raise ValueError(f"coordinates have shape {coordinates.shape}; a map has (n, 2)")


def _checked_rows(coordinates: Array, rows: Array) -> npt.NDArray[np.int64]:
    found = np.asarray(rows)
    if found.ndim != 1 or (found.size and not np.issubdtype(found.dtype, np.integer)):
        raise ValueError(f"rows have shape {found.shape} and type {found.dtype}; give integers (k,)")
    found = found.astype(np.int64)
    outside = found[(found < 0) | (found >= len(coordinates))]
    if len(outside):
        raise ValueError(f"row {int(outside[0])} is not on a map of {len(coordinates)} points")
    return found
