"""The MongoDB wire server of the tests and of a try of the MongoDB store."""

import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import pytest_asyncio
from pymongo import AsyncMongoClient

from tespes.local.mongodb import LocalMongoDB

pytestmark = [pytest.mark.servers, pytest.mark.asyncio(loop_scope="module")]
PROGRAM = Path(sys.executable).parent / "secantusd-py"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[LocalMongoDB]:
    async with LocalMongoDB(tmp_path_factory.mktemp("mongodb"), program=PROGRAM) as server:
        yield server


async def test_what_is_inserted_is_found_even_after_a_crash(server: LocalMongoDB) -> None:
    """A write that was confirmed survives `kill -9`, at the same URI."""
    async with AsyncMongoClient[dict[str, Any]](server.uri) as client:
        await client.trial.log.insert_one({"_id": "a", "position": 1})
    uri = server.uri

    await server.kill()
    await server.start()

    assert server.uri == uri
    async with AsyncMongoClient[dict[str, Any]](server.uri) as client:
        assert await client.trial.log.find_one({"position": 1}) == {"_id": "a", "position": 1}


async def test_nothing_remains_after_a_stop(tmp_path: Path) -> None:
    """No process, no record."""
    async with LocalMongoDB(tmp_path, program=PROGRAM) as server:
        pid = server.pid
        assert pid is not None

    assert not psutil.pid_exists(pid)
    assert not list(tmp_path.glob("process.json*"))
