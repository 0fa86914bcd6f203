"""What is said of a map: how it was laid out, when that is due again, and why there is none."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from components.atlas.manifest import Growth, Manifest
from components.atlas.map_state import laid_out_with, map_words, no_map, rebuild_due
from components.atlas.store import AtlasParts, write_atlas

Told = Callable[..., Manifest]


@pytest.fixture
def manifest(home: object, atlas_parts: Callable[..., AtlasParts]) -> Told:
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
        (1030, {"added": 30, "far": 24}, "24 papers that were added are near to none"),  # 24 make a region of 1,000
        (15, {"added": 1}, "laid out with 14 papers, too few"),
        (14, {"added": 1}, ""),
        (14, {"added": 13}, "laid out with one paper; since then 13 added"),
        (2, {"added": 1}, ""),  # there is no map to lay out
        (2, {"removed": 100}, ""),
    ],
)
def test_laying_out_again_is_due(manifest: Told, papers: int, growth: dict[str, int], due: str) -> None:
    told = rebuild_due(manifest(papers, **growth))
    assert due in told
    assert bool(told) == bool(due)


def test_how_the_map_was_made_is_said_of_the_papers_that_it_was_made_with(manifest: Told) -> None:
    assert laid_out_with(manifest(20, added=12, removed=2)) == 10
    assert map_words(manifest(20)) == "UMAP, 2 regions named by what sets them apart"
    assert map_words(manifest(20, added=12)).startswith("two principal components")
    assert map_words(replace(manifest(100), regions=manifest(100).regions[:1])).startswith("UMAP, 1 region named")
    assert "no regions" in map_words(replace(manifest(100), regions=()))
    assert map_words(manifest(2)) == "none: too few papers"


def test_why_there_is_no_map_is_said_of_one_and_of_two_papers(manifest: Told) -> None:
    assert "has one paper, so there is no map" in no_map(manifest(1))
    assert "has 2 papers, so there is no map" in no_map(manifest(2))
    assert no_map(manifest(3)) == ""
