"""The owner of everything that runs in the background."""

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from types import TracebackType
from typing import Any, Final, Self

_AGAIN_S: Final = 4.0


class Background:
    """Tasks that run until the block is left. The end of one of them is the end of all."""

    def __init__(self) -> None:
        self._group = asyncio.TaskGroup()
        self._tasks: list[asyncio.Task[None]] = []
        self._told: set[asyncio.Task[None]] = set()

    def start(self, name: str, run: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run that until the service ends."""
        self._tasks.append(self._group.create_task(_until_cancelled(name, run), name=name))

    def let_go(self) -> None:
        """Cancel all but the first, on which the others rest, and do not wait: leaving the block does."""
        for task in self._tasks[1:]:
            self._cancel(task)

    async def __aenter__(self) -> Self:
        await self._group.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """The last started ends first: nothing appends after the appender has gone."""
        for task in reversed(self._tasks):
            self._cancel(task)
            while not task.done():
                await asyncio.wait({task}, timeout=_AGAIN_S)
                task.cancel()  # a library may have swallowed the first one
        await self._group.__aexit__(kind, error, trace)

    def _cancel(self, task: asyncio.Task[None]) -> None:
        """Once: who is tidying up must not be disturbed."""
        if task not in self._told:
            self._told.add(task)
            task.cancel()


async def _until_cancelled(name: str, run: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """A part that ends by itself, in whatever way, takes the service with it: half of one would look alive and do nothing."""
    task = asyncio.current_task()
    assert task is not None  # noqa: S101 - this is a coroutine
    with contextlib.suppress(asyncio.CancelledError):
        await run()
    if task.cancelling():
        raise asyncio.CancelledError
    raise RuntimeError(f"{name} ended by itself")
