"""The map's bytes, decoded by hand and compared with the atlas."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from components.atlas.store import Atlas, open_atlas
from components.mapping.regions import Region
from components.search.map_data import NO_CODE, map_scale, points_payload, topic_codes
from corpus.paper import to_table


@pytest.fixture
def atlas(topics: str) -> Atlas:
    return open_atlas(topics)


def decode(payload: bytes, n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Steps (n, 2), colours (n,) and years (n,) of a points payload, as its docstring lays it out."""
    assert len(payload) == 6 * n
    steps = np.frombuffer(payload, "<i2", count=2 * n).reshape(2, n).T
    return steps, np.frombuffer(payload, "u1", n, 4 * n), np.frombuffer(payload, "u1", n, 5 * n)


def with_regions_and_years(atlas: Atlas, years: list[int | None], region_ids: list[int]) -> Atlas:
    """The atlas with other years and with three regions in the colours 4, 0 and 7."""
    papers = [replace(atlas.paper(row), year=year) for row, year in enumerate(years)]
    regions = tuple(
        Region(id=i, name=f"r{i}", size=3, x=0.0, y=0.0, terms=(), colour=colour) for i, colour in enumerate((4, 0, 7))
    )
    return Atlas(
        replace(atlas.manifest, regions=regions),
        papers=to_table(papers),
        vectors=atlas.vectors,
        coordinates=atlas.coordinates,
        region_ids=np.array(region_ids, dtype=np.int16),
        pair_distances=atlas.pair_distances,
        index=atlas.index,
    )


def test_points_are_where_the_papers_are(atlas: Atlas) -> None:
    steps, colours, years = decode(points_payload(atlas), len(atlas))
    scale = map_scale(atlas)
    assert np.abs(steps * scale - atlas.coordinates).max() <= scale / 2 + 1e-7
    assert np.ptp(atlas.coordinates, axis=0).max() > 100 * scale  # the planted map is no single point
    assert (colours == NO_CODE).all()  # twelve papers make no region
    for row in range(len(atlas)):
        year = atlas.paper(row).year
        assert years[row] == (NO_CODE if year is None else year - 2001)


def test_points_have_the_colour_of_their_region(atlas: Atlas) -> None:
    ids = [0, 1, 2, -1, 1, 1, 0, -1, 2, 2, 0, 1]
    _, colours, years = decode(points_payload(with_regions_and_years(atlas, [2000] * 12, ids)), 12)
    assert colours.tolist() == [(4, 0, 7, NO_CODE)[i] for i in ids]  # id −1 is the last
    assert years.tolist() == [0] * 12


def test_centuries_of_years_keep_the_newest_apart(atlas: Atlas) -> None:
    years = [1665, 1700, 1800, None, 1900, 1950, 1999, 2000, 2019, 2020, 1766, 1767]
    _, _, codes = decode(points_payload(with_regions_and_years(atlas, years, [-1] * 12)), 12)
    assert codes.tolist() == [NO_CODE if year is None else max(0, year - 1766) for year in years]
    _, _, codes = decode(points_payload(with_regions_and_years(atlas, [None] * 12, [-1] * 12)), 12)
    assert (codes == NO_CODE).all()


def test_more_topics_than_codes_are_ignored(atlas: Atlas) -> None:
    assert set(topic_codes(atlas, [*(f"unknown {i}" for i in range(NO_CODE)), "heart"])) == {NO_CODE}


def test_the_default_atlas_is_encoded_whole(medline_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COCITE_ATLAS_HOME", str(medline_home))
    atlas = open_atlas("medline")
    steps, colours, years = decode(points_payload(atlas), len(atlas))
    assert np.abs(steps * map_scale(atlas) - atlas.coordinates).max() <= map_scale(atlas) / 2 + 1e-6
    for row in range(0, len(atlas), 97):
        region, year = atlas.region_of(row), atlas.paper(row).year
        assert colours[row] == (NO_CODE if region is None else region.colour)
        assert years[row] == (NO_CODE if year is None else year - atlas.facets.year_span[0])
