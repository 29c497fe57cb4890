"""Tell the other processes of a store at once that the log has grown: a hint, so that they need not wait for their next look.

A fanout exchange on RabbitMQ carries it, without confirmation, and nothing is kept for anybody. Whoever misses a hint,
or has no RabbitMQ, looks into the log by itself 20 to 500 ms later.
"""

import asyncio
from typing import Final

import aio_pika
import structlog
from aio_pika.abc import AbstractChannel, AbstractConnection, AbstractExchange, AbstractIncomingMessage
from aiormq.exceptions import AMQPError
from pamqp.common import FieldTable

from tespes.pulsar import broker
from tespes.store import Log

EXCHANGE: Final = "tespes.hint"
_AT_MOST_EVERY_S: Final = 0.005
_BACK_OFF_S: Final = (0.5, 10.0)
_ONE: FieldTable = {"x-max-length": 1}  # one hint is as good as many

_log = structlog.get_logger(__name__)


class Hint:
    """Hints to and from the other processes.

    :param url: of a RabbitMQ that all processes use; :param name: of this process, which needs no hints of its own
    """

    def __init__(self, log: Log, url: str, name: str) -> None:
        self._events = log
        self._url = url
        self._name = name

    async def run(self) -> None:
        """Give and take hints until cancelled."""
        pause = _BACK_OFF_S[0]
        while True:
            try:
                with broker.talking():
                    await self._connected()
                pause = _BACK_OFF_S[0]
            except (AMQPError, OSError, TimeoutError, RuntimeError) as error:
                _log.info("no hints between processes", broker=broker.shown(self._url), reason=str(error))
            await asyncio.sleep(pause)
            pause = min(pause * 2, _BACK_OFF_S[1])

    async def _connected(self) -> None:
        """Until the connection is gone."""
        connection = await broker.connect(self._url)
        async with connection:
            channel = await connection.channel(publisher_confirms=False)
            exchange = await channel.declare_exchange(EXCHANGE, aio_pika.ExchangeType.FANOUT)
            queue = await channel.declare_queue(exclusive=True, auto_delete=True, arguments=_ONE)
            await queue.bind(exchange)
            await queue.consume(self._take, no_ack=True)
            await self._give(exchange, channel, connection)

    async def _take(self, message: AbstractIncomingMessage) -> None:
        if message.app_id != self._name:
            self._events.wake()

    async def _give(self, exchange: AbstractExchange, channel: AbstractChannel, connection: AbstractConnection) -> None:
        """One hint for all that was appended meanwhile."""
        said = self._events.written
        hint = aio_pika.Message(b"", app_id=self._name, delivery_mode=aio_pika.DeliveryMode.NOT_PERSISTENT)
        closed = asyncio.ensure_future(channel.closed())
        try:
            while not closed.done() and not connection.is_closed:
                grown = asyncio.ensure_future(self._events.signal.wait())
                if self._events.written == said:
                    await asyncio.wait({grown, closed}, return_when=asyncio.FIRST_COMPLETED)
                grown.cancel()
                if self._events.written > said:
                    said = self._events.written
                    await exchange.publish(hint, routing_key="", mandatory=False)
                    await asyncio.sleep(_AT_MOST_EVERY_S)
        finally:
            closed.cancel()
