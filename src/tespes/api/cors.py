"""Cross-origin requests from browsers (Fetch standard, CORS protocol), for the origins that the settings name.

Why not aiohttp-cors: it works route by route, so that the answers that no route gives (404, 405, and what the middleware
makes of an error) carry no headers, and a page would be told "network error" in place of the reason. A signal sees all.
No credentials are ever allowed: a page sends a token in `Authorization`, which it must have, and no cookie.

A browser sends a POST of a foreign page before it asks whether the page may read the answer. Without authentication the
task would be there by then, on a TESPES that only this machine can reach, too: such a POST is refused.
"""

from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

from aiohttp import hdrs, web

from tespes import errors

INTERNAL = ("/runner/", "/transfer/", "/operator/", "/metrics")
_ANY = "*"
_METHODS = "GET, POST"
_HEADERS = "Content-Type, Authorization, Idempotency-Key, Last-Event-ID, X-Request-ID, traceparent"
_MAX_AGE_S = "600"
_HARMLESS = frozenset({hdrs.METH_GET, hdrs.METH_HEAD, hdrs.METH_OPTIONS})
_SHOWN = 200

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def protect(app: web.Application, origins: tuple[str, ...], public_url: str | None = None) -> None:
    """Let no page of another origin order anything, unless it is one of these; parameters as in `allow`.

    :param public_url: how browsers see TESPES, if a proxy does not pass the name on
    """
    own = urlsplit(public_url).netloc if public_url else None

    @web.middleware
    async def refuse_foreign_orders(request: web.Request, handler: Handler) -> web.StreamResponse:
        origin = request.headers.get(hdrs.ORIGIN)
        if origin is None or request.method in _HARMLESS or _allowed(request, origins):
            return await handler(request)
        if urlsplit(origin).netloc in {request.host, own} - {None, ""}:
            return await handler(request)
        raise errors.Forbidden(f"pages of {origin[:_SHOWN]} may not do that: http.cors_origins does not name them")

    app.middlewares.append(refuse_foreign_orders)


def allow(app: web.Application, origins: tuple[str, ...]) -> None:
    """Let pages of these origins call the public routes.

    :param origins: such as `https://portal.example.org`, or `*` for every page; none: no header is sent
    """
    if not origins:
        return

    async def mark(request: web.Request, response: web.StreamResponse) -> None:
        if request.path.startswith(INTERNAL):
            return
        if _ANY not in origins:
            response.headers.add(hdrs.VARY, hdrs.ORIGIN)
        if allowed := _allowed(request, origins):
            response.headers[hdrs.ACCESS_CONTROL_ALLOW_ORIGIN] = allowed

    @web.middleware
    async def answer_preflight(request: web.Request, handler: Handler) -> web.StreamResponse:
        asked = request.method == hdrs.METH_OPTIONS and hdrs.ACCESS_CONTROL_REQUEST_METHOD in request.headers
        is_route = isinstance(request.match_info.http_exception, web.HTTPMethodNotAllowed)
        if asked and is_route and _allowed(request, origins) and not request.path.startswith(INTERNAL):
            return web.Response(
                status=204,
                headers={
                    hdrs.ACCESS_CONTROL_ALLOW_METHODS: _METHODS,
                    hdrs.ACCESS_CONTROL_ALLOW_HEADERS: _HEADERS,
                    hdrs.ACCESS_CONTROL_MAX_AGE: _MAX_AGE_S,
                },
            )
        return await handler(request)

    app.on_response_prepare.append(mark)
    app.middlewares.insert(0, answer_preflight)


def _allowed(request: web.Request, origins: tuple[str, ...]) -> str | None:
    """The value of Access-Control-Allow-Origin for whoever asks."""
    origin = request.headers.get(hdrs.ORIGIN)
    if origin is None:
        return None
    if _ANY in origins:
        return _ANY
    return origin if origin in origins else None
