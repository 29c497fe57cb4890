"""What TESPES's side of Pulsar's queues looks like without TESPES: for tests of Pulsars alone."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aio_pika
from aio_pika.abc import AbstractChannel, AbstractConnection, AbstractIncomingMessage

Message = dict[str, Any]

COMMANDS = ("setup", "kill", "status")
ANSWERS = ("status_update", "setup_ack")
WITHIN_S = 20.0


@dataclass
class WireClient:
    """Speaks to one Pulsar.

    :param updates: all status updates that came, in order; :param receipts: the ids of all receipts
    """

    prefix: str
    connection: AbstractConnection
    channel: AbstractChannel
    updates: list[Message] = field(default_factory=list)
    receipts: list[str] = field(default_factory=list)

    async def send(self, queue: str, message: Any, content_type: str | None = "application/json") -> None:
        """Publish; bytes as they are, everything else as JSON."""
        body = message if isinstance(message, bytes) else json.dumps(message).encode()
        exchange = await self.channel.get_exchange("pulsar")
        await exchange.publish(aio_pika.Message(body, content_type=content_type), f"{self.prefix}_{queue}")

    async def setup(self, job_id: str, script: str, **more: Any) -> None:
        """Submit a job."""
        job = {"job_id": job_id, "command_line": f"(\n{script}\n)", "setup_params": {"job_id": job_id}}
        receipt = {"acknowledge_uuid": job_id, "acknowledge_queue": "setup_ack", "acknowledge_submit_queue": "setup"}
        await self.send("setup", job | receipt | more)

    async def kill(self, job_id: str) -> None:
        """Kill a job."""
        await self.send("kill", {"job_id": job_id})

    async def ask(self, job_id: str) -> Message:
        """What the Pulsar answers to a question about a job."""
        before = len(self.updates)
        await self.send("status", {"request": "status", "job_id": job_id, "force_noack": True})
        await self.until(lambda: any(each["job_id"] == job_id for each in self.updates[before:]))
        return next(each for each in self.updates[before:] if each["job_id"] == job_id)

    def said(self, job_id: str) -> list[str]:
        """The statuses that came about a job."""
        return [each["status"] for each in self.updates if each["job_id"] == job_id]

    async def final(self, job_id: str) -> Message:
        """The first final update about a job, once it is there."""
        await self.until(lambda: self._finals(job_id))
        return self._finals(job_id)[0]

    async def until(self, true: Any, within_s: float = WITHIN_S) -> None:
        """Wait until that is true."""
        try:
            async with asyncio.timeout(within_s):
                while not true():  # noqa: ASYNC110 - what is looked at are lists
                    await asyncio.sleep(0.02)
        except TimeoutError:
            raise AssertionError(f"not within {within_s} s: {self.receipts} {self.updates}") from None

    async def consumers(self, queue: str) -> int:
        """How many read a queue."""
        return (await self._look(queue))[0]

    async def messages(self, queue: str) -> int:
        """How many wait in a queue."""
        return (await self._look(queue))[1]

    async def purge(self, queue: str) -> None:
        """Empty it."""
        await (await self.channel.get_queue(f"{self.prefix}_{queue}")).purge()

    async def delete(self, queue: str) -> None:
        """Remove it."""
        await self.channel.queue_delete(f"{self.prefix}_{queue}")

    async def declare(self, queue: str) -> None:
        """Make it, and read it if it is one of answers."""
        name = f"{self.prefix}_{queue}"
        declared = await self.channel.declare_queue(name, durable=True)
        await declared.bind("pulsar", routing_key=name)
        if queue in ANSWERS:
            await declared.consume(self._hear, no_ack=True)

    async def _look(self, queue: str) -> tuple[int, int]:
        found = (await self.channel.declare_queue(f"{self.prefix}_{queue}", passive=True)).declaration_result
        return found.consumer_count or 0, found.message_count or 0

    async def _hear(self, message: AbstractIncomingMessage) -> None:
        content = json.loads(message.body)
        if "acknowledge_uuid_response" in content:
            self.receipts.append(content["acknowledge_uuid_response"])
        else:
            self.updates.append(content)

    def _finals(self, job_id: str) -> list[Message]:
        return [each for each in self.updates if each["job_id"] == job_id and each["complete"] == "true"]


@asynccontextmanager
async def wire_client(broker_url: str, manager: str) -> AsyncIterator[WireClient]:
    """Connected to the queues of that manager, which are there then."""
    async with await aio_pika.connect(broker_url) as connection:
        channel = await connection.channel()
        await channel.declare_exchange("pulsar", aio_pika.ExchangeType.DIRECT, durable=True)
        client = WireClient(f"pulsar_{manager}_", connection, channel)
        for queue in (*COMMANDS, *ANSWERS):
            await client.declare(queue)
        yield client
