"""Several processes that append to one MongoDB at once are fair to each other."""

import asyncio
import uuid
from datetime import UTC, datetime
from pathlib import Path

from pymongo import MongoClient

from stores import MongoDB, Stored, in_mongodb
from tespes import events
from tespes.events import Meta, moment
from tespes.store import Log

WITHIN_S = 20
CALLERS = 16


async def append(log: Log) -> None:
    """One commit to a stream of its own."""
    meta = Meta(at=moment.whole(datetime.now(UTC)), actor="tests", owner="anonymous")
    await log.append(events.commit(str(uuid.uuid4()), uuid.uuid4().hex, 1, [events.TaskDeferred(reason="none")], meta))


async def append_until(log: Log, over: asyncio.Event) -> None:
    """One commit after the other."""
    while not over.is_set():
        await append(log)


async def test_a_process_in_a_hurry_locks_nobody_out(mongodb: MongoDB, tmp_path: Path) -> None:
    """Who remembers the head is faster than who must read it: others would lose every race, for as long as it is in a hurry."""
    place, over = in_mongodb(mongodb, tmp_path), asyncio.Event()
    async with place.open() as busy, place.open() as modest, asyncio.TaskGroup() as group:
        for _ in range(CALLERS):
            group.create_task(append_until(busy.log, over))
        async with asyncio.timeout(WITHIN_S):
            for _ in range(20):
                await append(modest.log)
        over.set()


async def test_who_died_in_the_queue_keeps_nobody_waiting(mongodb: MongoDB, tmp_path: Path) -> None:
    """A ticket that does not move is taken away by those behind it."""
    place, over = in_mongodb(mongodb, tmp_path), asyncio.Event()
    async with place.open() as one, place.open() as other, asyncio.TaskGroup() as group:
        with MongoClient[Stored](place.options.mongodb_uri) as client:
            client[place.options.mongodb_database].queue.insert_one({"_id": "append", "tickets": ["of the dead"]})
        for log in (one.log, other.log):
            group.create_task(append_until(log, over))
        async with asyncio.timeout(WITHIN_S):
            for _ in range(20):
                await asyncio.gather(append(one.log), append(other.log))
        over.set()
    assert "of the dead" not in await tickets(place.options.mongodb_uri, place.options.mongodb_database)


async def tickets(uri: str | None, database: str) -> list[str]:
    """Who is in the queue."""

    def look() -> list[str]:
        with MongoClient[Stored](uri) as client:
            found = client[database].queue.find_one({"_id": "append"})
        return list(found["tickets"]) if found else []

    return await asyncio.to_thread(look)
