"""How attempts end, and what that means for their tasks: results, Pulsar's words, silence, limits, late messages."""

from dataclasses import replace

from tespes import events, tes
from tespes.events import Outcome, Source
from tespes.task import commands, reports
from tespes.task.commands import PulsarStatus, Result
from tespes.task.state import Canceling, Claimed, Ended, Expiring, Live, Received, Scheduled, State, Waiting

Ending = tuple[events.Event, ...]


def result(state: State, said: Result) -> Ending:
    """A runner says how its attempt ended."""
    match state:
        case Claimed() if state.is_run(said.attempt, said.run_id):
            return (*reports.missing(state, said), _close(said), *_settle(state, said))
        case Expiring() if state.claimed.is_run(said.attempt, said.run_id):
            return (*reports.missing(state.claimed, said), _close(_told_why(said, state.reason)), *_settle(state, said))
        case Canceling() if state.claimed.is_run(said.attempt, said.run_id):
            closed = _close(_told_why(said, "stopped, since the task was canceled"))
            return (*reports.missing(state.claimed, said), closed, events.TaskCanceled())
        case Scheduled() | Received() if said.attempt == state.attempt.number:
            return _ended_unclaimed(state, said)
        case Ended():
            return _late(state, said.attempt, said.outcome.value, Source.RUNNER)
        case _:
            return ()


def status(state: State, command: commands.RecordStatus) -> Ending:
    """Pulsar says that the job is over, and there is no result.

    `lost` says nothing of a runner that has begun: it is on record, and silence or another word of Pulsar's is the end.
    """
    match state:
        case Ended():
            return _late(state, command.attempt, command.status.value, Source.PULSAR)
        case Waiting():
            return ()
        case _ if state.attempt.number != command.attempt:
            return ()
        case Claimed() | Expiring() | Canceling() if command.status is PulsarStatus.LOST:
            if _claimed(state).orphaned:
                return ()
            return (events.AttemptOrphaned(attempt=command.attempt, reason=command.reason),)
        case _:
            reason = f"{command.reason}, {_phase(state)}{_risk(state)}"
            return _stop(state, reason, _outcome(state, command.status))


def give_up(state: State, command: commands.GiveUpAttempt) -> Ending:
    """Nobody waits for that attempt any more."""
    match state:
        case Waiting() | Ended():
            return ()
        case _ if state.attempt.number != command.attempt:
            return ()
        case _:
            return _stop(state, command.reason, Outcome.LOST)


def expire(state: State, command: commands.ExpireTask) -> Ending:
    """The task takes too long: what nobody claimed is over at once, what may have effects is stopped first."""
    match state:
        case Waiting() | Scheduled() | Received():
            return () if command.claimed else (events.TaskSystemFailed(reason=command.reason),)
        case Claimed():
            expired = events.AttemptExpired(attempt=state.attempt.number, reason=command.reason)
            return (expired,) if command.claimed else ()
        case Expiring() | Canceling() | Ended():
            return ()


def _told_why(said: Result, reason: str) -> Result:
    """The runner was told to stop, not why."""
    return replace(said, reason=reason) if said.outcome is Outcome.KILLED else said


def _close(said: Result) -> events.AttemptEnded:
    return events.AttemptEnded(
        attempt=said.attempt,
        outcome=said.outcome,
        reason=said.reason if said.outcome is Outcome.SUCCEEDED else _reason(said),
        inputs=said.inputs,
        outputs=said.outputs,
        notes=said.notes,
        kept=said.kept,
    )


def _settle(state: Claimed | Expiring, said: Result) -> Ending:
    """What a result means for the task."""
    match said.outcome:
        case Outcome.SUCCEEDED:
            return (events.TaskCompleted(),)
        case Outcome.EXECUTOR_FAILED:
            last = said.executors[-1]
            return (events.TaskExecutorFailed(executor=last.executor, exit_code=last.exit_code),)
        case Outcome.SYSTEM_FAILED | Outcome.KILLED | Outcome.LOST:
            if isinstance(state, Expiring):
                return (events.TaskSystemFailed(reason=state.reason),)
            begun = state.started > 0 or bool(said.executors)
            return _again_or_fail(state, _reason(said), begun=begun, may_retry=said.retryable)


def _reason(said: Result) -> str:
    """What went wrong, in words, also if the runner had none."""
    return said.reason or f"the runner stopped in phase {said.phase}"


def _ended_unclaimed(state: Scheduled | Received, said: Result) -> Ending:
    """The runner could not even ask to begin; what it says in any other tone is not for this attempt."""
    if said.outcome is not Outcome.SYSTEM_FAILED:
        return ()
    return (_close(said), *_again_or_fail(state, _reason(said), begun=False, may_retry=said.retryable))


def _stop(state: Live, reason: str, outcome: Outcome) -> Ending:
    """The attempt is over without a result."""
    ended = events.AttemptEnded(attempt=state.attempt.number, outcome=outcome, reason=reason)
    match state:
        case Canceling():
            return (ended, events.TaskCanceled())
        case Expiring():
            return (ended, events.TaskSystemFailed(reason=state.reason))
        case Scheduled() | Received():
            return (ended, *_again_or_fail(state, reason, begun=False))
        case Claimed():
            return (ended, *_after_claim(state, reason, outcome))


def _after_claim(state: Claimed, reason: str, outcome: Outcome) -> Ending:
    begun = state.started > 0
    if state.order.preemptible and outcome is Outcome.LOST and not _has_attempts(state, begun=begun):
        return (events.TaskPreempted(reason=reason),)
    return _again_or_fail(state, reason, begun=begun)


def _again_or_fail(state: Live, reason: str, *, begun: bool, may_retry: bool = True) -> Ending:
    """Nothing if another attempt may follow; else the task's end."""
    return () if may_retry and _has_attempts(state, begun=begun) else (events.TaskSystemFailed(reason=reason),)


def _has_attempts(state: Live, *, begun: bool) -> bool:
    return state.attempt.number < state.order.last_attempt(begun=begun)


def _claimed(state: Claimed | Expiring | Canceling) -> Claimed:
    return state if isinstance(state, Claimed) else state.claimed


def _risk(state: Live) -> str:
    """What the end of a job that nobody confirmed from inside leaves open (law 7)."""
    is_claimed = not isinstance(state, Scheduled | Received)
    outlives = is_claimed and state.attempt.containers_outlive_it
    return ": its container may still run, if its reaper was killed too" if outlives else ""


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
        case Expiring():
            return "while it was being stopped"
        case Canceling():
            return "while it was being canceled"


def _outcome(state: Live, said: PulsarStatus) -> Outcome:
    match said:
        case PulsarStatus.LOST:
            return Outcome.LOST
        case PulsarStatus.CANCELLED:
            return Outcome.KILLED
        case PulsarStatus.COMPLETE | PulsarStatus.FAILED:  # condor says `complete` after a kill, too
            return Outcome.KILLED if isinstance(state, Expiring | Canceling) else Outcome.SYSTEM_FAILED


def _late(state: Ended, attempt: int, said: str, source: Source) -> Ending:
    """A message after the end: on record once, if it contradicts the end and is not what led to it."""
    known = (attempt, said) in state.late or said == state.outcome or not 1 <= attempt <= state.attempts
    if known or attempt < state.attempts or said in _CONSISTENT[state.state]:
        return ()
    return (events.LateMessageRecorded(attempt=attempt, status=said, source=source),)


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
