"""How a task went, attempt by attempt: what its crate is made of. `apply(course, recorded)` is its whole definition."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from tespes import events, tes
from tespes.events import File, Recorded


@dataclass(frozen=True, slots=True)
class Run:
    """An executor that was started.

    :param number: which one of the task's, from 0
    :param started_at: and `ended_at`: the node's clock
    :param exit_code: and `ended_at`: None if nobody heard of its end
    """

    number: int
    started_at: datetime
    ended_at: datetime | None = None
    exit_code: int | None = None


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try to run the task.

    :param host: the node's name, once a runner asked to begin
    :param reason: why it ended, if not well; :param ended_at: when that was decided
    :param inputs: and `outputs`: what was fetched and what was stored
    """

    number: int
    job_id: str
    pulsar: str
    runtime: str
    host: str | None = None
    runs: tuple[Run, ...] = ()
    inputs: tuple[File, ...] = ()
    outputs: tuple[File, ...] = ()
    reason: str | None = None
    ended_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Course:
    """See the module.

    :param end: its last state, and `ended_at`: None as long as it is not over
    """

    task_id: str
    task: tes.Task
    owner: str
    created_at: datetime
    attempts: tuple[Attempt, ...] = ()
    end: tes.State | None = None
    ended_at: datetime | None = None


def told(history: Iterable[Recorded]) -> Course | None:
    """How it went, as far as these events of one task tell; None if they do not begin with its creation."""
    course = None
    for each in history:
        course = apply(course, each)
    return course


def apply(course: Course | None, recorded: Recorded) -> Course | None:  # noqa: C901, PLR0911 - one case for each event
    """The course after the event."""
    event = recorded.event
    if isinstance(event, events.TaskCreated):
        return course or Course(recorded.stream, event.task, recorded.meta.owner, recorded.at)
    if course is None or course.end is not None:
        return course
    match event:
        case events.AttemptScheduled():
            attempt = Attempt(event.attempt, event.job_id, event.pulsar, event.runtime)
            return replace(course, attempts=(*course.attempts, attempt))
        case events.AttemptClaimed():
            return _last(course, host=event.host)
        case events.ExecutorStarted():
            return _runs(course, *_known(course), Run(event.executor, event.at))
        case events.ExecutorEnded():
            ended = Run(event.executor, event.started_at, event.ended_at, event.exit_code)
            return _runs(course, *(run for run in _known(course) if run.number != event.executor), ended)
        case events.AttemptEnded():
            return _last(course, inputs=event.inputs, outputs=event.outputs, reason=event.reason, ended_at=recorded.at)
        case (
            events.TaskCompleted()
            | events.TaskExecutorFailed()
            | events.TaskSystemFailed()
            | events.TaskCanceled()
            | events.TaskPreempted()
        ):
            return replace(course, end=_ENDS[type(event)], ended_at=recorded.at)
        case events.TaskDeferred() | events.AttemptReceived() | events.TaskCancelRequested() | events.LateMessageRecorded():
            return course
        case events.AttemptOrphaned() | events.AttemptDelayed() | events.AttemptExpired() | events.DataRedacted():
            return course
        case events.PulsarDrained() | events.PulsarEnabled() | events.LeaseTaken() | events.HeadSigned():
            return course  # of no task
        case events.LogRestored() | events.WebhookParked() | events.WebhookResumed():
            return course


def _known(course: Course) -> tuple[Run, ...]:
    return course.attempts[-1].runs if course.attempts else ()


def _runs(course: Course, *runs: Run) -> Course:
    return _last(course, runs=runs)


def _last(course: Course, **known: Any) -> Course:
    """The course, with this known of its last attempt."""
    if not course.attempts:
        return course
    return replace(course, attempts=(*course.attempts[:-1], replace(course.attempts[-1], **known)))


_ENDS: dict[type[events.Event], tes.State] = {
    events.TaskCompleted: tes.State.COMPLETE,
    events.TaskExecutorFailed: tes.State.EXECUTOR_ERROR,
    events.TaskSystemFailed: tes.State.SYSTEM_ERROR,
    events.TaskCanceled: tes.State.CANCELED,
    events.TaskPreempted: tes.State.PREEMPTED,
}
