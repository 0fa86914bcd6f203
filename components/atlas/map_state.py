"""The map of an atlas that grows: where new papers go, when to lay it out again, and what to say about it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from components.atlas.manifest import Manifest
from components.index.exact import Neighbours
from components.mapping.projection import DEFAULT_SETTINGS, place
from components.mapping.regions import Region, dense_centre, smallest_region

Array = npt.NDArray[Any]

PLACING_NEIGHBOURS = 10  # a query lies at their weighted mean; with more it drifts to the middle of the map
# With fewer points there is nothing to arrange: two are apart at any distance.
MIN_PAPERS_FOR_A_MAP = 3
# Of the papers that the map was laid out with. A paper placed by its neighbours lies a median 0.016 of the map's half
# from where UMAP would put it, so a few do no harm. But the others make no room for it, and regions and their names do
# not follow: with a quarter added, a fifth of what one sees was never arranged.
_MAX_CHANGED_SHARE = 0.25
# Of the map's half: about a pixel where the whole map is seen. Two papers of the same text can be told apart by zooming
# in, and do not look like papers of different places.
_SPIRAL_STEP = 0.002
_GOLDEN_ANGLE = math.pi * (3 - math.sqrt(5))  # points of such a spiral never line up


@dataclass(frozen=True, slots=True)
class Placement:
    """Where added papers lie. coordinates: float32 (m, 2). region_ids: int16 (m,), −1 between regions.

    far: how many of them are near no old paper (see `place_papers`).
    """

    coordinates: npt.NDArray[np.float32]
    region_ids: npt.NDArray[np.int16]
    far: int


def place_papers(
    coordinates: Array, region_ids: Array, *, neighbours: Sequence[Neighbours], typical_distance: float
) -> Placement:
    """Place new papers by their nearest rows among those on the map.

    coordinates: (n, 2) and region_ids: (n,) of the old rows. neighbours: of each new paper, at least one old row.
    typical_distance: the median L2 distance of random pairs of old rows.
    A paper lies where a query would (`projection.place`). Where another paper has that very point, as a paper of the
    same text always has, it takes the next free point of a spiral around it, so that neither hides the other. Its
    region is that of most neighbours, each weighing (the nearest distance / its own)⁴. It is far where even the nearest
    neighbour is farther than random pairs typically are: its subject is new here.
    """
    points = np.empty((len(neighbours), 2), dtype=np.float32)
    regions = np.empty(len(neighbours), dtype=np.int16)
    taken = {(float(x), float(y)) for x, y in coordinates}
    turns: dict[tuple[float, float], int] = {}
    far = 0
    for i, near in enumerate(neighbours):
        x, y = place(coordinates, near.rows, near.l2_distances)
        points[i] = _free_point((float(x), float(y)), taken=taken, turns=turns)
        regions[i] = _region_of(region_ids[near.rows], near.l2_distances)
        far += bool(near.l2_distances[0] > typical_distance)
    return Placement(points, regions, far)


def recount_regions(
    regions: Sequence[Region], region_ids: Array, *, coordinates: Array
) -> tuple[tuple[Region, ...], npt.NDArray[np.int16]]:
    """Regions after rows came or went, and the region of each row, int16 (n,).

    region_ids: (n,) and coordinates: (n, 2) of the rows as they are now. A region keeps its name and colour. An empty
    one is dropped, and those after it move up in number. Where no member lies at the place of a region's name any
    more, the name moves to another.
    """
    kept: list[Region] = []
    numbers = np.full(len(regions) + 1, -1, dtype=np.int16)  # by old id; the last is for −1
    for region in regions:
        points = coordinates[region_ids == region.id].astype(np.float64)
        if len(points):
            numbers[region.id] = len(kept)
            x, y = region.x, region.y
            if not bool(((points == (x, y)).all(axis=1)).any()):
                x, y = dense_centre(points)
            kept.append(replace(region, id=len(kept), size=len(points), x=x, y=y))
    return tuple(kept), numbers[region_ids]


def _free_point(
    wanted: tuple[float, float], *, taken: set[tuple[float, float]], turns: dict[tuple[float, float], int]
) -> tuple[float, float]:
    """The wanted point, or the next on a spiral around it that is free; adds it to `taken`."""
    point = wanted
    while point in taken:
        turn = turns[wanted] = turns.get(wanted, 0) + 1
        radius, angle = _SPIRAL_STEP * math.sqrt(turn), _GOLDEN_ANGLE * turn
        steps = (radius * math.cos(angle), radius * math.sin(angle))
        x, y = (at - by if abs(at + by) > 1 else at + by for at, by in zip(wanted, steps, strict=True))
        point = (float(np.float32(x)), float(np.float32(y)))
    taken.add(point)
    return point


def _region_of(region_ids: Array, l2_distances: Array) -> int:
    """The region with the most weight among neighbours, nearest first; of equals that of the nearer one."""
    away = np.asarray(l2_distances, dtype=np.float64)
    weights = (away == 0).astype(np.float64) if away[0] == 0 else (away[0] / away) ** 4
    totals: dict[int, float] = {}
    for region, weight in zip(region_ids.tolist(), weights.tolist(), strict=True):
        totals[region] = totals.get(region, 0.0) + weight
    return max(totals, key=lambda region: totals[region])


# What to say about a map


def laid_out_with(manifest: Manifest) -> int:
    """How many papers the map was laid out with."""
    return max(manifest.papers - manifest.growth.added + manifest.growth.removed, 0)


def rebuild_due(manifest: Manifest) -> str:
    """Why the map of an atlas should be laid out again, in a sentence; "" where it need not be.

    It is due when papers added and removed since are more than a quarter of those that it was laid out with; when the
    papers far from these would make a region of their own; and when it was laid out with too few papers for UMAP, and
    there are enough now.
    """
    growth, before = manifest.growth, laid_out_with(manifest)
    if not (growth.added or growth.removed) or manifest.papers < MIN_PAPERS_FOR_A_MAP:
        return ""
    if before < DEFAULT_SETTINGS.smallest_umap <= manifest.papers:
        return f"The map was laid out with {_papers(before)}, too few for a map of subjects; now there are enough."
    if growth.added + growth.removed > _MAX_CHANGED_SHARE * before:
        changes = [f"{growth.added:,} added"] * bool(growth.added) + [f"{growth.removed:,} removed"] * bool(
            growth.removed
        )
        return (
            f"The map was laid out with {_papers(before)}; since then {' and '.join(changes)}. New papers were placed "
            "next to their neighbours; the layout was not recomputed."
        )
    if growth.far >= smallest_region(before):
        return (
            f"{_papers(growth.far).capitalize()} added later are near none of those that the map was laid out with: "
            "their subject has no place on it yet."
        )
    return ""


def map_words(manifest: Manifest) -> str:
    """How the map was made and how many regions it has, in a few words."""
    before, regions = laid_out_with(manifest), len(manifest.regions)
    if manifest.papers < MIN_PAPERS_FOR_A_MAP:
        return "none: too few papers"
    method = (
        "UMAP"
        if before >= DEFAULT_SETTINGS.smallest_umap
        else f"two principal components: under {DEFAULT_SETTINGS.smallest_umap} papers, UMAP would draw noise"
    )
    named = "region named by what sets it apart" if regions == 1 else "regions named by what sets them apart"
    return f"{method}, {regions} {named}" if regions else f"{method}, no regions: papers too few or too scattered"


def no_map(manifest: Manifest) -> str:
    """Why there is no map to show, in a sentence or two; "" where there is one."""
    if manifest.papers >= MIN_PAPERS_FOR_A_MAP:
        return ""
    return (
        f"This corpus has {_papers(manifest.papers)}, too few for a map: a map shows which papers lie closer together "
        f"than others, and that takes at least {MIN_PAPERS_FOR_A_MAP}. Add papers to get one."
    )


def _papers(count: int) -> str:
    return "one paper" if count == 1 else f"{count:,} papers"
