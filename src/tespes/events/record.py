"""Commits and entries: how events stand in the log (design: one document per commit)."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from tespes import errors
from tespes.events import codec, moment
from tespes.events.codec import Encoded
from tespes.events.types import Event


def is_task(stream: str) -> bool:
    """Whether the stream is a task's: those of leases and Pulsars have a colon in their names."""
    return ":" not in stream


@dataclass(frozen=True, slots=True, kw_only=True)
class Meta:
    """What every event of a commit has in common.

    :param at: when it was decided, TESPES's clock, UTC, whole milliseconds
    :param actor: who caused it: a client's name, `pulsar:<name>`, `runner:<job>` or `tespes`
    :param owner: whose task it is
    :param correlation: what it belongs to: the id of the request that began it; a task that has none belongs to itself
    :param causation: the id of the event that it was decided upon: the last one of its stream then
    :param traceparent: W3C trace context of the request that began it
    """

    at: datetime
    actor: str
    owner: str
    correlation: str | None = None
    causation: str | None = None
    traceparent: str | None = None

    def document(self) -> dict[str, str]:
        """As JSON-ready values, in the order in which they are stored."""
        values = {
            "actor": self.actor,
            "at": moment.text(self.at),
            "causation": self.causation,
            "correlation": self.correlation,
            "owner": self.owner,
            "traceparent": self.traceparent,
        }
        return {name: value for name, value in values.items() if value is not None}

    @classmethod
    def read(cls, document: dict[str, str]) -> "Meta":
        """The opposite of `document`."""
        return cls(**{**document, "at": moment.read(document["at"])})  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True, kw_only=True)
class Commit:
    """Events that go into the log together or not at all.

    :param id: the idempotency key: the same id is stored once
    :param version: of its first event in its stream, from 1; taken already means that another commit came first
    :param decoded: the events themselves, where they are at hand
    """

    id: str
    stream: str
    version: int
    events: tuple[Encoded, ...]
    meta: Meta
    decoded: tuple[Event, ...] | None = field(default=None, compare=False, repr=False)

    @property
    def size_bytes(self) -> int:
        """What its events weigh, encoded."""
        return sum(len(event.data) if event.data.isascii() else len(event.data.encode()) for event in self.events)


@dataclass(frozen=True, slots=True)
class Entry:
    """A commit in its place in the log.

    :param position: its place in the whole log, from 1, without holes, in commit order
    :param data_hash: and `prev_hash`, `hash`: see `chain`; hexadecimal
    """

    commit: Commit
    position: int
    data_hash: str
    prev_hash: str
    hash: str

    @property
    def last_version(self) -> int:
        """The version of its last event in its stream."""
        return self.commit.version + len(self.commit.events) - 1


@dataclass(frozen=True, slots=True)
class Recorded:
    """An event as those who follow the log see it.

    :param version: its place in its stream, from 1; :param position: of its commit in the log
    """

    event: Event
    stream: str
    version: int
    position: int
    meta: Meta

    @property
    def at(self) -> datetime:
        """When it was decided."""
        return self.meta.at


def commit(commit_id: str, stream: str, version: int, events: Sequence[Event], meta: Meta) -> Commit:
    """A commit of these events, encoded."""
    encoded = tuple(map(codec.encode, events))
    return Commit(id=commit_id, stream=stream, version=version, events=encoded, meta=meta, decoded=tuple(events))


def recorded(entry: Entry) -> Iterator[Recorded]:
    """The events of an entry, decoded.

    :raises errors.UnknownEvent: see `codec.decode`; so does errors.CorruptLog; both name the position
    """
    for index in range(len(entry.commit.events)):
        yield nth(entry, index)


def nth(entry: Entry, index: int) -> Recorded:
    """One of the events of an entry, from 0; raises as `recorded` does."""
    held = entry.commit
    event = held.decoded[index] if held.decoded else _decoded(held.events[index], entry.position)
    return Recorded(event, held.stream, held.version + index, entry.position, held.meta)


def _decoded(encoded: Encoded, position: int) -> Event:
    try:
        return codec.decode(encoded)
    except (errors.UnknownEvent, errors.CorruptLog) as error:
        raise type(error)(f"position {position} of the log: {error}") from error


def event_id(commit_id: str, index: int) -> str:
    """The id of a commit's event: uuid5(commit id, index). The same event has the same id wherever it goes."""
    namespace = bytes.fromhex(commit_id.replace("-", ""))
    digest = hashlib.sha1(namespace + str(index).encode(), usedforsecurity=False).hexdigest()
    variant = "89ab"[int(digest[16], 16) & 3]
    return f"{digest[:8]}-{digest[8:12]}-5{digest[13:16]}-{variant}{digest[17:20]}-{digest[20:32]}"
