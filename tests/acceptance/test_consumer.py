"""The example of a consumer, run as a program."""

import asyncio
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aio_pika
import pytest

import given as g
import stores
from tespes import events
from tespes.events import Meta, asyncapi, cloud
from tespes.flow.lead import Lease
from tespes.flow.publish import Publisher
from tespes.local.rabbitmq import PrivateRabbitMQ
from tespes.store import Store

pytestmark = pytest.mark.servers

PROGRAM = Path(__file__).parents[2] / "examples" / "consumer.py"
QUEUE = "my-consumer"
META = Meta(at=g.at(0), actor="tests", owner="anonymous")
KILLS = 3
EVENTS = 400


@asynccontextmanager
async def consumer(url: str, seen: Path, printed: Path) -> AsyncIterator[subprocess.Popen[bytes]]:
    """The program, until it is killed with -9 at the end of the block."""
    with printed.open("ab") as output:
        process = subprocess.Popen([sys.executable, str(PROGRAM), url, str(seen)], stdout=output)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


async def lines(printed: Path, count: int) -> list[str]:
    """What it printed, once that are so many lines."""
    async with asyncio.timeout(20):
        while len(found := printed.read_text().splitlines() if printed.exists() else []) < count:  # noqa: ASYNC110 - a file
            await asyncio.sleep(0.02)
    return found


async def happen(store: Store, count: int) -> None:
    """So many events of tasks, and as many of something else."""
    happened = (events.TaskDeferred(reason="x"), uuid.uuid4().hex), (events.PulsarEnabled(pulsar="a"), f"pulsar:{uuid.uuid4()}")
    for event, stream in happened:
        for version in range(1, count + 1):
            await store.log.append(events.commit(str(uuid.uuid4()), stream, version, [event], META))


async def test_the_consumer_gets_every_event_in_order_however_often_it_is_killed(
    rabbitmq: PrivateRabbitMQ, tmp_path: Path
) -> None:
    """It processes each: what it had processed and not written down yet, when it was killed, at most once more."""
    seen, printed = tmp_path / "seen.txt", tmp_path / "printed.txt"
    async with stores.in_sqlite(tmp_path).open() as store:
        publisher = Publisher(store.log, store.checkpoints, rabbitmq.url, asyncapi.EXCHANGE, cloud.source("example"))
        publishing = asyncio.create_task(publisher.run(Lease(None, float("inf"))))
        try:
            async with consumer(rabbitmq.url, seen, printed):
                await _bound(rabbitmq.url)
                await happen(store, EVENTS)
                await lines(printed, EVENTS // KILLS)
            for kill in range(2, KILLS + 1):
                async with consumer(rabbitmq.url, seen, printed):
                    await happen(store, EVENTS)
                    await lines(printed, EVENTS * kill)
        finally:
            publishing.cancel()
            await asyncio.gather(publishing, return_exceptions=True)
            await _delete(rabbitmq.url)
        due = [cloud.sequence(e.position, 0) for e in await store.log.read(0, 10_000) if events.is_task(e.commit.stream)]
    got = [line.split()[0] for line in printed.read_text().splitlines()]
    assert got == sorted(got)
    assert sorted(set(got)) == due
    assert len(got) <= len(due) + KILLS


async def _bound(url: str) -> None:
    """Wait until the program has made its queue: what happened before is not in it."""
    async with await aio_pika.connect(url) as connection, asyncio.timeout(20):
        while True:
            try:
                async with connection.channel() as channel:
                    queue = await channel.declare_queue(QUEUE, passive=True)
                    if queue.declaration_result.consumer_count:
                        return
            except aio_pika.exceptions.ChannelNotFoundEntity:
                pass
            await asyncio.sleep(0.05)


async def _delete(url: str) -> None:
    async with await aio_pika.connect(url) as connection, connection.channel() as channel:
        await channel.queue_delete(QUEUE)
