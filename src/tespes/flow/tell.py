"""Tell a collector of each task that has ended: its trace, made from its events (see `projections.spans`).

A follower like others: it has a position in the log, and what it did not tell before a crash it tells after it. Spans that
come twice have the same ids. A collector that is away or slow keeps nobody waiting, and loses nothing: the log is the queue.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from functools import partial
from typing import Final

import structlog

from tespes import errors, events
from tespes.events import Entry
from tespes.flow.collector import NAME, Collector
from tespes.flow.follow import follow, patiently
from tespes.flow.lead import Lease
from tespes.flow.otlp import complaint, encoded
from tespes.flow.post import Refused, next_try_s
from tespes.flow.progress import Progress
from tespes.projections import spans
from tespes.projections.spans import Trace
from tespes.store import Checkpoints, Log

_ENDS: Final = frozenset(
    kind.__name__
    for kind in (
        events.TaskCompleted,
        events.TaskCanceled,
        events.TaskExecutorFailed,
        events.TaskSystemFailed,
        events.TaskPreempted,
    )
)
_TASKS_AT_ONCE: Final = 50
_SPANS_AT_ONCE: Final = 2000  # about a megabyte; collectors take 20
_TRIES: Final = 8  # of something that is refused for what it is
_AGAIN_S: Final = 5.0

_log = structlog.get_logger(__name__)


class Teller:
    """The follower that tells of tasks.

    :param service_id: which TESPES this is

    `trouble` is why nothing goes on, for a person; None if it does, or another process does it. `lost` counts the tasks that
    this process could not tell of: each is a line in the log.
    """

    def __init__(self, log: Log, checkpoints: Checkpoints, collector: Collector, service_id: str) -> None:
        self._log = log
        self._checkpoints = checkpoints
        self._collector = collector
        self._service_id = service_id
        self._lease = Lease(None, float("-inf"))
        self._progress = Progress(log, checkpoints, NAME)
        self.trouble: str | None = None
        self.lost = 0

    async def prepare(self) -> None:
        """If nobody was told before: begin with what ends from now on."""
        await self._checkpoints.begin(NAME, (await self._log.head()).position)

    async def run(self, lease: Lease) -> None:
        """Follow the log until cancelled. Whoever did it before is kept out first.

        :raises errors.LeaseLost: another process does it now; errors.StoreUnavailable: the database is away
        """
        self._lease = lease
        await self._progress.begin(lease.fence)
        try:
            while True:
                try:
                    await self._follow()
                except* errors.CorruptLog as group:
                    self._complain("; ".join(str(error) for error in group.exceptions))
                await asyncio.sleep(_AGAIN_S)
        finally:
            self.trouble = None

    async def _follow(self) -> None:
        async with self._collector:
            try:
                async with asyncio.TaskGroup() as group:
                    group.create_task(follow(NAME, self._log, self._progress.done, self._tell))
                    group.create_task(self._progress.save_often())
            finally:
                await self._progress.save()

    async def _tell(self, entries: Sequence[Entry]) -> None:
        over = [entry for entry in entries if any(stored.type in _ENDS for stored in entry.commit.events)]
        for first in range(0, len(over), _TASKS_AT_ONCE):
            some = over[first : first + _TASKS_AT_ONCE]
            async for traces in self._traces([entry.commit.stream for entry in some]):
                await self._until_taken(traces)
            self._progress.done = some[-1].position
        self._progress.done = entries[-1].position

    async def _traces(self, task_ids: Sequence[str]) -> AsyncIterator[list[Trace]]:
        """Those that are to be told, as many at a time as a collector likes to take."""
        found: list[Trace] = []
        count = 0
        for task_id, history in zip(task_ids, await asyncio.gather(*map(self._history, task_ids)), strict=True):
            trace = self._trace(task_id, history)
            if trace is None or not trace.context.is_sampled:
                continue
            if found and count + len(trace.spans) > _SPANS_AT_ONCE:
                yield found
                found, count = [], 0
            found.append(trace)
            count += len(trace.spans)
        if found:
            yield found

    async def _history(self, task_id: str) -> list[Entry]:
        return await patiently(NAME, partial(self._log.read_stream, task_id))

    def _trace(self, task_id: str, history: Sequence[Entry]) -> Trace | None:
        try:
            return spans.told(recorded for entry in history for recorded in events.recorded(entry))
        except (errors.UnknownEvent, errors.CorruptLog) as error:
            self.lost += 1
            _log.warning("a task has no trace, for it cannot be read", task_id=task_id, reason=str(error))
        except Exception:  # noqa: BLE001 - the rim: no task's trace is worth the service
            self.lost += 1
            _log.exception("a task has no trace, for making it failed", task_id=task_id)
        return None

    async def _until_taken(self, traces: Sequence[Trace]) -> None:
        body, times, refusals = encoded(traces, self._service_id), 0, 0
        while isinstance(said := await self._offer(body), Refused):
            times, refusals = times + 1, refusals + said.is_final
            self._complain(said.reason)
            if refusals >= _TRIES:
                self._give_up(traces, said.reason)
                return
            await asyncio.sleep(next_try_s(times, said.again_s))
        if self.trouble is not None:
            _log.info("traces are told again", collector=self._collector.shown)
        if reason := complaint(said):
            _log.warning("the collector has something to say", collector=self._collector.shown, reason=reason)
        self.trouble = None

    async def _offer(self, body: bytes) -> bytes | Refused:
        if not self._lease.is_held:
            raise errors.LeaseLost(f"the lease {NAME} was not renewed in time")
        return await self._collector.send(body)

    def _complain(self, reason: str) -> None:
        """Once in the log, and as long as it lasts where people look."""
        if self.trouble is None:
            _log.warning("traces cannot be told", collector=self._collector.shown, reason=reason)
        self.trouble = reason

    def _give_up(self, traces: Sequence[Trace], reason: str) -> None:
        self.lost += len(traces)
        for trace in traces:
            _log.error("a task has no trace, for the collector refuses it", task_id=trace.task_id, reason=reason)
        self.trouble = None
