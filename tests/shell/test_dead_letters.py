"""Messages that nobody can do anything with: every kind is put aside with its reason, nothing else is held up by them."""

import asyncio
import json
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import aio_pika
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pamqp import encode

from tespes.local.rabbitmq import PrivateRabbitMQ
from tespes.pulsar import Site, amqp, dead, wire
from tespes.pulsar.dead import DeadLetters, Letter, Retried

JSON = {"content_type": "application/json", "content_encoding": "utf-8"}
GOOD = b'{"job_id": "t-1", "status": "running"}'


@dataclass
class Ear:
    """Understands what `wire` understands; falls over whatever says so, `faults` times."""

    faults: int = 0
    understood: list[wire.Status] = field(default_factory=list)
    tries: int = 0

    async def handle(self, _: str, body: bytes) -> str | None:
        """See promise.Handler."""
        if b"a fault of ours" in body:
            self.tries += 1
            if self.tries <= self.faults:
                raise ZeroDivisionError("a fault of ours")
        message = wire.read_status(body)
        if isinstance(message, wire.Rubbish):
            return message.reason
        self.understood.append(message)
        return None

    async def understands(self, count: int) -> None:
        """Wait until it understood so many."""
        async with asyncio.timeout(20):
            while len(self.understood) < count:  # noqa: ASYNC110 - the tests wait for what comes, whoever brings it
                await asyncio.sleep(0.02)


@pytest.fixture
async def broker(rabbitmq: PrivateRabbitMQ) -> PrivateRabbitMQ:
    """A RabbitMQ without dead letters of other tests."""
    async with await aio_pika.connect(rabbitmq.url) as connection:
        await (await dead.declare(await connection.channel())).purge()
    return rabbitmq


@asynccontextmanager
async def linked(rabbitmq: PrivateRabbitMQ, manager: str, ear: Ear) -> AsyncIterator[amqp.Link]:
    """A link that runs."""
    site = Site(manager, rabbitmq.url, manager, None, 1, {"kind": "sandbox"}, "http://127.0.0.1:1")
    link = amqp.Link(site, ear.handle)
    running = asyncio.ensure_future(link.run())
    try:
        async with asyncio.timeout(10):
            await link.up.wait()
        yield link
    finally:
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running


async def publish(rabbitmq: PrivateRabbitMQ, manager: str, body: bytes, **properties: Any) -> None:
    """To the status queue, whatever it is."""
    async with await aio_pika.connect(rabbitmq.url) as connection:
        channel = await connection.channel()
        exchange = await channel.get_exchange(wire.EXCHANGE)
        message = aio_pika.Message(body, **{**JSON, **properties})
        await exchange.publish(message, f"pulsar_{manager}__status_update")


async def letters(rabbitmq: PrivateRabbitMQ, pulsar: str, count: int = 1) -> list[Letter]:
    """The letters of that Pulsar, once there are so many."""
    office = DeadLetters(rabbitmq.url, None)
    async with asyncio.timeout(20):
        while True:
            found = [letter for letter in await office.look() if letter.pulsar == pulsar]
            if len(found) >= count:
                return found
            await asyncio.sleep(0.05)


RUBBISH: dict[str, tuple[bytes, dict[str, Any], str]] = {
    "nothing": (b"", {}, "not JSON"),
    "no JSON": (b"{", {}, "not JSON"),
    "no UTF-8": (b'{"job_id": "\xff"}', {}, "not JSON"),
    "not a number": (b'{"job_id": "t-1", "status": "running", "returncode": NaN}', {}, "not JSON"),
    "deep": (b"[" * 100_000, {}, "not JSON"),
    "a number": (b"5", {}, "not a JSON object"),
    "a list": (b"[]", {}, "not a JSON object"),
    "another type": (b'{"job_id": 1, "status": "running"}', {}, "job_id or status"),
    "no status": (b'{"job_id": "t-1"}', {}, "job_id or status"),
    "another word": (b'{"job_id": "t-1", "status": "sleeping"}', {}, "'sleeping'"),
    "another content type": (GOOD, {"content_type": "text/plain"}, "'text/plain'"),
    "another encoding": (GOOD, {"content_encoding": "gzip"}, "'gzip'"),
    "packed": (GOOD, {"headers": {"compression": "application/x-gzip"}}, "packed"),
    "10 MB": (b"x" * 10_000_000, {}, "not JSON"),
    "17 MB": (b'{"job_id": "' + b"x" * 17 * 2**20 + b'"}', {}, "bytes"),
}


@pytest.mark.servers
async def test_every_kind_of_rubbish_is_put_aside_and_what_follows_is_heard(broker: PrivateRabbitMQ) -> None:
    """Each with its reason, its queue, its time and its bytes."""
    ear = Ear()
    async with linked(broker, "rubbish", ear):
        for body, properties, _ in RUBBISH.values():
            await publish(broker, "rubbish", body, **properties)
        await publish(broker, "rubbish", GOOD, headers={"x-odd": [1, {"a": None}]}, priority=9)
        await ear.understands(1)
        found = await letters(broker, "rubbish", len(RUBBISH))
    assert len(found) == len(RUBBISH)
    for body, _, reason in RUBBISH.values():
        assert any(letter.body == body and reason in letter.reason for letter in found), reason
    assert {letter.queue for letter in found} == {"pulsar_rubbish__status_update"}
    assert all(letter.at.endswith("Z") and letter.id for letter in found)


@pytest.mark.servers
async def test_properties_that_nobody_can_read_do_not_make_us_deaf(
    broker: PrivateRabbitMQ, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A time beyond all years, text that is no UTF-8: RabbitMQ passes them on, and brings them again and again."""
    ear = Ear()
    async with linked(broker, "odd", ear):
        with monkeypatch.context() as publisher:
            publisher.setitem(encode.METHODS, "timestamp", lambda _: struct.pack(">Q", 2**62))
            await publish(broker, "odd", GOOD, timestamp=1)
        with monkeypatch.context() as publisher:
            publisher.setitem(encode.METHODS, "shortstr", lambda value: _short(value.encode().replace(b"?", b"\xff")))
            await publish(broker, "odd", GOOD, message_id="?")
        await publish(broker, "odd", GOOD)
        await ear.understands(1)
        found = await letters(broker, "odd", 2)
    assert all("properties cannot be read" in letter.reason for letter in found)
    assert len(ear.understood) == 1


def _short(text: bytes) -> bytes:
    return bytes([len(text)]) + text


@pytest.mark.servers
async def test_a_fault_of_ours_is_tried_again_before_the_message_is_put_aside(broker: PrivateRabbitMQ) -> None:
    """Three times; a letter that is retried is handled as if it had just come, and is a letter no more."""
    ear = Ear(faults=3)
    body = json.dumps({"job_id": "t-1", "status": "running", "why": "a fault of ours"}).encode()
    async with linked(broker, "faults", ear):
        await publish(broker, "faults", body)
        (letter,) = await letters(broker, "faults")
        assert (ear.tries, ear.understood) == (3, [])
        assert "ZeroDivisionError" in letter.reason
        office = DeadLetters(broker.url, None)
        assert await office.retry(lambda each: each.id == letter.id) == Retried((letter.id,), ())
        await ear.understands(1)
        assert not [each for each in await office.look() if each.pulsar == "faults"]


@pytest.mark.servers
async def test_letters_stay_however_often_they_are_looked_at(broker: PrivateRabbitMQ) -> None:
    """In order, with their ids: a broker drops what was given back too often, so that it is written anew before."""
    ear = Ear()
    async with linked(broker, "often", ear):
        for number in range(5):
            await publish(broker, "often", b"%d" % number)
        first = await letters(broker, "often", 5)
        office = DeadLetters(broker.url, None)
        for _ in range(25):
            found = [letter for letter in await office.look() if letter.pulsar == "often"]
            assert sorted(letter.id for letter in found) == sorted(letter.id for letter in first)
            assert {(letter.body, letter.at) for letter in found} == {(letter.body, letter.at) for letter in first}


@pytest.mark.servers
async def test_a_letter_whose_queue_is_gone_stays_a_letter(broker: PrivateRabbitMQ) -> None:
    """A retry says so, and goes on with the others."""
    async with linked(broker, "gone", Ear()), linked(broker, "there", Ear()):
        await publish(broker, "gone", b"rubbish")
        (letter,) = await letters(broker, "gone")
        await publish(broker, "there", b"rubbish")
        (other,) = await letters(broker, "there")
    async with await aio_pika.connect(broker.url) as connection:
        await (await connection.channel()).queue_delete("pulsar_gone__status_update")
    done = await DeadLetters(broker.url, None).retry(lambda each: each.pulsar in {"gone", "there"})
    assert done.sent == (other.id,)
    assert done.kept == (f"{letter.id} stays: the queue pulsar_gone__status_update is not there any more",)
    assert [each.id for each in await letters(broker, "gone")] == [letter.id]


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
_FIELDS = st.fixed_dictionaries(
    {},
    optional={
        "job_id": _VALUES | st.just("t-1"),
        "status": _VALUES | st.sampled_from(sorted(wire.STATUSES)),
        "returncode": _VALUES,
        "job_stdout": _VALUES,
        "acknowledge_uuid": _VALUES,
        "acknowledge_queue": _VALUES,
        "acknowledge_uuid_response": _VALUES,
    },
)


@given(
    st.binary() | _VALUES.map(lambda value: json.dumps(value).encode()) | _FIELDS.map(lambda value: json.dumps(value).encode())
)
def test_any_bytes_are_understood_or_have_a_reason_why_not(body: bytes) -> None:
    """Nobody falls over anything; what is understood has the types that it promises."""
    status, receipt = wire.read_status(body), wire.read_receipt(body)
    assert (status.status in wire.STATUSES) if isinstance(status, wire.Status) else status.reason
    assert isinstance(receipt.job_id, str) if isinstance(receipt, wire.Receipt) else receipt.reason


@given(
    st.none() | st.text(max_size=20),
    st.none() | st.text(max_size=20),
    st.dictionaries(st.text(max_size=12) | st.just("compression"), _VALUES, max_size=3),
    st.integers(0, 2**40),
)
def test_any_properties_are_taken_or_have_a_reason_why_not(
    content_type: str | None, content_encoding: str | None, headers: dict[str, Any], size_bytes: int
) -> None:
    """Whatever AMQP lets a publisher write there."""
    refused = wire.refused(content_type, content_encoding, headers, size_bytes)
    assert refused is None or refused.reason
