"""How an entry of the log is laid out in both databases: the fields of a MongoDB document, the columns of an SQLite row.

`events` is a list of {id, type, v, data}; `data` is the exact canonical JSON that was hashed, as a text: no database
ever takes it apart.
"""

from typing import Any

import orjson

from tespes.events import Commit, Encoded, Entry, Meta, event_id

COLUMNS = ("position", "id", "stream", "version", "events", "meta", "data_hash", "prev_hash", "hash")


def events_of(commit: Commit) -> list[dict[str, Any]]:
    """The `events` field."""
    return [
        {"id": event_id(commit.id, index), "type": event.type, "v": event.v, "data": event.data}
        for index, event in enumerate(commit.events)
    ]


def document(entry: Entry) -> dict[str, Any]:
    """The entry as a MongoDB document."""
    commit = entry.commit
    return {
        "_id": commit.id,
        "stream": commit.stream,
        "version": commit.version,
        "position": entry.position,
        "events": events_of(commit),
        "meta": commit.meta.document(),
        "data_hash": entry.data_hash,
        "prev_hash": entry.prev_hash,
        "hash": entry.hash,
    }


def from_document(stored: dict[str, Any]) -> Entry:
    """The opposite of `document`."""
    events = tuple(Encoded(event["type"], event["v"], event["data"]) for event in stored["events"])
    commit = Commit(
        id=stored["_id"],
        stream=stored["stream"],
        version=stored["version"],
        events=events,
        meta=Meta.read(stored["meta"]),
    )
    return Entry(commit, stored["position"], stored["data_hash"], stored["prev_hash"], stored["hash"])


def row(entry: Entry) -> tuple[Any, ...]:
    """The entry as an SQLite row, in the order of COLUMNS."""
    commit = entry.commit
    events = orjson.dumps(events_of(commit)).decode()
    meta = orjson.dumps(commit.meta.document()).decode()
    hashes = (entry.data_hash, entry.prev_hash, entry.hash)
    return (entry.position, commit.id, commit.stream, commit.version, events, meta, *hashes)


def from_row(stored: tuple[Any, ...]) -> Entry:
    """The opposite of `row`."""
    position, commit_id, stream, version, events, meta, data_hash, prev_hash, hash_ = stored
    encoded = tuple(Encoded(event["type"], event["v"], event["data"]) for event in orjson.loads(events))
    read = Meta.read(orjson.loads(meta))
    commit = Commit(id=commit_id, stream=stream, version=version, events=encoded, meta=read)
    return Entry(commit, position, data_hash, prev_hash, hash_)
