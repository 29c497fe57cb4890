"""A log with tasks and seals in it, for those who tamper with it or take it out."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import given as g
from tespes import events
from tespes.events import Meta, seal
from tespes.flow.lead import Lease
from tespes.flow.seal import HEADS_FILE, Pace, Sealer
from tespes.store import Store

SECRET = b"the key of the tests, which nobody else has"
KEY = seal.key(SECRET)
OTHER_KEY = seal.key(b"a key that somebody made")
PUBLIC = frozenset({seal.public(KEY)})
META = Meta(at=g.at(1), actor="tests", owner="anonymous", correlation="request-1")
EVERY = 4  # commits are under one seal

STEPS: tuple[tuple[int, Sequence[events.Event]], ...] = (
    (1, [g.created(), events.TaskDeferred(reason="no place")]),
    (3, [g.scheduled()]),
    (4, [g.received()]),
    (5, [g.claimed()]),
)


@asynccontextmanager
async def sealing(opened: Store, directory: Path, pace: Pace = Pace(EVERY, 0.3)) -> AsyncIterator[Path]:  # noqa: B008 - frozen
    """Seal the log as long as the block runs; the file with the seals."""
    heads = directory / HEADS_FILE
    sealer = asyncio.create_task(Sealer(opened.log, KEY, pace, heads).run(Lease(None, float("inf"))))
    try:
        yield heads
    finally:
        await stop(sealer)


async def stop(sealer: asyncio.Task[None]) -> None:
    """End it. PyMongo may take a cancellation for a broken connection, and try again."""
    while not sealer.done():
        sealer.cancel()
        await asyncio.wait({sealer}, timeout=1)


async def write(opened: Store, tasks: int = 2) -> list[str]:
    """Some tasks, four commits each, one step of all of them after the other; their ids."""
    names = [uuid.uuid4().hex for _ in range(tasks)]
    for version, happened in STEPS:
        for name in names:
            await opened.log.append(events.commit(str(uuid.uuid4()), name, version, happened, META))
    return names


async def all_sealed(opened: Store) -> None:
    """Wait until seals cover all that is no seal."""
    news = [entry.position for entry in await opened.log.read(0) if entry.commit.stream != seal.STREAM]
    async with asyncio.timeout(20):
        while await _sealed(opened) < news[-1]:  # noqa: ASYNC110 - whoever seals may be another process
            await asyncio.sleep(0.02)


async def _sealed(opened: Store) -> int:
    seals = await opened.log.read_stream(seal.STREAM)
    last = events.decode(seals[-1].commit.events[0]) if seals else None
    return last.position if isinstance(last, events.HeadSigned) else 0
