"""A process that appends to a MongoDB as fast as it can: one of several writers (see writers.py).

Its arguments: connection string, database, callers, seconds. It says `ready`, waits for a line, appends, and says how many it
appended.
"""

import asyncio
import gc
import sys
import tempfile
import time
from pathlib import Path

import structlog
import uvloop

from bench import seed
from bench.bench import README_TASK
from tespes import events, tes
from tespes.events import Commit, Meta
from tespes.flow.execute import now
from tespes.flow.ids import new_id
from tespes.store import Log, Options


async def _write(uri: str, database: str, callers: int, seconds: float) -> None:
    with tempfile.TemporaryDirectory() as directory:
        async with seed.opened(Options(uri, database), Path(directory)) as found:
            encoded = events.encode(events.TaskCreated(task=tes.Task.model_validate(README_TASK)))
            print("ready", flush=True)
            await asyncio.to_thread(sys.stdin.readline)
            gc.collect()
            gc.freeze()
            end = time.perf_counter() + seconds
            counts = await asyncio.gather(*(_call(found.log, encoded, end) for _ in range(callers)))
            print(sum(counts), flush=True)


async def _call(log: Log, encoded: events.Encoded, end: float) -> int:
    """Append one commit after the other; how many were durable in time."""
    meta = Meta(at=now(), actor="anonymous", owner="anonymous")
    count = 0
    while True:
        commit_id = new_id()
        await log.append(Commit(id=commit_id, stream=commit_id.replace("-", ""), version=1, events=(encoded,), meta=meta))
        if time.perf_counter() >= end:
            return count
        count += 1


if __name__ == "__main__":
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(40))
    uvloop.run(_write(sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4])))
