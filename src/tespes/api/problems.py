"""Errors as JSON problems (RFC 9457): one table, one middleware."""

import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import orjson
import structlog
from aiohttp import hdrs, web
from pydantic import ValidationError

from tespes import errors
from tespes.api import origin

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_NAME_CHARACTERS = 80
_NO_ENCODING = ("", "identity")
_ENCODINGS_SHOWN = 3
_STATUS: tuple[tuple[type[errors.TespesError], int, str], ...] = (
    (errors.BadRequest, 400, "The request is wrong"),
    (errors.Unauthorized, 401, "The token is missing or wrong"),
    (errors.Forbidden, 403, "Not allowed"),
    (errors.NotFound, 404, "Not found"),
    (errors.IdempotencyConflict, 409, "The same key was used for something else"),
    (errors.AttemptGone, 410, "This attempt is over"),
    (errors.TransferRefused, 422, "The storage refused the file"),
    (errors.TransferInterrupted, 502, "The transfer broke"),
    (errors.TransferPostponed, 429, "Too many transfers at a time"),
    (errors.CorruptLog, 500, "What the log says of it cannot be read"),
    (errors.UnknownEvent, 500, "This release does not know what the log says of it"),
    (errors.WriteUnconfirmed, 503, "Nobody knows whether this was done"),
    (errors.Unavailable, 503, "Something TESPES needs is away"),
)

_EXPECTED = {
    "missing": "this field",
    "json_invalid": "JSON (RFC 8259, in UTF-8)",
    "string_type": "a text",
    "string_unicode": "a text of whole characters",
    "string_pattern_mismatch": "a text of another form",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "int_parsing_size": "a smaller number",
    "float_type": "a number",
    "float_parsing": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "tuple_type": "a list",
    "list_type": "a list",
    "dict_type": "an object",
    "model_type": "an object",
    "model_attributes_type": "an object",
    "datetime_type": "a moment (RFC 3339)",
    "datetime_parsing": "a moment (RFC 3339)",
    "datetime_from_date_parsing": "a moment (RFC 3339)",
    "datetime_object_invalid": "a moment (RFC 3339)",
    "union_tag_not_found": "a report",
    "union_tag_invalid": "a report that is known",
}

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
    if encodings := _encodings(request):
        return _not_decoded(encodings)
    try:
        return await handler(request)
    except web.HTTPException as error:
        if error.status < 400:  # noqa: PLR2004 - a redirect
            raise
        return _from_http(request, error)
    except errors.TespesError as error:
        return from_error(error)
    except ConnectionResetError:
        raise
    except Exception:  # noqa: BLE001 - the rim: logged, answered without a traceback
        reference = f"{time.time_ns():x}"
        request_id = origin.by(request).correlation
        _log.exception("a request failed", method=request.method, path=request.path, reference=reference, request_id=request_id)
        return problem(500, "TESPES failed", f"the log has the details under reference {reference}")


def _encodings(request: web.Request) -> list[str]:
    """How the request's body is packed: a small one may be gigabytes, so that nothing here unpacks any."""
    named = ",".join(request.headers.getall(hdrs.CONTENT_ENCODING, ())).split(",")
    return [each.strip() for each in named if each.strip().lower() not in _NO_ENCODING]


def _not_decoded(encodings: list[str]) -> web.Response:
    """RFC 9110, 15.5.16 and 12.5.3: with what would be understood."""
    found = ", ".join(map(errors.quoted, encodings[:_ENCODINGS_SHOWN]))
    detail = f"Content-Encoding: found {found}; a body that is sent as it is, without encoding, is expected"
    answer = problem(web.HTTPUnsupportedMediaType.status_code, "The body is encoded", detail)
    answer.headers[hdrs.ACCEPT_ENCODING] = "identity"
    return answer


def _from_http(request: web.Request, error: web.HTTPException) -> web.Response:
    match error:
        case web.HTTPNotFound():
            return problem(error.status, error.reason, f"there is nothing at {request.path}")
        case web.HTTPMethodNotAllowed():
            allowed = ", ".join(sorted(error.allowed_methods))
            answer = problem(error.status, error.reason, f"found {request.method}; {allowed} is expected")
            answer.headers["Allow"] = allowed
            return answer
        case _:
            return problem(error.status, error.reason, error.text or error.reason)


def from_error(error: errors.TespesError) -> web.Response:
    """The answer to one of our errors."""
    for kind, status, title in _STATUS:
        if isinstance(error, kind):
            passing = isinstance(error, errors.TransferInterrupted | errors.TransferPostponed | errors.Unavailable)
            retryable = passing and not isinstance(error, errors.WriteUnconfirmed)
            more = {"field": error.field, "found": error.found} if isinstance(error, errors.BadRequest) else {}
            return problem(status, title, str(error), retryable=retryable, **more)
    _log.error("an error without a status code", error=str(error))
    return problem(500, "TESPES failed", str(error))


def bad_request(error: ValidationError) -> errors.BadRequest:
    """The first thing that pydantic found wrong, as one of our errors, in our words."""
    first = error.errors(include_url=False)[0]
    field = ".".join(str(part)[:_NAME_CHARACTERS] for part in first["loc"])
    found = "nothing" if first["type"] == "missing" else errors.quoted(first["input"])
    return errors.BadRequest(_without_halves(field), found, _expected(first["type"], first.get("ctx", {})))


def _expected(kind: str, context: Mapping[str, Any]) -> str:
    match kind:
        case "value_error":
            return str(context["error"])
        case "enum" | "literal_error":
            return f"{context['expected']} is expected".replace("'", "")
        case "greater_than_equal":
            return f"a number from {context['ge']} on is expected"
        case "less_than_equal":
            return f"a number up to {context['le']} is expected"
        case "string_too_long":
            return f"at most {context['max_length']:,} characters are expected"
        case _:
            return f"{_EXPECTED.get(kind, 'another value')} is expected"


def _without_halves(text: str) -> str:
    """Half a character, which JSON may have, goes into no answer."""
    return text.encode(errors="backslashreplace").decode()
