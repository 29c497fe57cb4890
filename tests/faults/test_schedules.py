"""Random schedules of faults: whatever happens, and in whatever order, the laws hold.

`TESPES_TEST_SEED=<seed>` runs that seed again, or several with commas; every fifth is on MongoDB, the others on SQLite.
"""

import asyncio
import os
import random
import traceback
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import structlog

from faults import logged, wall_clock
from faults.schedule import Schedule, report
from faults.world import World
from stores import MongoDB, in_mongodb, in_sqlite
from tespes.local.rabbitmq import PrivateRabbitMQ

pytestmark = [
    pytest.mark.servers,
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),  # what crashed was not tidied up
]

AT_ONCE = 8
AT_ONCE_ON_MONGODB = 2  # two processes each, and a database that takes its time
MONGODB_EVERY = 5
SCHEDULE_WITHIN_S = 90.0
SEED = os.environ.get("TESPES_TEST_SEED")


@pytest.fixture(autouse=True)
def kept(after_crashes: None) -> Iterator[None]:
    """What TESPES logs is kept for each schedule, to be shown if it fails."""
    structlog.configure(processors=[logged.keep])
    yield
    structlog.reset_defaults()


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
        self._turns = (asyncio.Semaphore(AT_ONCE), asyncio.Semaphore(AT_ONCE_ON_MONGODB))

    async def run(self, seed: int) -> str | None:
        """Run that seed's schedule; what went wrong, if anything."""
        directory = self._directory / str(seed)
        directory.mkdir()
        port = urlsplit(self._mongodb.uri).port if seed % MONGODB_EVERY == 0 else None
        place = in_mongodb(self._mongodb, directory) if port else in_sqlite(directory)
        schedule = Schedule(seed, World(place, self._broker_url, port))
        lines = logged.begin()
        async with self._turns[1 if port else 0]:
            try:
                async with asyncio.timeout(SCHEDULE_WITHIN_S):
                    await schedule.run()
            except Exception as error:  # noqa: BLE001 - whatever it is, it is shown with what led to it
                traces = (
                    "".join(traceback.format_exception(error))
                    if error.__cause__ or not isinstance(error, AssertionError)
                    else error
                )
                return f"{report(schedule, lines)}\n{traces}"
        return None


async def run_many(servers: Servers, count: int) -> None:
    """That many schedules, several at a time."""
    first = random.SystemRandom().randrange(10**8) * MONGODB_EVERY
    seeds = [int(seed) for seed in SEED.split(",")] if SEED else list(range(first, first + count))
    print(f"seeds {seeds[0]} to {seeds[-1]}")  # noqa: T201 - shown if one fails
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
