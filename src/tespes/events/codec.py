"""Event <-> the exact bytes that are stored and hashed."""

from dataclasses import dataclass
from typing import Any, get_args

import orjson
from pydantic import TypeAdapter, ValidationError

from tespes import errors
from tespes.events import canonical, upcast
from tespes.events.types import Event

VERSIONS: dict[str, int] = {kind.__name__: 1 for kind in get_args(Event)} | {"LateMessageRecorded": 2}
_ADAPTERS: dict[str, TypeAdapter[Event]] = {kind.__name__: TypeAdapter(kind) for kind in get_args(Event)}


@dataclass(frozen=True, slots=True)
class Encoded:
    """An event as it is stored.

    :param type: the event's name; :param v: the version of its data
    :param data: canonical JSON (RFC 8785)
    :param sha256: of the data that were hashed, if these are what a redaction left of them; hexadecimal
    """

    type: str
    v: int
    data: str
    sha256: str | None = None


def encode(event: Event) -> Encoded:
    """The event in its newest version."""
    name = type(event).__name__
    values = _ADAPTERS[name].dump_python(event, mode="json", exclude_none=True)
    return Encoded(name, VERSIONS[name], canonical.dumps(values).decode())


def is_known(encoded: Encoded) -> bool:
    """Whether this release knows the type, and the version is not newer than it."""
    return 1 <= encoded.v <= VERSIONS.get(encoded.type, 0)


def decode(encoded: Encoded) -> Event:
    """The event, lifted to its newest version.

    :raises errors.UnknownEvent: this release does not know the type, or the version is newer than this release
    :raises errors.CorruptLog: the data do not have the shape that their type and version promise
    """
    if not is_known(encoded):
        raise errors.UnknownEvent(f"{encoded.type} version {encoded.v} is not known to this release")
    adapter, known = _ADAPTERS[encoded.type], VERSIONS[encoded.type]
    try:
        if encoded.v == known:
            return adapter.validate_json(encoded.data)
        lifted = upcast.lift(encoded.type, encoded.v, orjson.loads(encoded.data), to=known)
        return adapter.validate_python(lifted)
    except (ValueError, LookupError, TypeError) as error:  # also what an upcaster stumbles over
        raise errors.CorruptLog(f"{encoded.type} version {encoded.v} does not decode: {_words(error)}") from None


def _words(error: Exception) -> str:
    """Where, and what is expected there. pydantic's own text quotes what it found: variables of users, perhaps."""
    if not isinstance(error, ValidationError):
        return repr(error)
    first = error.errors(include_input=False, include_url=False)[0]
    return ": ".join(filter(None, (".".join(map(str, first["loc"])), first["msg"])))


def schema(name: str) -> dict[str, Any]:
    """The JSON Schema (2020-12) of the newest version of an event's data."""
    return _ADAPTERS[name].json_schema(mode="serialization")
