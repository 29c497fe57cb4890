"""How far a follower is that keeps no documents: written down now and then. What came after that comes again."""

import asyncio
from typing import Final

import structlog

from tespes import errors
from tespes.flow.follow import is_ahead
from tespes.store import Checkpoints, Fence, Log

_SAVE_EVERY_S: Final = 0.2

_log = structlog.get_logger(__name__)


async def begun(log: Log, checkpoints: Checkpoints, name: str) -> int:
    """The position behind which it goes on; 0 if what is written down is of another log, as after a restore.

    Such a position says nothing of what was done of this log: only so nothing is left out, and who knows a copy drops it.
    """
    position = await checkpoints.position(name)
    if not await is_ahead(log, position):
        return position
    _log.error("a follower is ahead of the log and begins anew", follower=name, position=position)
    await checkpoints.reset(name, 0)
    return 0


class Progress:
    """Of one follower.

    :param name: the follower's, and its checkpoint's

    `done` is the position up to which all is done.
    """

    def __init__(self, log: Log, checkpoints: Checkpoints, name: str) -> None:
        self._log = log
        self._checkpoints = checkpoints
        self._name = name
        self._fence: Fence | None = None
        self.done = self._saved = 0

    async def begin(self, fence: Fence | None) -> None:
        """Keep out whoever did it before, and go on where it is written down.

        :raises errors.LeaseLost: another process does it now; errors.StoreUnavailable: the database is away
        """
        self._fence = fence
        await self._checkpoints.move(self._name, 0, fence)
        self.done = self._saved = await begun(self._log, self._checkpoints, self._name)

    async def save_often(self) -> None:
        """Until cancelled; raises as `save` does."""
        while True:
            await asyncio.sleep(_SAVE_EVERY_S)
            await self.save()

    async def save(self) -> None:
        """Write it down, if the database is there; else next time.

        :raises errors.LeaseLost: another process does it now
        """
        done = self.done
        if done == self._saved:
            return
        try:
            await self._checkpoints.move(self._name, done, self._fence)
            self._saved = done
        except errors.Unavailable as error:
            _log.warning("how far a follower is could not be saved", follower=self._name, reason=str(error))
