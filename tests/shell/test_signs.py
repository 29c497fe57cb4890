"""Signs of life between processes, on both stores."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager

from tespes import errors
from tespes.flow.signs import Signs
from tespes.store import Sign, Store

JOB = "0f" * 16 + "-1"


@asynccontextmanager
async def telling(signs: Signs) -> AsyncIterator[None]:
    """While inside, it tells the others."""
    running = asyncio.create_task(signs.run())
    try:
        yield
    finally:
        running.cancel()
        await asyncio.wait({running})


class Faltering:
    """A store for signs that is away for a while, then is the real one."""

    def __init__(self, store: Store) -> None:
        self._signs = store.signs
        self.away = True

    async def add(self, signs: Mapping[str, Sign]) -> None:
        if self.away:
            raise errors.StoreUnavailable("away")
        await self._signs.add(signs)

    async def get(self, job_ids: Sequence[str]) -> dict[str, Sign]:
        return await self._signs.get(job_ids)


async def heard(signs: Signs, expected: Sign) -> None:
    """In time, all processes know that."""
    for _ in range(500):
        if (await signs.get([JOB])).get(JOB) == expected:
            return
        await asyncio.sleep(0.02)
    assert (await signs.get([JOB])).get(JOB) == expected


async def test_the_own_dispatcher_hears_at_once(a_store: Store) -> None:
    """Not a second later: a cancel is answered within milliseconds."""
    noted: list[tuple[str, Sign]] = []
    signs = Signs(a_store.signs)
    signs.noted = lambda job_id, sign: noted.append((job_id, sign))
    signs.runner(JOB)
    signs.told(JOB)
    signs.pulsar(JOB, "queued")
    assert noted == [(JOB, Sign(runner=1)), (JOB, Sign(runner=1, told=True)), (JOB, Sign(pulsar=1, status="queued"))]


async def test_what_two_processes_hear_is_one(a_store: Store) -> None:
    """Numbers are summed; the last status counts; who was told to stop stays told."""
    one, other = Signs(a_store.signs), Signs(a_store.signs)
    one.runner(JOB)
    one.pulsar(JOB, "queued")
    one.pulsar(JOB)
    other.runner(JOB)
    other.told(JOB)
    async with telling(one), telling(other):
        await heard(one, Sign(runner=3, pulsar=2, status="queued", told=True))
        one.pulsar(JOB, "running")
        await heard(other, Sign(runner=3, pulsar=3, status="running", told=True))


async def test_what_was_heard_last_is_told_at_the_end(a_store: Store) -> None:
    """A process that ends leaves nothing unsaid."""
    signs = Signs(a_store.signs)
    async with telling(signs):
        await asyncio.sleep(0)
        signs.runner(JOB)
    assert (await signs.get([JOB]))[JOB] == Sign(runner=1)


async def test_what_cannot_be_told_is_told_later(a_store: Store) -> None:
    """Summed up with what is heard meanwhile, and once."""
    store = Faltering(a_store)
    signs = Signs(store)
    signs.told(JOB)
    signs.pulsar(JOB, "queued")
    async with telling(signs):
        await asyncio.sleep(0.05)
        signs.pulsar(JOB, "running")
        store.away = False
        await heard(signs, Sign(runner=1, pulsar=2, status="running", told=True))
