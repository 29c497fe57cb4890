"""A look at one Pulsar from aside: it is asked, or given a small job, and no TESPES that runs loses a message by that.

What a Pulsar says goes to a direct exchange, which copies it to every queue that is bound by that name. So whoever looks
has a queue of its own, which is gone with the connection. By the names of such jobs a TESPES knows that what it
hears of them is not for it (see `wire.is_probe`).
"""

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator
from typing import Any, Final

import aio_pika
import orjson
from aio_pika.abc import AbstractChannel, AbstractConnection, AbstractExchange, AbstractIncomingMessage

from tespes.pulsar import broker, wire
from tespes.pulsar.site import Site

OLDEST: Final = (0, 15, 15)  # the first that knows a job it was sent twice, and keeps what it says until RabbitMQ has it
_HEARD: Final = "status_update"


class Probe:
    """One Pulsar, looked at."""

    def __init__(self, channel: AbstractChannel, exchange: AbstractExchange, prefix: str, receipts: str) -> None:
        self._channel = channel
        self._exchange = exchange
        self._prefix = prefix
        self._receipts = receipts
        self._heard: asyncio.Queue[AbstractIncomingMessage] = asyncio.Queue()

    async def is_there(self) -> bool:
        """Whether somebody takes what is sent to it."""
        names = [wire.queue(self._prefix, name) for name in wire.COMMANDS]
        return all(
            [(await self._channel.declare_queue(each, passive=True)).declaration_result.consumer_count for each in names]
        )

    async def version(self, within_s: float) -> str | None:
        """Which Pulsar it is: it says so with the answer about a job that it never had. None if nobody answers in time."""
        job_id = new_id()
        await self._send("status", wire.status_request(job_id))
        said = await self._hear(job_id, within_s)
        return str(said.get("pulsar_version") or "unknown") if said is not None else None

    async def submit(self, job_id: str, command_line: str) -> None:
        """Have it run a job whose name is a `new_id`; its receipt is for nobody but us."""
        message = orjson.loads(wire.setup(job_id, command_line)) | {"acknowledge_queue": self._receipts}
        await self._send("setup", orjson.dumps(message))

    async def received(self, job_id: str, within_s: float) -> bool:
        """Whether it has the job by then."""
        return await self._hear(job_id, within_s, receipt=True) is not None

    async def ended(self, job_id: str, within_s: float) -> dict[str, Any] | None:
        """Its last words about the job, as Pulsar sends them; None, and the job is killed, if there are none by then."""
        said = await self._hear(job_id, within_s)
        if said is None:
            await self._send("kill", wire.kill(job_id))
        return said

    async def _hear(self, job_id: str, within_s: float, *, receipt: bool = False) -> dict[str, Any] | None:
        """The last status of that job, or its receipt."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                while True:
                    message = await self._heard.get()
                    with contextlib.suppress(orjson.JSONDecodeError):
                        said = orjson.loads(message.body)
                        about = said.get("acknowledge_uuid_response") if receipt else said.get("job_id")
                        if about == job_id and (receipt or said.get("status") in wire.FINAL):
                            return dict(said)
        return None

    async def _send(self, name: str, body: bytes) -> None:
        message = aio_pika.Message(body, content_type=wire.CONTENT_TYPE, content_encoding="utf-8")
        await self._exchange.publish(message, routing_key=wire.queue(self._prefix, name), mandatory=True)

    async def begin(self) -> None:
        """Hear what Pulsar says from now on."""
        own = wire.queue(self._prefix, self._receipts)
        queue = await self._channel.declare_queue(own, exclusive=True, auto_delete=True)
        for key in (own, wire.queue(self._prefix, _HEARD)):
            await queue.bind(self._exchange, routing_key=key)
        await queue.consume(self._heard.put, no_ack=True)


def new_id() -> str:
    """A name for a job that is no task's."""
    return f"{wire.PROBE}{secrets.token_hex(6)}-1"


def is_old(version: str) -> bool:
    """Whether a Pulsar of that version is older than TESPES can work with; what is no version is not."""
    numbers = tuple(int(each) for each in version.split(".")[:3] if each.isdecimal())
    return bool(numbers) and numbers < OLDEST


def too_old(version: str) -> str:
    """What to do about such a one."""
    return f"it is Pulsar {version}, and TESPES needs {'.'.join(map(str, OLDEST))} or newer: install that"


@contextlib.asynccontextmanager
async def look_at(site: Site, connection: AbstractConnection) -> AsyncIterator[Probe]:
    """That Pulsar, over a connection to its RabbitMQ, where its queues are (see `topology`)."""
    prefix = wire.prefix(site.manager, site.key_prefix)
    with broker.talking():
        async with connection.channel(publisher_confirms=True, on_return_raises=True) as channel:
            exchange = await channel.get_exchange(wire.EXCHANGE, ensure=False)
            probe = Probe(channel, exchange, prefix, f"doctor_{secrets.token_hex(4)}")
            await probe.begin()
            yield probe
