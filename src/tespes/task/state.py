"""What a task is: one type for each situation, and `evolve`, the only way from one to the next.

`evolve` never refuses and never decides: an event that does not fit leaves the situation as it is.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from tespes import events, tes
from tespes.tes import rules

RETRY_AFTER_S = 2.0
RETRY_AT_MOST_S = 30.0
_ENGINES = frozenset({"docker", "podman"})


@dataclass(frozen=True, slots=True)
class Order:
    """What never changes about a task.

    :param ignore_errors: for each executor, whether the task goes on after its error
    :param max_attempts: after an executor began, no attempt above this number follows
    """

    ignore_errors: tuple[bool, ...]
    preemptible: bool
    max_attempts: int


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try to run the task.

    :param number: from 1; :param job_id: what Pulsar knows it by; :param pulsar: that Pulsar's name
    """

    number: int
    job_id: str
    pulsar: str
    runtime: str
    scheduled_at: datetime

    @property
    def containers_outlive_it(self) -> bool:
        """Whether a container of it may run on when its job is dead: an engine's containers are not the job's children."""
        return self.runtime in _ENGINES


@dataclass(frozen=True, slots=True)
class Waiting:
    """Created, or between two attempts.

    :param attempts: how many have ended; :param outcome: how the last of them ended
    :param reason: why no Pulsar can take it, if that was looked for
    :param not_before: no attempt begins earlier (back-off)
    :param loose: the last attempt, if it was lost: Pulsar may still hold its job
    """

    order: Order
    attempts: int
    not_before: datetime
    outcome: events.Outcome | None = None
    reason: str | None = None
    loose: Attempt | None = None


@dataclass(frozen=True, slots=True)
class Scheduled:
    """A job is on its way to a Pulsar that has not picked it up."""

    order: Order
    attempt: Attempt


@dataclass(frozen=True, slots=True)
class Received:
    """Pulsar has the job; its runner has not asked to begin."""

    order: Order
    attempt: Attempt


@dataclass(frozen=True, slots=True)
class Claimed:
    """The runner has the plan and works on it.

    :param started: how many executors started; :param ended: how many of them ended
    :param orphaned: Pulsar has lost the job, its runner lives on
    """

    order: Order
    attempt: Attempt
    run_id: str
    started: int = 0
    ended: int = 0
    orphaned: bool = False


@dataclass(frozen=True, slots=True)
class Canceling:
    """A cancel was asked for, at `asked_at`, while the attempt may live."""

    claimed: Claimed
    asked_at: datetime

    @property
    def order(self) -> Order:
        """See Claimed."""
        return self.claimed.order

    @property
    def attempt(self) -> Attempt:
        """See Claimed."""
        return self.claimed.attempt


@dataclass(frozen=True, slots=True)
class Ended:
    """Over.

    :param attempts: how many there were; :param outcome: how the last of them ended, if that was told
    :param loose: an attempt that was lost, or sent and never claimed: Pulsar may still hold its job
    :param late: the (attempt, status) pairs of late messages on record
    """

    order: Order
    state: tes.State
    attempts: int
    outcome: events.Outcome | None = None
    loose: Attempt | None = None
    late: frozenset[tuple[int, str]] = frozenset()


State = Waiting | Scheduled | Received | Claimed | Canceling | Ended
Live = Scheduled | Received | Claimed | Canceling


def evolve(state: State | None, event: events.Event, at: datetime) -> State | None:  # noqa: C901, PLR0911, PLR0912 - one case for each event
    """The situation after an event that happened at `at`."""
    match event:
        case events.TaskCreated():
            return Waiting(_order(event), 0, at) if state is None else state
        case events.TaskDeferred():
            return replace(state, reason=event.reason) if isinstance(state, Waiting) else state
        case events.AttemptScheduled():
            return _scheduled(state, event, at)
        case events.AttemptReceived():
            return Received(state.order, state.attempt) if isinstance(state, Scheduled) else state
        case events.AttemptClaimed():
            return _claimed(state, event)
        case events.ExecutorStarted():
            return _progressed(state, lambda claimed: replace(claimed, started=event.executor + 1))
        case events.ExecutorEnded():
            return _progressed(state, lambda claimed: replace(claimed, ended=event.executor + 1))
        case events.AttemptOrphaned():
            return replace(state, orphaned=True) if isinstance(state, Claimed) else state
        case events.AttemptEnded():
            return _attempt_ended(state, event, at)
        case events.TaskCancelRequested():
            return Canceling(state, at) if isinstance(state, Claimed) else state
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
        case events.AttemptDelayed() | events.AttemptExpired():
            return state
        case events.PulsarDrained() | events.PulsarEnabled() | events.LeaseTaken():
            return state  # of no task


def fold(recorded: Iterable[events.Recorded], state: State | None = None) -> State | None:
    """The situation after all these events."""
    for each in recorded:
        state = evolve(state, each.event, each.at)
    return state


def tes_state(state: State) -> tes.State:
    """The situation in the standard's words (design, section 5)."""
    match state:
        case Waiting() | Scheduled():
            return tes.State.QUEUED
        case Received():
            return tes.State.INITIALIZING
        case Claimed():
            return tes.State.RUNNING if state.started else tes.State.INITIALIZING
        case Canceling():
            return tes.State.CANCELING
        case Ended():
            return state.state


def _order(event: events.TaskCreated) -> Order:
    task = event.task
    preemptible = bool(task.resources and task.resources.preemptible)
    ignore_errors = tuple(bool(executor.ignore_error) for executor in task.executors)
    return Order(ignore_errors, preemptible, rules.max_attempts(task.resources))


def _claimed(state: State | None, event: events.AttemptClaimed) -> State | None:
    if not isinstance(state, Scheduled | Received):
        return state
    return Claimed(state.order, state.attempt, event.run_id)


def _scheduled(state: State | None, event: events.AttemptScheduled, at: datetime) -> State | None:
    if not isinstance(state, Waiting):
        return state
    return Scheduled(state.order, Attempt(event.attempt, event.job_id, event.pulsar, event.runtime, at))


def _progressed(state: State | None, step: Callable[[Claimed], Claimed]) -> State | None:
    match state:
        case Claimed():
            return step(state)
        case Canceling():
            return replace(state, claimed=step(state.claimed))
        case _:
            return state


def _attempt_ended(state: State | None, event: events.AttemptEnded, at: datetime) -> State | None:
    """Back to waiting; what ends the task stands in the same commit and follows."""
    match state:
        case Scheduled() | Received() | Claimed() | Canceling():
            pause = timedelta(seconds=min(RETRY_AFTER_S * 2 ** (event.attempt - 1), RETRY_AT_MOST_S))
            loose = state.attempt if event.outcome is events.Outcome.LOST else None
            return Waiting(state.order, event.attempt, at + pause, event.outcome, loose=loose)
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
        case Claimed() | Canceling():
            return Ended(state.order, end, state.attempt.number)


def _late(state: State | None, event: events.LateMessageRecorded) -> State | None:
    if not isinstance(state, Ended):
        return state
    return replace(state, late=state.late | {(event.attempt, event.status)})
