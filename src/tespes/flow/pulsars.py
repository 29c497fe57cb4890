"""What operators want of the Pulsars, and which of them can be used now.

That a Pulsar is drained is an event in a stream of its own, `pulsar:<name>`: every process follows it, a restart forgets
nothing. A drained Pulsar gets no further attempt; those that were sent to it go on, also those that it has yet to pick up.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from tespes import errors, events, tes
from tespes.events import Entry, Meta
from tespes.flow.execute import By, KnownTask, Tasks, now
from tespes.flow.follow import follow, patiently
from tespes.flow.ids import new_id
from tespes.flow.room import Room
from tespes.projections import TASK_VIEW
from tespes.pulsar import Link
from tespes.store import Documents, Log, conditions
from tespes.task.state import Ended, Waiting

_STREAM = "pulsar:"
_TRIES = 10
_PAGE = 1000
LIVE = conditions.OneOf("state", frozenset(state.value for state in tes.State if state not in tes.TERMINAL))


@dataclass(frozen=True, slots=True)
class Enabled:
    """It gets attempts."""


@dataclass(frozen=True, slots=True)
class Drained:
    """It gets no further attempt, since then and for that reason."""

    since: datetime
    reason: str | None


Wanted = Enabled | Drained


class Pulsars:
    """The Pulsars of the settings.

    :param links: to them, by name
    """

    def __init__(self, log: Log, links: Mapping[str, Link]) -> None:
        self._log = log
        self._links = links
        self._wanted: dict[str, Wanted] = {}

    async def run(self) -> None:
        """Follow what operators want until cancelled."""
        await follow("pulsars", self._log, await patiently("pulsars", self._look_up), self._see)

    def troubles(self) -> dict[str, str | None]:
        """For each Pulsar None if it heeds what is sent to it, as far as is known, else why not."""
        return {name: _trouble(link) for name, link in self._links.items()}

    def open(self) -> dict[str, str | None]:
        """For each Pulsar None if further attempts may be sent there, else why not."""
        return {name: self._closed(name) or _trouble(link) for name, link in self._links.items()}

    def drained(self) -> dict[str, bool]:
        """For each Pulsar whether operators want it to get no further attempt, as far as this process has read."""
        return {name: isinstance(self._wanted.get(name), Drained) for name in self._links}

    async def wanted(self, name: str) -> Wanted:
        """What operators want of it, as the log has it now.

        :raises errors.NotFound: there is no such Pulsar
        """
        return (await self._known(name))[0]

    async def drain(self, name: str, reason: str | None, by: By) -> None:
        """Send it no further attempt; if it is drained for that reason already, nothing happens.

        :raises errors.NotFound: there is no such Pulsar
        """
        await self._want(name, events.PulsarDrained(pulsar=name, reason=reason), by)

    async def enable(self, name: str, by: By) -> None:
        """Send it attempts again; raises as `drain` does."""
        await self._want(name, events.PulsarEnabled(pulsar=name), by)

    def _closed(self, name: str) -> str | None:
        match self._wanted.get(name):
            case None:
                return "what operators want of it is being looked up"
            case Drained(reason=reason):
                return f"it is drained: {reason}" if reason else "it is drained"
            case Enabled():
                return None

    async def _look_up(self) -> int:
        """What is wanted of all of them; the position of the log from which that has to be followed."""
        head = await self._log.head()
        for name in self._links:
            self._wanted[name], _ = await self._read(name)
        return head.position

    async def _want(self, name: str, event: events.PulsarDrained | events.PulsarEnabled, by: By) -> None:
        for _ in range(_TRIES):
            wanted, version = await self._known(name)
            if _is_so(wanted, event):
                return
            meta = Meta(at=now(), actor=by.actor, owner=by.actor, correlation=by.correlation)
            try:
                await self._log.append(events.commit(new_id(), _STREAM + name, version + 1, (event,), meta))
            except errors.VersionConflict:
                continue
            self._wanted[name] = _after(wanted, event, meta.at)
            return
        raise errors.StoreUnavailable(f"Pulsar {name} changes too fast: {_TRIES} other orders came first")

    async def _known(self, name: str) -> tuple[Wanted, int]:
        if name not in self._links:
            raise errors.NotFound(f"there is no Pulsar {name} in the settings; there are: {', '.join(self._links) or 'none'}")
        return await self._read(name)

    async def _read(self, name: str) -> tuple[Wanted, int]:
        """What is wanted of it, and the version of its stream."""
        wanted: Wanted = Enabled()
        version = 0
        for entry in await self._log.read_stream(_STREAM + name):
            version = entry.last_version
            for recorded in events.recorded(entry):
                wanted = _after(wanted, recorded.event, recorded.at)
        return wanted, version

    async def _see(self, entries: Sequence[Entry]) -> None:
        """Others may give orders, too: the stream is read again."""
        for name in {entry.commit.stream.removeprefix(_STREAM) for entry in entries if entry.commit.stream.startswith(_STREAM)}:
            if name in self._links:
                self._wanted[name], _ = await self._read(name)


def _trouble(link: Link) -> str | None:
    return link.trouble if link.up.is_set() else "RabbitMQ does not answer"


def _after(wanted: Wanted, event: events.Event, at: datetime) -> Wanted:
    if isinstance(event, events.PulsarDrained):
        return Drained(at, event.reason)
    return Enabled() if isinstance(event, events.PulsarEnabled) else wanted


def _is_so(wanted: Wanted, event: events.PulsarDrained | events.PulsarEnabled) -> bool:
    match event:
        case events.PulsarDrained(reason=reason):
            return isinstance(wanted, Drained) and wanted.reason == reason
        case events.PulsarEnabled():
            return isinstance(wanted, Enabled)


async def occupy(room: Room, tasks: Tasks, documents: Documents) -> None:
    """Tell an empty room who waits and who has a place, as any process can: from the tasks that have not ended."""
    before = None
    while page := await documents.page(TASK_VIEW, (LIVE,), before=before, limit=_PAGE, whole=False):
        before = page[-1]["position"]
        for known in await asyncio.gather(*(_readable(tasks, each["id"]) for each in page)):
            if known is None or isinstance(known.state, Ended):
                continue
            if isinstance(known.state, Waiting):
                room.wait(known)
            else:
                room.hold(known, known.state.attempt.pulsar)


async def _readable(tasks: Tasks, task_id: str) -> KnownTask | None:
    """The task, unless its events cannot be read: nobody dispatches it then."""
    try:
        return await tasks.load(task_id)
    except (errors.CorruptLog, errors.UnknownEvent):
        return None
