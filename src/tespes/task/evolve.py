"""From one situation of a task to the next: the only way.

`evolve` never refuses and never decides: an event that does not fit leaves the situation as it is.
"""

from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import datetime

from tespes import events, tes
from tespes.task.state import Attempt, Canceling, Claimed, Ended, Expiring, Order, Received, Scheduled, State, Waiting
from tespes.tes import parameters


def evolve(state: State | None, event: events.Event, at: datetime) -> State | None:  # noqa: C901, PLR0911, PLR0912 - one case for each event
    """The situation after an event that happened at `at`."""
    match event:
        case events.TaskCreated():
            return Waiting(_order(event, at), 0, at) if state is None else state
        case events.TaskDeferred():
            return replace(state, reason=event.reason) if isinstance(state, Waiting) else state
        case events.AttemptScheduled():
            return _scheduled(state, event, at)
        case events.AttemptReceived():
            return Received(state.order, state.attempt, at) if isinstance(state, Scheduled) else state
        case events.AttemptClaimed():
            return _claimed(state, event, at)
        case events.ExecutorStarted():
            return _progressed(state, lambda claimed: replace(claimed, started=event.executor + 1))
        case events.ExecutorEnded():
            return _progressed(state, lambda claimed: replace(claimed, ended=event.executor + 1))
        case events.AttemptOrphaned():
            return _progressed(state, lambda claimed: replace(claimed, orphaned=True))
        case events.AttemptDelayed():
            return _delayed(state, event)
        case events.AttemptExpired():
            return Expiring(state, at, event.reason) if isinstance(state, Claimed) else state
        case events.AttemptEnded():
            return _attempt_ended(state, event, at)
        case events.TaskCancelRequested():
            return _cancel_requested(state, at)
        case events.TaskCanceled():
            return _ended(state, tes.State.CANCELED)
        case events.TaskCompleted():
            return _ended(state, tes.State.COMPLETE)
        case events.TaskExecutorFailed():
            return _ended(state, tes.State.EXECUTOR_ERROR)
        case events.TaskSystemFailed():
            return _ended(state, tes.State.SYSTEM_ERROR)
        case events.TaskPreempted():
            return _ended(state, tes.State.PREEMPTED)
        case events.LateMessageRecorded():
            return _late(state, event)
        case events.DataRedacted():
            return state
        case events.PulsarDrained() | events.PulsarEnabled() | events.LeaseTaken() | events.HeadSigned():
            return state  # of no task
        case events.LogRestored() | events.WebhookParked() | events.WebhookResumed():
            return state


def fold(recorded: Iterable[events.Recorded], state: State | None = None) -> State | None:
    """The situation after all these events."""
    for each in recorded:
        state = evolve(state, each.event, each.at)
    return state


def _order(event: events.TaskCreated, at: datetime) -> Order:
    task = event.task
    return Order(
        ignore_errors=tuple(bool(executor.ignore_error) for executor in task.executors),
        preemptible=bool(task.resources and task.resources.preemptible),
        max_attempts=parameters.max_attempts(task.resources),
        limits=parameters.limits(task.resources),
        created_at=at,
    )


def _claimed(state: State | None, event: events.AttemptClaimed, at: datetime) -> State | None:
    if not isinstance(state, Scheduled | Received):
        return state
    return Claimed(replace(state.order, was_claimed=True), state.attempt, event.run_id, at)


def _scheduled(state: State | None, event: events.AttemptScheduled, at: datetime) -> State | None:
    if not isinstance(state, Waiting):
        return state
    return Scheduled(state.order, Attempt(event.attempt, event.job_id, event.pulsar, event.runtime), at)


def _progressed(state: State | None, step: Callable[[Claimed], Claimed]) -> State | None:
    match state:
        case Claimed():
            return step(state)
        case Expiring() | Canceling():
            return replace(state, claimed=step(state.claimed))
        case _:
            return state


def _delayed(state: State | None, event: events.AttemptDelayed) -> State | None:
    def told(attempt: Attempt) -> Attempt:
        return replace(attempt, delays=(*attempt.delays, event.reason))

    match state:
        case Scheduled() | Received():
            return replace(state, attempt=told(state.attempt))
        case _:
            return _progressed(state, lambda claimed: replace(claimed, attempt=told(claimed.attempt)))


def _cancel_requested(state: State | None, at: datetime) -> State | None:
    match state:
        case Claimed():
            return Canceling(state, at)
        case Expiring():
            return Canceling(state.claimed, at)
        case _:
            return state


def _attempt_ended(state: State | None, event: events.AttemptEnded, at: datetime) -> State | None:
    """Back to waiting; what ends the task stands in the same commit and follows."""
    match state:
        case Scheduled() | Received() | Claimed() | Expiring() | Canceling():
            loose = state.attempt if event.outcome is events.Outcome.LOST else None
            return Waiting(state.order, event.attempt, at, event.outcome, loose=loose)
        case _:
            return state


def _ended(state: State | None, end: tes.State) -> State | None:
    match state:
        case None | Ended():
            return state
        case Waiting():
            return Ended(state.order, end, state.attempts, state.outcome, state.loose)
        case Scheduled() | Received():
            return Ended(state.order, end, state.attempt.number, loose=state.attempt)
        case Claimed() | Expiring() | Canceling():
            return Ended(state.order, end, state.attempt.number)


def _late(state: State | None, event: events.LateMessageRecorded) -> State | None:
    if not isinstance(state, Ended):
        return state
    return replace(state, late=state.late | {(event.attempt, event.status)})
