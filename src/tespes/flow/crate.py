"""Make a task's RO-Crate: two files, `ro-crate-metadata.json` and `events.jsonl`, in a directory or a ZIP archive.

What users keep to themselves is left out of both, unless it is asked for: the inputs' contents, the values of environment
variables, what executors wrote, and what URLs have beside an address. An event that has such a text in it stands in
`events.jsonl` as nothing but its digest: so the chain verifies all the same, and whatever is shown there is proven.
"""

import hashlib
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import orjson

from tespes import errors, events
from tespes.events import Entry, Recorded, redact
from tespes.flow import export
from tespes.projections import course, crate
from tespes.projections.crate import Attached, Publisher
from tespes.storage import shown
from tespes.store import Blobs, Store

_ZIP: Final = ".zip"
_NO_TIME: Final = (1980, 1, 1, 0, 0, 0)  # the first that a ZIP archive can have
_READABLE: Final = 0o644 << 16


@dataclass(frozen=True, slots=True)
class Made:
    """A crate.

    :param files: by name; :param unsealed: the positions of commits that no seal covers yet, see `export`
    """

    files: dict[str, bytes]
    unsealed: tuple[int, ...]


async def make(store: Store, task_id: str, publisher: Publisher) -> Made:
    """A task's crate.

    :raises errors.NotFound: there is no such task
    :raises errors.SetupError: it is not over
    """
    found = await export.task_slice(store.log, task_id)
    history = [await _whole(store.blobs, each) for entry in found.entries for each in events.recorded(entry)]
    told = course.told(history)
    if told is None or told.end is None:
        raise errors.SetupError(f"task {task_id} is not over: a crate tells of tasks that are")
    if not publisher.with_private:
        found = replace(found, entries=tuple(map(_without_private, found.entries)))
    lines = b"".join(found.lines())
    attached = Attached(len(lines), hashlib.sha256(lines).hexdigest())
    metadata = orjson.dumps(crate.crate(told, attached, publisher), option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
    return Made({crate.METADATA: metadata, crate.EVENTS: lines}, found.unsealed)


def save(files: Mapping[str, bytes], to: Path) -> None:
    """Write the files: into an archive, if its name says that it is one, else into a directory.

    An archive has no times and is not packed, so that the same files make the same archive everywhere.

    :raises errors.SetupError: it cannot be written there
    """
    try:
        if to.suffix == _ZIP:
            with zipfile.ZipFile(to, "w") as archive:
                for name, content in files.items():
                    entry = zipfile.ZipInfo(name, _NO_TIME)
                    entry.external_attr = _READABLE
                    archive.writestr(entry, content)
            return
        to.mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            (to / name).write_bytes(content)
    except OSError as error:
        raise errors.SetupError(f"{to} cannot be written: {error.strerror}") from error


def _without_private(entry: Entry) -> Entry:
    """The entry with nothing of those events in it that users keep to themselves but their digests."""
    left = tuple(
        replace(encoded, data="", sha256=encoded.sha256 or redact.sha256(encoded)) if _is_private(each.event) else encoded
        for encoded, each in zip(entry.commit.events, events.recorded(entry), strict=True)
    )
    return replace(entry, commit=replace(entry.commit, events=left, decoded=None))


def _is_private(event: events.Event) -> bool:
    """Whether there is something in it that others are not to see: also a password or a signature in a URL."""
    if isinstance(event, events.TaskCreated):
        inputs, outputs = event.task.inputs or (), event.task.outputs or ()
        urls = (*(each.url for each in inputs if each.url), *(each.url for each in outputs))
        has_texts = any(each.content for each in inputs) or any(each.env for each in event.task.executors)
        return has_texts or any(shown(url) != url for url in urls)
    return isinstance(event, events.ExecutorEnded) and bool(event.stdout or event.stderr)


async def _whole(blobs: Blobs, recorded: Recorded) -> Recorded:
    """The event with the lists of files that were too long to stand in it."""
    event = recorded.event
    if not isinstance(event, events.AttemptEnded) or not event.kept:
        return recorded
    kept = {each.place: orjson.loads(await blobs.get(each.sha256)) for each in event.kept}
    moved = {place: tuple(events.File(**each) for each in found) for place, found in kept.items()}
    inputs, outputs = moved.get("inputs", event.inputs), moved.get("outputs", event.outputs)
    return replace(recorded, event=replace(event, inputs=inputs, outputs=outputs))
