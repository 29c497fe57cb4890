"""What people and programs look at to learn the API: `/openapi.json`, Swagger UI at `/docs`, and `/asyncapi.json`.

Swagger UI's files come with the package (docs/adr/0006-swagger-ui.md); the page may load nothing from anywhere else.
"""

from collections.abc import Callable
from functools import cache
from pathlib import Path

import orjson
from aiohttp import web

from tespes import __version__
from tespes.api import openapi
from tespes.api.schemas import Json
from tespes.events import asyncapi

_DIRECTORY = Path(__file__).parent / "swagger"
_FILES = ("swagger-ui.css", "swagger-ui-bundle.js", "start.js")
_HEADERS = {
    # data: are the images that are in Swagger UI's own style sheet.
    "Content-Security-Policy": "default-src 'self'; img-src 'self' data:; frame-ancestors 'none'; base-uri 'none';"
    " form-action 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-cache",
}


def add_to(app: web.Application, exchange: str) -> None:
    """Add the pages. They describe the public routes that were added before, and what is published on that exchange."""
    operations = app[openapi.OPERATIONS]
    app.router.add_get("/openapi.json", _giving(lambda: openapi.document(operations, __version__)))
    app.router.add_get("/asyncapi.json", _giving(lambda: asyncapi.document(__version__, exchange)))
    app.router.add_get("/", _to_docs)
    app.router.add_get("/docs", _get_page)
    app.router.add_get("/docs/{name}", _get_file)


def _giving(document: Callable[[], Json]) -> openapi.Handler:
    """Made when it is first asked for: it takes longer than the rest of a start."""
    body = cache(lambda: orjson.dumps(document()))

    async def get_document(_: web.Request) -> web.Response:
        return web.Response(body=body(), content_type="application/json", headers={"Cache-Control": "no-cache"})

    return get_document


async def _to_docs(_: web.Request) -> web.Response:
    raise web.HTTPFound("docs")


async def _get_page(_: web.Request) -> web.FileResponse:
    return web.FileResponse(_DIRECTORY / "index.html", headers=_HEADERS)


async def _get_file(request: web.Request) -> web.FileResponse:
    name = request.match_info["name"]
    if name not in _FILES:
        raise web.HTTPNotFound
    return web.FileResponse(_DIRECTORY / name, headers=_HEADERS)
