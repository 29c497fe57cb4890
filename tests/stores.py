"""Both stores, for every test that asks for `a_store`: the same test runs on SQLite and on MongoDB.

MongoDB is a wire server that the tests start (or the real one that TESPES_TEST_MONGODB_URI names); each test has a
database of its own in it.
"""

import asyncio
import json
import os
import sqlite3
import sys
import uuid
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from pymongo import MongoClient

from tespes import store
from tespes.local.mongodb import LocalMongoDB
from tespes.store import Options, Store

Stored = dict[str, Any]
COLUMNS = ("_id", "stream", "version", "position", "events", "meta", "data_hash", "prev_hash", "hash")
_APPENDING = Path(__file__).with_name("contract") / "append_until_killed.py"
REAL_MONGODB = os.environ.get("TESPES_TEST_MONGODB_URI")


@dataclass(frozen=True)
class MongoDB:
    """A MongoDB to test with. `server` is None if it is somebody else's."""

    uri: str
    server: LocalMongoDB | None


@pytest.fixture(scope="session")
def mongodb(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MongoDB]:
    """One server for the whole run."""
    if REAL_MONGODB:
        yield MongoDB(REAL_MONGODB, None)
        return
    program = Path(sys.executable).with_name("secantusd-py")
    server = LocalMongoDB(tmp_path_factory.mktemp("mongodb"), program=program)
    with asyncio.Runner() as runner:
        runner.run(server.start())
        yield MongoDB(server.uri, server)
        runner.run(server.stop())


@dataclass(frozen=True)
class Place:
    """Where a store is: opening it again finds what was there."""

    options: Options
    state_dir: Path

    @asynccontextmanager
    async def open(self, *, writable: bool = True) -> AsyncIterator[Store]:
        """The store, with its appender at work."""
        async with AsyncExitStack() as stack:
            opened = await store.open_store(self.options, self.state_dir, stack, writable=writable)
            async with asyncio.TaskGroup() as group:
                appender = group.create_task(opened.log.run())
                yield opened
                appender.cancel()

    def stored(self) -> list[Stored]:
        """The log as the database has it, in MongoDB's shape, read behind TESPES's back."""
        if self.options.mongodb_uri:
            with MongoClient[Stored](self.options.mongodb_uri) as client:
                return list(client[self.options.mongodb_database].log.find().sort("position"))
        names = ", ".join(COLUMNS).replace("_id", "id", 1)
        with closing(sqlite3.connect(self.state_dir / "log.sqlite3")) as database:
            rows = database.execute(f"SELECT {names} FROM log ORDER BY position").fetchall()  # noqa: S608 - constants
        stored = [dict(zip(COLUMNS, row, strict=True)) for row in rows]
        return [entry | {"events": json.loads(entry["events"]), "meta": json.loads(entry["meta"])} for entry in stored]

    def tamper(self, entries: Sequence[Stored]) -> None:
        """Replace the whole log by these entries, as somebody could who owns the database."""
        if self.options.mongodb_uri:
            with MongoClient[Stored](self.options.mongodb_uri) as client:
                log = client[self.options.mongodb_database].log
                log.delete_many({})
                log.insert_many(entries)
            return
        names = ", ".join(COLUMNS).replace("_id", "id", 1)
        places = ", ".join("?" * len(COLUMNS))
        texts = [entry | {"events": json.dumps(entry["events"]), "meta": json.dumps(entry["meta"])} for entry in entries]
        with closing(sqlite3.connect(self.state_dir / "log.sqlite3")) as database, database:
            database.execute("DELETE FROM log")
            rows = [tuple(entry[name] for name in COLUMNS) for entry in texts]
            database.executemany(f"INSERT INTO log ({names}) VALUES ({places})", rows)  # noqa: S608 - constants


@asynccontextmanager
async def another_process(place: Place) -> AsyncIterator[asyncio.subprocess.Process]:
    """A process that appends until it is killed; it has the store open."""
    options = place.options
    where = [options.mongodb_uri, options.mongodb_database] if options.mongodb_uri else []
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(_APPENDING), str(place.state_dir), *where, stdout=asyncio.subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        assert int(await process.stdout.readline()) == process.pid
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


@pytest.fixture(params=["sqlite", "mongodb"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """An empty store, not open yet."""
    return in_sqlite(tmp_path) if request.param == "sqlite" else in_mongodb(request.getfixturevalue("mongodb"), tmp_path)


def in_sqlite(directory: Path) -> Place:
    """An SQLite store in that directory."""
    return Place(Options(), directory)


def in_mongodb(server: MongoDB, directory: Path) -> Place:
    """A database of its own in that server."""
    return Place(Options(server.uri, f"test_{uuid.uuid4().hex[:12]}"), directory)


@pytest.fixture
async def a_store(place: Place) -> AsyncIterator[Store]:
    """An empty store, open."""
    async with place.open() as opened:
        yield opened
