"""Read-only HTTP routes: the points, masks and titles that the map asks for, and whole atlases as files."""

import importlib.resources
from collections.abc import Callable, Iterator
from urllib.parse import parse_qs

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from components.atlas.store import Atlas
from components.search.map_data import (
    DOWNLOADS,
    PLOTLY_PATH,
    PREFIX,
    mask_payload,
    points_payload,
    title_cards,
    topic_codes,
)
from components.search.view import View
from corpus.errors import CociteAtlasError

_CACHED = {"Cache-Control": "private, max-age=31536000, immutable"}
_SAFE = {"X-Content-Type-Options": "nosniff"}


def map_routes(open_atlas: Callable[[str], Atlas]) -> list[Route]:
    """The routes. open_atlas: gives the open atlas of a name, and keeps it open."""

    def route(path: str, answer: Callable[[Atlas, Request], Response]) -> Route:
        def answer_or_error(request: Request) -> Response:
            try:
                atlas = open_atlas(request.path_params["atlas"])
                if atlas.build != request.path_params["build"]:
                    return PlainTextResponse("This atlas has been built again. Reload the page.", 410, headers=_SAFE)
                return answer(atlas, request)
            except CociteAtlasError as error:
                return PlainTextResponse(str(error), 404, headers=_SAFE)

        async def endpoint(request: Request) -> Response:
            return await run_in_threadpool(answer_or_error, request)

        return Route(f"{PREFIX}/{{atlas}}/{{build}}/{path}", endpoint)

    return [
        Route(PLOTLY_PATH, _plotly_script),
        route("points", lambda atlas, _: _bytes(points_payload(atlas))),
        route("mask", _mask),
        route("topics", lambda atlas, request: _bytes(topic_codes(atlas, _topics(request)).tobytes())),
        route("papers", _titles),
        *(route(file, _download(file, *download)) for file, download in DOWNLOADS.items()),
    ]


def _mask(atlas: Atlas, request: Request) -> Response:
    return _bytes(mask_payload(atlas, atlas.facets.mask(View.from_params(parse_qs(request.url.query)).filters)))


def _topics(request: Request) -> list[str]:
    return request.query_params.getlist("topic")


def _titles(atlas: Atlas, request: Request) -> Response:
    return JSONResponse(title_cards(atlas, request.query_params.get("rows", "")), headers=_SAFE | _CACHED)


def _download(
    file: str, media_type: str, pieces: Callable[[Atlas], Iterator[bytes]]
) -> Callable[[Atlas, Request], Response]:
    def answer(atlas: Atlas, _: Request) -> Response:
        # Names of atlases need no quoting: letters, digits, ".", "_" and "-".
        headers = {
            "Content-Disposition": f'attachment; filename="{atlas.name}.{file.removeprefix("papers.")}"',
            "Cache-Control": "no-store",
        }
        return StreamingResponse(pieces(atlas), media_type=media_type, headers=_SAFE | headers)

    return answer


async def _plotly_script(_: Request) -> Response:
    path = importlib.resources.files("plotly") / "package_data" / "plotly.min.js"
    return FileResponse(str(path), media_type="text/javascript", headers=_SAFE | _CACHED)


def _bytes(content: bytes) -> Response:
    return Response(content, media_type="application/octet-stream", headers=_SAFE | _CACHED)
