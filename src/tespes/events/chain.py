"""The hash chain: every commit carries the digest of the one before it in the log, so nothing changes unseen.

    data digest  = SHA-256 of an event's canonical data; it stays what it was if they are redacted
    data_hash    = SHA-256 of the canonical JSON of [stream, [[type, v, data digest], ...]]
    hash         = SHA-256 of prev_hash, newline, the canonical header, newline, data_hash

The header holds id, stream, version, position and meta. Data are in the chain only as digests: data may one day be
redacted and the chain still verifies.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

import orjson

from tespes.events.codec import Encoded
from tespes.events.record import Commit, Entry

BEGINNING = "0" * 64


@dataclass(frozen=True, slots=True)
class Head:
    """The end of a log: the position and hash of its last commit; position 0 is the empty log."""

    position: int
    hash: str


EMPTY = Head(0, BEGINNING)


@dataclass(frozen=True, slots=True)
class Flaw:
    """Where the log contradicts itself, and how."""

    position: int
    what: str


def data_hash(stream: str, events: Iterable[Encoded]) -> str:
    """The digest of what happened, apart from when, by whom and under which ids."""
    digests = [[event.type, event.v, event.sha256 or _sha256(event.data.encode())] for event in events]
    return _sha256(orjson.dumps([stream, digests]))


def link(commit: Commit, data: str, head: Head) -> Entry:
    """The commit in the place after `head`; `data` is its data_hash."""
    return Entry(commit, head.position + 1, data, head.hash, _hash(commit, data, head))


def head_of(entry: Entry) -> Head:
    """The head of the log that ends with this entry."""
    return Head(entry.position, entry.hash)


def flaw(entry: Entry, head: Head) -> Flaw | None:
    """What is wrong with the entry that follows `head`, if anything."""
    held = entry.commit
    if entry.position != head.position + 1:
        return Flaw(head.position + 1, f"is missing: after position {head.position} comes {entry.position}")
    if entry.prev_hash != head.hash:
        return Flaw(entry.position, "does not follow the commit before it: prev_hash is another")
    if data_hash(held.stream, held.events) != entry.data_hash:
        return Flaw(entry.position, f"has other data than were hashed (stream {held.stream})")
    if _hash(held, entry.data_hash, head) != entry.hash:
        return Flaw(entry.position, f"has another header than was hashed (stream {held.stream})")
    return None


def _hash(commit: Commit, data: str, head: Head) -> str:
    header = {
        "id": commit.id,
        "meta": commit.meta.document(),
        "position": head.position + 1,
        "stream": commit.stream,
        "version": commit.version,
    }
    return _sha256(b"%b\n%b\n%b" % (head.hash.encode(), orjson.dumps(header), data.encode()))


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
