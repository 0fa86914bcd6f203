"""The map and the downloads of an atlas as bytes, and the addresses below which `components.api` serves them.

An address names an atlas and its build, so an answer never changes and may be cached for good.
"""

import importlib.metadata
from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
from numpy.typing import NDArray

from components.atlas.archive import archive_pieces
from components.atlas.facets import NO_YEAR
from components.atlas.store import Atlas
from components.atlas.vectors_export import VECTOR_EXPORTS, vector_pieces
from components.mapping.projection import quantise
from corpus.export import EXPORTS, export_pieces
from corpus.paper import papers_in

PREFIX = "/cocite"
ARCHIVE = "archive.zip"
NO_CODE = 255  # the code of a point without region colour, year or topic
MAX_TITLES = 50  # in one request; a pointer rests on one at a time
PLOTLY_PATH = f"{PREFIX}/plotly-{importlib.metadata.version('plotly')}.js"  # the installed plotly's own script


def atlas_path(atlas: Atlas, file: str = "") -> str:
    """The address of an atlas, or of one of its downloads (a key of DOWNLOADS), below the app's own address."""
    return f"{PREFIX}/{atlas.name}/{atlas.build}" + (f"/{file}" if file else "")


def map_scale(atlas: Atlas) -> float:
    """The factor from the integer steps of `points_payload` to map coordinates."""
    return quantise(atlas.coordinates)[1]


def year_ramp(atlas: Atlas) -> tuple[int, int] | None:
    """The first and last year that the map's colours tell apart; older papers share the colour of the first."""
    span = atlas.facets.year_span
    return None if span is None else (max(span[0], span[1] - NO_CODE + 1), span[1])


def points_payload(atlas: Atlas) -> bytes:
    """Every point of the map, 6 bytes each.

    Arrays one after the other, little-endian: int16 x (n), int16 y (n), uint8 colour of the region (n), uint8 years
    since the first of `year_ramp` (n); NO_CODE where there is none.
    """
    steps, _ = quantise(atlas.coordinates)
    colours = np.array([region.colour for region in atlas.manifest.regions] + [NO_CODE], dtype=np.uint8)
    years = np.full(len(atlas), NO_CODE, dtype=np.uint8)
    if span := year_ramp(atlas):
        known = atlas.facets.years != NO_YEAR
        years[known] = np.maximum(atlas.facets.years[known].astype(np.int32) - span[0], 0)
    coordinates = steps.astype("<i2").T.tobytes()  # all x, then all y
    return coordinates + colours[atlas.region_ids].tobytes() + years.tobytes()


def mask_payload(atlas: Atlas, allowed: NDArray[np.bool_] | None) -> bytes:
    """One bit per paper, the lowest bit of a byte first; `None` allows all."""
    return np.packbits(np.ones(len(atlas), np.bool_) if allowed is None else allowed, bitorder="little").tobytes()


def topic_codes(atlas: Atlas, topics: list[str]) -> NDArray[np.uint8]:
    """uint8 (n,): for each paper the place in `topics` of the first that it has, NO_CODE where it has none.

    At most NO_CODE topics; further ones are ignored.
    """
    codes = np.full(len(atlas), NO_CODE, dtype=np.uint8)
    for code, topic in reversed(list(enumerate(topics[:NO_CODE]))):
        codes[atlas.facets.rows_with_topic(topic)] = code
    return codes


def title_cards(atlas: Atlas, rows: str) -> list[dict[str, object]]:
    """What a tooltip shows of some papers. rows: comma-separated, as a browser sent them; bad ones are ignored."""
    cards: list[dict[str, object]] = []
    for text in rows.split(",")[:MAX_TITLES]:
        if text.isascii() and text.isdigit() and len(text) < 10 and (row := int(text)) < len(atlas):
            paper, region = atlas.paper(row), atlas.region_of(row)
            cards.append(
                {
                    "row": row,
                    "title": paper.title,
                    "venue": paper.venue,
                    "year": paper.year,
                    "region": region.name if region else None,
                }
            )
    return cards


def _paper_pieces(atlas: Atlas, format: str) -> Iterator[bytes]:
    return export_pieces(papers_in(atlas.papers), format)


# File name → its media type, and the function that streams it.
DOWNLOADS: dict[str, tuple[str, Callable[[Atlas], Iterator[bytes]]]] = {
    **{
        f"papers.{export.ending}": (export.media_type, partial(_paper_pieces, format=name))
        for name, export in EXPORTS.items()
    },
    **{
        export.ending: ("application/octet-stream", partial(vector_pieces, format=name))
        for name, export in VECTOR_EXPORTS.items()
    },
    ARCHIVE: ("application/zip", archive_pieces),
}
