"""How an entry of the log is laid out in both databases: the fields of a MongoDB document, the columns of an SQLite row.

`events` is a list of {id, type, v, data}; `data` is the exact canonical JSON that was hashed, as a text: no database
ever takes it apart. Where data were redacted, `sha256` is that of what was hashed.
"""

from typing import Any

import orjson

from tespes import errors
from tespes.events import Commit, Encoded, Entry, Meta, event_id
from tespes.projections import Document, ReadModel
from tespes.store.conditions import HasPair

COLUMNS = ("position", "id", "stream", "version", "events", "meta", "data_hash", "prev_hash", "hash")
_FIELDS = ("position", "_id", *COLUMNS[2:])


def events_of(commit: Commit) -> list[dict[str, Any]]:
    """The `events` field."""
    return [
        {"id": event_id(commit.id, index), "type": event.type, "v": event.v, "data": event.data}
        | ({"sha256": event.sha256} if event.sha256 else {})
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


def from_document(stored: dict[str, Any], *, exact: bool = False) -> Entry:
    """The opposite of `document`.

    :param exact: it must be what `document` makes, also where no hash covers it, such as the events' ids
    :raises errors.CorruptLog: it does not have the shape of an entry, or is not exact
    """
    try:
        commit = Commit(
            id=stored["_id"],
            stream=stored["stream"],
            version=stored["version"],
            events=tuple(map(_encoded, stored["events"])),
            meta=Meta.read(stored["meta"]),
        )
        entry = Entry(commit, stored["position"], stored["data_hash"], stored["prev_hash"], stored["hash"])
    except (LookupError, TypeError, ValueError) as error:
        raise errors.CorruptLog(f"position {stored.get('position')} of the log cannot be read: {error!r}") from error
    if exact and document(entry) != stored:
        raise errors.CorruptLog(f"position {entry.position} has something that was never written so")
    return entry


def row(entry: Entry) -> tuple[Any, ...]:
    """The entry as an SQLite row, in the order of COLUMNS."""
    commit = entry.commit
    events = orjson.dumps(events_of(commit)).decode()
    meta = orjson.dumps(commit.meta.document()).decode()
    hashes = (entry.data_hash, entry.prev_hash, entry.hash)
    return (entry.position, commit.id, commit.stream, commit.version, events, meta, *hashes)


def from_row(stored: tuple[Any, ...], *, exact: bool = False) -> Entry:
    """The opposite of `row`; raises as `from_document` does."""
    values = dict(zip(_FIELDS, stored, strict=True))
    try:
        values["events"], values["meta"] = orjson.loads(values["events"]), orjson.loads(values["meta"])
    except (TypeError, ValueError) as error:
        raise errors.CorruptLog(f"position {values['position']} of the log cannot be read: {error!r}") from error
    return from_document(values, exact=exact)


def document_of(body: str | None, task_id: str, position: int) -> Document:
    """What was stored. For what somebody else wrote over it: one that is older than any, so that it is made anew."""
    try:
        document = orjson.loads(body or "")
    except orjson.JSONDecodeError:
        document = None
    return document if is_document(document) else {"id": task_id, "position": position, "version": 0}


def is_document(body: object) -> bool:
    """Whether it can be one of a view."""
    return isinstance(body, dict) and body.keys() >= {"id", "position", "version"}


def lines(model: ReadModel, document: Document) -> list[dict[str, Any]]:
    """What totals are made of."""
    names = (*model.lines, *model.sums)
    return [{name: line[name] for name in names if name in line} for line in document.get("lines") or []]


def terms(document: Document, pairs: str) -> list[str]:
    """What the document is found by in that mapping."""
    found: dict[str, str] = document.get(pairs) or {}
    return [_term(*words) for key, value in found.items() for words in ((key,), (key, value))]


def term(condition: HasPair) -> str:
    """What is looked for."""
    return _term(condition.key) if condition.value is None else _term(condition.key, condition.value)


def key_terms(key: str) -> str:
    """What the terms of that key with any value begin with."""
    return _term(key)[:-1] + ","


def _term(*words: str) -> str:
    return orjson.dumps(words).decode()


def _encoded(event: dict[str, Any]) -> Encoded:
    data = event["data"]
    if not isinstance(data, str):
        raise TypeError("the data of an event are no text")
    return Encoded(event["type"], event["v"], data, event.get("sha256"))
