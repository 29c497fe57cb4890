"""What both stores promise of signs of life, and MongoDB of leases (`store/promise.py`)."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

import stores
from stores import MongoDB
from tespes.store import Held, Leases, Sign, Store, memory


class TestSigns:
    """What was heard of jobs."""

    async def test_numbers_add_up_and_words_replace(self, a_store: Store) -> None:
        """Whoever sees a number change has a sign of life; the last status counts; who was told stays told."""
        signs = a_store.signs
        assert await signs.get(["a-1"]) == {}
        await signs.add({"a-1": Sign(runner=1), "b-1": Sign(pulsar=2, status="preprocessing")})
        await signs.add({"a-1": Sign(runner=2, told=True), "b-1": Sign(pulsar=1, status="running")})
        await signs.add({"a-1": Sign(pulsar=1), "b-1": Sign(runner=1)})
        found = await signs.get(["a-1", "b-1", "c-1"])
        assert found == {"a-1": Sign(3, 1, None, told=True), "b-1": Sign(1, 3, "running", told=False)}

    async def test_nothing_is_lost_between_many_who_hear(self, a_store: Store) -> None:
        """Several hear of the same job for the first time, at the same time."""
        await asyncio.gather(*(a_store.signs.add({"a-1": Sign(runner=1), f"b-{n}": Sign(pulsar=1)}) for n in range(20)))
        found = await a_store.signs.get(["a-1", *(f"b-{n}" for n in range(20))])
        assert found == {"a-1": Sign(runner=20)} | {f"b-{n}": Sign(pulsar=1) for n in range(20)}

    async def test_nothing_to_add_is_fine(self, a_store: Store) -> None:
        """No sign, no write."""
        await a_store.signs.add({})

    async def test_memory_is_bounded(self) -> None:
        """The jobs that were heard of last are remembered."""
        signs = memory.Signs(jobs=2)
        for job_id in ("a-1", "b-1", "a-1", "c-1"):
            await signs.add({job_id: Sign(runner=1)})
        assert await signs.get(["a-1", "b-1", "c-1"]) == {"a-1": Sign(runner=2), "c-1": Sign(runner=1)}


class TestLeases:
    """Compare and set; nothing else."""

    @pytest.fixture
    async def leases(self, mongodb: MongoDB, tmp_path: Path) -> AsyncIterator[Leases]:
        async with stores.in_mongodb(mongodb, tmp_path).open() as opened:
            assert opened.leases is not None
            yield opened.leases

    async def test_who_sees_it_as_it_is_may_write(self, leases: Leases) -> None:
        """First never there, then as it was left by the last who wrote it."""
        assert await leases.look("project") is None
        first, second = Held("project", "a", 1, 1), Held("project", "b", 2, 2)
        assert await leases.put(first, None)
        assert await leases.look("project") == first
        assert await leases.put(second, first)
        assert await leases.look("project") == second
        assert await leases.look("dispatch") is None

    async def test_who_saw_it_otherwise_may_not(self, leases: Leases) -> None:
        """Another holder, another fence, another beat, or that it was never there."""
        present = Held("project", "a", 1, 1)
        assert await leases.put(present, None)
        for seen in (None, Held("project", "b", 1, 1), Held("project", "a", 2, 1), Held("project", "a", 1, 2)):
            assert not await leases.put(Held("project", "c", 3, 3), seen)
        assert await leases.look("project") == present

    async def test_one_of_many_wins(self, leases: Leases) -> None:
        """At the first taking, and at every later one."""
        seen = None
        for turn in range(1, 4):
            wanted = [Held("project", f"{number}", turn, turn) for number in range(10)]
            won = await asyncio.gather(*(leases.put(each, seen) for each in wanted))
            assert sum(won) == 1
            seen = await leases.look("project")
            assert seen == wanted[won.index(True)]
