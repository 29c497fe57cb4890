"""The dispatcher on a store, with links that are not there: takeovers, places, brokers that do not answer."""

import asyncio
import math
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from structlog.testing import capture_logs

from stores import Place
from tespes import errors, pulsar, tes
from tespes.flow.dispatch import Dispatch
from tespes.flow.effects import Means
from tespes.flow.execute import By, Tasks, now
from tespes.flow.follow import patiently
from tespes.flow.lead import Lease
from tespes.flow.project import Projector
from tespes.flow.pulsars import Pulsars
from tespes.flow.room import Room
from tespes.flow.signs import Signs
from tespes.projections import TASK_VIEW
from tespes.pulsar import Queue, Site, wire
from tespes.store import Store
from tespes.task import Patience, commands
from tespes.task.state import Scheduled, State

BY = By("tests")
ALONE = Lease(None, math.inf)


class Link:
    """A way to a Pulsar that is not there. `say` is called instead of a send, with `setup`, `kill` or `status`."""

    def __init__(self, name: str, slots: int | None) -> None:
        self.site = Site(name, "amqp://127.0.0.1/", name, None, slots, {"kind": "sandbox"}, "http://127.0.0.1")
        self.up = asyncio.Event()
        self.up.set()
        self.connected: Callable[[], None] = lambda: None
        self.trouble: str | None = None
        self.unheard: str | None = None
        self.queues: Mapping[str, Queue] = {}
        self.sent: Counter[str] = Counter()
        self.hangs = False

    async def run(self) -> None:
        """It is up."""

    async def submit(self, *_: str | Mapping[str, str] | None) -> None:
        await self._say("setup")

    async def kill(self, _: str) -> None:
        await self._say("kill")

    async def ask(self, _: str) -> None:
        await self._say("status")

    async def acknowledge(self, wanted: wire.Acknowledge) -> None:
        """Nobody wants to know."""

    async def _say(self, what: str) -> None:
        if self.hangs:
            await asyncio.sleep(60)
            raise errors.BrokerUnavailable("did not confirm")
        self.sent[what] += 1


@dataclass
class World:
    """Two Pulsars with two places each, and what is needed to dispatch to them."""

    store: Store
    patience: Patience = field(default_factory=Patience)
    slots: int | None = 2

    def __post_init__(self) -> None:
        self.tasks = Tasks(self.store.log)
        self.links = {name: Link(name, self.slots) for name in ("a", "b")}
        self.pulsars = Pulsars(self.store.log, self.links)
        self.projector = Projector(self.store.log, self.store.documents, TASK_VIEW)

    async def create(self, **parameters: str) -> str:
        """A task that waits."""
        executors = (tes.Executor(image="any", command=("true",)),)
        asked = tes.Resources(cpu_cores=1, backend_parameters=parameters or None)
        task = await self.tasks.create(commands.CreateTask(task=tes.Task(executors=executors, resources=asked)), "me", BY)
        return task.id

    async def running(self, at: str, **parameters: str) -> str:
        """A task that has a place there."""
        task_id = await self.create(**parameters)
        await self.tasks.execute(task_id, commands.ScheduleAttempt(task_id=task_id, pulsar=at, runtime="sandbox"), BY)
        claim = commands.ClaimAttempt(attempt=1, run_id="run", host="node", python="3.11")
        await self.tasks.execute(task_id, claim, BY)
        return task_id

    async def state(self, task_id: str) -> State:
        """Its situation."""
        known = await self.tasks.load(task_id)
        assert known is not None
        return known.state

    async def project(self) -> None:
        """The view is made, as far as the log is."""
        await self.projector.prepare()
        head = (await self.store.log.head()).position
        async with running(self.projector.run(ALONE)):
            while await self.store.documents.position(TASK_VIEW) < head:  # noqa: ASYNC110 - it is not ours to tell
                await asyncio.sleep(0.02)

    @asynccontextmanager
    async def dispatching(self) -> AsyncIterator[None]:
        """While inside, a dispatcher is at work that knows only what is stored."""
        means = Means(self.links, self.pulsars, b"k" * 32, pulsar.Terms(60, 120), self.patience)
        room = Room({name: link.site for name, link in self.links.items()})
        dispatch = Dispatch(self.store, Tasks(self.store.log), Signs(self.store.signs), room, means)
        async with running(self.pulsars.run(), dispatch.run(ALONE)):
            yield


@asynccontextmanager
async def running(*parts: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """While inside, all of that runs."""
    tasks = [asyncio.create_task(part) for part in parts]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


async def until(is_so: Callable[[], bool], within_s: float = 20.0) -> None:
    """Wait until that is so."""
    async with asyncio.timeout(within_s):
        while not is_so():  # noqa: ASYNC110 - it is not ours to tell
            await asyncio.sleep(0.02)


@pytest.mark.parametrize("is_projected", [True, False], ids=["view", "log"])
async def test_who_takes_over_knows_all_places_before_giving_one(a_store: Store, *, is_projected: bool) -> None:
    """The places are taken by younger tasks: those that have waited for longer must not be sent beyond what there is."""
    world = World(a_store)
    waiting = [await world.create() for _ in range(80)]
    for at in ("a", "a", "b"):
        await world.running(at, priority="5")
    last = await world.create(priority="5")
    await world.tasks.execute(last, commands.ScheduleAttempt(task_id=last, pulsar="b", runtime="sandbox"), BY)
    await world.projector.prepare()
    if is_projected:
        await world.project()
    async with world.dispatching():
        await until(lambda: world.links["b"].sent["setup"] == 1)
        await asyncio.sleep(0.2)
    assert [task_id for task_id in waiting if isinstance(await world.state(task_id), Scheduled)] == []
    assert world.links["a"].sent["setup"] == 0


async def test_a_place_that_is_free_at_the_takeover_goes_to_the_highest_priority(a_store: Store) -> None:
    """Not to whoever is looked at first."""
    world = World(a_store)
    waiting = [await world.create(pulsar="a") for _ in range(80)]
    await world.running("a")
    urgent = await world.create(pulsar="a", priority="5")
    await world.project()
    async with world.dispatching():
        await until(lambda: world.links["a"].sent["setup"] == 1)
    assert isinstance(await world.state(urgent), Scheduled)
    assert [task_id for task_id in waiting if isinstance(await world.state(task_id), Scheduled)] == []


async def test_a_broker_that_does_not_answer_keeps_nobody_else_waiting(a_store: Store) -> None:
    """However many tasks want to go there."""
    world = World(a_store, slots=None)
    world.links["a"].hangs = True
    for _ in range(70):
        await world.create(pulsar="a")
    await world.project()
    async with world.dispatching():
        await asyncio.sleep(0.1)
        await world.create(pulsar="b")
        await until(lambda: world.links["b"].sent["setup"] == 1)


async def test_a_job_that_may_run_is_killed_by_whoever_takes_over(a_store: Store) -> None:
    """Its task was over just before, and nobody remembers whether a kill was sent."""
    world = World(a_store)
    task_id = await world.running("a")
    await world.tasks.execute(task_id, commands.ReportStart(attempt=1, run_id="run", executor=0, at=now()), BY)
    await world.tasks.execute(task_id, commands.CancelTask(), BY)
    await world.tasks.execute(task_id, commands.GiveUpAttempt(attempt=1, reason="silent: it may still run"), BY)
    await world.project()
    async with world.dispatching():
        await until(lambda: world.links["a"].sent["kill"] > 1 and world.links["a"].sent["status"] > 0)


async def test_what_nobody_reads_is_sent_again_when_somebody_does(a_store: Store) -> None:
    """Not before: a Pulsar that comes back would find a heap of messages."""
    world = World(a_store, Patience(ask_after_s=0.05, unreceived_s=None))
    link = world.links["a"]
    await world.projector.prepare()
    async with world.dispatching():
        await world.create(pulsar="a")
        await until(lambda: link.sent["setup"] == 1)
        link.trouble = "nobody reads"
        await asyncio.sleep(0.3)
        sent = link.sent["setup"]
        await asyncio.sleep(0.5)
        assert link.sent["setup"] == sent
        link.trouble = None
        link.connected()
        await until(lambda: link.sent["setup"] > sent, 5)


async def test_what_is_away_at_the_start_is_waited_for() -> None:
    """It does not end the process."""
    tries = 0

    async def look() -> int:
        nonlocal tries
        tries += 1
        if tries == 1:
            raise errors.StoreUnavailable("away")
        return tries

    assert await patiently("test", look) == 2


async def test_a_task_that_cannot_be_read_is_one_quiet_line(place: Place) -> None:
    """All others go on."""
    async with place.open() as store:
        unreadable, other = [await World(store).create() for _ in range(2)]
    entries = place.stored()
    entries[0]["events"][0]["type"] = "TaskFrozen"
    place.tamper(entries)
    async with place.open() as store:
        world = World(store)
        await world.projector.prepare()
        with capture_logs() as logs:
            async with world.dispatching():
                await until(lambda: world.links["a"].sent["setup"] == 1)
                await until(lambda: any(line.get("task_id") == unreadable for line in logs))
    told = [(line["event"], "exc_info" in line) for line in logs if line.get("task_id") == unreadable]
    assert told == [("a task cannot be read", False)]
    assert other not in [line.get("task_id") for line in logs if line["log_level"] != "info"]
