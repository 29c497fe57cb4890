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
    read = _Read()
    flaws: list[Flaw] = []
    try:
        async for entry in _entries(store.log):
            flaw = read.take(entry)
            if flaw is not None:
                flaws.append(flaw)
                break
    except (errors.CorruptLog, errors.UnknownEvent) as error:
        flaws.append(Flaw(read.head.position + 1, f"cannot be read: {error}"))
    if not flaws and read.head.position < end:
        flaws.append(Flaw(read.head.position + 1, "is missing, and everything after it"))
    if not flaws:
        flaws = await _view_flaws(store, read.streams)
    return Verdict(read.head.position, read.events, len(read.streams), read.head.hash, tuple(flaws))


class _Read:
    """What was read so far, and found sound."""

    def __init__(self) -> None:
        self.head = chain.EMPTY
        self.events = 0
        self.streams: dict[str, _Stream] = {}

    def take(self, entry: Entry) -> Flaw | None:
        """What is wrong with the next entry; if nothing is, it counts."""
        known = self.streams.get(entry.commit.stream, _NEW)
        flaw = chain.flaw(entry, self.head) or _version_flaw(entry, known)
        if flaw is not None:
            return flaw
        try:
            view = fold(TASK_VIEW, events.recorded(entry), known.view) if events.is_task(entry.commit.stream) else None
        except LookupError:
            return Flaw(entry.position, f"has events that do not fit what came before in stream {entry.commit.stream}")
        self.head = chain.head_of(entry)
        self.events += len(entry.commit.events)
        self.streams[entry.commit.stream] = _Stream(entry.last_version, entry.position, view)
        return None


@dataclass(frozen=True, slots=True)
class _Stream:
    """What was read of a stream: its last version, the position of its last commit, its view if it is a task's."""

    version: int
    position: int
    view: Document | None


_NEW = _Stream(0, 0, None)


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


def _version_flaw(entry: Entry, known: _Stream) -> Flaw | None:
    commit = entry.commit
    if commit.version == known.version + 1:
        return None
    what = f"has version {commit.version} of stream {commit.stream}, where {known.version + 1} follows"
    return Flaw(entry.position, what)


async def _view_flaws(store: Store, streams: dict[str, _Stream]) -> list[Flaw]:
    """Views that are not what their events make of them. A view may be behind if its projector is; not different."""
    at = await store.documents.position(TASK_VIEW)
    if not at:  # nothing is in it, or it is that of another release, which the next start makes anew
        return []
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
