"""Checking a log as `tespes audit verify` does."""

import asyncio
import gc
import resource
import shutil
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

from bench import report, seed
from bench.bench import Bench
from bench.report import at_least
from tespes.events import seal
from tespes.flow import audit
from tespes.flow.lead import Lease
from tespes.flow.reading import Known
from tespes.flow.seal import HEADS_FILE, Pace, Sealer, heads
from tespes.projections import USAGE
from tespes.store import Options, Store

_HOW = """\
{tasks:,} complete tasks of eight events in SQLite, sealed every 1,000 commits. The log: chain, positions, versions, seals. The
whole audit: the log, and every document of every view against the fold of its task's events."""
_KEY = seal.key(b"the benchmarks' own key")


async def measure(bench: Bench) -> report.Group:
    """Events per second."""
    group = report.Group("Verify", _HOW.format(tasks=bench.tasks))
    state_dir = bench.fresh()
    shutil.copytree(await bench.seeded(), state_dir, dirs_exist_ok=True)
    count = bench.tasks * seed.EVENTS_EACH
    async with seed.opened(Options(), state_dir) as found:
        sealing = await _seal(found, state_dir)
        await seed.project(found, USAGE)
        known = Known(frozenset({seal.public(_KEY)}))
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        rates = await _rates(bench, count, partial(_verify, found, known, log_only=True))
        grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
        group.add("sealing from the beginning", "commits/s", [sealing])
        group.add("the log", "events/s", rates, at_least(50_000))
        group.add("the whole audit", "events/s", await _rates(bench, count, partial(_verify, found, known)))
        group.add("memory that the log took", "MiB", [grown])
    return group


async def _seal(found: Store, state_dir: Path) -> float:
    """Commits sealed in a second, of a log that was not sealed before."""
    end, begin = (await found.log.head()).position, time.perf_counter()
    sealer = Sealer(found.log, _KEY, Pace(1000, 0.2), state_dir / HEADS_FILE)
    sealing = asyncio.ensure_future(sealer.run(Lease(None, float("inf"))))
    while _kept(state_dir / HEADS_FILE) < end:  # noqa: ASYNC110 - nothing tells
        await asyncio.sleep(0.1)
    taken_s = time.perf_counter() - begin
    sealing.cancel()
    await asyncio.wait({sealing})
    return end / taken_s


def _kept(path: Path) -> int:
    """Up to which position the log is sealed."""
    return max((head.position for head in heads([path])), default=0) if path.is_file() else 0


async def _rates(bench: Bench, count: int, work: Callable[[], Awaitable[None]]) -> list[float]:
    rates = []
    for _ in range(bench.rounds):
        gc.collect()
        gc.set_threshold(50_000, 20, 100)  # as the command line does
        begin = time.perf_counter()
        await work()
        rates.append(count / (time.perf_counter() - begin))
    return rates


async def _verify(found: Store, known: Known, *, log_only: bool = False) -> None:
    verdict = await audit.verify(found, known, log_only=log_only)
    if verdict.flaws:
        raise AssertionError(verdict.flaws[0])
