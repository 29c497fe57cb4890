"""The link to one Pulsar's queues (see promise.Link), kept up by ourselves.

A robust connection of aio-pika restores channels in the background but does not say when, and does not repeat what was
being published. So: a plain connection, one loop that opens it again, and a send that either is confirmed or says no.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping

import aio_pika
import structlog
from aio_pika.abc import AbstractChannel, AbstractConnection, AbstractExchange, AbstractIncomingMessage, AbstractQueue
from aiormq.exceptions import AMQPError, DeliveryError

from tespes import errors
from tespes.pulsar import broker, dead, topology, wire
from tespes.pulsar.promise import Handler, Queue
from tespes.pulsar.site import Site

_PREFETCH = 256
_DECLARE_S = 30.0
_PROBE = "tespes.probe"  # there is no such queue: RabbitMQ takes the message, and drops it
_BACK_OFF_S = (0.2, 5.0)
_TRIES_AFTER_S = (0.0, 0.2, 1.0)
_DEAD = "dead"  # plain name of the queue of the dead letters, which all Pulsars of a RabbitMQ share
_HEARD = "status_update"  # the queue in which Pulsar says what becomes of jobs
_LOOKS_IN_TROUBLE = 5  # for each of other times

_log = structlog.get_logger(__name__)


class Link:
    """See promise.Link.

    :param handle: see promise.Handler; what nobody can do anything with goes to the queue `tespes.dead`
    :param listens: whether this process hears what Pulsar says; one that does not leaves it to others
    :param look_s: between two looks whether Pulsar reads its queues; in trouble more often
    :param confirm_s: in which RabbitMQ must have taken a message; :param finish_s: how long finishing may take at the end
    """

    def __init__(
        self,
        site: Site,
        handle: Handler,
        *,
        listens: bool = True,
        look_s: float = 10.0,
        confirm_s: float = 10.0,
        finish_s: float = 5.0,
    ) -> None:
        self.site = site
        self.connected: Callable[[], None] = lambda: None
        self._handle = handle
        self._listens = listens
        self._look_s = look_s
        self._confirm_s = confirm_s
        self._finish_s = finish_s
        self._prefix = wire.prefix(site.manager, site.key_prefix)
        self._channel: AbstractChannel | None = None
        self._exchange: AbstractExchange | None = None
        self._stale = asyncio.Event()
        self._choked = asyncio.Event()
        self._at_work: set[asyncio.Task[None]] = set()
        self._unread: tuple[str, ...] = ()
        self._unread_before: tuple[str, ...] = ()
        self.up = asyncio.Event()
        self.queues: Mapping[str, Queue] = {}

    @property
    def trouble(self) -> str | None:
        """See promise.Link. One look that finds no reader proves nothing: Pulsar may just be starting."""
        if self._choked.is_set():
            return "RabbitMQ takes no messages: see whether it is short of memory or disk"
        unread = [name for name in wire.COMMANDS if name in self._unread and name in self._unread_before]
        if not unread:
            return None
        queues = ", ".join(wire.queue(self._prefix, name) for name in unread)
        return f"nobody reads {queues}: Pulsar is down, or a message there killed its consumer: purge the queue, restart it"

    @property
    def unheard(self) -> str | None:
        """See promise.Link."""
        if _HEARD not in self._unread or _HEARD not in self._unread_before:
            return None
        return f"nobody reads {wire.queue(self._prefix, _HEARD)}: no TESPES has the role listen"

    async def run(self) -> None:
        """See promise.Link."""
        pause = _BACK_OFF_S[0]
        while True:
            try:
                with broker.talking():
                    await self._connected()
                pause = _BACK_OFF_S[0]
            except (AMQPError, OSError, TimeoutError, RuntimeError) as error:
                shown = broker.shown(self.site.broker_url)
                _log.warning("RabbitMQ is away", pulsar=self.site.name, broker=shown, reason=str(error))
            await asyncio.sleep(pause)
            pause = min(pause * 2, _BACK_OFF_S[1])

    async def submit(self, job_id: str, command_line: str, submit_params: Mapping[str, str] | None = None) -> None:
        """See promise.Link."""
        await self._send("setup", wire.setup(job_id, command_line, submit_params))

    async def kill(self, job_id: str) -> None:
        """See promise.Link."""
        await self._send("kill", wire.kill(job_id))

    async def ask(self, job_id: str) -> None:
        """See promise.Link."""
        await self._send("status", wire.status_request(job_id))

    async def acknowledge(self, wanted: wire.Acknowledge) -> None:
        """See promise.Link."""
        await self._send(wanted.queue, wire.acknowledgement(wanted.uuid))

    async def _connected(self) -> None:
        """Declare, consume, and return when the connection is gone."""
        connection = await broker.connect(self.site.broker_url, self.site.tls)
        async with connection:
            async with asyncio.timeout(_DECLARE_S):
                channel = await connection.channel(publisher_confirms=True, on_return_raises=True)
                await channel.set_qos(prefetch_count=_PREFETCH)
                exchange, answers = await self._declare(channel)
            self._channel, self._exchange = channel, exchange
            tags: dict[str, str] = {}
            try:
                with broker.talking():
                    if self._listens:
                        tags = await self._consume(channel, answers)
                    self.up.set()
                    self.connected()
                    _log.info("connected to RabbitMQ", pulsar=self.site.name, broker=broker.shown(self.site.broker_url))
                    await self._until_closed(channel, connection)
            except asyncio.CancelledError:
                await self._finish(answers, tags)
                raise
            finally:
                self.up.clear()
                self._channel = self._exchange = None
                self.queues = {}

    async def _declare(self, channel: AbstractChannel) -> tuple[AbstractExchange, dict[str, AbstractQueue]]:
        """Every queue, exactly as Pulsar declares them: what Pulsar publishes to a queue that is not there is gone.

        What comes back is the exchange, and the queues of Pulsar's answers by their plain names.
        """
        for thing in topology.of_site(self.site):
            await topology.declare(channel, thing)
        exchange = await channel.get_exchange(wire.EXCHANGE, ensure=False)
        answers = {name: await channel.get_queue(wire.queue(self._prefix, name), ensure=False) for name in wire.ANSWERS}
        return exchange, answers

    async def _consume(self, channel: AbstractChannel, answers: Mapping[str, AbstractQueue]) -> dict[str, str]:
        """Hear what Pulsar says; the consumers' tags by the queues' plain names."""
        tags = {name: await queue.consume(self._consumer(name)) for name, queue in answers.items()}
        underlay = await channel.get_underlay_channel()
        underlay.on_consumer_cancel_callbacks.add(self._queue_deleted)
        return tags

    async def _until_closed(self, channel: AbstractChannel, connection: AbstractConnection) -> None:
        """Until the channel is closed, or a queue is gone and everything must be declared again."""
        self._stale.clear()
        self._choked.clear()
        asides = [asyncio.ensure_future(self._look(connection)), asyncio.ensure_future(self._probe(channel))]
        ends = {asyncio.ensure_future(channel.closed()), asyncio.ensure_future(self._stale.wait())}
        try:
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in (*asides, *ends):
                each.cancel()
            await asyncio.wait(asides)

    async def _look(self, connection: AbstractConnection) -> None:
        """See again and again whether Pulsar reads its queues; what it did before this connection says nothing."""
        self._unread = self._unread_before = ()
        try:
            while True:
                with broker.talking():
                    await self._count_readers(connection)
                await asyncio.sleep(self._look_s / _LOOKS_IN_TROUBLE if self.trouble else self._look_s)
        except (AMQPError, OSError, TimeoutError, RuntimeError):  # the connection breaks, or a queue is gone
            self._stale.set()

    async def _probe(self, channel: AbstractChannel) -> None:
        """Whenever a message was not taken in time: send nothing more until one is, which waits for as long as that lasts."""
        try:
            while True:
                await self._choked.wait()
                _log.warning("RabbitMQ takes no messages", pulsar=self.site.name)
                with broker.talking():
                    await channel.default_exchange.publish(aio_pika.Message(b""), _PROBE, mandatory=False)
                self._choked.clear()
                _log.info("RabbitMQ takes messages again", pulsar=self.site.name)
                self.connected()
        except (AMQPError, OSError, TimeoutError, RuntimeError):  # the connection breaks
            self._stale.set()

    async def _count_readers(self, connection: AbstractConnection) -> None:
        before = self.trouble
        async with connection.channel() as channel:
            names = {name: wire.queue(self._prefix, name) for name in (*wire.COMMANDS, _HEARD)}
            names[_DEAD] = dead.QUEUE
            found = {name: await channel.declare_queue(full_name, passive=True) for name, full_name in names.items()}
        self.queues = {name: _seen(queue) for name, queue in found.items()}
        unread = tuple(name for name in (*wire.COMMANDS, _HEARD) if not self.queues[name].consumers)
        self._unread, self._unread_before = unread, self._unread
        if self.trouble and not before:
            _log.warning("a Pulsar does not listen", pulsar=self.site.name, reason=self.trouble)
        if before and not self.trouble:
            _log.info("a Pulsar listens again", pulsar=self.site.name)
            self.connected()

    async def _finish(self, answers: Mapping[str, AbstractQueue], tags: Mapping[str, str]) -> None:
        """Hear nothing more, and finish what was heard. What takes too long, another process gets."""
        with contextlib.suppress(AMQPError, OSError, TimeoutError, RuntimeError):
            for name, tag in tags.items():
                await answers[name].cancel(tag, timeout=1)
        if self._at_work:
            await asyncio.wait(self._at_work, timeout=self._finish_s)

    def _queue_deleted(self, _: object) -> None:
        _log.warning("a queue was deleted and is declared again", pulsar=self.site.name)
        self._stale.set()

    def _consumer(self, name: str) -> Callable[[AbstractIncomingMessage], Awaitable[None]]:
        async def consume(message: AbstractIncomingMessage) -> None:
            """Acknowledge after the append, or after the dead letter is confirmed; else the broker brings it again."""
            task = asyncio.current_task()
            assert task is not None  # noqa: S101 - this is a coroutine
            self._at_work.add(task)
            try:
                await self._settle(message, name, await self._heed(message, name))
            finally:
                self._at_work.discard(task)

        return consume

    async def _heed(self, message: AbstractIncomingMessage, name: str) -> str | None:
        """Have a message handled; the reason, if nobody can. A fault of ours is tried again: it may be a passing one."""
        refused = wire.refused(message.content_type, message.content_encoding, message.headers, len(message.body))
        if refused is not None:
            return refused.reason
        said = ""
        for pause in _TRIES_AFTER_S:
            await asyncio.sleep(pause)
            try:
                return await self._handle(name, message.body)
            except Exception as error:  # noqa: BLE001 - the rim: logged, and in the end the message goes to the dead letters
                _log.exception("a message cannot be handled", pulsar=self.site.name, queue=name)
                said = f"{type(error).__name__}: {error}"
        return f"TESPES failed at it {len(_TRIES_AFTER_S)} times: {said}"

    async def _settle(self, message: AbstractIncomingMessage, name: str, reason: str | None) -> None:
        try:
            with broker.talking():
                if reason is not None:
                    await self._bury(message, name, reason)
                await message.ack()
        except (AMQPError, OSError, TimeoutError, RuntimeError) as error:
            _log.info("a message could not be settled and will come again", queue=name, reason=str(error))
            await asyncio.sleep(_BACK_OFF_S[1])
            with contextlib.suppress(AMQPError, OSError, RuntimeError):
                await message.nack(requeue=True)

    async def _bury(self, message: AbstractIncomingMessage, name: str, reason: str) -> None:
        channel = self._channel
        if channel is None:
            raise ConnectionError("the channel is gone")
        _log.warning("a message goes to the dead letters", queue=name, pulsar=self.site.name, reason=reason)
        await dead.bury(channel, message, pulsar=self.site.name, queue=wire.queue(self._prefix, name), reason=reason)

    async def _send(self, name: str, body: bytes) -> None:
        exchange = self._exchange
        if exchange is None:
            raise errors.BrokerUnavailable(f"RabbitMQ at {broker.shown(self.site.broker_url)} is away")
        if self._choked.is_set():
            raise errors.BrokerUnavailable(f"RabbitMQ at {broker.shown(self.site.broker_url)} takes no messages")
        message = aio_pika.Message(
            body,
            content_type=wire.CONTENT_TYPE,
            content_encoding="utf-8",
            delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
        )
        try:
            async with asyncio.timeout(self._confirm_s):
                with broker.talking():
                    await exchange.publish(message, routing_key=wire.queue(self._prefix, name), mandatory=True)
        except (AMQPError, DeliveryError, OSError, TimeoutError, RuntimeError) as error:
            if isinstance(error, DeliveryError):  # nobody has the queue any more: declare it again
                self._stale.set()
            if isinstance(error, TimeoutError) and exchange is self._exchange:
                self._choked.set()
            raise errors.BrokerUnavailable(f"RabbitMQ did not confirm a message to {name}: {error}") from error


def _seen(queue: AbstractQueue) -> Queue:
    found = queue.declaration_result
    return Queue(found.message_count or 0, found.consumer_count or 0)
