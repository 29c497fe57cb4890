"""Tasks as clients submit them, and what becomes of them."""

import json
from typing import Any

import given as g
from tespes import errors, events
from tespes.api.submission import Submitted, read_task
from tespes.events import Meta, Recorded
from tespes.projections import TASK_VIEW, Document, fold

EXECUTOR = {"image": "alpine", "command": ["true"]}


def task(**fields: Any) -> dict[str, Any]:
    """A task with these fields beside its one executor."""
    return {"executors": [EXECUTOR], **fields}


def executor(**fields: Any) -> dict[str, Any]:
    """A task whose one executor has these fields."""
    return {"executors": [{**EXECUTOR, **fields}]}


def resources(**fields: Any) -> dict[str, Any]:
    return task(resources=fields)


def source(path: Any, **fields: Any) -> dict[str, Any]:
    """An input."""
    return {"path": path, "url": "ftp://h/in", **fields}


def target(path: Any, **fields: Any) -> dict[str, Any]:
    """An output."""
    return {"path": path, "url": "ftp://h/out", **fields}


def read(sent: Any) -> Submitted:
    return read_task(sent if isinstance(sent, bytes) else json.dumps(sent).encode())


def refused(sent: Any) -> errors.BadRequest:
    """Why it is not taken."""
    said = tried(sent)
    assert isinstance(said, errors.BadRequest), said
    return said


def tried(sent: Any) -> Submitted | errors.BadRequest:
    """It, or why it is not taken."""
    try:
        return read(sent)
    except errors.BadRequest as said:
        return said


def echoed(sent: Any) -> Document:
    """What a client sees of it in the FULL view, without the fields that TESPES adds, after it was in the log."""
    submitted = read(sent)
    created = events.TaskCreated(task=submitted.task, notes=submitted.notes)
    stored = events.decode(events.encode(created))
    assert stored == created
    shown = dict(view_after(stored)["task"])
    assert (shown.pop("id"), shown.pop("state"), shown.pop("creation_time")) == (g.TASK, "QUEUED", "2026-11-22T12:00:00.000Z")
    return shown


def view_after(*happened: events.Event) -> Document:
    """The stored view of the task that this happened to, one event a second."""
    recorded = [
        Recorded(event, g.TASK, place, place, Meta(at=g.at(place - 1), actor="tests", owner="tests"))
        for place, event in enumerate(happened, start=1)
    ]
    view: Document = fold(TASK_VIEW, recorded)
    return view
