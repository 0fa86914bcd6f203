"""The map of a growing atlas: where new papers go, how regions are recounted, and what is said of the map."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.atlas.manifest import Growth, Manifest
from components.atlas.map_state import (
    laid_out_with,
    map_words,
    no_map,
    place_papers,
    rebuild_due,
    recount_regions,
)
from components.atlas.store import AtlasParts, write_atlas
from components.index.exact import ExactIndex, Neighbours
from components.mapping.regions import Region

MakeManifest = Callable[..., Manifest]


@pytest.fixture
def manifest(home: object, atlas_parts: Callable[..., AtlasParts]) -> MakeManifest:
    written = write_atlas(replace(atlas_parts(graph=False), name="one"))
    return lambda papers, **growth: replace(written, papers=papers, growth=Growth(**growth))


@pytest.mark.parametrize(
    ("papers", "growth", "due"),
    [
        (1000, {}, ""),
        (1250, {"added": 250}, ""),
        (1251, {"added": 251}, "laid out with 1,000 papers; since then 251 added."),
        (740, {"removed": 260}, "laid out with 1,000 papers; since then 260 removed."),
        (1000, {"added": 130, "removed": 130}, "since then 130 added and 130 removed."),
        (1030, {"added": 30, "far": 23}, ""),
        (1030, {"added": 30, "far": 24}, "24 papers added later are near none"),  # 24 make a region of 1,000
        (15, {"added": 1}, "laid out with 14 papers, too few"),
        (14, {"added": 1}, ""),
        (14, {"added": 13}, "laid out with one paper; since then 13 added"),
        (2, {"added": 1}, ""),  # there is no map to lay out
        (2, {"removed": 100}, ""),
    ],
)
def test_when_a_new_layout_is_due(manifest: MakeManifest, papers: int, growth: dict[str, int], due: str) -> None:
    reason = rebuild_due(manifest(papers, **growth))
    assert due in reason
    assert bool(reason) == bool(due)


def test_how_the_map_was_made(manifest: MakeManifest) -> None:
    assert laid_out_with(manifest(20, added=12, removed=2)) == 10
    assert map_words(manifest(20)) == "UMAP, 2 regions named by what sets them apart"
    assert map_words(manifest(20, added=12)).startswith("two principal components")
    assert map_words(replace(manifest(100), regions=manifest(100).regions[:1])).startswith("UMAP, 1 region named")
    assert "no regions" in map_words(replace(manifest(100), regions=()))
    assert map_words(manifest(2)) == "none: too few papers"


def test_why_there_is_no_map(manifest: MakeManifest) -> None:
    assert "has one paper, too few for a map" in no_map(manifest(1))
    assert "has 2 papers, too few for a map" in no_map(manifest(2))
    assert no_map(manifest(3)) == ""


def neighbours(rows: list[int], distances: list[float]) -> Neighbours:
    return Neighbours(np.array(rows, dtype=np.int64), np.array(distances, dtype=np.float32))


@pytest.fixture
def clusters() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Vectors of three clusters, their places on a map with the clusters apart, and the cluster of each row."""
    random = np.random.default_rng(5)
    cluster = np.repeat(np.arange(3), 40)
    centres = 10 * random.normal(size=(3, 16))
    vectors = (centres[cluster] + random.normal(size=(120, 16))).astype(np.float32)
    middles = np.array([[-0.8, -0.5], [0.7, -0.6], [0.1, 0.8]])
    places = (middles[cluster] + 0.04 * random.normal(size=(120, 2))).astype(np.float32)
    return vectors, places, cluster


def test_new_papers_lie_in_their_cluster_and_region(clusters: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    vectors, places, cluster = clusters
    old = np.arange(120) % 4 > 0
    index = ExactIndex(vectors[old])
    near = [index.search(vector, k=10) for vector in vectors[~old]]
    placed = place_papers(
        places[old], cluster[old].astype(np.int16), neighbours=near, typical_distance=float(np.linalg.norm([10] * 16))
    )
    assert np.array_equal(placed.region_ids, cluster[~old])
    assert np.linalg.norm(placed.coordinates - places[~old], axis=1).max() < 0.25  # clusters lie 1.4 apart
    assert placed.far == 0


def test_far_papers_are_counted(clusters: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    vectors, places, cluster = clusters
    pairs = np.linalg.norm(vectors[:60] - vectors[60:], axis=1)
    index = ExactIndex(vectors)
    strangers = 100 * np.eye(16, dtype=np.float32)[:5]
    near = [index.search(vector, k=10) for vector in [*strangers, *(vectors[:7] + 0.5)]]
    placed = place_papers(places, cluster.astype(np.int16), neighbours=near, typical_distance=float(np.median(pairs)))
    assert placed.far == 5


def test_no_paper_hides_another() -> None:
    places = np.array([[0.0, 0.0], [1.0, 1.0], [1.0, -1.0]], dtype=np.float32)
    same = [neighbours([row], [0.0]) for row in (0, 1, 2) for _ in range(50)]
    placed = place_papers(places, np.full(3, -1, np.int16), neighbours=same, typical_distance=1.0)
    everything = np.concatenate([places, placed.coordinates])
    assert len(np.unique(everything, axis=0)) == len(everything)
    assert np.abs(placed.coordinates).max() <= 1
    for number, row in enumerate(np.repeat([0, 1, 2], 50)):
        assert np.linalg.norm(placed.coordinates[number] - places[row]) < 0.03
    # Those that come another day find the places of the first ones taken.
    again = place_papers(everything, np.full(153, -1, np.int16), neighbours=same, typical_distance=1.0)
    assert len(np.unique(np.concatenate([everything, again.coordinates]), axis=0)) == 303


@pytest.mark.parametrize(
    ("regions", "distances", "expected"),
    [
        ([0, 1, 1], [1.0, 1.0, 1.0], 1),
        ([0, 1, 1], [0.5, 1.0, 1.0], 0),  # 1 against 2 × (1/2)⁴
        ([-1, -1, 2], [1.0, 1.0, 1.0], -1),
        ([2, -1], [1.0, 1.0], 2),  # of equals that of the nearer one
        ([3, 1, 1, 1], [0.0, 0.1, 0.1, 0.1], 3),  # the same text is the same place
    ],
)
def test_the_region_is_that_of_most_neighbours(regions: list[int], distances: list[float], expected: int) -> None:
    rows = list(range(len(regions)))
    placed = place_papers(
        np.random.default_rng(1).uniform(-1, 1, (len(rows), 2)).astype(np.float32),
        np.array(regions, np.int16),
        neighbours=[neighbours(rows, distances)],
        typical_distance=9.0,
    )
    assert placed.region_ids.tolist() == [expected]


@given(st.lists(st.integers(-1, 4), min_size=1, max_size=40), st.integers(0, 1000))
def test_regions_are_recounted_and_empty_ones_dropped(ids: list[int], seed: int) -> None:
    random = np.random.default_rng(seed)
    places = random.uniform(-1, 1, (len(ids), 2)).astype(np.float32)
    regions = [
        Region(id=i, name=f"Region {i}", size=99, x=float(x), y=float(y), colour=i)
        for i, (x, y) in enumerate(random.uniform(-1, 1, (5, 2)))
    ]
    kept_place = {}
    for number in set(ids) - {-1}:
        if random.random() < 0.5:  # the name stands at a member, as after a build
            x, y = places[ids.index(number)]
            regions[number] = Region(id=number, name=f"Region {number}", size=99, x=float(x), y=float(y), colour=number)
            kept_place[number] = (float(x), float(y))
    found, renamed = recount_regions(regions, np.array(ids, dtype=np.int16), coordinates=places)
    present = sorted(set(ids) - {-1})
    assert [region.name for region in found] == [f"Region {number}" for number in present]
    assert [region.id for region in found] == list(range(len(present)))
    assert [region.size for region in found] == [ids.count(number) for number in present]
    assert renamed.dtype == np.int16
    assert renamed.tolist() == [present.index(number) if number >= 0 else -1 for number in ids]
    for region, number in zip(found, present, strict=True):
        members = {(float(x), float(y)) for (x, y), of in zip(places, ids, strict=True) if of == number}
        assert (region.x, region.y) in members
        assert kept_place.get(number, (region.x, region.y)) == (region.x, region.y)
        assert region.colour == number
