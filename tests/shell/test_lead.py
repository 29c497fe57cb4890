"""What one process alone may do: taken over when its holder is gone, refused to who was thought to be gone."""

import asyncio
import os
import signal
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

import given as g
import oracle
import stores
from stores import MongoDB, Place
from tespes import errors, events, tes
from tespes.events import Meta
from tespes.flow import audit
from tespes.flow.execute import Tasks
from tespes.flow.lead import Contender, Lease
from tespes.flow.project import Projector
from tespes.flow.read import TaskReader
from tespes.projections import TASK_VIEW
from tespes.store import Fence, Held, Leases, Store

EXPIRES_S = 0.5
LONG_S = 2.0  # where the tenth of it that a holder keeps back has to cover a busy machine's pauses
META = Meta(at=g.at(0), actor="tests", owner="anonymous")


@pytest.fixture
def place(mongodb: MongoDB, tmp_path: Path) -> Place:
    """A MongoDB, as several processes share it."""
    return stores.in_mongodb(mongodb, tmp_path)


@pytest.fixture
async def two(place: Place) -> AsyncIterator[tuple[Store, Store]]:
    """The stores of two processes."""
    async with AsyncExitStack() as stack:
        yield await stack.enter_async_context(place.open()), await stack.enter_async_context(place.open())


class Worker:
    """A process that would do what one alone may do.

    `lease` is what it does it under; None while it does not. It counts how often it begins.
    """

    def __init__(self, store: Store, name: str, expires_s: float = EXPIRES_S) -> None:
        self.store = store
        self._contender = Contender(store.leases, store.log, name, expires_s)
        self.lease: Lease | None = None
        self.tenures = 0
        self.fails = False

    async def run(self) -> None:
        """Until cancelled."""
        await self._contender.lead("work", self._work)

    async def works(self, within_s: float = 5) -> Lease:
        """Its lease, once it has one."""
        await until(lambda: self.lease is not None and self.lease.is_held, within_s)
        assert self.lease is not None
        return self.lease

    async def rests(self, within_s: float = 5) -> None:
        """Wait until it does not work."""
        await until(lambda: self.lease is None, within_s)

    async def append(self, fence: Fence | None) -> None:
        """Something that it may do as long as it holds the lease."""
        happened = [events.TaskDeferred(reason="working")]
        await self.store.log.append(events.commit(str(uuid.uuid4()), uuid.uuid4().hex, 1, happened, META), fence)

    async def _work(self, lease: Lease) -> None:
        self.lease = lease
        self.tenures += 1
        try:
            while True:
                await self.append(lease.fence)
                await asyncio.sleep(0.02)
        finally:
            self.lease = None


@asynccontextmanager
async def at_work(*workers: Worker) -> AsyncIterator[list[asyncio.Task[None]]]:
    """The workers, in the background."""
    tasks = [asyncio.create_task(worker.run()) for worker in workers]
    try:
        yield tasks
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def until(true: Callable[[], bool], within_s: float = 5) -> None:
    """Wait until that is true."""
    async with asyncio.timeout(within_s):
        while not true():  # noqa: ASYNC110 - nothing tells
            await asyncio.sleep(0.01)


async def taken_by(store: Store, name: str = "work") -> list[str]:
    """Who took the lease, one after the other, as the log has it."""
    found = [event for entry in await store.log.read_stream(f"lease:{name}") for event in events.recorded(entry)]
    return [each.event.holder for each in found if isinstance(each.event, events.LeaseTaken)]


async def test_where_nobody_else_can_write_it_is_held_at_once_and_for_ever(tmp_path: Path) -> None:
    """SQLite: no fence, no event, no waiting."""
    async with stores.in_sqlite(tmp_path).open() as opened:
        worker = Worker(opened, "a")
        async with at_work(worker):
            lease = await worker.works()
            assert (lease.fence, lease.is_held) == (None, True)
        assert await taken_by(opened) == []


async def test_one_works_and_the_other_waits(two: tuple[Store, Store], place: Place) -> None:
    """However long the holder works, the lease is taken once."""
    first, second = Worker(two[0], "a", LONG_S), Worker(two[1], "b", LONG_S)
    async with at_work(first, second):
        await asyncio.sleep(LONG_S * 3)
        assert (first.tenures, second.tenures) in {(1, 0), (0, 1)}
        assert len(await taken_by(two[0])) == 1
    oracle.check(place.stored())


async def test_who_leaves_gives_it_back(two: tuple[Store, Store]) -> None:
    """The next one works long before the lease would have expired."""
    first, second = Worker(two[0], "a", expires_s=10), Worker(two[1], "b", expires_s=10)
    async with at_work(first) as tasks:
        await first.works()
        async with at_work(second):
            await asyncio.sleep(0.1)
            tasks[0].cancel()
            lease = await second.works(within_s=3)
            assert lease.fence == Fence("work", 2)
    assert await taken_by(two[0]) == ["a", "b"]


async def test_who_is_just_taking_it_is_not_overtaken(two: tuple[Store, Store]) -> None:
    """It is in the log already, and its name is about to stand in the lease. If it is gone, its time runs out first."""
    taken = [events.LeaseTaken(name="work", holder="slow")]
    await two[1].log.append(events.commit(str(uuid.uuid4()), "lease:work", 1, taken, META))
    worker = Worker(two[0], "b", LONG_S)
    async with at_work(worker):
        await asyncio.sleep(LONG_S / 4)
        assert worker.tenures == 0
        assert two[1].leases is not None
        assert await two[1].leases.put(Held("work", "slow", 1, 1), None)
        assert await taken_by(two[1]) == ["slow"]
        assert (await worker.works(within_s=LONG_S * 5)).fence == Fence("work", 2)


async def test_what_stands_still_is_taken_over_and_whoever_comes_back_is_refused(two: tuple[Store, Store]) -> None:
    """The beat of the first stops. The second takes over; the first is refused in the log, and steps down."""
    first, second = Worker(two[0], "a"), Worker(two[1], "b")
    async with at_work(first):
        old = await first.works()
    assert two[0].leases is not None
    left = await two[0].leases.look("work")
    assert left is not None
    assert await two[0].leases.put(Held("work", "a", 1, left.beat + 1), left)  # as if it had been killed instead
    assert old.fence == Fence("work", 1)
    async with at_work(second):
        begun = asyncio.get_running_loop().time()
        lease = await second.works()
        assert asyncio.get_running_loop().time() - begun >= EXPIRES_S
        assert lease.fence == Fence("work", 2)
        await two[0].log.head()
        with pytest.raises(errors.LeaseLost):
            await first.append(old.fence)
        await first.append(None)
        with pytest.raises(errors.LeaseLost):
            await first.append(old.fence)
        await second.append(lease.fence)


async def test_a_holder_that_cannot_renew_stops_in_time(two: tuple[Store, Store], mongodb: MongoDB) -> None:
    """It stops before anybody may take the lease; if nobody did, it goes on where it was, and nothing is written down."""
    if mongodb.server is None or mongodb.server.pid is None:
        pytest.skip("somebody else's MongoDB cannot be made to stand still")
    worker = Worker(two[0], "a", LONG_S)
    async with at_work(worker):
        lease = await worker.works()
        os.kill(mongodb.server.pid, signal.SIGSTOP)
        try:
            begun = asyncio.get_running_loop().time()
            await worker.rests()
            assert asyncio.get_running_loop().time() - begun < LONG_S
            assert not lease.is_held
        finally:
            os.kill(mongodb.server.pid, signal.SIGCONT)
        await worker.works()
    assert await taken_by(two[0]) == ["a"]
    assert worker.tenures == 2


async def test_a_lease_that_was_lost_in_the_log_is_taken_anew(two: tuple[Store, Store]) -> None:
    """Somebody wrote down that it takes the lease, and was gone: the holder is refused, and takes it again."""
    worker = Worker(two[0], "a")
    async with at_work(worker):
        await worker.works()
        taken = [events.LeaseTaken(name="work", holder="gone")]
        await two[1].log.append(events.commit(str(uuid.uuid4()), "lease:work", 2, taken, META))
        await until(lambda: worker.tenures == 2)
        assert (await worker.works()).fence == Fence("work", 3)
    assert await taken_by(two[0]) == ["a", "gone", "a"]


async def test_who_took_a_lease_is_history_and_no_task(two: tuple[Store, Store]) -> None:
    """It can be read, an audit finds it sound, and neither readers of tasks, nor commands, nor lists know of it."""
    await two[0].documents.prepare(TASK_VIEW)
    worker = Worker(two[0], "a")
    async with at_work(worker):
        await worker.works()
    (taken,) = await audit.history(two[0].log, "lease:work")
    assert [each.event for each in events.recorded(taken)] == [events.LeaseTaken(name="work", holder="a")]
    projector = Projector(two[0].log, two[0].documents, TASK_VIEW)
    await projector.project([entry for entry in await two[0].log.read(0) if not events.is_task(entry.commit.stream)])
    assert await two[0].documents.load(TASK_VIEW, ["lease:work"]) == {}
    reader = TaskReader(two[0].log, two[0].documents, two[0].blobs)
    with pytest.raises(errors.NotFound):
        await reader.get("lease:work", tes.View.FULL)
    assert await Tasks(two[0].log).load("lease:work") is None


async def test_what_the_work_raises_ends_it(two: tuple[Store, Store]) -> None:
    """A fault is no loss: it is not hidden, and the lease is given back."""

    async def fail(_: Lease) -> None:
        raise ZeroDivisionError

    assert two[0].leases is not None
    with pytest.raises(ZeroDivisionError):
        await Contender(two[0].leases, two[0].log, "a", EXPIRES_S).lead("work", fail)
    left = await two[0].leases.look("work")
    assert left is not None
    assert left.holder == ""


@pytest.mark.parametrize("shared", [True, False], ids=["shared", "alone"])
async def test_work_whose_surroundings_are_away_begins_anew(two: tuple[Store, Store], *, shared: bool) -> None:
    """Also if it says so in a group; and the process does not end for it."""
    tenures = 0

    async def work(_: Lease) -> None:
        nonlocal tenures
        tenures += 1
        if tenures == 1:
            raise errors.StoreUnavailable("away")
        if tenures == 2:
            raise BaseExceptionGroup("two", [errors.BrokerUnavailable("away"), errors.LeaseLost("lost")])
        await asyncio.sleep(60)

    leading = asyncio.ensure_future(Contender(two[0].leases if shared else None, two[0].log, "a", EXPIRES_S).lead("work", work))
    try:
        await until(lambda: tenures == 3 or leading.done())
        assert not leading.done()
    finally:
        leading.cancel()
        await asyncio.gather(leading, return_exceptions=True)


async def test_who_was_not_fast_enough_waits_as_long_as_anybody(two: tuple[Store, Store]) -> None:
    """Whoever looks at what was there a while ago takes nothing from its holder again and again."""
    holder = Worker(two[0], "a")
    async with at_work(holder):
        await holder.works()
        stale = await two[1].leases.look("work") if two[1].leases else None

        class Behind:
            """Leases as they were."""

            async def look(self, _: str) -> Held | None:
                return stale

            async def put(self, lease: Held, seen: Held | None) -> bool:
                assert two[1].leases is not None
                return await two[1].leases.put(lease, seen)

        late = asyncio.ensure_future(Contender(Behind(), two[1].log, "b", EXPIRES_S).lead("work", holder._work))
        await asyncio.sleep(EXPIRES_S * 3.5)
        late.cancel()
        await asyncio.gather(late, return_exceptions=True)
    assert (await taken_by(two[0])).count("b") <= 3


async def test_a_lease_whose_beat_was_on_its_way_is_given_back(two: tuple[Store, Store]) -> None:
    """The beat arrived, its answer did not: who leaves looks again."""
    leases, arrived = two[0].leases, asyncio.Event()
    assert leases is not None

    class Slow:
        """The answer to the first beat never comes."""

        def __init__(self, leases: Leases) -> None:
            self.look = leases.look
            self._put = leases.put

        async def put(self, lease: Held, seen: Held | None) -> bool:
            done = await self._put(lease, seen)
            if lease.beat == 2 and lease.holder:
                arrived.set()
                await asyncio.sleep(60)
            return done

    async def work(_: Lease) -> None:
        await asyncio.sleep(60)

    leading = asyncio.ensure_future(Contender(Slow(leases), two[0].log, "a", EXPIRES_S).lead("work", work))
    await arrived.wait()
    leading.cancel()
    await asyncio.gather(leading, return_exceptions=True)
    left = await leases.look("work")
    assert left is not None
    assert left.holder == ""


async def test_a_view_is_not_moved_by_who_lost_it(two: tuple[Store, Store]) -> None:
    """The position of a view is written under a fence; a newer one refuses the older, also after the view was emptied."""
    first, second = two
    for store in two:
        await store.documents.prepare(TASK_VIEW)
    await first.documents.save(TASK_VIEW, [], 5, Fence("project", 1))
    await second.documents.save(TASK_VIEW, [], 0, Fence("project", 2))
    with pytest.raises(errors.LeaseLost):
        await first.documents.save(TASK_VIEW, [], 9, Fence("project", 1))
    assert await first.documents.position(TASK_VIEW) == 5
    await second.documents.forget(TASK_VIEW)
    with pytest.raises(errors.LeaseLost):
        await first.documents.save(TASK_VIEW, [], 9, Fence("project", 1))
    assert await first.documents.position(TASK_VIEW) == 0
    await second.documents.save(TASK_VIEW, [], 7, Fence("project", 2))
    assert await first.documents.position(TASK_VIEW) == 7
