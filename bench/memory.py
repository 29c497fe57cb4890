"""What an idle TESPES keeps in memory."""

import asyncio
import re
from pathlib import Path

from bench import report, serving, tasks
from bench.bench import Bench
from bench.report import at_most

_SETTLE_S = 3.0
_HOW = "`tespes serve` with every role on SQLite, a RabbitMQ and one Pulsar configured, some seconds after its start."


async def measure(bench: Bench) -> report.Group:
    """Resident memory of the process."""
    group = report.Group("Memory", _HOW)
    environment = {"TESPES_RABBITMQ__URL": await bench.rabbitmq()}
    found = []
    for _ in range(bench.rounds):
        async with serving.serve(bench.fresh(), environment, pulsars=tasks.site("idle", slots=8)) as server:
            await asyncio.sleep(_SETTLE_S)
            found.append(resident_mb(server.pid))
    group.add("resident set size when idle", "MB", found, at_most(90))
    return group


def resident_mb(pid: int) -> float:
    """Of that process."""
    status = Path(f"/proc/{pid}/status").read_text()
    found = re.search(r"^VmRSS:\s*(\d+) kB$", status, re.MULTILINE)
    return int(found.group(1)) * 1024 / 1e6 if found else float("nan")
