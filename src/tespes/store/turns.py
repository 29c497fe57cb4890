"""Whose turn it is to append, where several processes want to at once.

Each may append whenever it likes: that positions are unique keeps the log right. But who remembers the head is faster than who
must read it first: one process in a hurry would lock the others out, and whatever they prepare would be for nothing. So who
loses a race although it has just read the head lines up, in a queue that all of them see. Who writes looks there now and then,
and lines up too; then each writes for a moment, in turn. As soon as nobody is in line, nothing of this costs anything.

The queue is advice: a ticket whose owner died, or sleeps, is taken away, and whoever appends out of turn loses a race at worst.
"""

import asyncio
import itertools
import time
import uuid
from contextlib import suppress

from tespes import errors
from tespes.store.shared import Tickets

_TURN_S = 0.1
_LOOK_EVERY_S = 0.01
_ASK_EVERY_S = 0.005  # times one's place in the queue
_PATIENCE_S = 1.0


class Turns:
    """The place of this process in the queue."""

    def __init__(self, tickets: Tickets) -> None:
        self._tickets = tickets
        self._names = (f"{uuid.uuid4().hex}:{number}" for number in itertools.count())
        self._ticket: str | None = None
        self._ends_at: float | None = None
        self._looked_at = 0.0
        self._busy = False

    async def wait(self) -> bool:
        """Wait until this process may write; whether others may have written meanwhile."""
        if self._ends_at is not None:
            if time.monotonic() < self._ends_at:
                return False
            await self.end()
        if self._ticket is None and not await self._is_busy():
            return False
        await self.line_up()
        with suppress(errors.Unavailable):  # whoever writes will hear of it
            await self._first()
        self._ends_at = time.monotonic() + _TURN_S
        return True

    async def line_up(self) -> None:
        """Somebody is faster: wait in line from now on."""
        if self._ticket is None:
            self._ticket = next(self._names)
            with suppress(errors.Unavailable):
                await self._tickets.add(self._ticket)

    async def end(self) -> None:
        """There is nothing to write for now, or the turn is over."""
        if self._ticket is None:
            return
        ticket, self._ticket, self._ends_at = self._ticket, None, None
        with suppress(errors.Unavailable):
            self._busy = bool(await self._tickets.remove(ticket))
            self._looked_at = time.monotonic()

    async def _is_busy(self) -> bool:
        """Whether others are in line; looked at now and then."""
        if not self._busy and time.monotonic() - self._looked_at >= _LOOK_EVERY_S:
            self._looked_at = time.monotonic()
            with suppress(errors.Unavailable):
                self._busy = bool(await self._tickets.all())
        return self._busy

    async def _first(self) -> None:
        """Wait until nobody is before this process, or who is does not move."""
        first, since = "", 0.0
        while self._ticket in (tickets := await self._tickets.all()) and (place := tickets.index(self._ticket)) > 0:
            if tickets[0] != first:
                first, since = tickets[0], time.monotonic()
            elif time.monotonic() - since > _PATIENCE_S:
                await self._tickets.remove(first)
            await asyncio.sleep(place * _ASK_EVERY_S)
