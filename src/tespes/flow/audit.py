"""Check the log, and what is made of it: whether everything still is as it was written."""

import contextlib
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import orjson

from tespes import errors, events
from tespes.events import Entry, Recorded
from tespes.events.chain import Flaw
from tespes.flow import verify as views
from tespes.flow.reading import Known, Reading, Unfinished
from tespes.projections import READ_MODELS
from tespes.store import Log, Store


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What an audit found.

    :param commits: and `events`, `streams`: how many were read; :param views: how many of their documents were compared
    :param sealed: up to which position seals cover it; :param keys: what they were checked with
    :param flaws: the first of the log, or the first ones of the views; :param unfinished: what was to be taken out, and is not
    :param withheld: the positions where an event is shown as nothing but its digest
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


async def history(log: Log, task_id: str) -> list[Recorded]:
    """Every event of a task, or of another stream, in order.

    :raises errors.NotFound: there is no such task, or nothing in the stream
    """
    entries = await log.read_stream(task_id)
    if not entries and events.is_task(task_id):
        raise errors.NotFound(f"there is no task {task_id}")
    if not entries:
        raise errors.NotFound(f"nothing has happened in {task_id} yet (leases are for stores that several processes share)")
    return [recorded for entry in entries for recorded in events.recorded(entry)]


async def traced(log: Log, name: str) -> AsyncIterator[Entry]:
    """All commits that belong to a request, a message, a trace, an event that led to them or a task, by its id.

    The whole log is read for it.
    """
    after = 0
    while entries := await log.read(after):
        for entry in entries:
            meta = entry.commit.meta
            told = {meta.correlation, meta.causation, entry.commit.stream, *(meta.traceparent or "").split("-")}
            if name in told:
                yield entry
        after = entries[-1].position


def heads(files: Iterable[Path]) -> dict[int, events.HeadSigned]:
    """The seals that were kept in these files, a line of JSON for each: as `flow.seal` writes them, or as CloudEvents.

    Lines that are no seals are passed over: they prove nothing.

    :raises errors.SetupError: there is no such file
    """
    found: dict[int, events.HeadSigned] = {}
    for path in files:
        try:
            lines = path.read_bytes().splitlines()
        except OSError as error:
            raise errors.SetupError(f"{path} cannot be read: {error.strerror}") from error
        for line in lines:
            with contextlib.suppress(ValueError, TypeError, AttributeError):
                values = orjson.loads(line)
                head = events.HeadSigned(**values.get("data", values))
                found[head.position] = head
    return found


async def verify(store: Store, known: Known = Known(), *, log_only: bool = False) -> Verdict:  # noqa: B008 - frozen
    """Check the whole log, and that every view is the fold of the events.

    Reading stops at the first flaw of the log: what follows it proves nothing.

    :param log_only: leave the views out
    """
    read, end = Reading(known), (await store.log.head()).position
    flaw = await _log_flaw(store.log, read, end)
    if flaw is not None:
        return verdict(read, (flaw,))
    compared, flaws = (0, []) if log_only else await _view_flaws(store)
    return verdict(read, flaws, await _still_there(store.log, read), compared)


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


async def _log_flaw(log: Log, read: Reading, end: int) -> Flaw | None:
    try:
        async for entry in _entries(log):
            flaw = read.take(entry)
            if flaw is not None:
                return flaw
    except (errors.CorruptLog, errors.UnknownEvent) as error:
        return Flaw(read.head.position + 1, f"cannot be read: {error}")
    return read.end(end) or read.redactions.flaw()


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


async def _view_flaws(store: Store) -> tuple[int, list[Flaw]]:
    """How many documents of views were compared with their events, and which of them are something else."""
    compared, flaws = 0, list[Flaw]()
    for model in READ_MODELS:  # one that is empty is made anew with the next start
        found = await views.verify(store.log, store.documents, model)
        compared += found.documents
        for each in found.named:
            entries = await store.log.read_stream(each.task_id)
            position = entries[-1].position if entries else found.position
            flaws.append(Flaw(position, f"is not what the view {model.name} has: task {each.task_id} {each.what}"))
    return compared, flaws
