"""Events on RabbitMQ: how many a second the publisher gets confirmed, and how long one takes from its append to a consumer."""

import asyncio
import shutil
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aio_pika
from aio_pika.abc import AbstractIncomingMessage, AbstractQueue

from bench import report, seed
from bench.bench import Bench
from bench.report import at_least, at_most
from tespes import events
from tespes.events import Meta, asyncapi, cloud
from tespes.flow.execute import now
from tespes.flow.ids import new_id
from tespes.flow.lead import Lease
from tespes.flow.publish import NAME, Publisher
from tespes.store import Options, Store

_WITHIN_S = 300.0
_RATE = 200
_HOW = """\
One process with the log in SQLite and the publisher; RabbitMQ beside it, with one durable queue that gets everything. First
it catches up with {commits:,} commits of complete tasks, which the queue keeps: messages a second, each persistent and
confirmed. Then {count:,} events are appended, {rate} a second, and consumed as they come: from asking for the append, which
is durable before it is published, to the consumer's callback."""


async def measure(bench: Bench) -> report.Group:
    """Catching up, then following."""
    commits, count = (7_000, 400) if bench.quick else (21_000, 2_000)
    group = report.Group("Publishing", _HOW.format(commits=commits, count=count, rate=_RATE))
    url, directory = await bench.rabbitmq(), bench.fresh()
    shutil.copytree(await bench.seeded(), directory, dirs_exist_ok=True)
    async with seed.opened(Options(), directory) as store, _queue(url) as queue:
        rates = [await _catch_up(store, url, queue, commits) for _ in range(bench.rounds + 1)]
        async with _publishing(store, url):
            rounds = [await _follow(store, queue, count) for _ in range(bench.rounds + 1)]
    group.add("Catching up", "messages/s", rates[1:], at_least(2_500))
    group.add("Append to consumer: p50", "ms", [report.percentile(taken, 50) * 1000 for taken in rounds[1:]], at_most(10))
    group.add("Append to consumer: p99", "ms", [report.percentile(taken, 99) * 1000 for taken in rounds[1:]], at_most(50))
    return group


async def _catch_up(store: Store, url: str, queue: AbstractQueue, commits: int) -> float:
    """Messages a second."""
    head = (await store.log.head()).position
    await store.checkpoints.reset(NAME, head - commits)
    await queue.purge()
    begin = time.perf_counter()
    async with _publishing(store, url), asyncio.timeout(_WITHIN_S):
        while await store.checkpoints.position(NAME) < head:  # noqa: ASYNC110 - only asking tells
            await asyncio.sleep(0.01)
        whole = time.perf_counter() - begin
    messages = (await queue.declare()).message_count or 0
    await queue.purge()
    return messages / whole


async def _follow(store: Store, queue: AbstractQueue, count: int) -> list[float]:
    """Seconds for each event."""
    begun: dict[str, float] = {}
    taken: list[float] = []

    async def take(message: AbstractIncomingMessage) -> None:
        taken.append(time.perf_counter() - begun[str(message.headers["cloudEvents_subject"])])

    async def append() -> None:
        stream = uuid.uuid4().hex
        meta = Meta(at=now(), actor="anonymous", owner="anonymous")
        commit = events.commit(new_id(), stream, 1, [events.TaskDeferred(reason="all places are taken")], meta)
        begun[stream] = time.perf_counter()
        await store.log.append(commit)

    tag = await queue.consume(take, no_ack=True)
    begin = time.perf_counter()
    async with asyncio.timeout(_WITHIN_S), asyncio.TaskGroup() as group:
        for number in range(count):
            await asyncio.sleep(begin + number / _RATE - time.perf_counter())
            group.create_task(append())
        while len(taken) < count:  # noqa: ASYNC110 - messages just come
            await asyncio.sleep(0.01)
    await queue.cancel(tag)
    return taken


@asynccontextmanager
async def _publishing(store: Store, url: str) -> AsyncIterator[None]:
    publisher = Publisher(store.log, store.checkpoints, url, asyncapi.EXCHANGE, cloud.source("bench"))
    running = asyncio.create_task(publisher.run(Lease(None, float("inf"))))
    try:
        yield
    finally:
        running.cancel()
        await asyncio.wait({running})


@asynccontextmanager
async def _queue(url: str) -> AsyncIterator[AbstractQueue]:
    async with await aio_pika.connect(url) as connection:
        channel = await connection.channel()
        exchange = await channel.declare_exchange(asyncapi.EXCHANGE, aio_pika.ExchangeType.TOPIC, durable=True)
        queue = await channel.declare_queue(f"bench.{uuid.uuid4().hex}", durable=True)
        await queue.bind(exchange, "#")
        yield queue
        await queue.delete(if_unused=False, if_empty=False)
