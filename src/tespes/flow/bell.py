"""Who waits for a task's turn is woken at once: a runner that holds a request open, a client whose cancel is under way.

Everything here is a shortcut in memory: who misses the bell looks into the log when its own time is up.
"""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from tespes import events
from tespes.events import Entry
from tespes.flow.follow import follow, patiently
from tespes.store import Log

_CALLS_OFF = (events.TaskCancelRequested, events.AttemptExpired, events.AttemptEnded, events.TaskCanceled)
_RINGS = frozenset(event.__name__ for event in _CALLS_OFF)


class Bell:
    """Rings for a task when its attempt is called off or over, or when somebody rings by hand."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._listening: dict[str, set[asyncio.Event]] = {}
        self.closed = False

    async def run(self) -> None:
        """Listen to the log until cancelled."""
        head = await patiently("bell", self._log.head)
        await follow("bell", self._log, head.position, self._see)

    @contextmanager
    def listening(self, task_id: str) -> Iterator[asyncio.Event]:
        """An event that is set when the bell rings for that task. Look at the task after entering, then wait."""
        rung = asyncio.Event()
        if self.closed:
            rung.set()
        self._listening.setdefault(task_id, set()).add(rung)
        try:
            yield rung
        finally:
            others = self._listening[task_id]
            others.discard(rung)
            if not others:
                del self._listening[task_id]

    def ring(self, task_id: str) -> None:
        """Wake whoever listens for that task."""
        for rung in self._listening.get(task_id, ()):
            rung.set()

    def close(self) -> None:
        """Wake everybody, now and later: the process is about to end."""
        self.closed = True
        for task_id in self._listening:
            self.ring(task_id)

    async def _see(self, entries: Sequence[Entry]) -> None:
        for entry in entries:
            if entry.commit.stream in self._listening and any(event.type in _RINGS for event in entry.commit.events):
                self.ring(entry.commit.stream)
