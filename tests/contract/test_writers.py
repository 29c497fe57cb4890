"""Several writers of one log, with fences and crashes: whatever happens between them, the laws of a log hold.

A writer crashes before or after the database answered it: in both cases nobody tells its caller. On MongoDB there are four,
each with an appender of its own; SQLite has one, which is opened again.
"""

import asyncio
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

import given as g
import oracle
import stores
from stores import MongoDB, Place
from tespes import errors, events
from tespes.events import Commit, Entry, Meta
from tespes.store import Fence, Store

META = Meta(at=g.at(0), actor="tests", owner="anonymous")
LEASE = "work"
STREAMS = st.sampled_from(["a", "b", "c"])


@dataclass
class Writer:
    """A process that writes: its store, the lease that it believes to hold, and what waits for an answer."""

    number: int
    place: Place
    loop: asyncio.AbstractEventLoop
    store: Store = field(init=False)
    fence: Fence | None = None

    def begin(self) -> None:
        """Open the store."""
        self._context = self.place.open()
        self.store = self.loop.run_until_complete(self._context.__aenter__())

    def end(self) -> None:
        """Close it; what it was writing may or may not be in the log."""
        self.loop.run_until_complete(self._context.__aexit__(None, None, None))
        self.fence = None


class Writers(RuleBasedStateMachine):
    """What writers do, and what the log must be then."""

    place_of: Place
    count: int

    @initialize()
    def begin(self) -> None:
        """All writers are there."""
        self.loop = asyncio.new_event_loop()
        self.run = uuid.uuid4().hex
        self.writers = [Writer(number, self.place_of, self.loop) for number in range(self.count)]
        for writer in self.writers:
            writer.begin()
        self.acknowledged: dict[str, Entry] = {}
        self.refused: set[str] = set()
        self.fences: list[Fence] = []
        self.take_the_lease(0)
        self.take_the_lease(1)

    def teardown(self) -> None:
        """All writers leave."""
        for writer in self.writers:
            writer.end()
        self.loop.close()

    @rule(number=st.integers(0, 3), stream=STREAMS, back=st.integers(-1, 2))
    def append(self, number: int, stream: str, back: int) -> None:
        """One appends, under the newest lease or one before it, or under none."""
        writer = self._writer(number)
        fence = self.fences[-1 - back] if 0 <= back < len(self.fences) else None
        self._append(writer, self._next(writer, f"{self.run}{stream}"), fence)

    @rule(stream=STREAMS, fenced=st.booleans())
    def append_at_the_same_time(self, stream: str, fenced: bool) -> None:  # noqa: FBT001 - drawn
        """All append to one stream: one of them is first."""

        async def race() -> list[Entry | BaseException]:
            calls = (
                writer.store.log.append(commit, writer.fence if fenced else None)
                for writer, commit in zip(self.writers, commits, strict=True)
            )
            return await asyncio.gather(*calls, return_exceptions=True)

        commits = [self._next(self.writers[0], f"{self.run}{stream}") for _ in self.writers]
        for commit, answer in zip(commits, self.loop.run_until_complete(race()), strict=True):
            self._note(commit, answer)
        assert sum(commit.id in self.acknowledged for commit in commits) <= 1

    @rule(number=st.integers(0, 3))
    def take_the_lease(self, number: int) -> None:
        """One takes the lease: from now on nobody else may append under it."""
        writer = self._writer(number)
        version = self.loop.run_until_complete(writer.store.log.newest(f"lease:{LEASE}{self.run}")) + 1
        taken = [events.LeaseTaken(name=LEASE, holder=str(number))]
        commit = events.commit(str(uuid.uuid4()), f"lease:{LEASE}{self.run}", version, taken, META)
        self._append(writer, commit, None)
        assert commit.id in self.acknowledged
        writer.fence = Fence(f"{LEASE}{self.run}", version)
        self.fences.append(writer.fence)

    @rule(number=st.integers(0, 3), stream=STREAMS, pause=st.sampled_from([0.0, 0.0005, 0.002, 0.01]))
    def crash(self, number: int, stream: str, pause: float) -> None:
        """One is gone in the middle of an append, before or after the answer; then it is back, and knows nothing."""
        writer = self._writer(number)
        commit = self._next(writer, f"{self.run}{stream}")

        async def begun() -> asyncio.Future[Entry]:
            call = asyncio.ensure_future(writer.store.log.append(commit, writer.fence))
            await asyncio.sleep(pause)
            return call

        call = self.loop.run_until_complete(begun())
        writer.end()
        answer = call.exception() or call.result()
        self._note(commit, answer)
        writer.begin()
        if isinstance(answer, errors.StoreUnavailable):  # nobody said what became of it: asking again is safe
            self._append(writer, commit, None)
            assert commit.id in self.acknowledged

    @invariant()
    def everything_holds(self) -> None:
        """Laws 1 to 3; what was refused for its lease is nowhere, and behind a taken lease nothing of the former holder is."""
        stored = self.place_of.stored()
        oracle.check(stored)
        ids = {entry["_id"]: entry for entry in stored}
        assert self.acknowledged.keys() <= ids.keys()
        assert not self.refused & ids.keys()

    def _writer(self, number: int) -> Writer:
        return self.writers[number % len(self.writers)]

    def _next(self, writer: Writer, stream: str) -> Commit:
        version = self.loop.run_until_complete(writer.store.log.newest(stream)) + 1
        return events.commit(str(uuid.uuid4()), stream, version, [events.TaskDeferred(reason="x")], META)

    def _append(self, writer: Writer, commit: Commit, fence: Fence | None) -> None:
        async def append() -> Entry | BaseException:
            return (await asyncio.gather(writer.store.log.append(commit, fence), return_exceptions=True))[0]

        self._note(commit, self.loop.run_until_complete(append()))
        if fence is not None:
            assert commit.id in (self.acknowledged if fence == self.fences[-1] else self.refused)

    def _note(self, commit: Commit, answer: Entry | BaseException) -> None:
        match answer:
            case Entry():
                self.acknowledged[commit.id] = answer
            case errors.LeaseLost():
                self.refused.add(commit.id)
            case errors.VersionConflict() | errors.StoreUnavailable():
                pass
            case _:
                raise answer


@pytest.mark.parametrize("kind", ["sqlite", "mongodb"])
def test_writers_keep_the_laws(kind: str, mongodb: MongoDB) -> None:
    """Four writers, leases taken from each other, crashes at every moment."""

    class Case(Writers):
        count = 4 if kind == "mongodb" else 1

        def __init__(self) -> None:
            super().__init__()
            self._directory = TemporaryDirectory()
            place = Path(self._directory.name)
            self.place_of = stores.in_mongodb(mongodb, place) if kind == "mongodb" else stores.in_sqlite(place)

        def teardown(self) -> None:
            super().teardown()
            self._directory.cleanup()

    shape = settings(
        max_examples=6,
        stateful_step_count=12,
        deadline=None,
        phases=[Phase.explicit, Phase.reuse, Phase.generate],  # each example takes long: what fails is short as it is
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(Case, settings=shape)


@pytest.mark.parametrize("door", ["head", "newest", "write"])
async def test_a_lease_that_is_taken_between_two_looks_is_heeded(mongodb: MongoDB, tmp_path: Path, door: str) -> None:
    """Before the head is read, before the lease is looked up, before the entry is written: the append is refused each time."""
    place = stores.in_mongodb(mongodb, tmp_path)
    async with place.open() as one, place.open() as two:
        await two.log.append(_taken(1))
        await one.log.append(_something(), Fence(LEASE, 1))
        await two.log.append(_something())
        table = one.log._table
        real = getattr(table, door)
        left = [_taken(2)]

        async def late(*given: Any, **named: Any) -> Any:
            """Somebody takes the lease right before."""
            if left:
                await two.log.append(left.pop())
            return await real(*given, **named)

        setattr(table, door, late)
        with pytest.raises(errors.LeaseLost):
            await one.log.append(_something(), Fence(LEASE, 1))
        assert left == []
        await one.log.append(_something(), Fence(LEASE, 2))


@pytest.mark.parametrize("kind", ["sqlite", "mongodb"])
async def test_a_lease_that_this_very_process_takes_is_heeded(kind: str, mongodb: MongoDB, tmp_path: Path) -> None:
    """Also by what it appends at the same time, and under one that it has looked up before."""
    place = stores.in_mongodb(mongodb, tmp_path) if kind == "mongodb" else stores.in_sqlite(tmp_path)
    async with place.open() as one:
        await one.log.append(_taken(1))
        await one.log.append(_something(), Fence(LEASE, 1))
        calls = one.log.append(_taken(2)), one.log.append(_something(), Fence(LEASE, 1))
        taken, refused = await asyncio.gather(*calls, return_exceptions=True)
        assert isinstance(taken, Entry)
        assert isinstance(refused, errors.LeaseLost)
        await one.log.append(_something(), Fence(LEASE, 2))


def _taken(version: int) -> Commit:
    happened = [events.LeaseTaken(name=LEASE, holder="somebody")]
    return events.commit(str(uuid.uuid4()), f"lease:{LEASE}", version, happened, META)


def _something() -> Commit:
    return events.commit(str(uuid.uuid4()), uuid.uuid4().hex, 1, [events.TaskDeferred(reason="x")], META)
