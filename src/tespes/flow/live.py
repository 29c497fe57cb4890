"""What running executors write, for those who look while they run. Never events, never part of the TES views.

Nothing is moved unless somebody looks: a reader's wish is answered through the request that the runner holds open.
"""

import asyncio
import time
from collections import OrderedDict
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from tespes import tes
from tespes.events import moment
from tespes.flow.bell import Bell
from tespes.flow.execute import now
from tespes.flow.follow import wait
from tespes.flow.read import TaskReader

_MOST_TASKS = 256
_FRESH_S = 0.5
_ANSWER_S = 1.5
_STALE_S = 120.0


@dataclass(frozen=True, slots=True)
class Tails:
    """The ends of both streams of the executor with that number, counted from 0."""

    executor: int
    stdout: str
    stderr: str


@dataclass(frozen=True, slots=True)
class _Seen:
    attempt: int
    at: datetime
    at_s: float
    tails: Tails


class Live:
    """The last tails of a bounded number of tasks, and who waits for newer ones."""

    def __init__(self, bell: Bell) -> None:
        self._bell = bell
        self._seen: OrderedDict[str, _Seen] = OrderedDict()
        self._readers: dict[str, set[asyncio.Event]] = {}

    def is_wanted(self, task_id: str) -> bool:
        """Whether somebody waits for that task's tails."""
        return task_id in self._readers

    def show(self, task_id: str, attempt: int, tails: Tails) -> None:
        """A runner sent them."""
        self._seen[task_id] = _Seen(attempt, now(), time.monotonic(), tails)
        self._seen.move_to_end(task_id)
        while len(self._seen) > _MOST_TASKS:
            self._seen.popitem(last=False)
        for shown in self._readers.pop(task_id, ()):
            shown.set()

    async def look(self, task_id: str, attempt: int) -> tuple[Tails, datetime] | None:
        """The attempt's tails and when they were read; fresh ones if its runner answers in time, else the last ones."""
        if (seen := self._recent(task_id, attempt, _FRESH_S)) is not None:
            return seen
        shown = asyncio.Event()
        self._readers.setdefault(task_id, set()).add(shown)
        self._bell.ring(task_id)
        try:
            await wait(shown, _ANSWER_S)
        finally:
            waiting = self._readers.get(task_id, set())
            waiting.discard(shown)
            if not waiting:
                self._readers.pop(task_id, None)
        return self._recent(task_id, attempt, _STALE_S)

    def _recent(self, task_id: str, attempt: int, at_most_s: float) -> tuple[Tails, datetime] | None:
        seen = self._seen.get(task_id)
        if seen is None or seen.attempt != attempt or time.monotonic() - seen.at_s > at_most_s:
            return None
        return seen.tails, seen.at


async def logs(reader: TaskReader, live: Live, task_id: str) -> dict[str, Any]:
    """What the executors of the last attempt wrote: those that ended, and the one that runs as far as it has come.

    :raises errors.NotFound: there is no such task
    """
    task = await reader.get(task_id, tes.View.FULL)
    attempts = [log for log in task.get("logs", ()) if "metadata" in log]
    answer: dict[str, Any] = {"id": task_id, "state": task["state"], "executors": []}
    if not attempts:
        return answer
    last = attempts[-1]
    answer["attempt"] = int(last["metadata"]["attempt"])
    answer["executors"] = [{"executor": index, "running": False, **each} for index, each in enumerate(last["logs"])]
    if len(last["logs"]) < len(task["executors"]) and await reader.is_running(task_id):
        seen = await live.look(task_id, answer["attempt"])
        if seen is not None and seen[0].executor == len(last["logs"]):
            tails, at = seen
            running = {"executor": tails.executor, "running": True, "read_at": moment.text(at)}
            answer["executors"].append({**running, "stdout": tails.stdout, "stderr": tails.stderr})
    return answer
