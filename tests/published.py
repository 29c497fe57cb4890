"""Published events, as a consumer gets them. Each is held against the AsyncAPI document, and all of them against the log.

What should have been published is worked out from the stored entries alone, not by the code that publishes.
"""

import asyncio
import time
import uuid
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Self

import aio_pika
import jsonschema_rs
import orjson
from aio_pika.abc import AbstractIncomingMessage

from oracle import Stored
from stores import Place
from tespes import __version__
from tespes.events import asyncapi

PREFIX = "cloudEvents_"
DOCUMENT = asyncapi.document(__version__)
ABOUT = DOCUMENT["channels"]["events"]["parameters"]["about"]["enum"]


@dataclass(frozen=True)
class Copy:
    """A message. `subject`: the task's id."""

    id: str
    sequence: str
    subject: str
    routing_key: str
    body: bytes

    @property
    def type(self) -> str:
        """The event's name."""
        return self.routing_key.split(".")[1]


def validate(message: AbstractIncomingMessage) -> Copy:
    """The message, which is as the AsyncAPI document says.

    :raises AssertionError: it is not; so does jsonschema_rs.ValidationError
    """
    headers = {name: value for name, value in message.headers.items() if not name.startswith("x-")}  # those are RabbitMQ's
    about, name, _ = str(message.routing_key).split(".")
    described = DOCUMENT["components"]["messages"][name]
    assert about in ABOUT
    assert headers.keys() <= DOCUMENT["components"]["schemas"]["Attributes"]["properties"].keys()
    _validator(name, "headers").validate(headers)
    _validator(name, "payload").validate(orjson.loads(message.body))
    assert message.content_type == described["contentType"]
    assert message.type == described["bindings"]["amqp"]["messageType"]
    assert message.delivery_mode == aio_pika.DeliveryMode.PERSISTENT
    assert (message.message_id, message.app_id) == (headers[f"{PREFIX}id"], "tespes")
    assert message.timestamp is not None
    assert str(headers[f"{PREFIX}time"]).startswith(message.timestamp.strftime("%Y-%m-%dT%H:%M:%S"))
    said = [str(headers[PREFIX + attribute]) for attribute in ("id", "sequence", "subject")]
    return Copy(said[0], said[1], said[2], str(message.routing_key), message.body)


@cache
def _validator(name: str, part: str) -> jsonschema_rs.Draft202012Validator:
    schema = {"$ref": f"#/components/messages/{name}/{part}", "components": DOCUMENT["components"]}
    return jsonschema_rs.Draft202012Validator(schema, validate_formats=True)


@dataclass
class Inbox:
    """A queue at the exchange, and what arrived in it, in order. An async context manager.

    :param queue: the name of a queue that stays, whose messages come again until they are acknowledged; None: one that ends
        with the inbox
    """

    url: str
    exchange: str
    key: str = "#"
    queue: str | None = None
    copies: list[Copy] = field(default_factory=list)
    wrong: list[BaseException] = field(default_factory=list)

    async def __aenter__(self) -> Self:
        self._connection = await aio_pika.connect(self.url)
        self._channel = channel = await self._connection.channel()
        await channel.set_qos(prefetch_count=50)
        exchange = await channel.declare_exchange(self.exchange, aio_pika.ExchangeType.TOPIC, durable=True)
        stays = self.queue is not None
        queue = await channel.declare_queue(self.queue, durable=stays, exclusive=not stays)
        await queue.bind(exchange, self.key)
        await queue.consume(self._take, no_ack=not stays)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._connection.close()

    async def broken(self) -> None:
        """Wait until the connection is gone."""
        await self._channel.closed()

    async def holds(self, count: int, within_s: float = 20) -> list[Copy]:
        """Wait until so many different events are there; all copies."""
        async with asyncio.timeout(within_s):
            while len({copy.id for copy in self.copies}) < count and not self.wrong:  # noqa: ASYNC110 - messages just come
                await asyncio.sleep(0.02)
        assert not self.wrong, self.wrong
        return self.copies

    async def _take(self, message: AbstractIncomingMessage) -> None:
        try:
            self.copies.append(validate(message))
        except (AssertionError, KeyError, ValueError) as error:
            self.wrong.append(error)
        if self.queue is not None:
            await message.ack()


async def all_of(place: Place, copies: Sequence[Copy], within_s: float = 60) -> None:
    """Wait until everything that is in the log is published, and check law 8. Whatever comes into the log meanwhile counts.

    :raises AssertionError: it does not hold
    """
    deadline = time.monotonic() + within_s
    while True:
        entries = await asyncio.to_thread(place.stored)
        is_late = time.monotonic() > deadline
        if is_late or len({copy.id for copy in copies}) == sum(len(entry["events"]) for entry in entries):
            check(entries, copies)
            return
        await asyncio.sleep(0.1)


def check(entries: Sequence[Stored], copies: Iterable[Copy]) -> None:
    """Law 8: every event is published, its first copy in order for its task; copies are the same.

    :param entries: the log, as it is stored
    """
    first: dict[str, Copy] = {}
    for copy in copies:
        assert first.setdefault(copy.id, copy) == copy, "law 8: another copy"
    due = {identity: (sequence, stream) for entry in entries for identity, sequence, stream in _due(entry)}
    got = {copy.id: (copy.sequence, copy.subject) for copy in first.values()}
    assert not due.keys() - got.keys(), f"law 8: not published: {sorted(due[each] for each in due.keys() - got.keys())}"
    assert got == due, "law 8: something else than the log has"
    order: dict[str, list[str]] = defaultdict(list)
    for copy in first.values():
        order[copy.subject].append(copy.sequence)
    assert all(sequences == sorted(sequences) for sequences in order.values()), "law 8: out of order"


def _due(entry: Stored) -> Iterable[tuple[str, str, str]]:
    """Id, sequence and stream of each event of an entry."""
    for index, _ in enumerate(entry["events"]):
        identity = str(uuid.uuid5(uuid.UUID(entry["_id"]), str(index)))
        yield identity, f"{entry['position']:016}.{index:04}", entry["stream"]
