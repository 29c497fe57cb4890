"""The link to a Pulsar, against a real RabbitMQ: what somebody does to its queues does not make it deaf or mute."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import aio_pika
import pytest

from tespes import errors
from tespes.local.rabbitmq import PrivateRabbitMQ
from tespes.pulsar import Link, Site, wire

pytestmark = pytest.mark.servers


class Ear:
    """Hears what the link hears; does not understand what begins with `?`."""

    def __init__(self) -> None:
        self.heard: list[bytes] = []

    async def handle(self, _: str, body: bytes) -> str | None:
        """See Link."""
        self.heard.append(body)
        return "not understood" if body.startswith(b"?") else None

    async def hears(self, body: bytes) -> None:
        """Wait until it heard that."""
        async with asyncio.timeout(15):
            while body not in self.heard:  # noqa: ASYNC110 - the tests wait for what comes, whoever brings it
                await asyncio.sleep(0.02)


@asynccontextmanager
async def linked(rabbitmq: PrivateRabbitMQ, manager: str, ear: Ear) -> AsyncIterator[Link]:
    """A link that runs."""
    site = Site(manager, rabbitmq.url, manager, None, 1, {"kind": "sandbox"}, "http://127.0.0.1:1")
    link = Link(site, ear.handle)
    running = asyncio.ensure_future(link.run())
    try:
        async with asyncio.timeout(10):
            await link.up.wait()
        yield link
    finally:
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running


async def publish(rabbitmq: PrivateRabbitMQ, manager: str, *bodies: bytes) -> None:
    """As Pulsar does: to the status queue, without asking whether it is there."""
    async with await aio_pika.connect(rabbitmq.url) as connection:
        channel = await connection.channel()
        exchange = await channel.declare_exchange(wire.EXCHANGE, durable=True)
        for body in bodies:
            await exchange.publish(aio_pika.Message(body), f"pulsar_{manager}__status_update", mandatory=False)


async def test_a_backlog_of_rubbish_does_not_block_what_follows(rabbitmq: PrivateRabbitMQ) -> None:
    """More of it than is fetched at a time waited before the link came up; what comes after it is heard."""
    ear = Ear()
    async with linked(rabbitmq, "backlog", ear):
        pass
    await publish(rabbitmq, "backlog", *[b"?%d" % number for number in range(600)], b"sense")
    async with linked(rabbitmq, "backlog", ear):
        await ear.hears(b"sense")
    assert len(ear.heard) >= 601


async def test_a_deleted_queue_is_declared_again(rabbitmq: PrivateRabbitMQ) -> None:
    """Of those that are listened to, at once; of those that are sent to, with the first message that finds no queue."""
    ear = Ear()
    async with linked(rabbitmq, "deleted", ear) as link:
        async with await aio_pika.connect(rabbitmq.url) as connection:
            channel = await connection.channel()
            await channel.queue_delete("pulsar_deleted__status_update")
            await channel.queue_delete("pulsar_deleted__setup")
        async with asyncio.timeout(15):
            while b"heard" not in ear.heard:
                await publish(rabbitmq, "deleted", b"heard")
                await asyncio.sleep(0.1)
            while True:
                with suppress(errors.BrokerUnavailable):
                    await link.submit("task-1", "true")
                    break
                await asyncio.sleep(0.1)
