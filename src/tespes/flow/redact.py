"""Take something out of a task's events: first the event that says so, then the change itself.

What is left of an event is the same whenever it is made (see `events.redact`), so whoever is cut off asks again. Until
then readers of a task do not see what was taken out (see `Log.read_stream`); readers of the whole log do.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

from tespes import errors, events
from tespes.events import Entry, Meta, redact
from tespes.flow.execute import By, Tasks, now
from tespes.flow.ids import new_id
from tespes.store import Blobs, Log
from tespes.task.state import Ended

_TRIES = 5
_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class Redactor:
    """What takes something out of tasks' events, one after the other."""

    log: Log
    blobs: Blobs
    tasks: Tasks
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock, init=False)

    async def redact(self, task_id: str, fields: Sequence[str], reason: str, by: By) -> list[events.DataRedacted]:
        """Take these fields out of every event of the task that has them, and finish what was begun before.

        :param fields: see `events.redact`
        :return: what is new; nothing if all of it was taken out before
        :raises errors.NotFound: there is no such task
        :raises errors.BadRequest: it has not ended, or none of its events has such a field
        :raises errors.StoreUnavailable: not all of it is done: ask again
        """
        async with self._turn:
            done = await self._redact(task_id, fields, reason, by)
            await self.log.scrub()
        return done

    async def _redact(self, task_id: str, fields: Sequence[str], reason: str, by: By) -> list[events.DataRedacted]:
        known = await self.tasks.load(task_id)
        if known is None:
            raise errors.NotFound(f"there is no task {task_id}")
        if not isinstance(known.state, Ended):
            raise errors.BadRequest("task", "one that has not ended", "what it still needs is not taken out: cancel it first")
        for _ in range(_TRIES):
            entries = await self.log.read_stream(task_id)
            found = _orders(entries, fields, reason)
            try:
                if found:
                    await self._write_down(entries[-1], found, by)
            except errors.VersionConflict:
                await asyncio.sleep(0)
                continue
            for order in [*(each for entry in entries for each in redact.orders(entry)), *found]:
                await self.carry_out(order)
            return found
        raise errors.StoreUnavailable(f"task {task_id} changes too fast")

    async def _write_down(self, last: Entry, found: Sequence[events.DataRedacted], by: By) -> None:
        meta = Meta(at=now(), actor=by.actor, owner=last.commit.meta.owner, correlation=by.correlation)
        commit = events.commit(new_id(), last.commit.stream, last.last_version + 1, found, meta)
        await self.log.append(commit)

    async def carry_out(self, order: events.DataRedacted) -> None:
        """Take out what that says, unless it is done: texts beside the event first, for while it names them they are found."""
        for _ in range(_TRIES):
            (entry,) = await self.log.read_as_is(order.position - 1, 1)
            was = entry.commit.events[order.index]
            left = redact.without(was, order.fields)
            for sha256 in left.blobs:
                await self._remove(sha256, but=(order.position, order.index))
            if left.encoded == was or await self.log.redact(order.position, order.index, was, left.encoded):
                return
        raise errors.StoreUnavailable(f"position {order.position} changes too fast")

    async def _remove(self, sha256: str, but: tuple[int, int]) -> None:
        """Unless another event names it. One that was on its way meanwhile, of a task with the same text, gets it back."""
        seen, named = await self._look(sha256, 0, but)
        if named:
            return
        try:
            content = await self.blobs.get(sha256)
        except errors.CorruptLog:  # it is gone already
            return
        await self.blobs.remove(sha256)
        _, named = await self._look(sha256, seen, but)
        if named:
            await self.blobs.put(sha256, content)

    async def _look(self, sha256: str, after: int, but: tuple[int, int]) -> tuple[int, bool]:
        """How far the log was read, and whether an event after that position, other than that one, names the blob."""
        while entries := await self.log.read(after, _AT_ONCE):
            for entry in entries:
                after = entry.position
                for index, encoded in enumerate(entry.commit.events):
                    if sha256 in encoded.data and (entry.position, index) != but and sha256 in redact.kept(encoded):
                        return after, True
        return after, False


def _orders(entries: Sequence[Entry], fields: Sequence[str], reason: str) -> list[events.DataRedacted]:
    """What is to be written down: an event for each one that has any of the fields.

    :raises errors.BadRequest: see `Redactor.redact`
    """
    found: list[events.DataRedacted] = []
    meant: set[str] = set()
    for entry in entries:
        for index, encoded in enumerate(entry.commit.events):
            left = redact.without(encoded, fields)
            meant.update(left.fields)
            if left.encoded != encoded:
                found.append(
                    events.DataRedacted(
                        position=entry.position,
                        index=index,
                        reason=reason,
                        fields=left.fields,
                        sha256=redact.sha256(left.encoded),
                    )
                )
    if unknown := [field for field in fields if field not in meant]:
        allowed = "a field of its events that may be taken out is expected, such as task.executors.0.env, stdout or reason"
        raise errors.BadRequest("fields", errors.quoted(unknown[0]), allowed)
    return found
