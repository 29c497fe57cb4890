"""A process that appends as fast as it can and says what was acknowledged, until somebody ends it.

    python append_until_killed.py STATE_DIR [MONGODB_URI DATABASE]

It prints its process id, then a line `<commit id>` for each acknowledged commit.
"""

import asyncio
import os
import sys
import uuid
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from pathlib import Path

from tespes import events, store
from tespes.events import Meta, moment
from tespes.store import Log, Options

WRITERS = 16


async def append_for_ever(log: Log, stream: str) -> None:
    """One commit after the other, of one event and of two in turn."""
    version = 1
    while True:
        happened = [events.TaskDeferred(reason=f"{stream} {version}")] * (1 + version % 2)
        meta = Meta(at=moment.whole(datetime.now(UTC)), actor="tests", owner="anonymous")
        entry = await log.append(events.commit(str(uuid.uuid4()), stream, version, happened, meta))
        os.write(1, f"{entry.commit.id}\n".encode())
        version += len(happened)


async def main(state_dir: str, uri: str | None = None, database: str = "") -> None:
    """Until killed."""
    async with AsyncExitStack() as stack:
        opened = await store.open_store(Options(uri, database), Path(state_dir), stack)
        os.write(1, f"{os.getpid()}\n".encode())
        async with asyncio.TaskGroup() as group:
            group.create_task(opened.log.run())
            for _ in range(WRITERS):
                group.create_task(append_for_ever(opened.log, uuid.uuid4().hex))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
