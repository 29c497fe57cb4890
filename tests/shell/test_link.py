"""The link to a Pulsar, against a real RabbitMQ: what somebody does to its queues does not make it deaf or mute."""

import asyncio
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from urllib.parse import urlsplit

import aio_pika
import pytest

from simulated import Way
from tespes import errors
from tespes.local import rabbitmq as local_rabbitmq
from tespes.local.rabbitmq import PrivateRabbitMQ
from tespes.pulsar import Site, amqp, broker, wire

pytestmark = pytest.mark.servers

RABBITMQCTL = "/usr/lib/rabbitmq/bin/rabbitmqctl"


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
async def linked(rabbitmq: PrivateRabbitMQ, manager: str, ear: Ear) -> AsyncIterator[amqp.Link]:
    """A link that runs."""
    site = Site(manager, rabbitmq.url, manager, None, 1, {"kind": "sandbox"}, "http://127.0.0.1:1")
    link = amqp.Link(site, ear.handle)
    async with running(link):
        yield link


@asynccontextmanager
async def running(link: amqp.Link) -> AsyncIterator[None]:
    """The link runs, and is up."""
    at_work = asyncio.ensure_future(link.run())
    try:
        async with asyncio.timeout(10):
            await link.up.wait()
        yield
    finally:
        at_work.cancel()
        with suppress(asyncio.CancelledError):
            await at_work


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


async def test_a_pulsar_that_reads_no_queue_is_in_trouble_until_it_does(rabbitmq: PrivateRabbitMQ) -> None:
    """Not at the first look: it may just be starting. A consumer that died leaves the others: all three must be there."""
    site = Site("reads", rabbitmq.url, "reads", None, 1, {"kind": "sandbox"}, "http://127.0.0.1:1")
    link = amqp.Link(site, Ear().handle, look_s=0.2)
    connected = asyncio.Event()
    async with running(link), await aio_pika.connect(rabbitmq.url) as connection:
        assert link.trouble is None
        await until(lambda: link.trouble is not None)
        assert "pulsar_reads__setup, pulsar_reads__kill, pulsar_reads__status" in str(link.trouble)
        link.connected = connected.set
        channel = await connection.channel()
        queues = [await channel.declare_queue(f"pulsar_reads__{name}", durable=True) for name in wire.COMMANDS]
        tags = [await queue.consume(ignore) for queue in queues]
        await until(lambda: link.trouble is None)
        assert connected.is_set()
        await queues[1].cancel(tags[1])
        await until(lambda: "nobody reads pulsar_reads__kill:" in str(link.trouble))


async def test_a_link_that_does_not_listen_leaves_messages_to_others(rabbitmq: PrivateRabbitMQ) -> None:
    """It sends all the same."""
    deaf, ear = Ear(), Ear()
    site = Site("deaf", rabbitmq.url, "deaf", None, 1, {"kind": "sandbox"}, "http://127.0.0.1:1")
    link = amqp.Link(site, deaf.handle, listens=False)
    async with running(link):
        await publish(rabbitmq, "deaf", b"a word")
        await link.submit("task-1", "true")
        async with linked(rabbitmq, "deaf", ear):
            await ear.hears(b"a word")
    assert deaf.heard == []


async def test_a_link_that_is_stopped_finishes_what_it_heard(rabbitmq: PrivateRabbitMQ) -> None:
    """And acknowledges it: nobody hears it a second time."""
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def handle(_: str, body: bytes) -> None:
        begun.set()
        await go_on.wait()

    site = Site("stopped", rabbitmq.url, "stopped", None, 1, {"kind": "sandbox"}, "http://127.0.0.1:1")
    ear = Ear()
    async with running(amqp.Link(site, handle)):
        await publish(rabbitmq, "stopped", b"once")
        await begun.wait()
        asyncio.get_running_loop().call_later(0.3, go_on.set)
    async with linked(rabbitmq, "stopped", ear):
        await publish(rabbitmq, "stopped", b"twice")
        await ear.hears(b"twice")
    assert ear.heard == [b"twice"]


async def test_a_broker_that_takes_no_messages_is_in_trouble_until_it_does(rabbitmq: PrivateRabbitMQ) -> None:
    """Its memory alarm: one message waits in vain, those after it fail at once, and the end of the alarm is heard of."""
    site = Site("full", rabbitmq.url, "full", None, 1, {"kind": "sandbox"}, "http://127.0.0.1:1")
    link = amqp.Link(site, Ear().handle, confirm_s=0.5)
    connected = asyncio.Event()
    async with running(link):
        await link.submit("task-1", "true")
        await control(rabbitmq, "set_vm_memory_high_watermark", "0.000001")
        try:
            with pytest.raises(errors.BrokerUnavailable, match="did not confirm"):
                await link.submit("task-2", "true")
            assert "takes no messages" in str(link.trouble)
            link.connected = connected.set
            with pytest.raises(errors.BrokerUnavailable, match="takes no messages"):
                await link.submit("task-3", "true")
            assert not connected.is_set()
        finally:
            await control(rabbitmq, "set_vm_memory_high_watermark", "0.4")
        async with asyncio.timeout(15):
            await connected.wait()
        assert "takes no messages" not in str(link.trouble)
        await link.submit("task-3", "true")


async def control(node: PrivateRabbitMQ, *command: str) -> None:
    """Tell RabbitMQ something, as its operator does."""
    environment = local_rabbitmq._environment(node._directory, node._node())
    environment.pop("RUNNING_UNDER_SYSTEMD")
    process = await asyncio.create_subprocess_exec(
        RABBITMQCTL, *command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    _, said = await process.communicate()
    assert process.returncode == 0, said.decode()


async def ignore(_: aio_pika.abc.AbstractIncomingMessage) -> None:
    """Read nothing."""


async def until(true: Callable[[], bool]) -> None:
    """Wait until that is true."""
    async with asyncio.timeout(15):
        while not true():  # noqa: ASYNC110 - the tests wait for what comes, whoever brings it
            await asyncio.sleep(0.02)


@pytest.mark.parametrize("after_s", [0.005 * step for step in range(4, 36, 2)])
async def test_a_connection_that_breaks_at_any_moment_is_opened_again(rabbitmq: PrivateRabbitMQ, after_s: float) -> None:
    """Also in the middle of a question, when the library cancels whoever asked."""
    parts = urlsplit(rabbitmq.url)
    async with Way(parts.port or 0) as way:
        way.delay_s = 0.003
        url = parts._replace(netloc=f"{parts.username}:{parts.password}@127.0.0.1:{way.port}").geturl()
        link = amqp.Link(Site("broken", url, "broken", None, 1, {"kind": "sandbox"}, "http://127.0.0.1:1"), Ear().handle)
        running = asyncio.ensure_future(link.run())
        try:
            await asyncio.sleep(after_s)
            way.cut()
            async with asyncio.timeout(15):
                await asyncio.wait({running, asyncio.ensure_future(link.up.wait())}, return_when=asyncio.FIRST_COMPLETED)
            assert not running.done()
        finally:
            running.cancel()
            with suppress(asyncio.CancelledError):
                await running


@pytest.mark.parametrize("raised", [Exception(), asyncio.CancelledError()], ids=["a bare exception", "a cancel by nobody"])
async def test_a_break_is_a_connection_error_whatever_the_library_makes_of_it(raised: BaseException) -> None:
    """Both were seen when a connection broke while a channel was being opened."""
    with pytest.raises(ConnectionError), broker.talking():
        raise raised


async def test_an_error_of_another_kind_stays_what_it_is() -> None:
    """A fault of ours is no broken connection."""
    with pytest.raises(LookupError), broker.talking():
        raise LookupError


@pytest.mark.parametrize("raised", [None, ConnectionError(), Exception()], ids=["nothing", "an error", "a bare exception"])
async def test_a_cancellation_that_the_library_swallows_is_one_all_the_same(raised: Exception | None) -> None:
    """Whoever is cancelled once must end: the process waits for that."""
    begun = asyncio.Event()

    async def talk() -> None:
        with broker.talking():
            begun.set()
            with suppress(asyncio.CancelledError):
                await asyncio.Event().wait()
            if raised is not None:
                raise raised
        raise AssertionError("it went on")

    talks = asyncio.ensure_future(talk())
    await begun.wait()
    talks.cancel()
    with pytest.raises(asyncio.CancelledError):
        await talks
