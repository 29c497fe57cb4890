"""Publish every event on a topic exchange of RabbitMQ: CloudEvents in the binary mode of their AMQP binding.

At least once, and first copies in the order of the log. Every connection begins behind what is known to be confirmed and
leaves nothing out from there. So whatever has arrived, from however many connections and processes, is the log up to some
position; the lease only spares everybody a second copy of all of it.

A queue that refuses messages (`x-overflow: reject-publish`) breaks the order in itself: what is on its way behind the one
that was refused gets in as soon as there is room, and that one comes later. Nothing is missing there, but only ids help.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from functools import partial
from typing import Any, Final

import aio_pika
import aiormq
import structlog
from aio_pika.abc import AbstractChannel, AbstractConnection
from aiormq.exceptions import ChannelPreconditionFailed

from tespes import errors
from tespes.events import Entry, cloud
from tespes.flow import message
from tespes.flow.flight import BROKEN, Flight
from tespes.flow.follow import follow
from tespes.flow.lead import Lease
from tespes.flow.progress import begun
from tespes.pulsar import broker
from tespes.store import Checkpoints, Fence, Log

NAME: Final = "publish"
_AT_A_STRETCH: Final = 20
_SAVE_EVERY_S: Final = 0.1
_SLOW_S: Final = 5.0
_CONFIRM_S: Final = 30.0
_ANSWER_S: Final = 30.0
_GOODBYE_S: Final = 3.0
_BACK_OFF_S: Final = (0.2, 10.0)

_log = structlog.get_logger(__name__)


class Publisher:
    """The follower that publishes.

    :param url: of the RabbitMQ; :param exchange: the exchange's name; :param source: see `cloud.source`

    `trouble` is why nothing goes on, for a person; None if it does, or another process does it. `skipped` counts the events
    that this process could not read: they are not published.
    """

    def __init__(self, log: Log, checkpoints: Checkpoints, url: str, exchange: str, source: str) -> None:
        self._log = log
        self._checkpoints = checkpoints
        self._url = url
        self._exchange = exchange
        self._source = source
        self.trouble: str | None = None
        self.skipped = 0

    async def run(self, lease: Lease) -> None:
        """Publish until cancelled, over one connection after the other. Whoever did it before is kept out first.

        :raises errors.LeaseLost: another process does it now; errors.StoreUnavailable: the database is away
        """
        await self._checkpoints.move(NAME, 0, lease.fence)
        pause = _BACK_OFF_S[0]
        try:
            while True:
                flight = Flight(await begun(self._log, self._checkpoints, NAME))
                try:  # not within broker.talking: a TaskGroup that fails counts as a cancellation for ever (Python below 3.13)
                    await self._connected(flight, lease.fence)
                except* (*BROKEN, errors.CorruptLog, errors.SetupError) as group:
                    self._complain(group)
                pause = _BACK_OFF_S[0] if flight.has_progressed else min(pause * 2, _BACK_OFF_S[1])
                await asyncio.sleep(pause)
        finally:
            self.trouble = None

    async def _connected(self, flight: Flight, fence: Fence | None) -> None:
        """Until the connection is gone, or nothing is confirmed."""
        connection = await self._connection()
        try:
            with broker.talking():
                channel = await self._opened(connection)
                wire = await message.wire(channel)
            _log.info("events are published", exchange=self._exchange, broker=broker.shown(self._url), after=flight.confirmed)
            try:
                async with asyncio.TaskGroup() as group:
                    group.create_task(follow(NAME, self._log, flight.confirmed, partial(self._send, flight, wire)))
                    group.create_task(flight.settle())
                    group.create_task(self._watch(flight, fence))
                    group.create_task(_until_closed(channel))
            finally:
                await flight.land()
                with contextlib.suppress(errors.LeaseLost, errors.Unavailable):
                    await self._save(flight, fence)
        finally:
            await _say_goodbye(connection)

    async def _connection(self) -> AbstractConnection:
        try:
            async with _answered("a login"):
                with broker.talking():
                    return await broker.connect(self._url)
        except ValueError as error:
            raise errors.SetupError("events.url cannot be read: write / and # in user or password as %2F and %23") from error

    async def _opened(self, connection: AbstractConnection) -> AbstractChannel:
        """A channel with confirms, and the exchange declared.

        :raises errors.SetupError: there is another exchange of that name
        """
        async with _answered("who asks for the exchange"):
            channel = await connection.channel(publisher_confirms=True)
            try:
                await channel.declare_exchange(self._exchange, aio_pika.ExchangeType.TOPIC, durable=True)
            except ChannelPreconditionFailed as error:
                raise errors.SetupError(
                    f"the exchange {self._exchange} is there and is no durable topic exchange: delete it, or name another with"
                    f" events.exchange ({error})"
                ) from error
            return channel

    async def _send(self, flight: Flight, wire: aiormq.Channel, entries: Sequence[Entry]) -> None:
        """Send the events of these entries, in order, as soon as there is room for them."""
        for index, entry in enumerate(entries):
            if index % _AT_A_STRETCH == _AT_A_STRETCH - 1:
                await asyncio.sleep(0)  # catching up must not keep requests waiting
            found = list(cloud.of(entry, self._source, self._skip))
            for number, event in enumerate(found, start=1):
                await flight.room()
                publishing = asyncio.ensure_future(message.publish(wire, self._exchange, event))
                flight.add(entry.position if number == len(found) else entry.position - 1, publishing)
            if not found:
                await flight.room()
                flight.add(entry.position, _nothing())

    def _skip(self, error: errors.TespesError) -> None:
        self.skipped += 1
        _log.warning("an event is not published, for it cannot be read", reason=str(error))

    async def _watch(self, flight: Flight, fence: Fence | None) -> None:
        """Write down now and then how far it is, and see whether RabbitMQ still confirms.

        :raises TimeoutError: it does not; whatever is the matter, another connection may do better
        """
        while True:
            await asyncio.sleep(_SAVE_EVERY_S)
            await self._save(flight, fence)
            if flight.waits_s > _CONFIRM_S:
                raise TimeoutError(_unconfirmed(flight))
            if flight.waits_s > _SLOW_S:
                self.trouble = _unconfirmed(flight)
            elif flight.has_progressed or flight.is_empty:
                self.trouble = None

    async def _save(self, flight: Flight, fence: Fence | None) -> None:
        position = flight.confirmed
        if position > flight.saved:
            await self._checkpoints.move(NAME, position, fence)
            flight.saved = position

    def _complain(self, group: BaseExceptionGroup[Any]) -> None:
        self.trouble = "; ".join(sorted(_reasons(group)))
        _log.warning("events cannot be published", exchange=self._exchange, reason=self.trouble)


@contextlib.asynccontextmanager
async def _answered(what: str) -> AsyncIterator[None]:
    """:raises TimeoutError: it was not, in time; in words, for the library and Python have none."""
    try:
        async with asyncio.timeout(_ANSWER_S):
            yield
    except TimeoutError as error:
        raise TimeoutError(f"RabbitMQ does not answer {what}") from error


async def _say_goodbye(connection: AbstractConnection) -> None:
    """The library waits for the other side without limit, even for one that is gone."""
    with contextlib.suppress(*BROKEN):
        async with asyncio.timeout(_GOODBYE_S):
            await connection.close()


async def _until_closed(channel: AbstractChannel) -> None:
    """Whoever sends nothing hears only here that the connection broke."""
    with broker.talking():
        await channel.closed()
    raise ConnectionError("RabbitMQ closed the connection")


def _nothing() -> asyncio.Future[None]:
    """In the place of a message: there is none."""
    done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    done.set_result(None)
    return done


def _unconfirmed(flight: Flight) -> str:
    return f"RabbitMQ has confirmed nothing for {flight.waits_s:.0f} s: see whether it is short of memory or disk"


def _reasons(error: BaseException) -> set[str]:
    if isinstance(error, BaseExceptionGroup):
        return {reason for each in error.exceptions for reason in _reasons(each)}
    return {str(error) or type(error).__name__}
