"""Events on RabbitMQ, against a real one: each of them, in order, whatever happens to the broker, the log or the publisher."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import aio_pika
import pytest
from aio_pika.abc import AbstractIncomingMessage
from pamqp.common import FieldTable

import given as g
import published
import stores
from published import Copy, Inbox
from simulated import Way
from stores import MongoDB, Place
from tespes import errors, events
from tespes.events import Encoded, Meta, cloud, examples
from tespes.flow import checks, publish
from tespes.flow.health import Level
from tespes.flow.lead import Contender, Lease
from tespes.flow.publish import NAME, Publisher
from tespes.local.rabbitmq import PrivateRabbitMQ
from tespes.store import Fence, Store

pytestmark = pytest.mark.servers

SOURCE = cloud.source("org.example.tes")
META = Meta(at=g.at(0), actor="tests", owner="alice@example.org", correlation="a request")
TEN = tuple(events.TaskDeferred(reason=f"number {number}") for number in range(10))
ALONE = Lease(None, float("inf"))


@pytest.fixture
def exchange() -> str:
    """The name of an exchange that no other test has."""
    return f"tespes.test.{uuid.uuid4().hex[:12]}"


def publisher(store: Store, url: str, exchange: str) -> Publisher:
    """One that runs nowhere yet."""
    return Publisher(store.log, store.checkpoints, url, exchange, SOURCE)


@asynccontextmanager
async def running(publishing: Publisher, lease: Lease = ALONE) -> AsyncIterator[asyncio.Task[None]]:
    """It publishes, until the block is left."""
    task = asyncio.create_task(publishing.run(lease))
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def append(store: Store, *happened: events.Event, stream: str | None = None, version: int = 1) -> None:
    """One commit with these events."""
    await store.log.append(events.commit(str(uuid.uuid4()), stream or uuid.uuid4().hex, version, happened, META))


async def append_many(store: Store, count: int) -> None:
    """So many commits of one event each, of many tasks."""
    await asyncio.gather(*(append(store, events.TaskDeferred(reason=f"number {number}")) for number in range(count)))


async def append_unknown(store: Store) -> None:
    """An event of a newer release between two that are known, in one commit."""
    known = events.encode(events.TaskDeferred(reason="x"))
    commit = events.commit(str(uuid.uuid4()), uuid.uuid4().hex, 1, [], META)
    await store.log.append(replace(commit, events=(known, Encoded("TaskPondered", 1, "{}"), known), decoded=None))


async def until(true: Callable[[], bool], within_s: float = 20) -> None:
    """Wait until that is true."""
    async with asyncio.timeout(within_s):
        while not true():  # noqa: ASYNC110 - nothing tells
            await asyncio.sleep(0.01)


async def saved(store: Store, position: int) -> None:
    """Wait until the checkpoint is there."""
    async with asyncio.timeout(20):
        while await store.checkpoints.position(NAME) != position:  # noqa: ASYNC110 - only asking tells
            await asyncio.sleep(0.01)


def through(url: str, way: Way) -> str:
    """The same URL, by that way."""
    parts = urlsplit(url)
    return parts._replace(netloc=f"{parts.username}:{parts.password}@127.0.0.1:{way.port}").geturl()


async def test_every_event_comes_as_the_contract_says(
    place: Place, a_store: Store, rabbitmq: PrivateRabbitMQ, exchange: str
) -> None:
    """One of each type, alone and together: attributes, data and properties, in the order of the log."""
    for event in examples.EXAMPLES:
        await append(a_store, event)
    await append(a_store, *examples.EXAMPLES[:9])
    async with Inbox(rabbitmq.url, exchange) as inbox, running(publisher(a_store, rabbitmq.url, exchange)):
        copies = await inbox.holds(len(examples.EXAMPLES) + 9)
        await saved(a_store, len(examples.EXAMPLES) + 1)
    published.check(place.stored(), copies)
    assert [copy.sequence for copy in copies] == sorted(copy.sequence for copy in copies)
    assert copies[0].routing_key == "task.TaskCreated.alice%40example%2Eorg"


async def test_what_users_keep_to_themselves_is_left_out(a_store: Store, rabbitmq: PrivateRabbitMQ, exchange: str) -> None:
    """Contents, values of the environment and what executors wrote: no message has a word of it."""
    (created,) = (event for event in examples.EXAMPLES if isinstance(event, events.TaskCreated))
    (ended,) = (event for event in examples.EXAMPLES if isinstance(event, events.ExecutorEnded))
    secret = "hunter2 and more"  # noqa: S105 - not ours
    executors = (created.task.executors[0].model_copy(update={"env": {"KEY": secret}}),)
    inputs = (created.task.inputs[0].model_copy(update={"content": secret}),) if created.task.inputs else ()
    task = created.task.model_copy(update={"executors": executors, "inputs": inputs})
    await append(a_store, replace(created, task=task), replace(ended, stdout=secret, stderr=secret))
    async with Inbox(rabbitmq.url, exchange) as inbox, running(publisher(a_store, rabbitmq.url, exchange)):
        copies = await inbox.holds(2)
    assert not [copy for copy in copies if secret.encode() in copy.body]


async def test_a_queue_gets_what_it_is_bound_for(a_store: Store, rabbitmq: PrivateRabbitMQ, exchange: str) -> None:
    """Routing keys begin with the general and end with the owner."""
    async with (
        Inbox(rabbitmq.url, exchange, "task.TaskCompleted.*") as completed,
        Inbox(rabbitmq.url, exchange, "*.*.alice%40example%2Eorg") as of_alice,
        Inbox(rabbitmq.url, exchange, "pulsar.#") as pulsars,
        running(publisher(a_store, rabbitmq.url, exchange)),
    ):
        for event in (events.TaskDeferred(reason="x"), events.TaskCompleted()):
            await append(a_store, event)
        await append(a_store, events.PulsarEnabled(pulsar="site-a"), stream="pulsar:site-a")
        await of_alice.holds(3)
        assert [copy.type for copy in await completed.holds(1)] == ["TaskCompleted"]
        assert [copy.type for copy in await pulsars.holds(1)] == ["PulsarEnabled"]


async def test_that_nobody_wants_it_is_fine(a_store: Store, rabbitmq: PrivateRabbitMQ, exchange: str) -> None:
    """No queue is bound: everything is confirmed all the same, and gone."""
    await append_many(a_store, 300)
    publishing = publisher(a_store, rabbitmq.url, exchange)
    async with running(publishing):
        await saved(a_store, 300)
    assert publishing.trouble is None


async def test_the_next_one_goes_on_where_the_last_one_was(
    place: Place, a_store: Store, rabbitmq: PrivateRabbitMQ, exchange: str
) -> None:
    """Stopped in order: what was in flight is confirmed and written down, and nothing comes twice."""
    async with Inbox(rabbitmq.url, exchange) as inbox:
        for wave in range(1, 4):
            async with running(publisher(a_store, rabbitmq.url, exchange)):
                await append_many(a_store, 50)
                await inbox.holds(50 * wave)
        assert len(inbox.copies) == 150
        assert await a_store.checkpoints.position(NAME) == 150
    published.check(place.stored(), inbox.copies)


async def test_a_connection_that_is_cut_loses_nothing(
    place: Place, a_store: Store, rabbitmq: PrivateRabbitMQ, exchange: str
) -> None:
    """Again and again, in the middle: whatever was not confirmed comes again, with the same id."""
    async with (
        Way(urlsplit(rabbitmq.url).port or 0) as way,
        Inbox(rabbitmq.url, exchange) as inbox,
        running(publisher(a_store, through(rabbitmq.url, way), exchange)),
    ):
        for wave in range(1, 6):
            await append_many(a_store, 400)
            await inbox.holds(400 * wave - 300)
            way.cut()
        await inbox.holds(2000)
        await saved(a_store, 2000)
    published.check(place.stored(), inbox.copies)


async def test_an_exchange_of_another_kind_is_named_and_waited_for(
    a_store: Store, rabbitmq: PrivateRabbitMQ, exchange: str
) -> None:
    """Nobody guesses: `/readyz` says which, and what to do; once it is gone, everything is published."""
    publishing = publisher(a_store, rabbitmq.url, exchange)
    check = checks.publishing(a_store.log, a_store.checkpoints, publishing)
    await append_many(a_store, 3)
    async with await aio_pika.connect(rabbitmq.url) as connection, running(publishing):
        channel = await connection.channel()
        await channel.declare_exchange(exchange, aio_pika.ExchangeType.DIRECT)
        await until(lambda: publishing.trouble is not None)
        found = await check()
        assert found.level is Level.DEGRADED
        assert f"the exchange {exchange} is there and is no durable topic exchange" in str(found.reason)
        await channel.exchange_delete(exchange)
        async with Inbox(rabbitmq.url, exchange) as inbox:
            await inbox.holds(3)
            await until(lambda: publishing.trouble is None)
        await saved(a_store, 3)
        assert (await check()).document() == {"status": "ready", "lag_commits": 0, "skipped_events": 0}


async def test_who_says_nothing_is_named(a_store: Store, exchange: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """In words: a person reads that."""
    monkeypatch.setattr(publish, "_ANSWER_S", 0.2)
    silent = asyncio.Event()

    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await silent.wait()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        publishing = publisher(a_store, f"amqp://127.0.0.1:{port}/", exchange)
        async with running(publishing):
            await until(lambda: publishing.trouble is not None)
            assert publishing.trouble == "RabbitMQ does not answer a login"
        silent.set()


async def test_what_the_broker_refuses_comes_again(
    place: Place, a_store: Store, rabbitmq: PrivateRabbitMQ, exchange: str
) -> None:
    """A queue that is full and says so: nothing goes past it, and when there is room, nothing is missing."""
    full = f"{exchange}.full"
    publishing = publisher(a_store, rabbitmq.url, exchange)
    async with await aio_pika.connect(rabbitmq.url) as connection, Inbox(rabbitmq.url, exchange) as inbox:
        channel = await connection.channel()
        limited: FieldTable = {"x-max-length": 1, "x-overflow": "reject-publish"}
        queue = await channel.declare_queue(full, exclusive=True, arguments=limited)
        await queue.bind(exchange, "#")
        await append_many(a_store, 3)
        async with running(publishing):
            await until(lambda: publishing.trouble is not None)
            assert await a_store.checkpoints.position(NAME) <= 1
            await queue.delete(if_unused=False, if_empty=False)
            await saved(a_store, 3)
        await inbox.holds(3)
    assert {copy.sequence for copy in inbox.copies} == {cloud.sequence(position, 0) for position in (1, 2, 3)}


async def test_a_stream_keeps_what_was_read(a_store: Store, rabbitmq: PrivateRabbitMQ, exchange: str) -> None:
    """A queue of that type gives everything to everybody, from wherever they want: for those who come late."""
    async with await aio_pika.connect(rabbitmq.url) as connection, running(publisher(a_store, rabbitmq.url, exchange)):
        channel = await connection.channel()
        await channel.set_qos(prefetch_count=50)
        bound = await channel.declare_exchange(exchange, aio_pika.ExchangeType.TOPIC, durable=True)
        stream = await channel.declare_queue(f"{exchange}.stream", durable=True, arguments={"x-queue-type": "stream"})
        await stream.bind(bound, "#")
        await append_many(a_store, 20)
        await saved(a_store, 20)
        for _ in range(2):
            copies: list[Copy] = []
            tag = await stream.consume(_keeping(copies), arguments={"x-stream-offset": "first"})
            await until(lambda copies=copies: len(copies) == 20)  # type: ignore[misc]
            await stream.cancel(tag)
            assert [copy.sequence for copy in copies] == [cloud.sequence(number, 0) for number in range(1, 21)]
        await stream.delete(if_unused=False, if_empty=False)


def _keeping(copies: list[Copy]) -> Callable[[AbstractIncomingMessage], Awaitable[None]]:
    async def keep(message: AbstractIncomingMessage) -> None:
        copies.append(published.validate(message))
        await message.ack()

    return keep


async def test_an_event_of_a_newer_release_is_skipped_and_counted(
    a_store: Store, rabbitmq: PrivateRabbitMQ, exchange: str
) -> None:
    """It alone: those before and after it, in its own commit too, are published."""
    publishing = publisher(a_store, rabbitmq.url, exchange)
    await append_many(a_store, 1)
    await append_unknown(a_store)
    await append_many(a_store, 1)
    async with Inbox(rabbitmq.url, exchange) as inbox, running(publishing):
        copies = await inbox.holds(4)
        await saved(a_store, 3)
    assert [copy.sequence for copy in copies] == [cloud.sequence(*at) for at in ((1, 0), (2, 0), (2, 2), (3, 0))]
    assert publishing.skipped == 1


async def test_a_checkpoint_of_another_log_says_nothing(
    place: Place, a_store: Store, rabbitmq: PrivateRabbitMQ, exchange: str
) -> None:
    """It is beyond the end: only from the beginning on nothing is left out."""
    await append_many(a_store, 5)
    await a_store.checkpoints.move(NAME, 1000)
    async with Inbox(rabbitmq.url, exchange) as inbox, running(publisher(a_store, rabbitmq.url, exchange)):
        published.check(place.stored(), await inbox.holds(5))
        await saved(a_store, 5)


async def test_a_broker_that_is_away_is_waited_for(a_store: Store, rabbitmq: PrivateRabbitMQ, exchange: str) -> None:
    """TESPES goes on, and says why nothing is published."""
    await append_many(a_store, 3)
    async with Way(urlsplit(rabbitmq.url).port or 0) as way, Inbox(rabbitmq.url, exchange) as inbox:
        way.shut()
        publishing = publisher(a_store, through(rabbitmq.url, way), exchange)
        async with running(publishing) as task:
            await until(lambda: publishing.trouble is not None)
            assert not task.done()
            way.open()
            await inbox.holds(3)
            await until(lambda: publishing.trouble is None)


@pytest.mark.parametrize(("count", "within_s"), [(20_000, 60), pytest.param(200_000, 300, marks=pytest.mark.slow)])
async def test_who_was_there_from_the_beginning_gets_all(
    tmp_path: Path, rabbitmq: PrivateRabbitMQ, exchange: str, count: int, within_s: float
) -> None:
    """A long log, from its first event on: in order, without a hole, and on into what happens then."""
    place = stores.in_sqlite(tmp_path)
    async with place.open() as store:
        for _ in range(count // 10_000):
            await asyncio.gather(*(append(store, *TEN) for _ in range(1000)))
        async with Inbox(rabbitmq.url, exchange) as inbox, running(publisher(store, rabbitmq.url, exchange)):
            await until(lambda: len(inbox.copies) >= count, within_s)
            await append_many(store, 1)
            await until(lambda: len(inbox.copies) > count)
    assert not inbox.wrong
    places = ((position, index) for position in range(1, count // 10 + 1) for index in range(10))
    assert [copy.sequence for copy in inbox.copies[:-1]] == [cloud.sequence(*place) for place in places]
    assert inbox.copies[-1].sequence == cloud.sequence(count // 10 + 1, 0)


class TestTakingOver:
    """One process alone publishes; another replaces it."""

    @pytest.fixture
    def place(self, mongodb: MongoDB, tmp_path: Path) -> Place:
        """A MongoDB, as several processes share it."""
        return stores.in_mongodb(mongodb, tmp_path)

    async def test_who_was_replaced_moves_no_checkpoint(self, place: Place, rabbitmq: PrivateRabbitMQ, exchange: str) -> None:
        """It slept through the loss of its lease: what it still publishes are copies, and what it writes down is refused."""
        async with (
            place.open() as store,
            Inbox(rabbitmq.url, exchange) as inbox,
            running(publisher(store, rabbitmq.url, exchange), held(1)) as asleep,
        ):
            await append_many(store, 5)
            await saved(store, 5)
            async with running(publisher(store, rabbitmq.url, exchange), held(2)):
                await append_many(store, 5)
                with pytest.raises(BaseExceptionGroup) as lost:
                    await asleep
                assert lost.group_contains(errors.LeaseLost)
                await inbox.holds(10)
                await saved(store, 10)
        published.check(place.stored(), inbox.copies)

    async def test_who_follows_goes_on_where_the_other_was(
        self, place: Place, rabbitmq: PrivateRabbitMQ, exchange: str
    ) -> None:
        """Under leases, one after the other, while events keep coming."""
        async with place.open() as store, Inbox(rabbitmq.url, exchange) as inbox:
            for number in range(3):
                contender = Contender(store.leases, store.log, f"process {number}", 1.0)
                leading = asyncio.create_task(contender.lead(NAME, publisher(store, rabbitmq.url, exchange).run))
                await append_many(store, 20)
                await saved(store, 21 * (number + 1))  # with LeaseTaken
                leading.cancel()
                await asyncio.gather(leading, return_exceptions=True)
            await inbox.holds(63)
        published.check(place.stored(), inbox.copies)
        assert len(inbox.copies) == 63


def held(number: int) -> Lease:
    """The lease, as it was taken for the so-many-th time."""
    return Lease(Fence(NAME, number), float("inf"))
