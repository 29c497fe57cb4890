"""Several processes that append to one log at once, beside one that does."""

import asyncio
import os
import sys

from bench import report
from bench.bench import ROOT, Bench
from bench.report import at_least

_PROCESSES = 4
_CALLERS = (16, 64)
_SECONDS = 3.0
_HOW = f"""\
{_PROCESSES} processes append to one log for {_SECONDS:g} s, as in "Durable appends": each commit is a task of its own, each
caller has one append under way. Before each round, one process alone does the same in a log of its own, with as many callers
as each of the {_PROCESSES} has. The least of them is what the process with the fewest appends had, of an equal part. The
MongoDB is the small wire server of the tests; it, the writers and this program share the cores."""


async def measure(bench: Bench) -> report.Group:
    """One alone, then all together, in turn."""
    group = report.Group("Writer processes together", _HOW)
    uri = await bench.mongodb()
    for callers in _CALLERS:
        alone, together, least = [], [], []
        for number in range(bench.rounds):
            [one] = await _append(uri, f"bench_one_{callers}_{number}", 1, callers)
            each = await _append(uri, f"bench_many_{callers}_{number}", _PROCESSES, callers)
            alone.append(one / _SECONDS)
            together.append(sum(each) / _SECONDS)
            least.append(min(each) * _PROCESSES / sum(each))
        group.add(f"{callers} callers each, one process", "appends/s", alone)
        group.add(f"{callers} callers each, {_PROCESSES} processes together", "appends/s", together)
        shares = [all_of_them / one for all_of_them, one in zip(together, alone, strict=True)]
        group.add(f"{callers} callers each: together, of one alone", "times", shares, at_least(0.5))
        group.add(f"{callers} callers each: the least of them, of an equal part", "times", least)
    return group


async def _append(uri: str, database: str, processes: int, callers: int) -> list[int]:
    """How many each of so many processes appended."""
    environment = os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}"}
    command = [sys.executable, "-m", "bench.writer", uri, database, str(callers), str(_SECONDS)]
    pipe = asyncio.subprocess.PIPE
    writers = [
        await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe, env=environment) for _ in range(processes)
    ]
    await asyncio.gather(*(writer.stdout.readline() for writer in writers if writer.stdout))
    said = await asyncio.gather(*(writer.communicate(b"go\n") for writer in writers))
    return [int(count) for count, _ in said]
