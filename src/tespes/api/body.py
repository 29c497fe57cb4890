"""The JSON object in a request's body, read as clients write it: explicit nulls count as absent."""

import codecs
import json
from typing import Any

import orjson

from tespes import errors
from tespes.errors import quoted

_EXPECTED = "a JSON object (RFC 8259, in UTF-8) is expected"
_ONCE = "each key is expected once"
_EXCERPT_CHARACTERS = 20
_NAME_CHARACTERS = 80
_LOOKED_THROUGH_BYTES = 128 * 1024  # for the name of a key that comes twice: milliseconds, not seconds
_LISTS_OF_NAMES = ("volumes", "zones")  # a null among them names nothing; among arguments or files it would shift the others


def read_object(body: bytes) -> dict[str, Any]:
    """The object, without the fields that are null.

    :raises errors.BadRequest: there is none, or it has a key twice
    """
    body = body.removeprefix(codecs.BOM_UTF8)
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise _no_json(body, error) from error
    if not isinstance(value, dict):
        raise errors.BadRequest("", quoted(value), _EXPECTED)
    try:
        written = orjson.dumps(value)
    except TypeError as error:
        raise errors.BadRequest("", "objects or lists inside more than 250 others", "less depth is expected") from error
    # A key that comes twice is read once, so that its quotes are missing when the value is written again.
    if written.count(b'"') != _quotes(body):
        raise _key_that_comes_twice(body)
    return _without_nulls(value) if b"null" in body else value


def refuse_nul(value: Any, field: str = "") -> None:
    """NUL can be in no path, argument or variable.

    :raises errors.BadRequest: there is one, and where
    """
    if isinstance(value, str) and "\0" in value:
        raise errors.BadRequest(field, f"a NUL character in {quoted(value)}", "text without NUL is expected")
    if isinstance(value, dict):
        for name, entry in value.items():
            refuse_nul(name, field)
            refuse_nul(entry, f"{field}.{name[:_NAME_CHARACTERS]}".lstrip("."))
    if isinstance(value, list):
        for index, entry in enumerate(value):
            refuse_nul(entry, f"{field}.{index}".lstrip("."))


def _without_nulls(value: Any, field: str = "") -> Any:
    if isinstance(value, dict):
        return {name: _without_nulls(entry, name) for name, entry in value.items() if entry is not None}
    if isinstance(value, list):
        return [_without_nulls(entry) for entry in value if entry is not None or field not in _LISTS_OF_NAMES]
    return value


def _quotes(body: bytes) -> int:
    """How many quotes are in it, however they are written."""
    count = body.count(b'"')
    if rb"\u0022" in body:
        count += body.replace(rb"\\", b"").count(rb"\u0022")  # a backslash that is escaped itself escapes nothing
    return count


def _key_that_comes_twice(body: bytes) -> errors.BadRequest:
    """There is one; in a body that is not too long it is named."""

    def checked(pairs: list[tuple[str, Any]]) -> None:
        seen = set()
        for name, _ in pairs:
            if name in seen:
                raise errors.BadRequest("", f"the key {quoted(name)} twice in one object", _ONCE)
            seen.add(name)

    if len(body) <= _LOOKED_THROUGH_BYTES:
        try:
            json.loads(body, object_pairs_hook=checked, parse_int=float)
        except errors.BadRequest as named:
            return named
    return errors.BadRequest("", "a key twice in one object", _ONCE)


def _no_json(body: bytes, error: orjson.JSONDecodeError) -> errors.BadRequest:
    """What is the matter with a body that cannot be read."""
    if not body.strip():
        return errors.BadRequest("", "nothing", _EXPECTED)
    try:
        text = body.decode()
    except UnicodeDecodeError as reason:
        return errors.BadRequest("", f"what is not UTF-8 from byte {reason.start + 1:,} on", _EXPECTED)
    place = f"line {error.lineno}, column {error.colno}"
    if "surrogate" in error.msg:
        return errors.BadRequest("", f"half of a character (a lone surrogate) at {place}", "whole characters are expected")
    if "depth" in error.msg:
        return errors.BadRequest("", "objects or lists inside more than 250 others", "less depth is expected")
    excerpt = text[error.pos : error.pos + _EXCERPT_CHARACTERS]
    return errors.BadRequest("", f"what is not JSON at {place}, before {quoted(excerpt) if excerpt else 'its end'}", _EXPECTED)
