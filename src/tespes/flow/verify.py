"""Whether a stored view is what the events make: every task of the log in it, nothing else, and each as it should be.

The log is walked once, a batch at a time: what was created at these positions is folded from its whole stream and compared
with what the view has at the same positions; then what the view has behind these. So what is in memory is bounded, however
long the log is.
"""

import asyncio
from dataclasses import dataclass
from functools import partial

from tespes import events
from tespes.events import Entry, Recorded, redact
from tespes.projections import Document, ReadModel, fold, kept
from tespes.store import Documents, Log

_AT_ONCE = 500
_NAMED = 100


@dataclass(frozen=True, slots=True)
class Difference:
    """A task whose document is not what its events make."""

    task_id: str
    what: str


@dataclass(frozen=True, slots=True)
class Verified:
    """What was compared.

    :param position: up to which the view says that it is, of a log that ends at `head`
    :param documents: how many were compared
    :param different: how many are not as they should be, and `named`: the first of these
    """

    position: int
    head: int
    documents: int
    different: int
    named: tuple[Difference, ...]


async def verify(log: Log, documents: Documents, model: ReadModel) -> Verified:
    """Compare the view with its events, up to where the view is now, and what else is in it."""
    end, head = await documents.position(model), await log.head()
    count = different = after = 0
    named: list[Difference] = []
    while after < end and (entries := await log.read(after, min(end - after, _AT_ONCE))):
        compared, found = await _compared(log, documents, model, entries, end)
        after = entries[-1].position
        count += compared
        different += len(found)
        named += found[: _NAMED - len(named)]
    compared, found = await _beyond(log, documents, model, after) if end else (0, [])  # at 0, there may be no table yet
    named += found[: _NAMED - len(named)]
    return Verified(after, head.position, count + compared, different + len(found), tuple(named))


async def _compared(
    log: Log, documents: Documents, model: ReadModel, entries: list[Entry], end: int
) -> tuple[int, list[Difference]]:
    """How many tasks were created at these positions, and which of them are not as they should be."""
    first, last = entries[0].position, entries[-1].position
    page = partial(documents.page, model, (), before=last + 1, limit=len(entries))
    listed, whole, again = await page(whole=False), await page(whole=True), await page(whole=False)
    stored = {document["id"]: document for document in whole if document["position"] >= first}
    listed = [each for each in listed if each["position"] >= first and each in again]  # not just being written
    beside = [each["id"] for each in listed if _listed(model, stored.get(each["id"])) != each]
    created = [entry.commit.stream for entry in entries if entry.commit.version == 1 and events.is_task(entry.commit.stream)]
    streams = await asyncio.gather(*map(log.read_stream, created))
    found = [
        Difference(task_id, what)
        for task_id, stream in zip(created, streams, strict=True)
        if (what := _wrong(model, stored.pop(task_id, None), stream, end)) is not None
    ]
    unknown = [Difference(task_id, "is in the view, and not in the log") for task_id in stored]
    known = {each.task_id for each in found + unknown}
    astray = [Difference(task_id, "is not what it is found by") for task_id in beside if task_id not in known]
    return len(created) + len(unknown), found + unknown + astray


async def _beyond(log: Log, documents: Documents, model: ReadModel, end: int) -> tuple[int, list[Difference]]:
    """How many documents are behind that position, since the view goes on meanwhile, and which should not be as they are."""
    count, before, found = 0, None, list[Difference]()
    while listed := [
        each for each in await documents.page(model, (), before=before, limit=_AT_ONCE, whole=False) if each["position"] > end
    ]:
        ids = [each["id"] for each in listed]
        stored, streams = await documents.load(model, ids), await asyncio.gather(*map(log.read_stream, ids))
        for task_id, stream in zip(ids, streams, strict=True):
            what = _wrong(model, stored.get(task_id), stream, end) if stream else "is in the view, and not in the log"
            found += [Difference(task_id, what)] if what else []
        count, before = count + len(ids), listed[-1]["position"]
    return count, found


def _wrong(model: ReadModel, stored: Document | None, stream: list[Entry], end: int) -> str | None:
    """What is wrong with a document; it may be newer than `end`, not older."""
    if stored is None:
        return "is not in the view"
    seen = [entry for entry in stream if entry.position <= end]
    if seen and stored["version"] < seen[-1].last_version:
        return f"is at version {stored['version']} of {seen[-1].last_version}"
    if any(redact.gives_orders(entry) for entry in stream if entry.commit.version > stored["version"]):
        return None  # it was made of events that are not what they were; the projector is about to make it anew
    try:
        document = kept(model, fold(model, _up_to(stream, stored["version"])))
    except Exception as error:  # noqa: BLE001 - whatever is wrong with it, it is wrong with this task alone
        return f"cannot be folded: {type(error).__name__}: {error}"
    return None if document == stored else "is not what its events make"


def _listed(model: ReadModel, document: Document | None) -> Document | None:
    """What a list without documents has of it."""
    return document and {"id": document["id"], **{name: document.get(name) for name in model.columns}}


def _up_to(stream: list[Entry], version: int) -> list[Recorded]:
    return [each for entry in stream if entry.commit.version <= version for each in events.recorded(entry)]
