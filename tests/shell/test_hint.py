"""Processes of a store tell each other that the log has grown."""

import asyncio
import uuid
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

import given as g
import stores
from stores import MongoDB
from tespes import events
from tespes.events import Meta
from tespes.flow.hint import Hint
from tespes.local.rabbitmq import PrivateRabbitMQ
from tespes.store import Log

META = Meta(at=g.at(0), actor="tests", owner="anonymous")

pytestmark = pytest.mark.servers


async def append(log: Log) -> None:
    """Let the log grow."""
    await log.append(events.commit(str(uuid.uuid4()), uuid.uuid4().hex, 1, [events.TaskDeferred(reason="x")], META))


async def test_what_one_appends_wakes_the_others(mongodb: MongoDB, rabbitmq: PrivateRabbitMQ, tmp_path: Path) -> None:
    """Nobody there looks by itself: only the hint can have set the signal. One's own hints wake nobody."""
    async with AsyncExitStack() as stack:
        first, second = [await stack.enter_async_context(stores.in_mongodb(mongodb, tmp_path).open()) for _ in range(2)]
        hints = [Hint(store.log, rabbitmq.url, name) for store, name in ((first, "a"), (second, "b"))]
        tasks = [asyncio.create_task(hint.run()) for hint in hints]
        try:
            async with asyncio.timeout(20):
                woken = second.log.signal
                while not woken.is_set():  # until both are connected, nobody hears anything
                    await append(first.log)
                    await asyncio.sleep(0.05)
                await asyncio.sleep(0.2)
                woken, own = second.log.signal, first.log.signal
                await append(first.log)
                await woken.wait()
                assert own.is_set()
                own = first.log.signal
                await asyncio.sleep(0.2)
                assert not own.is_set()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
