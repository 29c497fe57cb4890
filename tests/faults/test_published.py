"""Random schedules of faults for what is published: whatever happens to publishers, broker and consumers, law 8 holds.

`TESPES_TEST_SEED=<seed>` runs that seed again, or several with commas; every fifth is on MongoDB, with two processes.
"""

import asyncio
import contextlib
import os
import random
import signal
import time
import traceback
import uuid
from collections.abc import Callable, Coroutine, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import structlog
from aiormq.exceptions import AMQPError

import given as g
import published
from faults import logged, wall_clock
from faults.test_single_faults import control
from faults.world import SETTINGS, World
from published import Copy, Inbox
from servers import Loop, Tespes
from simulated import Way
from stores import MongoDB, Place, in_mongodb, in_sqlite
from tespes import events
from tespes.events import Meta, asyncapi
from tespes.flow.lead import Lease
from tespes.flow.publish import Publisher
from tespes.local.rabbitmq import PrivateRabbitMQ
from tespes.store import Store

pytestmark = [
    pytest.mark.servers,
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),  # what crashed was not tidied up
]

AT_ONCE = 10
AT_ONCE_ON_MONGODB = 2  # two processes each, and a database that takes its time
MONGODB_EVERY = 5
FAULTS = (4, 8)
TASKS = (10, 20)
FAULTS_WITHIN_S = 2.0
STALL_S = 2.0  # longer than a lease lasts
KILLS = 6
TASKS_EACH = 40
BROKER_DIES_AFTER_S = 1.0
SEED = os.environ.get("TESPES_TEST_SEED")

Fault = Callable[[], Coroutine[Any, Any, None]]


@pytest.fixture(autouse=True)
def kept(after_crashes: None) -> Iterator[None]:
    """What TESPES logs is kept for each schedule, to be shown if it fails."""
    structlog.configure(processors=[logged.keep])
    yield
    structlog.reset_defaults()


@pytest.fixture
def broker(loop_thread: Loop, tmp_path: Path) -> Iterator[PrivateRabbitMQ]:
    """A RabbitMQ of our own, to be killed."""
    node = PrivateRabbitMQ(tmp_path / "rabbitmq")
    loop_thread.run(node.start())
    yield node
    loop_thread.run(node.stop())


@dataclass
class Consumer:
    """Somebody with a durable queue at the exchange. `copies`: what it got, in all its lives."""

    url: str
    exchange: str
    copies: list[Copy] = field(default_factory=list)
    wrong: list[BaseException] = field(default_factory=list)
    bound: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self) -> None:
        """Begin again whenever the connection is gone."""
        while True:
            with contextlib.suppress(AMQPError, OSError, RuntimeError):
                queue = f"{self.exchange}.consumer"
                async with Inbox(self.url, self.exchange, "#", queue, self.copies, self.wrong) as inbox:
                    self.bound.set()
                    await inbox.broken()
            await asyncio.sleep(0.05)


@dataclass
class Schedule:
    """One seed's schedule, done to a world with no Pulsar: tasks are created and canceled, and all of that is published."""

    seed: int
    world: World
    exchange: str
    done: list[str] = field(default_factory=list)

    async def run(self) -> None:
        """Do it, mend everything, and check the law.

        :raises AssertionError: it does not hold
        """
        self._chance = random.Random(self.seed)
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(self.world)
            self._way = await stack.enter_async_context(Way(urlsplit(self.world.broker_url).port or 0))
            parts = urlsplit(self.world.broker_url)
            url = parts._replace(netloc=f"{parts.username}:{parts.password}@127.0.0.1:{self._way.port}").geturl()
            self._consumer = Consumer(url, self.exchange)
            consuming = asyncio.ensure_future(self._consumer.run())
            stack.callback(consuming.cancel)
            await self._consumer.bound.wait()
            await self.world.start(2 if self.world.mongodb_port else 1)
            async with asyncio.TaskGroup() as group:
                for at, happening in self._happenings():
                    group.create_task(self._happen(at, happening))
            await self.world.mend()
            await published.all_of(self.world.place, self._consumer.copies)
            assert not self._consumer.wrong, self._consumer.wrong
            for process in self.world.processes:
                await process.is_well()

    def _happenings(self) -> list[tuple[float, Fault]]:
        chance = self._chance
        faults: list[Fault] = [self._crash, self._crash, self._cut, self._cut, self._shut, self._kill_consumer, self._slow]
        faults += [self._stall] if self.world.mongodb_port else []
        happenings = [(chance.uniform(0, FAULTS_WITHIN_S), self._task) for _ in range(chance.randint(*TASKS))]
        happenings += [(chance.uniform(0.1, FAULTS_WITHIN_S), chance.choice(faults)) for _ in range(chance.randint(*FAULTS))]
        return sorted(happenings, key=lambda each: each[0])

    async def _happen(self, at: float, happening: Fault) -> None:
        await asyncio.sleep(at)
        self.done.append(f"{at:.2f} {happening.__name__}")
        await happening()

    async def _task(self) -> None:
        task_id = await self.world.submit("true")
        if self._chance.random() < 0.7:
            await self.world.cancel(task_id)

    async def _crash(self) -> None:
        process = self._chance.choice(self.world.processes)
        if process.life is not None:
            await process.crash()
            await self._pause()
            await process.start()

    async def _cut(self) -> None:
        for process in self.world.processes:
            if process.life is not None:
                process.life.amqp.cut()

    async def _shut(self) -> None:
        life = self._chance.choice(self.world.processes).life
        if life is not None:
            life.amqp.shut()
            await self._pause()
            life.amqp.open()

    async def _kill_consumer(self) -> None:
        """What it has not acknowledged, comes again."""
        self._way.shut()
        await self._pause()
        self._way.open()

    async def _slow(self) -> None:
        await self._delayed(0.05, 0.5)

    async def _stall(self) -> None:
        """A process is cut off without noticing, for longer than its lease lasts; then everything it said arrives."""
        await self._delayed(STALL_S, STALL_S)

    async def _delayed(self, delay_s: float, for_s: float) -> None:
        life = self._chance.choice(self.world.processes).life
        if life is None:
            return
        for way in life.ways():
            way.delay_s = delay_s
        await asyncio.sleep(for_s)
        for way in life.ways():
            way.delay_s = 0.0

    async def _pause(self) -> None:
        await asyncio.sleep(self._chance.uniform(0.1, 0.8))


class Servers:
    """The broker and the database that all schedules share; each has its own exchange and its own store there."""

    def __init__(self, broker: PrivateRabbitMQ, mongodb: MongoDB, directory: Path) -> None:
        self._broker = broker
        self._mongodb = mongodb
        self._directory = directory
        self._turns = (asyncio.Semaphore(AT_ONCE), asyncio.Semaphore(AT_ONCE_ON_MONGODB))

    async def run(self, seed: int) -> str | None:
        """Run that seed's schedule; what went wrong, if anything."""
        directory = self._directory / str(seed)
        directory.mkdir()
        port = urlsplit(self._mongodb.uri).port if seed % MONGODB_EVERY == 0 else None
        place = in_mongodb(self._mongodb, directory) if port else in_sqlite(directory)
        exchange = f"tespes.test.{uuid.uuid4().hex}"
        settings = {**SETTINGS, "roles": ("api", "publish"), "events": {"exchange": exchange}}
        schedule = Schedule(seed, World(place, self._broker.url, port, settings), exchange)
        lines = logged.begin()
        async with self._turns[1 if port else 0]:
            try:
                await schedule.run()
            except Exception as error:  # noqa: BLE001 - whatever it is, it is shown with what led to it
                said = "\n".join([f"TESPES_TEST_SEED={seed}", *schedule.done, "", *lines[-80:]])
                return f"{said}\n{''.join(traceback.format_exception(error))}"
        return None


async def run_many(servers: Servers, count: int) -> None:
    """That many schedules, several at a time."""
    first = random.SystemRandom().randrange(10**8) * MONGODB_EVERY
    seeds = [int(seed) for seed in SEED.split(",")] if SEED else list(range(first, first + count))
    print(f"seeds {seeds[0]} to {seeds[-1]}")  # noqa: T201 - shown if one fails
    with wall_clock.replaced():
        failures = [said for said in await asyncio.gather(*map(servers.run, seeds)) if said]
    assert not failures, f"{len(failures)} of {len(seeds)} failed\n" + "\n\n".join(failures[:3])


@contextlib.asynccontextmanager
async def dying(broker: PrivateRabbitMQ, loop_thread: Loop, times: int) -> Any:
    """The broker is killed with -9 so many times, and started again."""

    async def die() -> None:
        for _ in range(times):
            await asyncio.sleep(BROKER_DIES_AFTER_S)
            await asyncio.to_thread(loop_thread.run, broker.kill())
            await asyncio.to_thread(loop_thread.run, broker.start())
            await asyncio.sleep(BROKER_DIES_AFTER_S)

    dies = asyncio.ensure_future(die())
    yield
    await dies


async def test_after_random_faults_all_is_published_in_order(
    broker: PrivateRabbitMQ, mongodb: MongoDB, tmp_path: Path, loop_thread: Loop
) -> None:
    """Twenty schedules, on both stores, and the broker dies in the middle of some."""
    async with dying(broker, loop_thread, 1):
        await run_many(Servers(broker, mongodb, tmp_path), 20)


@pytest.mark.slow
@pytest.mark.parametrize("place", ["sqlite", "mongodb"], indirect=True)
async def test_processes_that_are_killed_and_stopped_publish_all(
    place: Place, rabbitmq: PrivateRabbitMQ, tmp_path: Path
) -> None:
    """Real ones: `kill -9`, again and again; where there are two, one also stands still for longer than its lease lasts."""
    exchange = f"tespes.test.{uuid.uuid4().hex}"
    variables = {
        "TESPES_ROLES": "api,publish",
        "TESPES_RABBITMQ__URL": rabbitmq.url,
        "TESPES_EVENTS__EXCHANGE": exchange,
        "TESPES_RUNNER__KEY": "the same in all processes of this test",
        "TESPES_LEASE__EXPIRES_S": "1",
    }
    if place.options.mongodb_uri:
        variables["TESPES_STORE__MONGODB_URI"] = place.options.mongodb_uri
        variables["TESPES_STORE__MONGODB_DATABASE"] = place.options.mongodb_database
    names = ("first", "second") if place.options.mongodb_uri else ("",)
    processes = [Tespes(place.state_dir / name, variables) for name in names]
    async with Inbox(rabbitmq.url, exchange, "#", f"{exchange}.consumer") as inbox:
        try:
            await asyncio.gather(*(asyncio.to_thread(process.start) for process in processes))
            for turn in range(KILLS):
                await asyncio.to_thread(_torment, processes, turn)
            await published.all_of(place, inbox.copies)
        finally:
            for process in processes:
                await asyncio.to_thread(process.stop)
    assert not inbox.wrong


def _torment(processes: list[Tespes], turn: int) -> None:
    """Tasks for one; while they are published, it is killed and started again, or stands still."""
    process = processes[turn % len(processes)]
    for _ in range(TASKS_EACH):
        process.submit({"executors": [{"image": "any", "command": ["true"]}]})
    if len(processes) > 1 and turn % 3 == 0:
        process.signal(signal.SIGSTOP)
        time.sleep(STALL_S)
        process.signal(signal.SIGCONT)
    else:
        process.kill()
        process.start()


@pytest.mark.slow
@pytest.mark.parametrize("place", ["sqlite"], indirect=True)
async def test_a_broker_short_of_memory_is_waited_for(place: Place, broker: PrivateRabbitMQ) -> None:
    """RabbitMQ's memory alarm: it takes nothing and closes nothing. The publisher says so, and goes on afterwards."""
    async with Inbox(broker.url, asyncapi.EXCHANGE) as inbox, place.open() as store:
        publisher = Publisher(store.log, store.checkpoints, broker.url, asyncapi.EXCHANGE, "urn:x")
        publishing = asyncio.create_task(publisher.run(Lease(None, float("inf"))))
        try:
            await _append(store, 10)
            await inbox.holds(10)
            await control(broker, "set_vm_memory_high_watermark", "0.000001")
            await _append(store, 1000)
            await _until(lambda: "short of memory" in str(publisher.trouble))
            await control(broker, "set_vm_memory_high_watermark", "0.4")
            await inbox.holds(1010)
            await _until(lambda: publisher.trouble is None)
        finally:
            publishing.cancel()
            await asyncio.gather(publishing, return_exceptions=True)
    published.check(place.stored(), inbox.copies)


async def _append(store: Store, count: int) -> None:
    meta = Meta(at=g.at(0), actor="tests", owner="anonymous")
    for _ in range(count):
        commit = events.commit(str(uuid.uuid4()), uuid.uuid4().hex, 1, [events.TaskDeferred(reason="x")], meta)
        await store.log.append(commit)


async def _until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not true():  # noqa: ASYNC110 - nothing tells
            await asyncio.sleep(0.05)


@pytest.mark.slow
async def test_after_many_random_faults_all_is_published_in_order(
    broker: PrivateRabbitMQ, mongodb: MongoDB, tmp_path: Path, loop_thread: Loop
) -> None:
    """A hundred."""
    async with dying(broker, loop_thread, 5):
        await run_many(Servers(broker, mongodb, tmp_path), 100)
