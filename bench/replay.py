"""Reading the log from its beginning: replay, and a rebuild of the task view."""

import gc
import shutil
import time
from collections.abc import Awaitable, Callable

from bench import report, seed
from bench.bench import Bench
from bench.report import at_least
from tespes import events
from tespes.projections import TASK_VIEW
from tespes.store import Options, Store

_HOW = """\
{tasks:,} complete tasks of eight events in SQLite. Replay reads and decodes every event. The rebuild forgets the task view
and makes it anew from the log, in the store."""


async def measure(bench: Bench) -> report.Group:
    """Events per second, replayed and rebuilt."""
    group = report.Group("Replay and rebuild", _HOW.format(tasks=bench.tasks))
    state_dir = bench.fresh()
    shutil.copytree(await bench.seeded(), state_dir, dirs_exist_ok=True)
    count = bench.tasks * seed.EVENTS_EACH
    async with seed.opened(Options(), state_dir) as found:
        group.add("replay", "events/s", await _rates(bench, found, count, _replay), at_least(50_000))
        group.add("rebuild of the task view", "events/s", await _rates(bench, found, count, _rebuild), at_least(25_000))
    return group


async def _rates(bench: Bench, found: Store, count: int, work: Callable[[Store], Awaitable[None]]) -> list[float]:
    rates = []
    for _ in range(1 + bench.rounds):
        await found.documents.forget(TASK_VIEW)
        gc.collect()
        begin = time.perf_counter()
        await work(found)
        rates.append(count / (time.perf_counter() - begin))
    return rates[1:]


async def _replay(found: Store) -> None:
    after = 0
    while entries := await found.log.read(after):
        for entry in entries:
            for _ in events.recorded(entry):
                pass
        after = entries[-1].position


async def _rebuild(found: Store) -> None:
    await seed.project(found)
