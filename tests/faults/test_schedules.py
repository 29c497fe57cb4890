"""Random schedules of faults: whatever happens, and in whatever order, the laws hold.

`TESPES_TEST_SEED=<seed>` runs one seed again, or several with commas between them; odd ones are on MongoDB, even ones on SQLite.
"""

import asyncio
import logging
import os
import random
import traceback
from collections.abc import Iterator
from contextvars import ContextVar
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import structlog

from faults import wall_clock
from faults.schedule import Schedule, report
from faults.world import World
from stores import MongoDB, in_mongodb, in_sqlite
from tespes.local.rabbitmq import PrivateRabbitMQ

pytestmark = pytest.mark.servers

AT_ONCE = 10
SEED = os.environ.get("TESPES_TEST_SEED")

_LOGGED: ContextVar[list[str] | None] = ContextVar("_LOGGED", default=None)


@pytest.fixture(autouse=True)
def logged() -> Iterator[None]:
    """What TESPES logs is kept for each schedule, to be shown if it fails."""
    structlog.configure(processors=[_keep])
    broker_library = logging.getLogger("aiormq.connection")
    broker_library.disabled, before = True, broker_library.disabled
    yield
    broker_library.disabled = before
    structlog.reset_defaults()


def _keep(_: Any, level: str, event: structlog.typing.EventDict) -> str:
    lines = _LOGGED.get()
    if lines is None:
        raise structlog.DropEvent
    loop = asyncio.get_event_loop()
    lines.append(f"{loop.time():.2f} {level} {event}")
    raise structlog.DropEvent


@pytest.fixture
def servers(rabbitmq: PrivateRabbitMQ, mongodb: MongoDB, tmp_path: Path) -> "Servers":
    """What schedules run on."""
    return Servers(rabbitmq.url, mongodb, tmp_path)


class Servers:
    """The broker and the database that all schedules share; each has its own queues and its own store there."""

    def __init__(self, broker_url: str, mongodb: MongoDB, directory: Path) -> None:
        self._broker_url = broker_url
        self._mongodb = mongodb
        self._directory = directory
        self._turns = asyncio.Semaphore(AT_ONCE)

    async def run(self, seed: int) -> str | None:
        """Run that seed's schedule; what went wrong, if anything."""
        directory = self._directory / str(seed)
        directory.mkdir()
        port = urlsplit(self._mongodb.uri).port if seed % 2 else None
        place = in_mongodb(self._mongodb, directory) if port else in_sqlite(directory)
        schedule = Schedule(seed, World(place, self._broker_url, port))
        lines: list[str] = []
        _LOGGED.set(lines)
        async with self._turns:
            try:
                await schedule.run()
            except Exception as error:  # noqa: BLE001 - whatever it is, it is shown with what led to it
                traces = "".join(traceback.format_exception(error)) if not isinstance(error, AssertionError) else error
                return f"{report(schedule, lines)}\n{traces}"
        return None


async def run_many(servers: Servers, count: int) -> None:
    """That many schedules, several at a time."""
    first = random.SystemRandom().randrange(10**9) * 2
    seeds = [int(seed) for seed in SEED.split(",")] if SEED else list(range(first, first + count))
    print(f"seeds {seeds[0]} to {seeds[-1]}")
    with wall_clock.replaced():
        failures = [said for said in await asyncio.gather(*map(servers.run, seeds)) if said]
    assert not failures, f"{len(failures)} of {len(seeds)} failed\n" + "\n\n".join(failures[:3])


async def test_after_random_faults_every_law_holds(servers: Servers) -> None:
    """Fifty schedules, on both stores."""
    await run_many(servers, 50)


@pytest.mark.slow
async def test_after_many_random_faults_every_law_holds(servers: Servers) -> None:
    """Five hundred."""
    await run_many(servers, 500)
