"""Bring a webhook its events: each of them, in order, one at a time, again and again until it is taken.

One process alone does it, under the lease of the webhook. What was taken when that process dies and was not written down
yet comes again, with the same id and sequence. A webhook that hangs or refuses keeps nobody waiting but itself.
"""

import asyncio
import time
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Final

import structlog

from tespes import errors
from tespes.events import Entry, cloud, codec
from tespes.events.cloud import CloudEvent
from tespes.flow.follow import follow, patiently
from tespes.flow.lead import Lease
from tespes.flow.post import Post, Refused, next_try_s
from tespes.flow.progress import Progress
from tespes.flow.webhooks import Parked, Webhook, Webhooks
from tespes.store import Checkpoints, Log

_LOOK_EVERY_S: Final = 0.5
_FRESH_S: Final = 1.0  # for how long what was read may be sent: something may be taken out of it meanwhile
_AT_ONCE: Final = 100

_log = structlog.get_logger(__name__)


class Delivery:
    """The follower of one webhook.

    :param source: which TESPES the events come from, see `cloud.source`
    """

    def __init__(self, webhook: Webhook, webhooks: Webhooks, log: Log, checkpoints: Checkpoints, source: str) -> None:
        """:raises errors.SetupError: see Post"""
        self._webhook = webhook
        self._webhooks = webhooks
        self._log = log
        self._progress = Progress(log, checkpoints, webhook.stream)
        self._source = source
        self._post = Post(webhook)
        self._lease = Lease(None, float("-inf"))
        self._read: dict[int, Entry] = {}
        self._read_s = float("-inf")

    async def run(self, lease: Lease) -> None:
        """Follow the log until cancelled. Whoever did it before is kept out first.

        :raises errors.LeaseLost: another process does it now; errors.StoreUnavailable: the database is away
        """
        self._lease = lease
        await self._progress.begin(lease.fence)
        while True:
            await self._resumed()
            try:
                await self._follow()
            except* errors.CorruptLog as group:
                reason = "; ".join(str(error) for error in group.exceptions)
                await self._park(self._progress.done + 1, reason)

    async def _follow(self) -> None:
        async with self._post:
            try:
                async with asyncio.TaskGroup() as group:
                    group.create_task(follow(self._webhook.stream, self._log, self._progress.done, self._bring))
                    group.create_task(self._progress.save_often())
            finally:
                await self._progress.save()

    async def _bring(self, entries: Sequence[Entry]) -> None:
        self._keep(entries)
        for entry in entries:
            for index in self._wanted(entry):
                await self._until_taken(entry, index)
            self._progress.done = entry.position

    def _keep(self, entries: Sequence[Entry]) -> None:
        self._read, self._read_s = {entry.position: entry for entry in entries}, time.monotonic()

    def _wanted(self, entry: Entry) -> Iterator[int]:
        """The places of those of its events that the webhook gets. What only a newer release knows is left out, and said."""
        if self._webhook.owner not in {None, entry.commit.meta.owner}:
            return
        for index, stored in enumerate(entry.commit.events):
            if not codec.is_known(stored):
                reason = f"{stored.type} version {stored.v} is not known to this release"
                self._webhooks.skip(self._webhook.name, entry.position, reason)
            elif stored.type in self._webhook.types:
                yield index

    async def _until_taken(self, entry: Entry, index: int) -> None:
        since, times = time.monotonic(), 0
        while (refused := await self._offer(await self._event(entry, index))) is not None:
            times += 1
            self._complain(entry.position, refused, times)
            left_s = since + (self._webhook.give_up_after_s or float("inf")) - time.monotonic()
            if refused.is_final or left_s <= 0:
                await self._park(entry.position, refused.reason)
                await self._resumed()
                since, times = time.monotonic(), 0
            else:
                await asyncio.sleep(min(next_try_s(times, refused.again_s), left_s))
            self._read_s = float("-inf")
        self._webhooks.tell(self._webhook.name, None)

    async def _event(self, entry: Entry, index: int) -> CloudEvent:
        """The event as it is now: what was taken out of it is not sent any more, however long it had to wait.

        :raises errors.CorruptLog: it cannot be read
        """
        if time.monotonic() - self._read_s > _FRESH_S or entry.position not in self._read:
            self._keep(await patiently(self._webhook.stream, partial(self._log.read, entry.position - 1, _AT_ONCE)))
        return cloud.one(self._read.get(entry.position, entry), index, self._source)

    async def _offer(self, event: CloudEvent) -> Refused | None:
        if not self._lease.is_held:
            raise errors.LeaseLost(f"the lease {self._webhook.stream} was not renewed in time")
        return await self._post.send(event)

    def _complain(self, position: int, refused: Refused, times: int) -> None:
        """Once in the log, and again and again where people look."""
        self._webhooks.tell(self._webhook.name, refused.reason)
        if times == 1:
            said = "a webhook does not take an event"
            _log.warning(said, webhook=self._webhook.name, position=position, reason=refused.reason)

    async def _park(self, position: int, reason: str) -> None:
        await self._progress.save()
        park = partial(self._webhooks.park, self._webhook.name, position, reason, self._lease.fence)
        await patiently(self._webhook.stream, park)

    async def _resumed(self) -> None:
        """Wait as long as it is parked, until an operator resumes it."""
        look = partial(self._webhooks.state, self._webhook.name)
        while isinstance(await patiently(self._webhook.stream, look), Parked):  # noqa: ASYNC110 - nobody tells of a single stream
            await asyncio.sleep(_LOOK_EVERY_S)
