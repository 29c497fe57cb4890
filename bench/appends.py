"""Durable appends: callers of `Log.append` in one process, each with one append under way at a time."""

import asyncio
import gc
import time
from dataclasses import dataclass

from bench import report, seed
from bench.bench import README_TASK, Bench
from bench.report import at_least, at_most
from tespes import events, tes
from tespes.events import Commit, Meta
from tespes.flow.execute import now
from tespes.flow.ids import new_id
from tespes.store import Log, Options

_SQLITE = {1: 2_000, 16: 8_000, 64: 20_000}
_MONGODB = {1: 300, 16: 2_000, 64: 6_000}
_HOW = """\
Each commit is the creation of the README task, as a stream of its own; the commits are made beforehand. A caller appends
the next one as soon as its last one is durable. The MongoDB figures are those of a small wire server for tests
(SecantusDB, one node), not of MongoDB: they show the batches, not how fast MongoDB is."""


@dataclass(frozen=True, slots=True)
class _Round:
    """What one round measured; times in milliseconds."""

    rate: float
    p50: float
    p99: float


async def measure(bench: Bench) -> report.Group:
    """Appends per second for 1, 16 and 64 callers on both stores."""
    group = report.Group("Durable appends", _HOW)
    for callers, count in _SQLITE.items():
        await _measure(bench, group, Options(), callers, count)
    uri = await bench.mongodb()
    for callers, count in _MONGODB.items():
        await _measure(bench, group, Options(uri, f"bench_appends_{callers}"), callers, count)
    return group


async def _measure(bench: Bench, group: report.Group, options: Options, callers: int, count: int) -> None:
    async with seed.opened(options, bench.fresh()) as found:
        await _round(found.log, callers, count // 4)
        measured = count // 4 if bench.quick else count
        rounds = [await _round(found.log, callers, measured) for _ in range(bench.rounds)]
        batch = found.log.mean_batch
    targeted = callers == 64
    sqlite = options.mongodb_uri is None
    name = "SQLite (synchronous=FULL)" if sqlite else "MongoDB wire server"
    what = f"{name}, {callers} caller{'s' if callers > 1 else ''}"
    group.add(what, "appends/s", [each.rate for each in rounds], at_least(15_000) if targeted and sqlite else None)
    group.add(f"{what}: p50", "ms", [each.p50 for each in rounds])
    group.add(f"{what}: p99", "ms", [each.p99 for each in rounds], at_most(15) if targeted and sqlite else None)
    group.add(f"{what}: mean batch", "commits", [batch], at_least(20) if targeted and not sqlite else None)


async def _round(log: Log, callers: int, count: int) -> _Round:
    commits = _commits(count)
    taken: list[float] = []

    async def call() -> None:
        while commits:
            commit = commits.pop()
            begin = time.perf_counter()
            await log.append(commit)
            taken.append(time.perf_counter() - begin)

    gc.collect()
    gc.freeze()  # as the server does: what was there before is not walked again
    begin = time.perf_counter()
    await asyncio.gather(*(call() for _ in range(callers)))
    whole = time.perf_counter() - begin
    return _Round(count / whole, report.percentile(taken, 50) * 1000, report.percentile(taken, 99) * 1000)


def _commits(count: int) -> list[Commit]:
    task = tes.Task.model_validate(README_TASK)
    encoded = events.encode(events.TaskCreated(task=task))
    meta = Meta(at=now(), actor="anonymous", owner="anonymous")
    ids = (new_id() for _ in range(count))
    return [Commit(id=each, stream=each.replace("-", ""), version=1, events=(encoded,), meta=meta) for each in ids]
