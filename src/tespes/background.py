"""The owner of everything that runs in the background."""

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from types import TracebackType
from typing import Any, Final, Self

_AGAIN_EVERY_S: Final = 0.2


class Background:
    """Tasks that run until the block is left. The end of one of them is the end of all.

    :param again_s: after which who was cancelled and goes on is cancelled again: a library may have swallowed the first one
    """

    def __init__(self, again_s: float) -> None:
        self._again_s = again_s
        self._again_at = 0.0
        self._group = asyncio.TaskGroup()
        self._tasks: list[asyncio.Task[None]] = []
        self._told: set[asyncio.Task[None] | None] = set()
        self._is_over = False

    def start(self, name: str, run: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run that until the service ends."""
        self._tasks.append(self._group.create_task(self._until_told(name, run), name=name))

    def let_go(self) -> None:
        """Cancel all but the first, on which the others rest, and do not wait: leaving the block does."""
        self._cancel(self._tasks[1:])

    async def __aenter__(self) -> Self:
        await self._group.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """The first started ends last: nothing appends after the appender has gone."""
        await self._end(self._tasks[1:])
        await self._end(self._tasks[:1])
        await self._group.__aexit__(kind, error, trace)

    async def _end(self, tasks: list[asyncio.Task[None]]) -> None:
        clock = asyncio.get_running_loop().time
        self._cancel(tasks)
        while waiting := {task for task in tasks if not task.done()}:
            await asyncio.wait(waiting, timeout=max(self._again_at - clock(), _AGAIN_EVERY_S))
            if clock() >= self._again_at:
                for task in waiting:
                    task.cancel()

    def _cancel(self, tasks: list[asyncio.Task[None]]) -> None:
        """Once: who is tidying up must not be disturbed."""
        for task in reversed(tasks):
            if task not in self._told:
                self._told.add(task)
                self._again_at = asyncio.get_running_loop().time() + self._again_s
                task.cancel()

    async def _until_told(self, name: str, run: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """A part that ends by itself, in whatever way, takes the service with it: half of one would look alive and do nothing.

        `Task.cancelling` does not tell whether that was wanted: below Python 3.13 it may count what a task group did.
        """
        try:
            with contextlib.suppress(asyncio.CancelledError):
                await run()
        except Exception:
            self._is_over = True  # the group cancels the others
            raise
        if self._is_over or asyncio.current_task() in self._told:
            raise asyncio.CancelledError
        self._is_over = True
        raise RuntimeError(f"{name} ended by itself")
