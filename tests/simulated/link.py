"""A simulated Pulsar's side of RabbitMQ: its consumers, which die of poison for ever, and its outbox, which is on disk."""

import asyncio
import contextlib
import json
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

import aio_pika
from aio_pika.abc import AbstractChannel, AbstractConnection, AbstractIncomingMessage
from aiormq.exceptions import AMQPError

from tespes.pulsar import broker

Object = dict[str, Any]
Handler = Callable[[Object], None]

_EXCHANGE = "pulsar"
_JSON = "application/json"
_AGAIN_S = 0.2
_CONNECT_S = 10.0
_CANCEL_AGAIN_S = 1.0
_AWAY = (AMQPError, OSError, TimeoutError, RuntimeError)


class Link:
    """The connection, opened again whenever it ends.

    :param manager: whose queues; :param handlers: what to do with a message, by the plain names of the command queues
    """

    def __init__(self, broker_url: str, manager: str, handlers: Mapping[str, Handler]) -> None:
        self.broker_url = broker_url
        self._prefix = "pulsar_" if manager == "_default_" else f"pulsar_{manager}_"
        self._handlers = handlers
        self._outbox: deque[tuple[str, bytes]] = deque()
        self._something = asyncio.Event()
        self._consumers: dict[str, AbstractChannel] = {}
        self._poisoned: set[str] = set()
        self._up = asyncio.Event()
        self._running: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Connect; the consumers are there when this returns. Poison that is still in a queue kills its consumer again."""
        await self.stop()
        self._poisoned.clear()
        self._up.clear()
        self._running = asyncio.create_task(self._run())
        await self._up.wait()

    async def stop(self) -> None:
        """Disconnect. The outbox stays."""
        running, self._running = self._running, None
        while running is not None and not running.done():  # the library swallows a cancel that comes while a connection breaks
            running.cancel()
            await asyncio.wait({running}, timeout=_CANCEL_AGAIN_S)

    def say(self, queue: str, body: bytes, *, after_s: float) -> None:
        """Publish it, as soon as that can be done."""
        if after_s:
            asyncio.get_running_loop().call_later(after_s, self._put, queue, body)
        else:
            self._put(queue, body)

    def lose_consumer(self, queue: str) -> None:
        """Its consumer dies for good, what it was reading goes back."""
        self._poisoned.add(queue)
        if (channel := self._consumers.pop(queue, None)) is not None:
            asyncio.ensure_future(channel.close())  # noqa: RUF006 - it ends with the connection at the latest

    def _put(self, queue: str, body: bytes) -> None:
        self._outbox.append((queue, body))
        self._something.set()

    async def _run(self) -> None:
        while True:
            with contextlib.suppress(*_AWAY), broker.talking():
                connection = await aio_pika.connect(self.broker_url, timeout=_CONNECT_S)
                try:
                    await self._work(connection)
                finally:
                    with contextlib.suppress(*_AWAY):
                        await connection.close()
            await asyncio.sleep(_AGAIN_S)

    async def _work(self, connection: AbstractConnection) -> None:
        speaking = await connection.channel(publisher_confirms=False)
        exchange = await speaking.declare_exchange(_EXCHANGE, aio_pika.ExchangeType.DIRECT, durable=True)
        for name in self._handlers:
            if name not in self._poisoned:
                await self._consume(connection, name)
        self._up.set()
        speaking.close_callbacks.add(lambda *_: self._something.set())
        while not speaking.is_closed:
            self._something.clear()
            await self._empty_outbox(exchange)
            await self._something.wait()

    async def _consume(self, connection: AbstractConnection, name: str) -> None:
        channel = await connection.channel()
        full_name = f"{self._prefix}_{name}"
        queue = await channel.declare_queue(full_name, durable=True)
        await queue.bind(_EXCHANGE, routing_key=full_name)
        self._consumers[name] = channel

        async def consume(message: AbstractIncomingMessage) -> None:
            if name in self._poisoned:
                return
            if (content := _understood(message)) is None:
                self.lose_consumer(name)
                return
            with contextlib.suppress(KeyError, TypeError):  # what it cannot handle it acknowledges all the same
                self._handlers[name](content)
            with contextlib.suppress(*_AWAY):
                await message.ack()

        await queue.consume(consume)

    async def _empty_outbox(self, exchange: aio_pika.abc.AbstractExchange) -> None:
        """Nobody confirms and nobody returns: what goes to a queue that is not there is gone."""
        while self._outbox:
            queue, body = self._outbox[0]
            message = aio_pika.Message(
                body, content_type=_JSON, content_encoding="utf-8", delivery_mode=aio_pika.DeliveryMode.PERSISTENT
            )
            await exchange.publish(message, f"{self._prefix}_{queue}", mandatory=False)
            if self._outbox and self._outbox[0] == (queue, body):  # a connection before this one may have been at it, too
                self._outbox.popleft()


def _understood(message: AbstractIncomingMessage) -> Object | None:
    """The message; None if it is poison. A list or a text is dropped without harm, and so is what has no content type."""
    if message.content_type not in {_JSON, None} or "compression" in message.headers:
        return None
    try:
        content = json.loads(message.body)
    except ValueError:
        return None
    if isinstance(content, dict):
        return content
    return {} if isinstance(content, list | str) else None
