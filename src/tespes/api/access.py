"""A line for each request, for who wants to see them all: at the level `debug`, since every runner asks every few seconds."""

import structlog
from aiohttp import web

from tespes.api import origin

_log = structlog.get_logger(__name__)


def answered(request: web.Request, status: int, took_s: float) -> None:
    """A request is answered. Of a path that leads nowhere nobody knows what is in it."""
    known = request.match_info.route.resource is not None
    by = origin.by(request)
    _log.debug(
        "answered",
        method=request.method,
        path=request.path if known else None,
        status=status,
        took_ms=round(took_s * 1000, 1),
        request_id=by.correlation,
        trace_id=by.traceparent.split("-")[1] if by.traceparent else None,
    )
