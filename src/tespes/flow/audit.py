"""Read the log for people: a task's history, and whether everything still is as it was written."""

from collections.abc import AsyncIterator
from dataclasses import dataclass

from tespes import errors, events
from tespes.events import Entry, Recorded, chain
from tespes.events.chain import Flaw
from tespes.projections import TASK_VIEW, Document, fold
from tespes.store import Log, Store

_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class Verdict:
    """What an audit found.

    :param commits: and `events`: how many were read; :param streams: how many views were compared
    """

    commits: int
    events: int
    streams: int
    head: str
    flaws: tuple[Flaw, ...]


async def history(log: Log, task_id: str) -> list[Recorded]:
    """Every event of a task, in order.

    :raises errors.NotFound: there is no such task
    """
    entries = await log.read_stream(task_id)
    if not entries:
        raise errors.NotFound(f"there is no task {task_id}")
    return [recorded for entry in entries for recorded in events.recorded(entry)]


async def verify(store: Store) -> Verdict:
    """Check the whole log: positions, versions, the hash chain, and that the task view is the fold of the events.

    Reading stops at the first flaw of the chain: what follows it proves nothing.
    """
    end = (await store.log.head()).position
    head, count = chain.EMPTY, 0
    streams: dict[str, _Stream] = {}
    async for entry in _entries(store.log):
        known = streams.get(entry.commit.stream, _NEW)
        flaw = chain.flaw(entry, head) or _version_flaw(entry, known)
        if flaw is not None:
            return Verdict(head.position, count, len(streams), head.hash, (flaw,))
        head = chain.head_of(entry)
        count += len(entry.commit.events)
        view = fold(TASK_VIEW, events.recorded(entry), known.view)
        streams[entry.commit.stream] = _Stream(entry.last_version, entry.position, view)
    if head.position < end:
        flaws = [Flaw(head.position + 1, "is missing, and everything after it")]
    else:
        flaws = await _view_flaws(store, streams)
    return Verdict(head.position, count, len(streams), head.hash, tuple(flaws))


@dataclass(frozen=True, slots=True)
class _Stream:
    """What was read of a stream: its last version, the position of its last commit, its view."""

    version: int
    position: int
    view: Document | None


_NEW = _Stream(0, 0, None)


async def _entries(log: Log) -> AsyncIterator[Entry]:
    """The log from its beginning; a hole shows as an entry that does not follow."""
    after = 0
    while entries := await log.read_as_is(after):
        for entry in entries:
            yield entry
        after = entries[-1].position


def _version_flaw(entry: Entry, known: _Stream) -> Flaw | None:
    commit = entry.commit
    if commit.version == known.version + 1:
        return None
    what = f"has version {commit.version} of stream {commit.stream}, where {known.version + 1} follows"
    return Flaw(entry.position, what)


async def _view_flaws(store: Store, streams: dict[str, _Stream]) -> list[Flaw]:
    """Views that are not what their events make of them. A view may be behind if its projector is; not different."""
    at = await store.documents.position(TASK_VIEW)
    flaws = []
    names = list(streams)
    for start in range(0, len(names), _AT_ONCE):
        some = names[start : start + _AT_ONCE]
        stored = await store.documents.load(TASK_VIEW, some)
        found = (_view_flaw(streams[name], stored.get(name), at) for name in some)
        flaws += [flaw for flaw in found if flaw is not None]
    return flaws


def _view_flaw(stream: _Stream, stored: Document | None, at: int) -> Flaw | None:
    if stream.view is None or stream.position > at:
        return None
    if stored is None:
        return Flaw(stream.position, f"is not in the task view: task {stream.view['id']} is missing there")
    if stored["version"] <= stream.version and stored != stream.view:
        return Flaw(stream.position, f"is not what the task view shows of task {stream.view['id']}")
    return None
