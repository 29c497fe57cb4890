"""What people and programs look at to learn the API: `/openapi.json`, and Swagger UI at `/docs`.

Swagger UI's files come with the package (docs/adr/0006-swagger-ui.md); the page may load nothing from anywhere else.
"""

from pathlib import Path

import orjson
from aiohttp import web

from tespes import __version__
from tespes.api import openapi

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


def add_to(app: web.Application) -> None:
    """Add the pages. They describe the public routes that were added before."""
    operations = app[openapi.OPERATIONS]
    document = orjson.dumps(openapi.document(operations, __version__))

    async def get_document(_: web.Request) -> web.Response:
        return web.Response(body=document, content_type="application/json", headers={"Cache-Control": "no-cache"})

    app.router.add_get("/openapi.json", get_document)
    app.router.add_get("/", _to_docs)
    app.router.add_get("/docs", _get_page)
    app.router.add_get("/docs/{name}", _get_file)


async def _to_docs(_: web.Request) -> web.Response:
    raise web.HTTPFound("docs")


async def _get_page(_: web.Request) -> web.FileResponse:
    return web.FileResponse(_DIRECTORY / "index.html", headers=_HEADERS)


async def _get_file(request: web.Request) -> web.FileResponse:
    name = request.match_info["name"]
    if name not in _FILES:
        raise web.HTTPNotFound
    return web.FileResponse(_DIRECTORY / name, headers=_HEADERS)
