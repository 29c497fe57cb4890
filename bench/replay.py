"""Reading the log from its beginning: replay, rebuilds of views, and checking one."""

import asyncio
import gc
import shutil
import time
from collections.abc import Awaitable, Callable
from functools import partial

from bench import report, seed
from bench.bench import Bench
from bench.report import at_least
from tespes import events
from tespes.flow import rebuild, verify
from tespes.flow.lead import Lease
from tespes.flow.project import Projector
from tespes.projections import TASK_VIEW, USAGE, ReadModel
from tespes.store import Options, Store

_HOW = """\
{tasks:,} complete tasks of eight events in SQLite. Replay reads and decodes every event. A rebuild makes a view
anew from the log, beside the one that is shown, compares every document of both, and switches. Verifying folds every task
and compares it with the view, and writes nothing."""


async def measure(bench: Bench) -> report.Group:
    """Events per second, replayed and rebuilt."""
    group = report.Group("Replay and rebuild", _HOW.format(tasks=bench.tasks))
    state_dir = bench.fresh()
    shutil.copytree(await bench.seeded(), state_dir, dirs_exist_ok=True)
    count = bench.tasks * seed.EVENTS_EACH
    async with seed.opened(Options(), state_dir) as found:
        group.add("replay", "events/s", await _rates(bench, found, count, _replay), at_least(50_000))
        await seed.project(found, USAGE)
        for model, target in ((TASK_VIEW, at_least(25_000)), (USAGE, None)):
            rates = await _rates(bench, found, count, partial(_rebuild, model=model))
            group.add(f"rebuild of {model.name}", "events/s", rates, target)
        group.add("verifying task_view", "events/s", await _rates(bench, found, count, _verify))
    return group


async def _rates(bench: Bench, found: Store, count: int, work: Callable[[Store], Awaitable[None]]) -> list[float]:
    rates = []
    for _ in range(1 + bench.rounds):
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


async def _rebuild(found: Store, model: ReadModel) -> None:
    """Until the new one is shown."""
    projector = Projector(found.log, found.documents, model)
    await projector.prepare()
    wanted = await rebuild.ask(found.documents, model)
    running = asyncio.ensure_future(projector.run(Lease(None, float("inf"))))
    while (await found.documents.generations(model)).shown != wanted.newest:  # noqa: ASYNC110 - nothing tells
        await asyncio.sleep(0.01)
    running.cancel()
    await asyncio.wait({running})


async def _verify(found: Store) -> None:
    await verify.verify(found.log, found.documents, TASK_VIEW)
