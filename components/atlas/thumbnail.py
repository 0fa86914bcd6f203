"""Thumbnails of maps: an SVG of an atlas's points in the colours of its regions, without text."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from components.atlas import paths, store
from components.atlas.manifest import Manifest
from components.mapping.palette import Palette

MAX_POINTS = 2_000
_WIDTH, _HEIGHT, _MARGIN = 240, 150, 8  # of the drawing's own units
_SEED = 5


def thumbnail(manifest: Manifest, *, palette: Palette) -> str:
    """An SVG of an atlas's map, from a sample of its points; "" where its files are damaged.

    Only two small files are read, and not checked: opening the atlas does that.
    """
    folder = paths.atlas_folder(manifest.name) / manifest.folder
    coordinates = _read(folder / store.COORDINATES, np.float32, shape=(manifest.papers, 2))
    region_ids = _read(folder / store.REGIONS, np.int16, shape=(manifest.papers,))
    if coordinates is None or region_ids is None or not manifest.papers:
        return ""
    rows = np.sort(np.random.default_rng(_SEED).permutation(manifest.papers)[:MAX_POINTS])
    points, regions = np.array(coordinates[rows], dtype=np.float64), np.array(region_ids[rows])
    if not np.isfinite(points).all():
        return ""
    if regions.min() < -1 or regions.max() >= len(manifest.regions):
        return ""
    colours = np.array([region.colour for region in manifest.regions] + [-1])[regions]
    return _svg(_fitted(points), colours, palette)


def _fitted(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """The points within the drawing, its proportions kept and its y upwards, in whole units of a tenth."""
    low, high = points.min(axis=0), points.max(axis=0)
    room = np.array([_WIDTH - 2 * _MARGIN, _HEIGHT - 2 * _MARGIN])
    extent = high - low
    wide = extent > 0
    scale = float((room[wide] / extent[wide]).min()) if wide.any() else 0.0
    placed = (points - (low + high) / 2) * scale
    placed[:, 1] *= -1
    rounded: NDArray[np.float64] = np.round(placed + np.array([_WIDTH, _HEIGHT]) / 2, 1)
    return rounded


def _svg(points: NDArray[np.float64], colours: NDArray[np.int64], palette: Palette) -> str:
    radius = 1.3 if len(points) > 800 else 1.8 if len(points) > 100 else 2.6
    paths = []
    for colour in np.unique(colours):  # −1, what lies between regions, first: below the others
        stroke = palette.unlabelled if colour < 0 else palette.regions[colour]
        dots = "".join(f"M{x:g} {y:g}h0" for x, y in points[colours == colour].tolist())
        paths.append(f'<path d="{dots}" stroke="{stroke}"/>')
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" width="{_WIDTH}" height="{_HEIGHT}">'
        f'<g fill="none" stroke-linecap="round" stroke-width="{2 * radius:g}" stroke-opacity=".8">{"".join(paths)}</g>'
        "</svg>"
    )


def _read(path: Path, dtype: type[np.generic], *, shape: tuple[int, ...]) -> NDArray[Any] | None:
    try:
        return store.read_array(path, shape=shape, dtype=dtype)
    except (OSError, ValueError, EOFError, OverflowError):
        return None
