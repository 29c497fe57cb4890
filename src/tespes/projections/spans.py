"""The trace of a task: what OpenTelemetry calls spans, made from the task's events. Pure.

    task                                from its creation to its end; within the span that its client named, if it did
      waiting/1                         until a place was found, and again after an attempt that is repeated
      attempt/1                         from the moment that it was given a place
        attempt/1/pulsar                until the runner asked to begin
        attempt/1/inputs                until the first executor started
        attempt/1/executor/0            each executor, by the node's clock
        attempt/1/outputs               from the end of the last executor on
      cancel                            from the order to the end; linked to the trace of who gave it

The place of a span in the task makes its id. So the same history makes the same spans, wherever, whenever and however
often they are told: a copy is known by its id. What belongs to no span of its own is a note on the one that it happened in.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final

from tespes import events, tes
from tespes.events import Outcome, Recorded, brief, trace
from tespes.events.brief import Word
from tespes.events.trace import Context

TASK: Final = "task"
_WAITING: Final = "waiting"
_CANCEL: Final = "cancel"

Words = Mapping[str, Word]


@dataclass(frozen=True, slots=True)
class Note:
    """Something that happened within a span; `words`: see `brief`."""

    name: str
    at: datetime
    words: Words


@dataclass(frozen=True, slots=True)
class Span:
    """A span.

    :param place: see the module; :param within: the place that it is part of; None for the whole task
    :param words: what is known of it; :param error: why it ended, if not well
    :param link: what it also belongs to
    """

    place: str
    within: str | None
    began: datetime
    ended: datetime
    words: Words
    error: str | None = None
    notes: tuple[Note, ...] = ()
    link: Context | None = None

    @property
    def name(self) -> str:
        """The same for all spans of a kind."""
        return next(part for part in reversed(self.place.split("/")) if not part.isdecimal())


@dataclass(frozen=True, slots=True)
class Trace:
    """All spans of a task.

    :param context: the trace, and the client's span in it
    """

    task_id: str
    context: Context
    spans: tuple[Span, ...]

    def span_id(self, place: str) -> str:
        """The id of the span at that place."""
        return trace.span_id(self.task_id, place)


def attempt_place(number: int) -> str:
    """Where an attempt's span is; the number is from 1."""
    return f"attempt/{number}"


def executor_place(attempt: int, executor: int) -> str:
    """Where an executor's span is; executors are counted from 0."""
    return f"{attempt_place(attempt)}/executor/{executor}"


def told(history: Iterable[Recorded]) -> Trace | None:
    """The trace of a task that has ended; None if these events do not tell of its creation and its end."""
    course: _Course | None = None
    for recorded in history:
        if isinstance(recorded.event, events.TaskCreated):
            course = _Course.begin(recorded, recorded.event.task)
        elif course is not None and not course.is_over:
            _apply(course, recorded)
    if course is None or not course.is_over or course.context is None:
        return None
    return Trace(course.task_id, course.context, tuple(course.done))


@dataclass(slots=True)
class _Course:
    """What is known so far, within one call of `told`.

    :param open: the spans that have not ended; their ends are their beginnings
    """

    task_id: str
    context: Context | None
    executors: tuple[tes.Executor, ...]
    open: dict[str, Span] = field(default_factory=dict)
    done: list[Span] = field(default_factory=list)
    waits: int = 0

    @classmethod
    def begin(cls, created: Recorded, task: tes.Task) -> "_Course":
        course = cls(created.stream, trace.context(created.stream, created.meta.traceparent), task.executors)
        words: dict[str, Word] = {"position": created.position}
        if created.meta.correlation is not None:
            words["request_id"] = created.meta.correlation
        course.open[TASK] = Span(TASK, None, created.at, created.at, words)
        course.wait(created.at)
        return course

    @property
    def is_over(self) -> bool:
        return TASK not in self.open

    def add(self, place: str, within: str, at: datetime, link: Context | None = None, **words: Word) -> None:
        self.open[place] = Span(place, within, at, at, words, link=link)

    def end(self, place: str, at: datetime, error: str | None = None, **words: Word) -> None:
        """Clocks differ: nothing ends before it began."""
        span = self.open.pop(place, None)
        if span is not None:
            self.done.append(replace(span, ended=max(span.began, at), error=error, words={**span.words, **words}))

    def end_all(self, place: str, at: datetime, error: str | None, within: str | None, **words: Word) -> None:
        """End what is open in that place, with the error `within`, and then that."""
        for inner in [each for each, span in self.open.items() if span.within == place]:
            self.end_all(inner, at, within, within)
        self.end(place, at, error, **words)

    def note(self, place: str, recorded: Recorded) -> None:
        if (span := self.open.get(place)) is not None:
            note = Note(type(recorded.event).__name__, recorded.at, brief.words(recorded.event))
            self.open[place] = replace(span, notes=(*span.notes, note))

    def wait(self, at: datetime) -> None:
        self.waits += 1
        self.add(self.waiting, TASK, at)

    @property
    def waiting(self) -> str:
        return f"{_WAITING}/{self.waits}"


def _apply(course: _Course, recorded: Recorded) -> None:  # noqa: C901, PLR0912 - one case for each event
    event, at = recorded.event, recorded.at
    match event:
        case events.TaskDeferred():
            course.note(course.waiting, recorded)
        case events.AttemptScheduled():
            _schedule(course, event, at)
        case events.AttemptReceived():
            course.note(f"{attempt_place(event.attempt)}/pulsar", recorded)
        case events.AttemptClaimed():
            _claim(course, event, at)
        case events.ExecutorStarted():
            _start(course, event)
        case events.ExecutorEnded():
            _finish(course, event)
        case events.AttemptDelayed() | events.AttemptOrphaned() | events.AttemptExpired():
            course.note(attempt_place(event.attempt), recorded)
        case events.AttemptEnded():
            error = None if event.outcome in {Outcome.SUCCEEDED, Outcome.KILLED} else event.reason
            within = None if event.outcome is Outcome.EXECUTOR_FAILED else error
            course.end_all(attempt_place(event.attempt), at, error, within, outcome=event.outcome)
            course.wait(at)
        case events.TaskCancelRequested():
            course.add(_CANCEL, TASK, at, link=trace.context(recorded.stream, recorded.meta.traceparent))
        case events.TaskCompleted():
            _end(course, recorded, tes.State.COMPLETE, None)
        case events.TaskCanceled():
            _end(course, recorded, tes.State.CANCELED, None)
        case events.TaskExecutorFailed():
            _end(course, recorded, tes.State.EXECUTOR_ERROR, f"executor {event.executor}: exit code {event.exit_code}")
        case events.TaskSystemFailed():
            _end(course, recorded, tes.State.SYSTEM_ERROR, event.reason)
        case events.TaskPreempted():
            _end(course, recorded, tes.State.PREEMPTED, event.reason)
        case events.TaskCreated() | events.LateMessageRecorded() | events.DataRedacted():
            pass  # the first is known, the others come after the end
        case events.PulsarDrained() | events.PulsarEnabled() | events.LeaseTaken() | events.HeadSigned():
            pass  # of no task
        case events.LogRestored() | events.WebhookParked() | events.WebhookResumed():
            pass


def _schedule(course: _Course, event: events.AttemptScheduled, at: datetime) -> None:
    place = attempt_place(event.attempt)
    course.end(course.waiting, at)
    course.add(place, TASK, at, attempt=event.attempt, job_id=event.job_id, pulsar=event.pulsar, runtime=event.runtime)
    course.add(f"{place}/pulsar", place, at, pulsar=event.pulsar)


def _claim(course: _Course, event: events.AttemptClaimed, at: datetime) -> None:
    place = attempt_place(event.attempt)
    course.end(f"{place}/pulsar", at)
    course.add(f"{place}/inputs", place, at, host=event.host)


def _start(course: _Course, event: events.ExecutorStarted) -> None:
    place, number = attempt_place(event.attempt), event.executor
    course.end(f"{place}/inputs", event.at)
    course.add(executor_place(event.attempt, number), place, event.at, executor=number, image=course.executors[number].image)


def _finish(course: _Course, event: events.ExecutorEnded) -> None:
    """After the last one, whatever comes is the outputs' way."""
    place, executor = attempt_place(event.attempt), course.executors[event.executor]
    failed = event.exit_code != 0
    error = f"exit code {event.exit_code}" if failed else None
    course.end(executor_place(event.attempt, event.executor), event.ended_at, error, exit_code=event.exit_code)
    if event.executor == len(course.executors) - 1 or (failed and not executor.ignore_error):
        course.add(f"{place}/outputs", place, event.ended_at)


def _end(course: _Course, recorded: Recorded, state: tes.State, error: str | None) -> None:
    """An executor's error is its own: nothing that was done then is wrong. A wait that lasts no time at all is none."""
    waited = course.open.get(course.waiting)
    if waited is not None and waited.began == recorded.at and course.waits > 1:
        del course.open[course.waiting]
    within = None if state is tes.State.EXECUTOR_ERROR else error
    course.end_all(TASK, recorded.at, error, within, state=state)
