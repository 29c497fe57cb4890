"""What may be taken out of an event, and what is left of it: pure, the same whenever it is done.

A field is named by its place in the event's data: `task.executors.0.env.PASSWORD`, `task.inputs.0.content`, `stdout`,
`reason`. A name that ends higher up, such as `task.executors.0.env` or `task`, means every text below it that may be taken
out. What an event is about may not: ids, numbers, times, digests, paths, images, names of Pulsars and keys of mappings.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import orjson

from tespes.events import canonical, codec
from tespes.events.codec import Encoded
from tespes.events.record import Entry
from tespes.events.types import DataRedacted

REDACTED: Final = "[redacted]"
_ORDER: Final = DataRedacted.__name__
_ANY: Final = "*"

Path = tuple[str, ...]


def _paths(*texts: str) -> tuple[Path, ...]:
    return tuple(tuple(text.split(".")) for text in texts)


_FILES: Final = ("url", "name", "description")
_MAY_GO: Final[Mapping[str, tuple[Path, ...]]] = {
    "TaskCreated": _paths(
        *("task.name", "task.description", "task.tags.*", "task.resources.backend_parameters.*", "notes.*"),
        *(f"task.inputs.*.{name}" for name in (*_FILES, "content")),
        *(f"task.outputs.*.{name}" for name in _FILES),
        *("task.executors.*.command.*", "task.executors.*.env.*"),
    ),
    "ExecutorEnded": _paths("stdout", "stderr"),
    "AttemptEnded": _paths("reason", "notes.*", "inputs.*.url", "outputs.*.url"),
    "TaskDeferred": _paths("reason"),
    "AttemptOrphaned": _paths("reason"),
    "AttemptDelayed": _paths("reason"),
    "AttemptExpired": _paths("reason"),
    "TaskSystemFailed": _paths("reason"),
    "TaskPreempted": _paths("reason"),
}


@dataclass(frozen=True, slots=True)
class Left:
    """An event without some of its texts.

    :param encoded: what is stored of it, with the digest of what was hashed
    :param fields: those of the names that meant anything in it, also if it was taken out before
    :param blobs: the SHA-256 of texts that were kept beside it and that it does not name any more
    """

    encoded: Encoded
    fields: tuple[str, ...]
    blobs: tuple[str, ...]


def without(encoded: Encoded, fields: Sequence[str]) -> Left:
    """The event without the texts that these names mean."""
    data: dict[str, Any] = orjson.loads(encoded.data)
    kept = [(_place(encoded.type, each["place"]), each) for each in data.get("kept", ())]
    named = {path: _names(path, fields) for path in (*_texts(encoded.type, data), *(path for path, _ in kept))}
    going = {path for path, names in named.items() if names}
    for path in going:
        _cross_out(data, path)
    if kept:
        data["kept"] = [each for path, each in kept if path not in going]
    meant = {name for path in going for name in named[path]}
    staying = {each["sha256"] for path, each in kept if path not in going}
    text = canonical.dumps(data).decode()
    original = encoded.sha256 if text == encoded.data else encoded.sha256 or sha256(encoded)
    return Left(
        encoded=replace(encoded, data=text, sha256=original),
        fields=tuple(name for name in fields if name in meant),
        blobs=tuple(str(each["sha256"]) for path, each in kept if path in going and each["sha256"] not in staying),
    )


def kept(encoded: Encoded) -> frozenset[str]:
    """The SHA-256 of the texts that are kept beside the event; others that it names are of files."""
    if '"kept"' not in encoded.data:
        return frozenset()
    return frozenset(each["sha256"] for each in orjson.loads(encoded.data).get("kept", ()))


def sha256(encoded: Encoded) -> str:
    """The digest of the event's data as they are."""
    return hashlib.sha256(encoded.data.encode()).hexdigest()


def orders(entry: Entry) -> Iterator[DataRedacted]:
    """What the entry says was taken out of earlier ones."""
    for encoded in entry.commit.events:
        if encoded.type == _ORDER:
            event = codec.decode(encoded)
            if isinstance(event, DataRedacted):
                yield event


def gives_orders(entry: Entry) -> bool:
    """Whether it says that something was taken out of an earlier entry of its stream."""
    return any(encoded.type == _ORDER for encoded in entry.commit.events)


def heeded(entries: list[Entry]) -> list[Entry]:
    """A stream's entries as they are once everything that they say was taken out is: also if it is still stored."""
    found: dict[tuple[int, int], tuple[str, ...]] = {}
    for order in (order for entry in entries if gives_orders(entry) for order in orders(entry)):
        place = order.position, order.index
        found[place] = (*found.get(place, ()), *order.fields)
    if not found:
        return entries
    return [_heeded(entry, found) if any(position == entry.position for position, _ in found) else entry for entry in entries]


def _heeded(entry: Entry, found: Mapping[tuple[int, int], tuple[str, ...]]) -> Entry:
    left = tuple(
        without(encoded, found[entry.position, index]).encoded if (entry.position, index) in found else encoded
        for index, encoded in enumerate(entry.commit.events)
    )
    return replace(entry, commit=replace(entry.commit, events=left, decoded=None))


def _texts(kind: str, data: Any) -> Iterator[Path]:
    """The paths of the texts that may be taken out of an event of that type."""
    patterns = _MAY_GO.get(kind, ())
    for path in _leaves(data):
        if any(_fits(path, pattern) for pattern in patterns):
            yield path


def _leaves(value: Any, path: Path = ()) -> Iterator[Path]:
    """The paths of all texts that are not empty."""
    match value:
        case str():
            if value:
                yield path
        case dict():
            for name, each in value.items():
                yield from _leaves(each, (*path, name))
        case list():
            for index, each in enumerate(value):
                yield from _leaves(each, (*path, str(index)))
        case _:
            return


def _fits(path: Path, pattern: Path) -> bool:
    return len(path) == len(pattern) and all(wanted in {_ANY, name} for name, wanted in zip(path, pattern, strict=True))


def _names(path: Path, fields: Sequence[str]) -> tuple[str, ...]:
    """Those of the names that mean the path; a key with dots in it is one part of a path."""
    means = {".".join(path[:length]) for length in range(1, len(path) + 1)}
    return tuple(field for field in fields if field in means)


def _place(kind: str, place: str) -> Path:
    """Where a kept text belongs in the event's data."""
    path = tuple(place.split("."))
    return ("task", *path) if kind == "TaskCreated" else path


def _cross_out(data: dict[str, Any], path: Path) -> None:
    """Put the word in the text's place; a list that is kept beside the event stays empty."""
    if not isinstance(_at(data, path), str):
        return
    holder, last = _at(data, path[:-1]), path[-1]
    holder[int(last) if isinstance(holder, list) else last] = REDACTED


def _at(value: Any, path: Path) -> Any:
    """What is at that path; None if there is nothing."""
    for name in path:
        try:
            value = value[int(name)] if isinstance(value, list) else value[name]
        except (LookupError, ValueError, TypeError):
            return None
    return value
