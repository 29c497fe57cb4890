"""Both stores, for every test that asks for `a_store`: the same test runs on SQLite and on MongoDB.

MongoDB is a wire server that the tests start (or the real one that TESPES_TEST_MONGODB_URI names); each test has a
database of its own in it.
"""

import asyncio
import os
import sys
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tespes import store
from tespes.local.mongodb import LocalMongoDB
from tespes.store import Options, Store

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


@pytest.fixture(params=["sqlite", "mongodb"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """An empty store, not open yet."""
    if request.param == "sqlite":
        return Place(Options(), tmp_path)
    server: MongoDB = request.getfixturevalue("mongodb")
    return Place(Options(server.uri, f"test_{uuid.uuid4().hex[:12]}"), tmp_path)


@pytest.fixture
async def a_store(place: Place) -> AsyncIterator[Store]:
    """An empty store, open."""
    async with place.open() as opened:
        yield opened
