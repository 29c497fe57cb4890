"""What operators want of Pulsars is in the log: every process follows it, and an order that is given twice is one."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest

import given as g
from stores import Place
from tespes import errors, tes
from tespes.events import recorded
from tespes.flow.execute import By, Tasks
from tespes.flow.project import Projector
from tespes.flow.pulsars import Drained, Enabled, Pulsars, occupy
from tespes.flow.room import Room
from tespes.projections import TASK_VIEW
from tespes.pulsar import Site, amqp
from tespes.store import Store
from tespes.task import commands

BY = By("operator")
SITE = Site("site", "amqp://127.0.0.1:1/", "_default_", None, 4, {"kind": "sandbox"}, "http://127.0.0.1:1")


async def _deaf(_: str, __: bytes) -> None:
    """Nothing is ever said here."""


def reachable() -> amqp.Link:
    """A link that is up."""
    link = amqp.Link(SITE, _deaf)
    link.up.set()
    return link


@asynccontextmanager
async def followed(opened: Store) -> AsyncIterator[Pulsars]:
    """The Pulsars, as a process sees them."""
    pulsars = Pulsars(opened.log, {"site": reachable()})
    following = asyncio.ensure_future(pulsars.run())
    try:
        yield pulsars
    finally:
        following.cancel()
        with suppress(asyncio.CancelledError):
            await following


async def opens(pulsars: Pulsars, trouble: str | None) -> None:
    """Wait until that process knows it."""
    async with asyncio.timeout(10):
        while pulsars.open() != {"site": trouble}:  # noqa: ASYNC110 - whoever tells it
            await asyncio.sleep(0.01)


async def test_every_process_follows_what_operators_want(place: Place) -> None:
    """Also one that starts later. Before it has looked, it sends nothing anywhere."""
    async with place.open() as opened:
        assert Pulsars(opened.log, {"site": reachable()}).open() == {"site": "what operators want of it is being looked up"}
        async with followed(opened) as one, followed(opened) as other:
            await opens(other, None)
            await one.drain("site", "new disks", BY)
            await opens(other, "it is drained: new disks")
            assert other.troubles() == {"site": None}
            async with followed(opened) as later:
                await opens(later, "it is drained: new disks")
            await other.enable("site", BY)
            await opens(one, None)
            assert isinstance(await one.wanted("site"), Enabled)


async def test_an_order_that_is_given_twice_is_one_event(place: Place) -> None:
    """Also by two at once; another reason is another order."""
    async with place.open() as opened:
        pulsars = Pulsars(opened.log, {"site": reachable()})
        await pulsars.enable("site", BY)
        await asyncio.gather(*(pulsars.drain("site", "why", BY) for _ in range(5)))
        await pulsars.drain("site", None, BY)
        await asyncio.gather(pulsars.enable("site", BY), pulsars.enable("site", BY))
        entries = await opened.log.read_stream("pulsar:site")
        names = [type(each.event).__name__ for entry in entries for each in recorded(entry)]
        assert names == ["PulsarDrained", "PulsarDrained", "PulsarEnabled"]
        with pytest.raises(errors.NotFound, match="there are: site"):
            await pulsars.drain("other", None, BY)


async def test_drained_is_kept_over_a_restart(place: Place) -> None:
    """With its time and reason."""
    async with place.open() as opened:
        await Pulsars(opened.log, {"site": reachable()}).drain("site", None, BY)
    async with place.open() as opened:
        wanted = await Pulsars(opened.log, {"site": reachable()}).wanted("site")
        assert isinstance(wanted, Drained)
        assert wanted.reason is None


async def test_any_process_can_say_what_is_taken(place: Place) -> None:
    """From the tasks that have not ended, in whatever process."""
    create = commands.CreateTask(task=tes.Task(executors=(tes.Executor(image="alpine", command=("true",)),)))
    async with place.open() as opened:
        tasks = Tasks(opened.log)
        waiting, there, over = [(await tasks.create(create, "somebody", BY)).id for _ in range(3)]
        order = commands.ScheduleAttempt(task_id=there, pulsar="site", runtime="sandbox")
        await tasks.execute(there, order, BY)
        await tasks.execute(over, g.CANCEL, BY)
        projector = Projector(opened.log, opened.documents, TASK_VIEW)
        await projector.prepare()
        await projector.project(await opened.log.read(0))
        room = Room({"site": SITE})
        await occupy(room, Tasks(opened.log), opened.documents)
        assert (room.waiting, room.used()["site"].places, room.used()["site"].places_free) == (1, 1, 3)
        assert [task_id for task_id, _ in room.reasons({"site": None})] == [waiting]
