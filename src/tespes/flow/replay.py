"""Publish events of the log again: the same ids and sequences, so whoever has them already drops them."""

import asyncio
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator
from typing import Any, Final
from urllib.parse import urlsplit

import aiormq
from aiormq.exceptions import AMQPError

from tespes import errors
from tespes.events import cloud
from tespes.events.cloud import CloudEvent
from tespes.flow import message
from tespes.pulsar import broker
from tespes.store import Log

_IN_FLIGHT: Final = 256
_AT_ONCE: Final = 500


async def between(log: Log, first: int, last: int, source: str) -> AsyncIterator[CloudEvent]:
    """The events of these positions, as everybody may see them.

    :raises errors.BadRequest: the log has no such positions; errors.CorruptLog: one of them is missing
    """
    head = (await log.head()).position
    if not 1 <= first <= last <= head:
        raise errors.BadRequest("from", f"{first} to {last}", f"positions from 1 to {head} are expected")
    after = first - 1
    while after < last:
        for entry in await log.read_to(last, after, _AT_ONCE):
            for event in cloud.of(entry, source):
                yield event
            after = entry.position


async def publish(found: AsyncIterable[CloudEvent], url: str, exchange: str) -> int:
    """Publish them in order; how many there were, once all are confirmed.

    :param url: of the RabbitMQ that has the exchange
    :raises errors.SetupError: that is no URL of a RabbitMQ
    :raises errors.BrokerUnavailable: it does not answer, has no such exchange, or did not confirm all of them
    """
    if not _is_url(url):
        raise errors.SetupError("events.url is no URL of a RabbitMQ, such as amqp://user:password@host:5672/vhost")
    try:
        with broker.talking():
            async with await broker.connect(url) as connection:
                channel = await connection.channel(publisher_confirms=True)
                await channel.get_exchange(exchange)
                return await _send(await message.wire(channel), exchange, found)
    except (AMQPError, OSError, TimeoutError, RuntimeError) as error:
        raise errors.BrokerUnavailable(f"RabbitMQ at {broker.shown(url)} did not take all of them: {error}") from error


def _is_url(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in ("amqp", "amqps") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port that is no number
        return False


async def _send(channel: aiormq.Channel, exchange: str, found: AsyncIterable[CloudEvent]) -> int:
    count = 0
    waiting: deque[asyncio.Future[Any]] = deque()
    try:
        async for event in found:
            if len(waiting) == _IN_FLIGHT:
                await waiting.popleft()
            waiting.append(asyncio.ensure_future(message.publish(channel, exchange, event)))
            count += 1
        await asyncio.gather(*waiting)
    finally:
        for each in waiting:
            each.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
    return count
