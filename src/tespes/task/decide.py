"""What follows from a command: `decide(state, command) -> events`. The table of races in one place.

It changes nothing, and answers () when there is nothing new: asking twice is safe.
"""

from dataclasses import replace

from tespes import errors, events, tes
from tespes.events import Outcome
from tespes.task import commands
from tespes.task.commands import Command, PulsarStatus, Result
from tespes.task.state import Canceling, Claimed, Ended, Live, Received, Scheduled, State, Waiting

ATTEMPTS_MAX = 3
Decision = tuple[events.Event, ...]


def decide(state: State | None, command: Command) -> Decision:  # noqa: C901, PLR0911 - one case for each command
    """The events that a command leads to in this situation.

    :raises errors.AttemptGone: the runner that asks is not, or no longer, the one that should work
    :raises errors.NotFound: there is no such task
    """
    if state is None:
        return _create(command)
    match command:
        case commands.CreateTask():
            return ()
        case commands.CancelTask():
            return _cancel(state)
        case commands.DeferTask():
            return _defer(state, command)
        case commands.ScheduleAttempt():
            return _schedule(state, command)
        case commands.RecordReceipt():
            return _receive(state, command)
        case commands.ClaimAttempt():
            return _claim(state, command)
        case commands.ReportStart():
            return _start(_working(state, command.attempt, command.run_id), command)
        case commands.ReportEnd():
            return _end(_working(state, command.ended.attempt, command.run_id), command.ended)
        case commands.ReportResult():
            return _result(state, command.result)
        case commands.RecordStatus():
            return _status(state, command)
        case commands.GiveUpAttempt():
            return _give_up(state, command)


def _create(command: Command) -> Decision:
    if isinstance(command, commands.CreateTask):
        return (events.TaskCreated(task=command.task, kept=command.kept, notes=command.notes),)
    raise errors.NotFound("there is no such task")


def _cancel(state: State) -> Decision:
    match state:
        case Waiting() | Scheduled() | Received():
            return (events.TaskCancelRequested(), events.TaskCanceled())
        case Claimed():
            return (events.TaskCancelRequested(),)
        case Canceling() | Ended():
            return ()


def _defer(state: State, command: commands.DeferTask) -> Decision:
    if isinstance(state, Waiting) and state.reason != command.reason:
        return (events.TaskDeferred(reason=command.reason),)
    return ()


def _schedule(state: State, command: commands.ScheduleAttempt) -> Decision:
    if not isinstance(state, Waiting):
        return ()
    attempt = state.attempts + 1
    job_id = f"{command.task_id}-{attempt}"
    place = {"pulsar": command.pulsar, "runtime": command.runtime}
    return (events.AttemptScheduled(attempt=attempt, job_id=job_id, **place),)


def _receive(state: State, command: commands.RecordReceipt) -> Decision:
    if isinstance(state, Scheduled) and state.attempt.number == command.attempt:
        return (events.AttemptReceived(attempt=command.attempt),)
    return ()


def _claim(state: State, command: commands.ClaimAttempt) -> Decision:
    match state:
        case Scheduled() | Received() if state.attempt.number == command.attempt:
            claim = events.AttemptClaimed(
                attempt=command.attempt, run_id=command.run_id, host=command.host, python=command.python
            )
            return (claim,)
        case Claimed() if _same_run(state, command.attempt, command.run_id):
            return ()
        case _:
            raise errors.AttemptGone("this attempt was canceled, superseded, or is another runner's")


def _working(state: State, attempt: int, run_id: str) -> Claimed:
    if isinstance(state, Claimed) and _same_run(state, attempt, run_id):
        return state
    raise errors.AttemptGone("this attempt was canceled, superseded, or is another runner's")


def _same_run(claimed: Claimed, attempt: int, run_id: str) -> bool:
    return claimed.attempt.number == attempt and claimed.run_id == run_id


def _start(claimed: Claimed, command: commands.ReportStart) -> Decision:
    """In order or not at all: what a lost report leaves out, the result brings."""
    if command.executor != claimed.started or claimed.ended != claimed.started or _is_over(claimed):
        return ()
    return (events.ExecutorStarted(attempt=command.attempt, executor=command.executor, at=command.at),)


def _end(claimed: Claimed, ended: events.ExecutorEnded) -> Decision:
    if ended.executor != claimed.ended or claimed.started > ended.executor + 1 or _is_over(claimed):
        return ()
    return _executor(claimed, ended)


def _is_over(claimed: Claimed) -> bool:
    """Whether all executors of the task ended: there are no more, whatever a runner says."""
    return claimed.ended >= len(claimed.order.ignore_errors)


def _executor(claimed: Claimed, ended: events.ExecutorEnded) -> Decision:
    if claimed.started > ended.executor:
        return (ended,)
    started = events.ExecutorStarted(attempt=ended.attempt, executor=ended.executor, at=ended.started_at)
    return (started, ended)


def _result(state: State, result: Result) -> Decision:
    match state:
        case Claimed() if _same_run(state, result.attempt, result.run_id):
            return (*_missing(state, result), _close(result), *_settle(state, result))
        case Canceling() if _same_run(state.claimed, result.attempt, result.run_id):
            return (*_missing(state.claimed, result), _close(_as_canceled(result)), events.TaskCanceled())
        case Scheduled() | Received() if result.attempt == state.attempt.number:
            return _ended_unclaimed(state, result)
        case Ended():
            return _late(state, result.attempt, result.outcome.value)
        case _:
            return ()


def _as_canceled(result: Result) -> Result:
    """The runner was told to stop, not why."""
    return replace(result, reason="stopped, since the task was canceled") if result.outcome is Outcome.KILLED else result


def _missing(claimed: Claimed, result: Result) -> Decision:
    """The executors that the reports left out, each once and in order."""
    missing: Decision = ()
    for ended in result.executors:
        brought = _end(claimed, ended)
        if brought:
            missing += brought
            claimed = replace(claimed, started=ended.executor + 1, ended=ended.executor + 1)
    return missing


def _close(result: Result) -> events.AttemptEnded:
    return events.AttemptEnded(
        attempt=result.attempt,
        outcome=result.outcome,
        reason=result.reason if result.outcome is Outcome.SUCCEEDED else _reason(result),
        inputs=result.inputs,
        outputs=result.outputs,
        notes=result.notes,
        kept=result.kept,
    )


def _settle(state: Claimed, result: Result) -> Decision:
    """What a result means for the task."""
    match result.outcome:
        case Outcome.SUCCEEDED:
            return (events.TaskCompleted(),)
        case Outcome.EXECUTOR_FAILED:
            last = result.executors[-1]
            return (events.TaskExecutorFailed(executor=last.executor, exit_code=last.exit_code),)
        case Outcome.SYSTEM_FAILED | Outcome.KILLED | Outcome.LOST:
            begun = state.started > 0 or bool(result.executors)
            return _again_or_fail(state, _reason(result), begun=begun, may_retry=result.retryable)


def _reason(result: Result) -> str:
    """What went wrong, in words, also if the runner had none."""
    return result.reason or f"the runner stopped in phase {result.phase}"


def _ended_unclaimed(state: Scheduled | Received, result: Result) -> Decision:
    """The runner could not even ask to begin; what it says in any other tone is not for this attempt."""
    if result.outcome is not Outcome.SYSTEM_FAILED:
        return ()
    return (_close(result), *_again_or_fail(state, _reason(result), begun=False, may_retry=result.retryable))


def _again_or_fail(state: Live, reason: str, *, begun: bool, may_retry: bool = True) -> Decision:
    """Nothing if another attempt may follow; else the task's end."""
    return () if may_retry and _has_attempts(state, begun=begun) else (events.TaskSystemFailed(reason=reason),)


def _has_attempts(state: Live, *, begun: bool) -> bool:
    """Users' commands are not idempotent: after an executor began, only a task that says so is tried again."""
    asked = state.order.max_attempts
    return state.attempt.number < (asked if begun else max(asked, ATTEMPTS_MAX))


def _status(state: State, command: commands.RecordStatus) -> Decision:
    match state:
        case Ended():
            return _late(state, command.attempt, command.status.value)
        case Waiting():
            return ()
        case _ if state.attempt.number != command.attempt:
            return ()
        case Claimed() if command.status is PulsarStatus.LOST and command.runner_alive:
            return () if state.orphaned else (events.AttemptOrphaned(attempt=command.attempt, reason=command.reason),)
        case Canceling() if command.status is PulsarStatus.LOST and command.runner_alive:
            return ()
        case _:
            reason = f"{command.reason}, {_phase(state)}{_risk(state, command.status)}"
            return _stop(state, reason, _outcome(state, command.status))


def _risk(state: Live, status: PulsarStatus) -> str:
    """What the end of a job that nobody confirmed from inside leaves open (law 7)."""
    if isinstance(state, Scheduled | Received):
        return ""
    if status is PulsarStatus.LOST:
        return ": it may still run"
    return ": its container may still run, if its reaper was killed too" if state.attempt.containers_outlive_it else ""


def _phase(state: Live) -> str:
    """How far the attempt was, as far as the log knows."""
    match state:
        case Scheduled() | Received():
            return "before its runner asked to begin"
        case Claimed(started=0):
            return "while it fetched inputs"
        case Claimed(started=started, ended=ended) if started > ended:
            return f"while executor {ended} ran"
        case Claimed():
            return f"after executor {state.ended - 1} ended"
        case Canceling():
            return "while it was being canceled"


def _outcome(state: Live, status: PulsarStatus) -> Outcome:
    match status:
        case PulsarStatus.LOST:
            return Outcome.LOST
        case PulsarStatus.CANCELLED:
            return Outcome.KILLED
        case PulsarStatus.COMPLETE | PulsarStatus.FAILED:
            return Outcome.KILLED if isinstance(state, Canceling) else Outcome.SYSTEM_FAILED


def _give_up(state: State, command: commands.GiveUpAttempt) -> Decision:
    match state:
        case Scheduled() | Received() | Claimed() | Canceling() if state.attempt.number == command.attempt:
            return _stop(state, command.reason, Outcome.LOST)
        case _:
            return ()


def _stop(state: Live, reason: str, outcome: Outcome) -> Decision:
    """The attempt is over without a result."""
    ended = events.AttemptEnded(attempt=state.attempt.number, outcome=outcome, reason=reason)
    match state:
        case Canceling():
            return (ended, events.TaskCanceled())
        case Scheduled() | Received():
            return (ended, *_again_or_fail(state, reason, begun=False))
        case Claimed():
            return (ended, *_after_claim(state, reason, outcome))


def _after_claim(state: Claimed, reason: str, outcome: Outcome) -> Decision:
    begun = state.started > 0
    if state.order.preemptible and outcome is Outcome.LOST and not _has_attempts(state, begun=begun):
        return (events.TaskPreempted(reason=reason),)
    return _again_or_fail(state, reason, begun=begun)


def _late(state: Ended, attempt: int, status: str) -> Decision:
    """A message after the end: on record once, if it contradicts the end and is not what led to it."""
    known = (attempt, status) in state.late or status == state.outcome or not 1 <= attempt <= state.attempts
    if known or attempt < state.attempts or status in _CONSISTENT[state.state]:
        return ()
    return (events.LateMessageRecorded(attempt=attempt, status=status),)


_CONSISTENT: dict[tes.State, frozenset[str]] = {
    tes.State.COMPLETE: frozenset({Outcome.SUCCEEDED, PulsarStatus.COMPLETE}),
    tes.State.EXECUTOR_ERROR: frozenset({Outcome.EXECUTOR_FAILED, PulsarStatus.COMPLETE}),
    tes.State.SYSTEM_ERROR: frozenset(
        {
            Outcome.SYSTEM_FAILED,
            Outcome.LOST,
            Outcome.KILLED,
            PulsarStatus.COMPLETE,
            PulsarStatus.FAILED,
            PulsarStatus.CANCELLED,
        }
    ),
    tes.State.CANCELED: frozenset({Outcome.KILLED, *PulsarStatus}),
    tes.State.PREEMPTED: frozenset({Outcome.LOST, Outcome.KILLED, PulsarStatus.CANCELLED, PulsarStatus.COMPLETE}),
}
