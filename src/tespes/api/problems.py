"""Errors as JSON problems (RFC 9457): one table, one middleware."""

import time
from collections.abc import Awaitable, Callable
from typing import Any

import orjson
import structlog
from aiohttp import web
from pydantic import ValidationError

from tespes import errors

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_FOUND_CHARACTERS = 80
_STATUS: tuple[tuple[type[errors.TespesError], int, str], ...] = (
    (errors.BadRequest, 400, "The request is wrong"),
    (errors.Unauthorized, 401, "The token is missing or wrong"),
    (errors.NotFound, 404, "Not found"),
    (errors.IdempotencyConflict, 409, "The same key was used for something else"),
    (errors.AttemptGone, 410, "This attempt is over"),
    (errors.TransferRefused, 422, "The storage refused the file"),
    (errors.TransferInterrupted, 502, "The transfer broke"),
    (errors.Unavailable, 503, "Something TESPES needs is away"),
)

_log = structlog.get_logger(__name__)


def json(value: Any, status: int = 200) -> web.Response:
    """A JSON answer."""
    return web.Response(body=orjson.dumps(value), status=status, content_type="application/json")


def problem(status: int, title: str, detail: str, **more: Any) -> web.Response:
    """A JSON problem; `retryable` says whether the same request may do better later."""
    body = {"type": "about:blank", "title": title, "status": status, "detail": detail, **more}
    return web.Response(body=orjson.dumps(body), status=status, content_type="application/problem+json")


@web.middleware
async def answer_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Whatever a handler raises becomes an answer that says what is wrong; never a traceback."""
    try:
        return await handler(request)
    except web.HTTPException as error:
        if error.status < 400:  # noqa: PLR2004 - a redirect
            raise
        return problem(error.status, error.reason, error.text or error.reason)
    except errors.TespesError as error:
        return from_error(error)
    except ConnectionResetError:
        raise
    except Exception:  # noqa: BLE001 - the rim: logged, answered without a traceback
        reference = f"{time.time_ns():x}"
        _log.exception("a request failed", path=request.path, reference=reference)
        return problem(500, "TESPES failed", f"the log has the details under reference {reference}")


def from_error(error: errors.TespesError) -> web.Response:
    """The answer to one of our errors."""
    for kind, status, title in _STATUS:
        if isinstance(error, kind):
            retryable = isinstance(error, errors.TransferInterrupted | errors.Unavailable)
            more = {"field": error.field, "found": error.found} if isinstance(error, errors.BadRequest) else {}
            return problem(status, title, str(error), retryable=retryable, **more)
    _log.error("an error without a status code", error=str(error))
    return problem(500, "TESPES failed", str(error))


def bad_request(error: ValidationError) -> errors.BadRequest:
    """The first thing that pydantic found wrong, as one of our errors."""
    first = error.errors(include_url=False, include_context=False)[0]
    field = ".".join(str(part) for part in first["loc"])
    found = "nothing" if first["type"] == "missing" else _cut(first["input"])
    allowed = first["msg"].removeprefix("Value error, ")
    return errors.BadRequest(field, found, allowed[:1].lower() + allowed[1:])


def _cut(value: Any) -> str:
    text = value.decode(errors="replace") if isinstance(value, bytes) else repr(value)
    return text if len(text) <= _FOUND_CHARACTERS else f"{text[:_FOUND_CHARACTERS]}…"
