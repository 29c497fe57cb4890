"""Check the log, and what is made of it: whether everything still is as it was written."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace

from tespes import errors, events
from tespes.events import Entry, redact
from tespes.events.chain import Flaw
from tespes.flow import verify as views
from tespes.flow.reading import Known, Reading, Unfinished
from tespes.projections import READ_MODELS
from tespes.store import Blobs, Log, Store

_FAR_BEHIND = 10_000  # commits: one that is made anew, or that somebody emptied


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What an audit found.

    :param commits: and `events`, `streams`: how many were read; :param views: how many of their documents were compared
    :param sealed: up to which position seals cover it; :param keys: what they were checked with
    :param flaws: the first of the log, or the first ones of the views; :param unfinished: what was to be taken out, and is not
    :param withheld: the positions where an event is shown as nothing but its digest
    :param behind: which views do not have all of it yet, for a person
    """

    commits: int
    events: int
    streams: int
    head: str
    sealed: int
    keys: frozenset[str]
    views: int = 0
    flaws: tuple[Flaw, ...] = ()
    unfinished: tuple[Unfinished, ...] = ()
    withheld: tuple[int, ...] = ()
    behind: tuple[str, ...] = ()


async def history(log: Log, task_id: str) -> list[Entry]:
    """Everything that happened to a task, or in another stream, in order.

    :raises errors.NotFound: there is no such task, or nothing in the stream
    """
    entries = await log.read_stream(task_id)
    if not entries and events.is_task(task_id):
        raise errors.NotFound(f"there is no task {task_id}")
    if not entries:
        raise errors.NotFound(f"nothing has happened in {task_id} yet (leases are for stores that several processes share)")
    return entries


async def traced(log: Log, name: str) -> AsyncIterator[Entry]:
    """All commits that belong to a request, a message, a trace, an event (it, and what it led to) or a task, by its id.

    The whole log is read for it.
    """
    after = 0
    while entries := await log.read(after):
        for entry in entries:
            commit, meta = entry.commit, entry.commit.meta
            told = {meta.correlation, meta.causation, commit.stream, commit.id, *(meta.traceparent or "").split("-")}
            told.update(events.event_id(commit.id, index) for index in range(len(commit.events)))
            if name in told:
                yield entry
        after = entries[-1].position


async def verify(store: Store, known: Known = Known(), *, log_only: bool = False) -> Verdict:  # noqa: B008 - frozen
    """Check the whole log, and that every view is the fold of the events.

    Reading stops at the first flaw of the log: what follows it proves nothing.

    :param log_only: leave out the views, and the texts that are kept beside events
    """
    read, end = Reading(known), (await store.log.head()).position
    flaw = await _log_flaw(store.log, read, end, None if log_only else store.blobs)
    if flaw is not None:
        return verdict(read, (flaw,))
    compared, flaws, behind = (0, [], []) if log_only else await _view_flaws(store)
    return replace(verdict(read, flaws, await _still_there(store.log, read), compared), behind=tuple(behind))


def verdict(read: Reading, flaws: Sequence[Flaw], unfinished: Sequence[Unfinished] = (), views: int = 0) -> Verdict:
    """What was read, and what was found wrong with it."""
    return Verdict(
        commits=read.head.position,
        events=read.events,
        streams=len(read.streams),
        head=read.head.hash,
        sealed=read.sealed,
        keys=read.keys,
        views=views,
        flaws=tuple(flaws),
        unfinished=tuple(unfinished),
    )


async def _log_flaw(log: Log, read: Reading, end: int, blobs: Blobs | None) -> Flaw | None:
    try:
        async for entry in _entries(log):
            flaw = read.take(entry) or (await _text_flaw(log, blobs, entry) if blobs else None)
            if flaw is not None:
                return flaw
    except (errors.CorruptLog, errors.UnknownEvent) as error:
        return Flaw(read.head.position + 1, f"cannot be read: {error}")
    return read.end(end) or read.redactions.flaw()


async def _text_flaw(log: Log, blobs: Blobs, entry: Entry) -> Flaw | None:
    """What is wrong with a text that is kept beside the commit, unless it is just being taken out."""
    for sha256 in _kept(entry):
        try:
            await blobs.get(sha256)
        except errors.CorruptLog as error:
            stream = await log.read_stream(entry.commit.stream)
            if any(sha256 in _kept(each) for each in stream if each.position == entry.position):
                return Flaw(entry.position, f"is not whole: {error}")
    return None


def _kept(entry: Entry) -> set[str]:
    return {sha256 for encoded in entry.commit.events for sha256 in redact.kept(encoded)}


async def _entries(log: Log) -> AsyncIterator[Entry]:
    """The log from its beginning; a hole shows as an entry that does not follow. Up to one that cannot be read."""
    after = 0
    while entries := await _some(log, after):
        for entry in entries:
            yield entry
        after = entries[-1].position


async def _some(log: Log, after: int) -> list[Entry]:
    try:
        return await log.read_as_is(after)
    except errors.CorruptLog:
        return await log.read_as_is(after, 1)


async def _still_there(log: Log, read: Reading) -> list[Unfinished]:
    """What was not taken out yet, also when looked at again: it may have been done while the log was read."""
    for each in read.redactions.unfinished():
        for entry in await log.read_as_is(each.position - 1, 1):
            read.redactions.see(entry)
    return list(read.redactions.unfinished())


async def _view_flaws(store: Store) -> tuple[int, list[Flaw], list[str]]:
    """How many documents of views were compared with their events, which are something else, and which views lack some."""
    compared, flaws, behind = 0, list[Flaw](), list[str]()
    for model in READ_MODELS:
        found = await views.verify(store.log, store.documents, model)
        compared += found.documents
        if found.position < found.head:
            behind.append(f"the view {model.name} is at position {found.position} of {found.head}")
        if found.head - found.position > _FAR_BEHIND:
            flaws.append(Flaw(found.position + 1, f"to {found.head}: not in the view {model.name}; does nobody make it?"))
        for each in found.named:
            entries = await store.log.read_stream(each.task_id)
            position = entries[-1].position if entries else found.position
            flaws.append(Flaw(position, f"is not what the view {model.name} has: task {each.task_id} {each.what}"))
    return compared, flaws, behind
