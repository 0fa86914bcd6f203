"""Read-only HTTP routes: the map's points, masks and titles, as the browser asks for them, and whole atlases as files.

An address names an atlas and the build that the page has open, so an answer never changes and may be kept for good.
"""

import importlib.metadata
import importlib.resources
from collections.abc import Callable, Iterator
from urllib.parse import parse_qs

import numpy as np
from numpy.typing import NDArray
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from components.atlas.archive import archive_pieces
from components.atlas.facets import NO_YEAR
from components.atlas.store import Atlas
from components.atlas.vectors_export import VECTOR_EXPORTS, vector_pieces
from components.mapping.projection import quantise
from components.search.view import View
from corpus.errors import CociteAtlasError
from corpus.export import EXPORTS, export_pieces
from corpus.paper import papers_in

PREFIX = "/cocite"
NO_CODE = 255  # of a point without region colour, year or topic
MOST_TITLES = 50  # a question; a pointer rests on one at a time
_FOR_GOOD = {"Cache-Control": "private, max-age=31536000, immutable"}
_SAFE = {"X-Content-Type-Options": "nosniff"}
_BINARY = "application/octet-stream"
ARCHIVE = "archive.zip"


def plotly_path() -> str:
    """Where the installed plotly's own script is served; its version is in the name."""
    return f"{PREFIX}/plotly-{importlib.metadata.version('plotly')}.js"


def download_path(atlas: Atlas, file: str) -> str:
    """Where a file of an atlas is downloaded from, below the app's own address.

    file: `papers.` and the ending of one of EXPORTS, the ending of one of VECTOR_EXPORTS, or ARCHIVE.
    """
    return f"{PREFIX}/{atlas.name}/{atlas.build}/{file}"


def map_scale(atlas: Atlas) -> float:
    """What turns the whole steps of `points_payload` back into map coordinates."""
    return quantise(atlas.coordinates)[1]


def year_ramp(atlas: Atlas) -> tuple[int, int] | None:
    """The first and last year that the map's colours tell apart; older papers share the colour of the first."""
    span = atlas.facets.year_span
    return None if span is None else (max(span[0], span[1] - NO_CODE + 1), span[1])


def points_payload(atlas: Atlas) -> bytes:
    """Every point of the map in 6 bytes.

    Laid out as arrays one after the other: int16 x (n), int16 y (n), uint8 colour of the region (n), uint8 years
    since the first of `year_ramp` (n); little-endian; NO_CODE where there is none.
    """
    steps, _ = quantise(atlas.coordinates)
    colours = np.array([region.colour for region in atlas.manifest.regions] + [NO_CODE], dtype=np.uint8)
    years = np.full(len(atlas), NO_CODE, dtype=np.uint8)
    if span := year_ramp(atlas):
        known = atlas.facets.years != NO_YEAR
        years[known] = np.maximum(atlas.facets.years[known].astype(np.int32) - span[0], 0)
    little = steps.astype("<i2")
    parts = (little[:, 0].tobytes(), little[:, 1].tobytes(), colours[atlas.region_ids].tobytes(), years.tobytes())
    return b"".join(parts)


def topic_codes(atlas: Atlas, topics: list[str]) -> NDArray[np.uint8]:
    """uint8 (n,): for each paper the place in `topics` of the first that it has, NO_CODE where it has none."""
    codes = np.full(len(atlas), NO_CODE, dtype=np.uint8)
    for code in reversed(range(len(topics))):
        codes[atlas.facets.rows_with_topic(topics[code])] = code
    return codes


def _downloads() -> dict[str, tuple[str, Callable[[Atlas], Iterator[bytes]]]]:
    """By the name of the file: its media type, and what gives its pieces."""

    def papers(name: str) -> Callable[[Atlas], Iterator[bytes]]:
        return lambda atlas: export_pieces(papers_in(atlas.papers), name)

    def vectors(name: str) -> Callable[[Atlas], Iterator[bytes]]:
        return lambda atlas: vector_pieces(atlas, name)

    found = {f"papers.{export.ending}": (export.media_type, papers(name)) for name, export in EXPORTS.items()}
    found |= {export.ending: (_BINARY, vectors(name)) for name, export in VECTOR_EXPORTS.items()}
    return found | {ARCHIVE: ("application/zip", archive_pieces)}


def map_routes(open_atlas: Callable[[str], Atlas]) -> list[Route]:
    """The routes, over a function that gives the open atlas of a name (and keeps it open)."""

    def answering(answer: Callable[[Atlas, Request], Response]) -> Callable[[Request], object]:
        def answered(request: Request) -> Response:
            try:
                atlas = open_atlas(request.path_params["atlas"])
            except CociteAtlasError as error:
                return PlainTextResponse(str(error), status_code=404, headers=_SAFE)
            if atlas.build != request.path_params["build"]:
                return PlainTextResponse("This atlas has been built again. Reload the page.", 410, headers=_SAFE)
            try:
                return answer(atlas, request)
            except CociteAtlasError as error:
                return PlainTextResponse(str(error), status_code=404, headers=_SAFE)

        async def endpoint(request: Request) -> Response:
            return await run_in_threadpool(answered, request)

        return endpoint

    def points(atlas: Atlas, _request: Request) -> Response:
        return _bytes(points_payload(atlas))

    def mask(atlas: Atlas, request: Request) -> Response:
        allowed = atlas.facets.mask(View.from_params(parse_qs(request.url.query)).filters)
        bits = np.ones(len(atlas), dtype=np.bool_) if allowed is None else allowed
        return _bytes(np.packbits(bits, bitorder="little").tobytes())

    def topics(atlas: Atlas, request: Request) -> Response:
        return _bytes(topic_codes(atlas, request.query_params.getlist("topic")[:NO_CODE]).tobytes())

    def papers(atlas: Atlas, request: Request) -> Response:
        asked = request.query_params.get("rows", "").split(",")[:MOST_TITLES]
        rows = [int(row) for row in asked if row.isascii() and row.isdigit() and len(row) < 10]
        cards = []
        for row in rows:
            if row < len(atlas):
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
        return JSONResponse(cards, headers=_SAFE | _FOR_GOOD)

    def download(file: str, media_type: str, pieces: Callable[[Atlas], Iterator[bytes]]) -> Callable[[Request], object]:
        def answer(atlas: Atlas, _request: Request) -> Response:
            # Names of atlases need no quoting: letters, digits, ".", "_" and "-".
            told = {
                "Content-Disposition": f'attachment; filename="{atlas.name}.{file.removeprefix("papers.")}"',
                "Cache-Control": "no-store",
            }
            return StreamingResponse(pieces(atlas), media_type=media_type, headers=_SAFE | told)

        return answering(answer)

    async def plotly_script(_request: Request) -> Response:
        path = importlib.resources.files("plotly") / "package_data" / "plotly.min.js"
        return FileResponse(str(path), media_type="text/javascript", headers=_SAFE | _FOR_GOOD)

    place = f"{PREFIX}/{{atlas}}/{{build}}"
    return [
        Route(plotly_path(), plotly_script),
        Route(f"{place}/points", answering(points)),
        Route(f"{place}/mask", answering(mask)),
        Route(f"{place}/topics", answering(topics)),
        Route(f"{place}/papers", answering(papers)),
        *(Route(f"{place}/{file}", download(file, *how)) for file, how in _downloads().items()),
    ]


def _bytes(content: bytes) -> Response:
    return Response(content, media_type=_BINARY, headers=_SAFE | _FOR_GOOD)
