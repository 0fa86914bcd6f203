"""Where papers that come later lie: on the map and in its regions, by their neighbours. The old points stay."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from components.atlas.manifest import Region
from components.index.exact import Neighbours
from components.mapping.projection import place
from components.mapping.regions import dense_centre

Array = npt.NDArray[Any]

# Of the map's half: about a pixel where the whole map is seen. Two papers of the same text can then be told apart by
# moving closer, and nobody takes them for papers of different places.
_STEP = 0.002
_GOLDEN = math.pi * (3 - math.sqrt(5))  # turned by this angle, points of a spiral never lie behind one another


@dataclass(frozen=True, slots=True)
class Placed:
    """Where papers that were added lie. coordinates: float32 (m, 2). region_ids: int16 (m,), −1 between regions.

    far: how many of them are near to none (see `place_newcomers`).
    """

    coordinates: npt.NDArray[np.float32]
    region_ids: npt.NDArray[np.int16]
    far: int


def place_newcomers(
    coordinates: Array, region_ids: Array, *, neighbours: Sequence[Neighbours], typical_distance: float
) -> Placed:
    """Places for papers by their nearest rows among those that are on the map already.

    coordinates: (n, 2) and region_ids: (n,) of the old rows. neighbours: of each new paper, at least one old row.
    typical_distance: the median L2 distance of random pairs of old rows.
    A paper lies where a query would (`projection.place`): at the mean of its neighbours, the nearest and those that
    lie together weighing most. Where another paper lies in that very place, which a paper of the same text always
    meets, it goes to the next free place of a spiral around it, so that neither hides the other. Its region is the
    one that most of its neighbours have, each weighing (the nearest distance / its own)⁴. It is near to none where
    even the nearest is farther than papers drawn at random typically are from each other: its subject is new here.
    """
    found = np.empty((len(neighbours), 2), dtype=np.float32)
    regions = np.empty(len(neighbours), dtype=np.int16)
    taken = {(float(x), float(y)) for x, y in coordinates}
    tried: dict[tuple[float, float], int] = {}
    far = 0
    for i, near in enumerate(neighbours):
        wanted = place(coordinates, near.rows, near.l2_distances)
        found[i] = _free_place((float(wanted[0]), float(wanted[1])), taken=taken, tried=tried)
        regions[i] = _region_of(region_ids[near.rows], near.l2_distances)
        far += bool(near.l2_distances[0] > typical_distance)
    return Placed(coordinates=found, region_ids=regions, far=far)


def recounted(
    regions: Sequence[Region], region_ids: Array, *, coordinates: Array
) -> tuple[tuple[Region, ...], npt.NDArray[np.int16]]:
    """Regions as they are after rows came or went, and the ids of all rows, int16 (n,), that go with them.

    region_ids: (n,) and coordinates: (n, 2) of the rows that there are. A region keeps its name and colour. One without
    papers is gone, and those after it move up in number. Where no member lies any more at the place of a region's name,
    the name moves to another.
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


def _free_place(
    wanted: tuple[float, float], *, taken: set[tuple[float, float]], tried: dict[tuple[float, float], int]
) -> tuple[float, float]:
    """The wanted place, or the next on a spiral around it that is not taken; it is taken then."""
    found = wanted
    while found in taken:
        turn = tried[wanted] = tried.get(wanted, 0) + 1
        away = (_STEP * math.sqrt(turn) * math.cos(_GOLDEN * turn), _STEP * math.sqrt(turn) * math.sin(_GOLDEN * turn))
        x, y = (at - by if abs(at + by) > 1 else at + by for at, by in zip(wanted, away, strict=True))
        found = (float(np.float32(x)), float(np.float32(y)))
    taken.add(found)
    return found


def _region_of(region_ids: Array, l2_distances: Array) -> int:
    """The region with the most weight among neighbours, nearest first; of equals that of the nearer one."""
    away = np.asarray(l2_distances, dtype=np.float64)
    weights = (away == 0).astype(np.float64) if away[0] == 0 else (away[0] / away) ** 4
    totals: dict[int, float] = {}
    for region, weight in zip(region_ids.tolist(), weights.tolist(), strict=True):
        totals[region] = totals.get(region, 0.0) + weight
    return max(totals, key=lambda region: totals[region])
