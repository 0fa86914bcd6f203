"""Thumbnails: dots where the papers are, in their regions' colours; nothing where the files are not as they were."""

import re
from dataclasses import replace
from xml.etree import ElementTree

import numpy as np
import pytest

from components.atlas import paths, store
from components.atlas.store import AtlasParts, read_manifest, write_atlas
from components.atlas.thumbnail import MAX_POINTS, thumbnail
from components.mapping.palette import DARK, LIGHT


def dots(svg: str) -> list[tuple[str, float, float]]:
    """Colour, x and y of every dot of a drawing."""
    found = []
    for path in ElementTree.fromstring(svg).iter("{http://www.w3.org/2000/svg}path"):
        for x, y in re.findall(r"M(\S+) (\S+?)h0", path.attrib["d"]):
            found.append((path.attrib["stroke"], float(x), float(y)))
    return found


def test_every_paper_is_a_dot_in_its_regions_colour_and_place(written: AtlasParts) -> None:
    manifest = read_manifest("one")
    for palette in (LIGHT, DARK):
        drawn = dots(thumbnail(manifest, palette=palette))
        assert len(drawn) == 60
        wanted = [palette.unlabelled if r < 0 else palette.regions[r] for r in written.region_ids]
        assert sorted(colour for colour, _, _ in drawn) == sorted(wanted)
        x, y = np.array([(x, y) for _, x, y in drawn]).T
        assert x.min() >= 0 and x.max() <= 240 and y.min() >= 0 and y.max() <= 150
        # The uppermost paper of the map is the uppermost dot.
        top = int(written.coordinates[:, 1].argmax())
        assert drawn[int(y.argmin())][0] == wanted[top]


def test_a_large_map_is_sampled_and_odd_ones_are_drawn(written: AtlasParts) -> None:
    n = 3 * MAX_POINTS
    many = replace(
        written,
        papers=written.papers.take([0] * n),
        vectors=np.zeros((n, 8), np.float32),
        coordinates=np.random.default_rng(1).normal(size=(n, 2)).astype(np.float32),
        region_ids=np.zeros(n, np.int16),
        graph=None,
        index=replace(written.index, ef_search=0),
    )
    drawn = thumbnail(write_atlas(many), palette=LIGHT)
    assert len(dots(drawn)) == MAX_POINTS
    assert len(drawn) < 40_000
    for coordinates in ([[3.0, -2.0]], [[0.0, 1.0], [0.0, 5.0]], [[1.0, 1.0], [1.0, 1.0]]):
        few = len(coordinates)
        parts = replace(
            many,
            papers=many.papers.slice(0, few),
            vectors=many.vectors[:few],
            coordinates=np.array(coordinates, np.float32),
            region_ids=np.full(few, -1, np.int16),
        )
        drawn_few = dots(thumbnail(write_atlas(parts), palette=LIGHT))
        assert len(drawn_few) == few
        assert all(0 <= x <= 240 and 0 <= y <= 150 for _, x, y in drawn_few)


@pytest.mark.parametrize("file", [store.COORDINATES, store.REGIONS])
def test_files_that_are_not_as_they_were_give_no_drawing(written: AtlasParts, file: str) -> None:
    manifest = read_manifest("one")
    path = paths.atlas_folder("one") / manifest.folder / file
    for damage in (
        lambda: path.write_bytes(b"\x93NUMPY damaged"),
        lambda: np.save(path, np.array([{"a": 1}], dtype=object), allow_pickle=True),
        lambda: np.save(path, np.zeros((60, 3))),
        lambda: np.save(path, np.full((60, 2), np.nan, np.float32)),
        lambda: np.save(path, np.full(60, 99, np.int16)),
        path.unlink,
    ):
        damage()
        assert thumbnail(manifest, palette=LIGHT) == ""


def test_no_text_is_in_it(written: AtlasParts) -> None:
    hostile = tuple(replace(region, name="</svg><script>x</script>") for region in written.regions)
    drawn = thumbnail(write_atlas(replace(written, regions=hostile, title="<script>")), palette=LIGHT)
    assert "script" not in drawn
