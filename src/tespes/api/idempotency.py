"""The header `Idempotency-Key` (draft-ietf-httpapi-idempotency-key-header): who posts a task twice gets it once.

The task's id follows from owner and key, so that the log itself refuses a second one: after a restart, from another
process, and as long as the task exists. What was asked for is compared by its digest, which is in `TaskCreated`.
"""

import hashlib
import re
import uuid
from dataclasses import dataclass

import rfc8785
from aiohttp import web

from tespes import errors
from tespes.api.body import read_object
from tespes.events import canonical

HEADER = "Idempotency-Key"
PATTERN = "^[!-~]{1,255}$"
_NAMESPACE = uuid.UUID("8d0b9a3e-6c0f-5b8e-9a57-4f0f3c8f1d21")  # of TESPES's idempotency keys, for ever
_SHOWN = 80


@dataclass(frozen=True, slots=True)
class Once:
    """A request that is served once, however often it is sent.

    :param commit_id: of the commit that serves it; :param request_sha256: of what it asks for
    """

    commit_id: str
    request_sha256: str


def once(request: web.Request, body: bytes, owner: str) -> Once | None:
    """What the request's key means; None if it has none.

    :raises errors.BadRequest: the key is none, or the body cannot be compared
    """
    keys = request.headers.getall(HEADER, ())
    if not keys:
        return None
    if len(keys) > 1 or not re.fullmatch(PATTERN, keys[0]):
        found = f"{len(keys)} of them" if len(keys) > 1 else errors.quoted(keys[0])
        raise errors.BadRequest(HEADER, found, "one key of 1 to 255 visible ASCII characters is expected")
    return Once(commit_id(owner, keys[0]), digest(body))


def commit_id(owner: str, key: str) -> str:
    """The same for the same owner and key, and for no other two."""
    return str(uuid.uuid5(_NAMESPACE, canonical.dumps([owner, key]).decode()))


def digest(body: bytes) -> str:
    """The SHA-256 of the request's canonical JSON (RFC 8785): spaces, the order of keys and nulls make no difference.

    :raises errors.BadRequest: it has a number that canonical JSON has no form for
    """
    try:
        return hashlib.sha256(canonical.dumps(read_object(body))).hexdigest()
    except rfc8785.CanonicalizationError as error:
        expected = f"with {HEADER}, numbers that a double holds exactly are expected"
        raise errors.BadRequest("", str(error)[:_SHOWN], expected) from error
