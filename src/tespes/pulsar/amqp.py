"""The connection to one Pulsar's queues, kept up by ourselves.

A robust connection of aio-pika restores channels in the background but does not say when, and does not repeat what was
being published. So: a plain connection, one loop that opens it again, and a send that either is confirmed or says no.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

import aio_pika
import structlog
from aio_pika.abc import AbstractChannel, AbstractExchange, AbstractIncomingMessage, AbstractQueue, HeadersType
from aiormq.exceptions import AMQPError, AuthenticationError, DeliveryError, ProbableAuthenticationError
from pamqp.common import FieldTable

from tespes import errors
from tespes.pulsar import wire
from tespes.pulsar.site import Site

Handler = Callable[[str, bytes], Awaitable[str | None]]

DEAD = "tespes.dead"
_PREFETCH = 256
_CONFIRM_S = 10.0
_BACK_OFF_S = (0.2, 5.0)
_REASON_CHARACTERS = 1000
_QUORUM: FieldTable = {"x-queue-type": "quorum"}

_log = structlog.get_logger(__name__)


class Link:
    """What TESPES says to, and hears from, one Pulsar.

    :param handle: called with the queue's plain name and the body of each message from Pulsar; None means done, a text
        is the reason why nobody can do anything with it: it then goes to the queue `tespes.dead`. It must not raise.

    `up` is set while there is a connection; `connected` is called each time there is a new one.
    """

    def __init__(self, site: Site, handle: Handler) -> None:
        self.site = site
        self.connected: Callable[[], None] = lambda: None
        self._handle = handle
        self._prefix = wire.prefix(site.manager, site.key_prefix)
        self._channel: AbstractChannel | None = None
        self._exchange: AbstractExchange | None = None
        self._stale = asyncio.Event()
        self.up = asyncio.Event()

    async def run(self) -> None:
        """Keep the connection up until cancelled."""
        pause = _BACK_OFF_S[0]
        while True:
            try:
                await self._connected()
                pause = _BACK_OFF_S[0]
            except (AMQPError, OSError, TimeoutError) as error:
                _log.warning("RabbitMQ is away", pulsar=self.site.name, broker=shown(self.site.broker_url), reason=str(error))
            await asyncio.sleep(pause)
            pause = min(pause * 2, _BACK_OFF_S[1])

    async def submit(self, job_id: str, command_line: str) -> None:
        """Send a job. The broker has it safely when this returns.

        :raises errors.BrokerUnavailable: nobody knows whether it has
        """
        await self._send("setup", wire.setup(job_id, command_line))

    async def kill(self, job_id: str) -> None:
        """Send a kill; raises as `submit` does."""
        await self._send("kill", wire.kill(job_id))

    async def ask(self, job_id: str) -> None:
        """Ask for the status; raises as `submit` does."""
        await self._send("status", wire.status_request(job_id))

    async def acknowledge(self, wanted: wire.Acknowledge) -> None:
        """Answer a Pulsar that has `amqp_acknowledge`; raises as `submit` does."""
        await self._send(wanted.queue, wire.acknowledgement(wanted.uuid))

    async def _connected(self) -> None:
        """Declare, consume, and return when the connection is gone."""
        connection = await aio_pika.connect(self.site.broker_url, timeout=10)
        async with connection:
            channel = await connection.channel(publisher_confirms=True, on_return_raises=True)
            await channel.set_qos(prefetch_count=_PREFETCH)
            exchange, answers = await self._declare(channel)
            self._channel, self._exchange = channel, exchange
            try:
                for name, queue in answers.items():
                    await queue.consume(self._consumer(name))
                underlay = await channel.get_underlay_channel()
                underlay.on_consumer_cancel_callbacks.add(self._queue_deleted)
                self.up.set()
                self.connected()
                _log.info("connected to RabbitMQ", pulsar=self.site.name, broker=shown(self.site.broker_url))
                await self._until_closed(channel)
            finally:
                self.up.clear()
                self._channel = self._exchange = None

    async def _declare(self, channel: AbstractChannel) -> tuple[AbstractExchange, dict[str, AbstractQueue]]:
        """Every queue, exactly as Pulsar declares them: what Pulsar publishes to a queue that is not there is gone.

        What comes back is the exchange, and the queues of Pulsar's answers by their plain names.
        """
        exchange = await channel.declare_exchange(wire.EXCHANGE, aio_pika.ExchangeType.DIRECT, durable=True)
        await channel.declare_queue(DEAD, durable=True, arguments=_QUORUM)
        answers = {}
        for name in (*wire.COMMANDS, *wire.ANSWERS):
            full_name = wire.queue(self._prefix, name)
            declared = await channel.declare_queue(full_name, durable=True)
            await declared.bind(exchange, routing_key=full_name)
            if name in wire.ANSWERS:
                answers[name] = declared
        return exchange, answers

    async def _until_closed(self, channel: AbstractChannel) -> None:
        """Until the channel is closed, or a queue is gone and everything must be declared again."""
        self._stale.clear()
        ends = {asyncio.ensure_future(channel.closed()), asyncio.ensure_future(self._stale.wait())}
        try:
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in ends:
                each.cancel()

    def _queue_deleted(self, _: object) -> None:
        _log.warning("a queue was deleted and is declared again", pulsar=self.site.name)
        self._stale.set()

    def _consumer(self, name: str) -> Callable[[AbstractIncomingMessage], Awaitable[None]]:
        async def consume(message: AbstractIncomingMessage) -> None:
            """Acknowledge after the append, or after the dead letter is confirmed; else the broker brings it again."""
            reason = await self._handle(name, message.body)
            try:
                if reason is not None:
                    await self._bury(message, name, reason[:_REASON_CHARACTERS])
                await message.ack()
            except (AMQPError, OSError, TimeoutError, RuntimeError) as error:
                _log.info("a message could not be settled and will come again", queue=name, reason=str(error))
                await asyncio.sleep(_BACK_OFF_S[1])
                with contextlib.suppress(AMQPError, OSError, RuntimeError):
                    await message.nack(requeue=True)

        return consume

    async def _bury(self, message: AbstractIncomingMessage, name: str, reason: str) -> None:
        channel = self._channel
        if channel is None:
            raise ConnectionError("the channel is gone")
        _log.warning("a message goes to the dead letters", queue=name, pulsar=self.site.name, reason=reason)
        headers: HeadersType = {"tespes-reason": reason, "tespes-queue": name, "tespes-pulsar": self.site.name}
        letter = aio_pika.Message(message.body, headers=headers, delivery_mode=aio_pika.DeliveryMode.PERSISTENT)
        async with asyncio.timeout(_CONFIRM_S):
            await channel.default_exchange.publish(letter, routing_key=DEAD)

    async def _send(self, name: str, body: bytes) -> None:
        exchange = self._exchange
        if exchange is None:
            raise errors.BrokerUnavailable(f"RabbitMQ at {shown(self.site.broker_url)} is away")
        message = aio_pika.Message(
            body,
            content_type=wire.CONTENT_TYPE,
            content_encoding="utf-8",
            delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
        )
        try:
            async with asyncio.timeout(_CONFIRM_S):
                await exchange.publish(message, routing_key=wire.queue(self._prefix, name), mandatory=True)
        except (AMQPError, DeliveryError, OSError, TimeoutError, RuntimeError) as error:
            if isinstance(error, DeliveryError):  # nobody has the queue any more: declare it again
                self._stale.set()
            raise errors.BrokerUnavailable(f"RabbitMQ did not confirm a message to {name}: {error}") from error


async def check(url: str) -> None:
    """Log in once, to find out before anything starts.

    :raises errors.SetupError: the broker refuses the login or the vhost
    :raises errors.BrokerUnavailable: nobody answers
    """
    try:
        connection = await aio_pika.connect(url, timeout=10)
    except (AuthenticationError, ProbableAuthenticationError) as error:
        raise errors.SetupError(
            f"RabbitMQ at {shown(url)} refuses the login: mend user and password in rabbitmq.url"
        ) from error
    except ValueError as error:
        raise errors.SetupError("rabbitmq.url cannot be read: write / and # in user or password as %2F and %23") from error
    except (AMQPError, OSError, TimeoutError) as error:
        if "NOT_ALLOWED" in str(error):
            raise errors.SetupError(f"RabbitMQ at {shown(url)} refuses the vhost: mend rabbitmq.url") from error
        raise errors.BrokerUnavailable(f"RabbitMQ does not answer at {shown(url)}: {error}") from error
    with contextlib.suppress(AMQPError, OSError):
        await connection.close()


def shown(url: str) -> str:
    """A broker's address for people: without user and password."""
    parts = urlsplit(url)
    return f"{parts.hostname}:{parts.port or (5671 if parts.scheme == 'amqps' else 5672)}{parts.path}"
