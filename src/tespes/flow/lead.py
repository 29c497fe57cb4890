"""Do what one process alone may do, as long as no other does: leases that nobody's clock can break.

The holder of a lease renews its beat. Who sees the beat stand still for `expires_s` of its own steady clock takes the
lease: first `LeaseTaken` goes into the log, whose version is the new fence, and refuses from then on whatever the former
holder still wants to append (see `store.fences`); then the lease's document. The holder itself stops a little earlier.
No clock is compared with another, and none with the time of day.
"""

import asyncio
import os
import secrets
import socket
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, replace
from typing import Any, Final

import structlog

from tespes import errors, events
from tespes.events import Meta
from tespes.flow.execute import now
from tespes.flow.ids import new_id
from tespes.store import Fence, Held, Leases, Log

_ACTOR: Final = "tespes"
_NOBODY: Final = ""
_RENEWALS: Final = 5  # in the time in which a lease expires
_LOOKS: Final = 10
_MARGIN: Final = 0.1  # of that time: clocks do not run equally fast

_log = structlog.get_logger(__name__)


class Lease:
    """What a process has been entrusted with, for the time being.

    :param fence: what it appends and saves under; None where no other process can write
    """

    def __init__(self, fence: Fence | None, until: float) -> None:
        self.fence = fence
        self._until = until

    @property
    def is_held(self) -> bool:
        """Whether no other process can have taken it yet."""
        return time.monotonic() < self._until

    @property
    def left_s(self) -> float:
        """For how long it is held if it is not renewed."""
        return self._until - time.monotonic()

    def extend(self, until: float) -> None:
        """It was renewed."""
        self._until = until

    def lose(self) -> None:
        """Another process has it."""
        self._until = float("-inf")


Work = Callable[[Lease], Coroutine[Any, Any, None]]


def holder() -> str:
    """A name for this process that no other has."""
    return f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"


@dataclass(frozen=True, slots=True)
class Contender:
    """A process that would do what one alone may do.

    :param leases: None if there is no other process
    :param holder: its name; :param release_s: how long giving a lease back may take
    """

    leases: Leases | None
    log: Log
    holder: str
    expires_s: float
    release_s: float = 1.0

    async def lead(self, name: str, work: Work) -> None:
        """Do that work whenever the lease is held here, and stop when it is not, until cancelled.

        What the work raises ends everything, but for `errors.LeaseLost`, and `errors.Unavailable`: then it begins anew.
        """
        while True:
            try:
                await self._serve(name, work)
            except* errors.LeaseLost:
                _log.warning("a lease was lost", lease=name)
            except* errors.Unavailable as group:
                reasons = "; ".join(sorted({str(error) for error in group.exceptions}))
                _log.warning("what one process alone does begins anew", lease=name, reason=reasons)
            else:
                _log.error("what one process alone does ended by itself and begins anew", lease=name)
            await asyncio.sleep(self.expires_s / _LOOKS)

    async def _serve(self, name: str, work: Work) -> None:
        """Do the work once, as soon as the lease can be had."""
        if self.leases is None:
            await work(Lease(None, float("inf")))
            return
        contest = _Contest(self.leases, self.log, name, self.holder, self.expires_s)
        held, lease = await contest.win()
        await _Tenure(contest, held, lease, self.release_s).serve(work)


class _Contest:
    """For one lease, by one process."""

    def __init__(self, leases: Leases, log: Log, name: str, holder: str, expires_s: float) -> None:
        self.leases = leases
        self.name = name
        self.expires_s = expires_s
        self.look_every_s = expires_s / _LOOKS
        self._log = log
        self._holder = holder

    def expires(self, begun: float) -> float:
        """Until when a lease is held whose renewal began then."""
        return begun + self.expires_s * (1 - _MARGIN)

    async def win(self) -> tuple[Held, Lease]:
        """The lease, as soon as nobody else has it. An outage counts for nobody: what nobody sees does not stand still."""
        seen, since = await self.leases.look(self.name), time.monotonic()
        while True:
            stands_still = time.monotonic() - since >= self.expires_s
            if stands_still or seen is None or seen.holder in {_NOBODY, self._holder}:
                fence = await self._log.newest(Fence(self.name, 0).stream)
                if stands_still or not self._is_being_taken(seen, fence):
                    begun = time.monotonic()
                    if (taken := await self._take(seen, fence)) is not None:
                        return taken, Lease(Fence(self.name, taken.fence), self.expires(begun))
                    seen, since = await self.leases.look(self.name), time.monotonic()  # somebody was faster: wait anew
            await asyncio.sleep(self.look_every_s)
            present = await self.leases.look(self.name)
            if present != seen:
                seen, since = present, time.monotonic()

    def _is_being_taken(self, seen: Held | None, fence: int) -> bool:
        """Whether somebody else has written down that it takes what nobody has, and is about to put its name there."""
        if seen is not None and seen.holder == self._holder:
            return False
        return fence != (seen.fence if seen else 0)

    async def _take(self, seen: Held | None, fence: int) -> Held | None:
        """The lease, unless somebody else was faster. First the event: from then on the former holder is refused.

        :param fence: the newest in the log
        """
        if seen is None or seen.holder != self._holder or seen.fence != fence:
            try:
                fence = await self._write_down(fence + 1)
            except errors.VersionConflict:
                return None
        taken = Held(self.name, self._holder, fence, seen.beat + 1 if seen else 1)
        if not await self.leases.put(taken, seen):
            return None
        _log.info("a lease is held", lease=self.name, fence=fence, holder=self._holder)
        return taken

    async def _write_down(self, version: int) -> int:
        happened = [events.LeaseTaken(name=self.name, holder=self._holder)]
        meta = Meta(at=now(), actor=_ACTOR, owner=_ACTOR)
        await self._log.append(events.commit(new_id(), Fence(self.name, version).stream, version, happened, meta))
        return version


class _Tenure:
    """From the taking of a lease to its loss or release."""

    def __init__(self, contest: _Contest, held: Held, lease: Lease, release_s: float) -> None:
        self._contest = contest
        self._held = held
        self._lease = lease
        self._release_s = release_s

    async def serve(self, work: Work) -> None:
        """Do the work as long as the lease is held; give it back when cancelled, and when the work ends.

        :raises errors.LeaseLost: another process has it; and whatever the work raises
        """
        working = asyncio.ensure_future(work(self._lease))
        renewing = asyncio.ensure_future(self._renew())
        try:
            await asyncio.wait({working, renewing}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in (working, renewing):
                each.cancel()
            await asyncio.wait({working, renewing})
            if self._lease.is_held:
                await self._release()
        for each in (working, renewing):
            if not each.cancelled() and (error := each.exception()) is not None:
                raise error
        if not self._lease.is_held:
            raise errors.LeaseLost(f"the lease {self._contest.name} was not renewed in time")

    async def _renew(self) -> None:
        """Go on until the lease is lost."""
        while self._lease.is_held:
            await asyncio.sleep(min(self._contest.expires_s / _RENEWALS, self._lease.left_s))
            begun = time.monotonic()
            try:
                async with asyncio.timeout(max(self._lease.left_s, 0)):
                    if not await self._beat():
                        self._lease.lose()
                        return
            except (errors.Unavailable, TimeoutError) as error:
                _log.warning("a lease could not be renewed", lease=self._contest.name, reason=str(error))
                continue
            self._lease.extend(self._contest.expires(begun))

    async def _beat(self) -> bool:
        """Whether the lease still was this process's own; also if an answer to the beat before got lost."""
        renewed = replace(self._held, beat=self._held.beat + 1)
        if await self._contest.leases.put(renewed, self._held):
            self._held = renewed
            return True
        if await self._contest.leases.look(self._contest.name) != renewed:
            return False
        self._held = renewed
        return True

    async def _release(self) -> None:
        """So that another process takes the lease at once. One that was lost in the log, too, may be taken by anybody.

        A beat may have been on its way when it was cancelled: then the lease is not as it was seen, but still its own.
        """
        seen: Held | None = self._held
        try:
            async with asyncio.timeout(self._release_s):
                while seen is not None and (seen.holder, seen.fence) == (self._held.holder, self._held.fence):
                    if await self._contest.leases.put(replace(seen, holder=_NOBODY, beat=seen.beat + 1), seen):
                        return
                    seen = await self._contest.leases.look(self._contest.name)
        except (errors.Unavailable, TimeoutError) as error:
            _log.warning("a lease was not given back", lease=self._contest.name, reason=str(error))
