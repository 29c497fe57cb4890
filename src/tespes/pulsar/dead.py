"""The dead letters of a RabbitMQ: messages from Pulsars that nobody could do anything with, in the queue `tespes.dead`.

A letter is the message as it came, with headers that say when, whence and why. Looking at letters means taking all of
them and giving them back at once: a queue has no other way. Since RabbitMQ 4 a quorum queue drops
what was given back 20 times; a letter that was given back often is therefore written anew.
"""

import asyncio
import contextlib
import hashlib
import secrets
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import aio_pika
from aio_pika.abc import AbstractChannel, AbstractIncomingMessage, AbstractQueue, HeadersType
from aiormq.exceptions import AMQPError, DeliveryError
from pamqp.common import FieldTable

from tespes import errors
from tespes.pulsar import broker, wire
from tespes.pulsar.site import Tls

QUEUE = "tespes.dead"
ARGUMENTS: FieldTable = {"x-queue-type": "quorum"}
_CONFIRM_S = 10.0
_REASON_CHARACTERS = 1000
_GIVEN_BACK_S = 2.0
_LOOK_AGAIN_S = 0.02
_OLD_RETURNS = 8
_MOST_LETTERS = 1000
_MOST_BYTES = 64 * 2**20
_AWAY = (AMQPError, DeliveryError, OSError, TimeoutError, RuntimeError)


@dataclass(frozen=True, slots=True)
class Letter:
    """A dead letter.

    :param at: when it was put aside, RFC 3339; :param queue: which it came from; :param reason: why nobody took it
    """

    id: str
    at: str
    pulsar: str
    queue: str
    reason: str
    body: bytes


@dataclass(frozen=True, slots=True)
class Retried:
    """What became of letters that were to be put back.

    :param sent: the ids of those that were; :param kept: why others are still dead letters
    """

    sent: tuple[str, ...]
    kept: tuple[str, ...]


async def declare(channel: AbstractChannel) -> AbstractQueue:
    """The queue, made if it was not there."""
    return await channel.declare_queue(QUEUE, durable=True, arguments=ARGUMENTS)


async def bury(channel: AbstractChannel, message: AbstractIncomingMessage, *, pulsar: str, queue: str, reason: str) -> None:
    """Put a message of that queue aside. The broker has it safely when this returns."""
    headers: HeadersType = {
        "tespes-reason": reason[:_REASON_CHARACTERS],
        "tespes-queue": queue,
        "tespes-pulsar": pulsar,
        "tespes-at": datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
    }
    await _publish(channel.default_exchange, _copy(message, headers, secrets.token_hex(6)), QUEUE)


class DeadLetters:
    """The dead letters of the RabbitMQ at that URL. One look at a time; two processes that look share the letters."""

    def __init__(self, url: str, tls: Tls | None) -> None:
        self._url = url
        self._tls = tls
        self._turn = asyncio.Lock()

    @property
    def place(self) -> str:
        """Where they are, for people."""
        return broker.shown(self._url)

    async def look(self) -> list[Letter]:
        """All of them, oldest first; of very many, those at the front.

        :raises errors.BrokerUnavailable: RabbitMQ does not answer
        """
        async with self._taken() as (_, messages):
            letters = [_letter(message) for message in messages]
        return sorted(letters, key=lambda letter: letter.at)

    async def retry(self, wanted: Callable[[Letter], bool]) -> Retried:
        """Put those letters back into the queues that they came from. Each is removed after that is confirmed.

        :raises errors.BrokerUnavailable: as above
        """
        done: list[str] = []
        kept: list[str] = []
        async with self._taken() as (channel, messages):
            exchange = await channel.get_exchange(wire.EXCHANGE)
            for message in messages:
                letter = _letter(message)
                if not wanted(letter):
                    continue
                try:
                    await _publish(exchange, _copy(message, {}, None), letter.queue)
                except DeliveryError:
                    kept.append(f"{letter.id} stays: the queue {letter.queue or '(unknown)'} is not there any more")
                    continue
                await message.ack()
                done.append(letter.id)
        return Retried(tuple(done), tuple(kept))

    @contextlib.asynccontextmanager
    async def _taken(self) -> AsyncIterator[tuple[AbstractChannel, list[AbstractIncomingMessage]]]:
        """The letters, taken from the queue; those that are not acknowledged are back in it afterwards."""
        async with self._turn:
            try:
                with broker.talking():
                    connection = await broker.connect(self._url, self._tls)
                    async with connection, connection.channel(publisher_confirms=True, on_return_raises=True) as channel:
                        taken = await _take(channel)
                        yield channel, taken
                        await _give_back(channel, [message for message in taken if not message.processed])
            except _AWAY as error:
                raise errors.BrokerUnavailable(f"the dead letters at {self.place} cannot be had: {error}") from error


async def _take(channel: AbstractChannel) -> list[AbstractIncomingMessage]:
    queue = await declare(channel)
    left = queue.declaration_result.message_count or 0  # those that come meanwhile are for the next time
    taken: list[AbstractIncomingMessage] = []
    size_bytes = 0
    while left > 0 and len(taken) < _MOST_LETTERS and size_bytes < _MOST_BYTES:
        message = await queue.get(fail=False)
        if message is None:
            break
        left -= 1
        if _returns(message) >= _OLD_RETURNS:
            await _renew(channel, message)
            left += 1
            continue
        taken.append(message)
        size_bytes += len(message.body)
    return taken


async def _give_back(channel: AbstractChannel, messages: Sequence[AbstractIncomingMessage]) -> None:
    """All of them, and wait until the next who looks finds them."""
    for message in messages:
        await message.nack(requeue=True)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_GIVEN_BACK_S):
            while ((await declare(channel)).declaration_result.message_count or 0) < len(messages):  # noqa: ASYNC110 - the broker does not say when
                await asyncio.sleep(_LOOK_AGAIN_S)


async def _renew(channel: AbstractChannel, message: AbstractIncomingMessage) -> None:
    """The same letter at the queue's end, as if it were new."""
    headers = {name: value for name, value in message.headers.items() if name.startswith("tespes-")}
    await _publish(channel.default_exchange, _copy(message, headers, _letter(message).id), QUEUE)
    await message.ack()


def _returns(message: AbstractIncomingMessage) -> int:
    count = message.headers.get("x-delivery-count", 0)
    return count if isinstance(count, int) else 0


def _letter(message: AbstractIncomingMessage) -> Letter:
    """The letter in a message; whoever wrote it, and whatever its headers are."""
    told = {name: _text(message.headers.get(f"tespes-{name}")) for name in ("at", "pulsar", "queue", "reason")}
    named = message.message_id or hashlib.sha256(message.body).hexdigest()[:12]
    return Letter(id=named, body=message.body, **told)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _copy(message: AbstractIncomingMessage, headers: HeadersType, message_id: str | None) -> aio_pika.Message:
    return aio_pika.Message(
        message.body,
        headers=headers,
        content_type=message.content_type,
        content_encoding=message.content_encoding,
        message_id=message_id,
        delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
    )


async def _publish(exchange: aio_pika.abc.AbstractExchange, message: aio_pika.Message, routing_key: str) -> None:
    async with asyncio.timeout(_CONFIRM_S):
        await exchange.publish(message, routing_key=routing_key, mandatory=True)
