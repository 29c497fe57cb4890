"""A process that keeps the task view up to date and dies, as by `kill -9`, at a certain step of a rebuild.

    python rebuild_until_killed.py STATE_DIR STEP TIMES [MONGODB_URI DATABASE]

STEP is what it does with the generation that is made, and dies instead of at the TIMES-th time: `save`, `turn` or `drop`;
`turned`: it dies right after `turn`.
"""

import asyncio
import os
import signal
import sys
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from tespes import store
from tespes.flow import rebuild
from tespes.flow.lead import Contender, holder
from tespes.flow.project import Projector
from tespes.projections import TASK_VIEW, ReadModel
from tespes.store import Options


class Dying:
    """Stored views whose user dies."""

    def __init__(self, documents: Any, step: str, times: int) -> None:
        self._documents = documents
        self._step = step
        self._left = times

    def __getattr__(self, name: str) -> Any:
        return getattr(self._documents, name)

    async def save(self, model: ReadModel, *rest: Any) -> None:
        """As it is; one that names no new generation is none of a rebuild."""
        if model.generation:
            self._count("save")
        await self._documents.save(model, *rest)

    async def turn(self, *rest: Any) -> bool:
        """As it is."""
        self._count("turn")
        turned: bool = await self._documents.turn(*rest)
        self._count("turned")
        return turned

    async def drop(self, model: ReadModel) -> None:
        """As it is."""
        self._count("drop")
        await self._documents.drop(model)

    def _count(self, step: str) -> None:
        if step == self._step:
            self._left -= 1
            if self._left == 0:
                os.kill(os.getpid(), signal.SIGKILL)


async def main(state_dir: str, step: str, times: str, uri: str | None = None, database: str = "") -> None:
    """Until it dies. Nobody reads there: what is not needed is dropped soon."""
    vars(rebuild)["KEPT_S"] = 0.2
    async with AsyncExitStack() as stack:
        opened = await store.open_store(Options(uri, database), Path(state_dir), stack)
        documents: Any = Dying(opened.documents, step, int(times))
        projector = Projector(opened.log, documents, TASK_VIEW)
        async with asyncio.TaskGroup() as group:
            group.create_task(opened.log.run())
            await projector.prepare()
            await Contender(opened.leases, opened.log, holder(), 1.0).lead("project", projector.run)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
