"""Attend to the runners on the nodes: their claims, reports and results."""

import asyncio
import hmac
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from tespes import errors, events, tes
from tespes.events import Outcome, moment
from tespes.flow import names, texts
from tespes.flow.bell import Bell
from tespes.flow.execute import By, KnownTask, Tasks
from tespes.flow.follow import wait
from tespes.flow.handed_on import with_traceparents
from tespes.flow.jobs import Caller, Job, job
from tespes.flow.live import Live, Tails
from tespes.flow.signs import Signs
from tespes.pulsar import Habits, Site, result
from tespes.pulsar import job as jobs
from tespes.pulsar import plan as plans
from tespes.storage import At, Storage, shown
from tespes.store import Blobs
from tespes.task import commands
from tespes.task.state import Canceling, Claimed, Ended, Expiring, State

Files = tuple[events.File, ...]

_MANY_EXECUTORS = 50  # with more, a result's tails would not fit one commit
_NOTES = 100
_NOTE_CHARACTERS = 2000
_REASON_CHARACTERS = 10_000


class Results:
    """Runners' results, however they come, become one command."""

    def __init__(self, tasks: Tasks, blobs: Blobs) -> None:
        self._tasks = tasks
        self._blobs = blobs

    async def record(self, named: Job, known: KnownTask, said: result.Result, by: By) -> None:
        """Write down what the runner said at its end; what contradicts the task's declaration is left out."""
        over = isinstance(known.state, Ended)  # then nothing of it will be kept
        executors = () if over else said.executors
        listed = said.model_copy(update={"inputs": (), "outputs": ()}) if over else said
        inline_bytes = texts.INLINE_BYTES if len(executors) <= _MANY_EXECUTORS else 0
        inputs, inputs_kept = await texts.keep_files(self._blobs, "inputs", await _aside(_inputs, listed, known))
        outputs, outputs_kept = await texts.keep_files(self._blobs, "outputs", await _aside(_outputs, listed, known))
        told = commands.Result(
            attempt=named.attempt,
            run_id=said.run_id,
            outcome=_outcome(said, known.submitted.executors),
            reason=said.reason[:_REASON_CHARACTERS] if said.reason else None,
            phase=said.phase,
            retryable=said.retryable,
            executors=tuple([await self.ended(named, each, inline_bytes) for each in executors]),
            inputs=inputs,
            outputs=outputs,
            notes=tuple(note[:_NOTE_CHARACTERS] for note in (*_left_out(said), *said.notes[:_NOTES])),
            kept=inputs_kept + outputs_kept,
        )
        await self._tasks.execute(named.task_id, commands.ReportResult(result=told), by)

    async def ended(self, named: Job, said: result.Ended, inline_bytes: int = texts.INLINE_BYTES) -> events.ExecutorEnded:
        """An executor's end as an event, its long tails kept elsewhere."""
        ended = events.ExecutorEnded(
            attempt=named.attempt,
            executor=said.executor,
            exit_code=said.exit_code,
            started_at=moment.whole(said.started_at),
            ended_at=moment.whole(said.ended_at),
            stdout=said.stdout,
            stderr=said.stderr,
        )
        return await texts.keep_tails(self._blobs, ended, inline_bytes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Attendant:
    """What runners talk to.

    :param sites: the Pulsars by name; :param key: what attempts' tokens are derived from, and `former_keys` what those were
        that were sent before it was changed
    :param hands_on: whether executors are told which trace they belong to, see `handed_on`
    """

    tasks: Tasks
    results: Results
    signs: Signs
    bell: Bell
    live: Live
    storage: Storage
    sites: Mapping[str, Site]
    key: bytes
    habits: Habits
    former_keys: tuple[bytes, ...] = ()
    hands_on: bool = False

    def admit(self, job_id: str, token: str, run_id: str) -> Caller:
        """Who asks.

        :raises errors.Unauthorized: the token is not that attempt's
        """
        named, shown = job(job_id), token.encode(errors="replace")
        keys = (self.key, *self.former_keys)
        if named is None or not any(hmac.compare_digest(shown, jobs.token(key, job_id).encode()) for key in keys):
            raise errors.Unauthorized("the token does not open this job")
        return Caller(named, run_id)

    async def claim(self, caller: Caller, host: str, python: str) -> dict[str, Any]:
        """The plan, for the first run of an attempt that is still wanted; for the same run again, the same.

        :raises errors.AttemptGone: for anybody else
        """
        named = caller.job
        command = commands.ClaimAttempt(attempt=named.attempt, run_id=caller.run_id, host=host, python=python)
        try:
            known = await self.tasks.execute(named.task_id, command, self._by(caller))
        except errors.NotFound as error:
            raise errors.AttemptGone(str(error)) from error
        self.signs.runner(named.id)
        asked = with_traceparents(known, named.attempt) if self.hands_on else known.submitted
        return plans.plan(named.id, asked, self._runtime(known), self.habits, lambda *of: self._goes_through(known, *of))

    async def heartbeat(self, caller: Caller, hold_s: float, tails: Tails | None) -> bool:
        """The runner is alive, and waits for up to `hold_s`: whether somebody wants to see what its executor writes.

        :raises errors.AttemptGone: it should not be alive, or not any longer
        """
        task_id = caller.job.task_id
        with self.bell.listening(task_id) as rung:
            await self.working(caller)
            if tails is not None:
                self.live.show(task_id, caller.job.attempt, tails)
            if not self.live.is_wanted(task_id) and await wait(rung, min(hold_s, self.habits.heartbeat_s)):
                await self.working(caller)
        return self.live.is_wanted(task_id)

    async def started(self, caller: Caller, executor: int, at: datetime) -> None:
        """An executor started; raises as `heartbeat` does."""
        await self.working(caller)
        command = commands.ReportStart(attempt=caller.job.attempt, run_id=caller.run_id, executor=executor, at=moment.whole(at))
        await self.tasks.execute(caller.job.task_id, command, self._by(caller))

    async def ended(self, caller: Caller, said: result.Ended) -> None:
        """An executor ended; raises as `heartbeat` does."""
        await self.working(caller)
        ended = await self.results.ended(caller.job, said)
        command = commands.ReportEnd(run_id=caller.run_id, ended=ended)
        await self.tasks.execute(caller.job.task_id, command, self._by(caller))

    async def result(self, caller: Caller, said: result.Result) -> None:
        """The runner is done, in whatever way."""
        known = await self.tasks.load(caller.job.task_id)
        if known is None:
            raise errors.AttemptGone(f"there is no task {caller.job.task_id}")
        if said.run_id != caller.run_id:
            raise errors.BadRequest("run_id", said.run_id, "the run id of the header Tespes-Run")
        await self.results.record(caller.job, known, said, self._by(caller))

    async def working(self, caller: Caller) -> KnownTask:
        """The task, of an attempt that is still wanted.

        :raises errors.AttemptGone: it was canceled, superseded, or is another runner's
        """
        known = await self.tasks.load(caller.job.task_id)
        state = known.state if known else None
        if (
            known is None
            or not isinstance(state, Claimed)
            or state.attempt.number != caller.job.attempt
            or state.run_id != caller.run_id
        ):
            self._note_that_it_stops(caller, state)
            raise errors.AttemptGone("this attempt was canceled, superseded, or is another runner's")
        self.signs.runner(caller.job.id)
        return known

    def _note_that_it_stops(self, caller: Caller, state: State | None) -> None:
        """The runner of an attempt that is being stopped learns of it now, and gets the time to remove what runs."""
        if isinstance(state, Expiring | Canceling) and state.claimed.is_run(caller.job.attempt, caller.run_id):
            self.signs.told(caller.job.id)

    def _goes_through(self, known: KnownTask, declared: tes.Input | tes.Output, index: int) -> bool:
        """Whether the bytes of an input or output pass through TESPES."""
        is_content = isinstance(declared, tes.Input) and known.has_content(index)
        return is_content or self.storage.goes_through(At(declared.url or "", known.owner))

    def _runtime(self, known: KnownTask) -> dict[str, Any]:
        state = known.state
        site = self.sites.get(state.attempt.pulsar) if isinstance(state, Claimed) else None
        if site is None:
            raise errors.StoreUnavailable("the Pulsar of this attempt is not in the settings any more")
        return site.runtime

    def _by(self, caller: Caller) -> By:
        return By(f"runner:{caller.job.id}")


def _outcome(said: result.Result, declared: tuple[tes.Executor, ...]) -> Outcome:
    """What the runner says, unless it says more than its executors' ends do."""
    codes = [ended.exit_code for ended in said.executors]
    ignored = [bool(executor.ignore_error) for executor in declared]
    complete = len(codes) == len(ignored) and all(code == 0 or may for code, may in zip(codes, ignored, strict=True))
    match said.outcome:
        case "succeeded" if complete:
            return Outcome.SUCCEEDED
        case "executor_failed" if codes and codes[-1] != 0:
            return Outcome.EXECUTOR_FAILED
        case "killed" | "superseded":
            return Outcome.KILLED
        case _:
            return Outcome.SYSTEM_FAILED


async def _aside(work: Callable[[result.Result, KnownTask], Files], said: result.Result, known: KnownTask) -> Files:
    """What that work makes of a result: of a long one in a thread, so that nobody else waits for a hundred thousand files."""
    if len(said.inputs) + len(said.outputs) <= texts.INLINE_FILES:
        return work(said, known)
    return await asyncio.to_thread(work, said, known)


def _inputs(said: result.Result, known: KnownTask) -> tuple[events.File, ...]:
    """The files that match an input: nothing else that a node names is believed."""
    wanted = known.submitted.inputs or ()
    urls = ((file, names.input_url(wanted[file.index], file.path)) for file in said.inputs if file.index < len(wanted))
    return tuple(_file(file, url) for file, url in urls if url is not None)


def _outputs(said: result.Result, known: KnownTask) -> tuple[events.File, ...]:
    """The files that match an output."""
    declared = known.submitted.outputs or ()
    urls = ((file, names.output_url(declared[file.index], file.path)) for file in said.outputs if file.index < len(declared))
    return tuple(_file(file, url) for file, url in urls if url is not None)


def _left_out(said: result.Result) -> tuple[str, ...]:
    """What is missing in a result that came only as the last line of a job's output."""
    counts = (("inputs", said.inputs_count, said.inputs), ("outputs", said.outputs_count, said.outputs))
    return tuple(
        f"{count:,} {what} were moved, but the list of them did not reach TESPES"
        for what, count, listed in counts
        if count > len(listed)
    )


def _file(moved: result.Moved, url: str) -> events.File:
    return events.File(path=moved.path, url=shown(url) if url else None, size_bytes=moved.size_bytes, sha256=moved.sha256)
