"""`given(events).when(command).then(events)`: a history, an order, and what must follow from it.

The times are chosen here: event number `n` of a history happens at `at(n)`. Whatever an order led to, it is given a second
time, and must then lead to nothing: asking twice is safe.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from tespes import errors, events, task, tes
from tespes.events import Outcome
from tespes.task import commands

TASK = "5b1f0c3e8d7a4f6fa1b2c3d4e5f60718"
RUN, OTHER_RUN = "0a" * 16, "0b" * 16
_BEGIN = datetime(2026, 11, 22, 12, tzinfo=UTC)


def at(seconds: float) -> datetime:
    """That long after everything began."""
    return _BEGIN + timedelta(seconds=seconds)


def state_after(*history: events.Event, state: task.State | None = None) -> task.State | None:
    """The situation that these events lead to, one a second."""
    for second, event in enumerate(history):
        state = task.evolve(state, event, at(second))
    return state


@dataclass(frozen=True)
class Answer:
    """What an order led to: events or a refusal."""

    state: task.State | None
    command: task.Command
    decision: task.Decision = ()
    refusal: errors.TespesError | None = None

    def then(self, *expected: events.Event) -> None:
        """Exactly these events, in this order; and asking again leads to nothing new."""
        assert self.refusal is None, self.refusal
        assert self.decision == expected
        after = state_after(*self.decision, state=self.state)
        try:
            again = task.decide(after, self.command)
        except errors.AttemptGone:
            again = ()
        assert again == (), "the same order a second time led to something"

    def then_nothing(self) -> None:
        """No event, and no refusal."""
        self.then()

    def then_refused(self, kind: type[errors.TespesError]) -> None:
        """A refusal of that kind."""
        assert isinstance(self.refusal, kind), self.decision


@dataclass(frozen=True)
class History:
    """What happened so far."""

    happened: tuple[events.Event, ...]

    @property
    def state(self) -> task.State | None:
        """The situation."""
        return state_after(*self.happened)

    def when(self, command: task.Command) -> Answer:
        """Give an order."""
        try:
            return Answer(self.state, command, task.decide(self.state, command))
        except errors.TespesError as refusal:
            return Answer(self.state, command, refusal=refusal)

    def then_shows(self, state: tes.State) -> None:
        """The task is in this state of the standard."""
        assert self.state is not None
        assert task.tes_state(self.state) is state


def given(*history: events.Event) -> History:
    """The events that happened."""
    return History(history)


# What can happen, with everything chosen that a test does not care about.


def created(
    executors: int = 1,
    *,
    ignoring: Sequence[int] = (),
    preemptible: bool = False,
    max_attempts: int | None = None,
    **limits_s: int,
) -> events.TaskCreated:
    """A task of some executors, of which some may fail, that may be tried again after its commands began, or has limits."""
    asked_for = {"max_attempts": max_attempts, **limits_s}
    parameters = {name: str(value) for name, value in asked_for.items() if value} or None
    asked = tes.Resources(preemptible=preemptible or None, backend_parameters=parameters)
    return events.TaskCreated(
        task=tes.Task(
            executors=tuple(
                tes.Executor(image="alpine", command=("true",), ignore_error=number in ignoring or None)
                for number in range(executors)
            ),
            outputs=(tes.Output(url="ftp://files.example.org/out", path="/data/out"),),
            resources=asked if preemptible or parameters else None,
        )
    )


def scheduled(attempt: int = 1) -> events.AttemptScheduled:
    return events.AttemptScheduled(attempt=attempt, job_id=f"{TASK}-{attempt}", pulsar="site-a", runtime="sandbox")


def received(attempt: int = 1) -> events.AttemptReceived:
    return events.AttemptReceived(attempt=attempt)


def claimed(attempt: int = 1, run_id: str = RUN) -> events.AttemptClaimed:
    return events.AttemptClaimed(attempt=attempt, run_id=run_id, host="node-7", python="3.11.2")


def started(executor: int = 0, attempt: int = 1) -> events.ExecutorStarted:
    return events.ExecutorStarted(attempt=attempt, executor=executor, at=at(executor + 0.25))


def ended(executor: int = 0, exit_code: int = 0, attempt: int = 1) -> events.ExecutorEnded:
    return events.ExecutorEnded(
        attempt=attempt,
        executor=executor,
        exit_code=exit_code,
        started_at=at(executor + 0.25),
        ended_at=at(executor + 0.75),
    )


def orphaned(reason: str = "Pulsar site-a lost the job", attempt: int = 1) -> events.AttemptOrphaned:
    return events.AttemptOrphaned(attempt=attempt, reason=reason)


def delayed(reason: str, attempt: int = 1) -> events.AttemptDelayed:
    return events.AttemptDelayed(attempt=attempt, reason=reason)


def expired(reason: str = "it took too long", attempt: int = 1) -> events.AttemptExpired:
    return events.AttemptExpired(attempt=attempt, reason=reason)


def over(outcome: Outcome, reason: str | None = None, attempt: int = 1) -> events.AttemptEnded:
    return events.AttemptEnded(attempt=attempt, outcome=outcome, reason=reason)


def tried(times: int) -> tuple[events.Event, ...]:
    """Attempts that came to nothing before anybody claimed them."""
    return tuple(
        event
        for attempt in range(1, times + 1)
        for event in (scheduled(attempt), over(Outcome.SYSTEM_FAILED, "it did not begin", attempt))
    )


# What can be wanted, likewise.

CANCEL = commands.CancelTask()
PLACE = commands.ScheduleAttempt(task_id=TASK, pulsar="site-a", runtime="sandbox")


def receipt(attempt: int = 1) -> commands.RecordReceipt:
    return commands.RecordReceipt(attempt=attempt)


def claim(attempt: int = 1, run_id: str = RUN) -> commands.ClaimAttempt:
    return commands.ClaimAttempt(attempt=attempt, run_id=run_id, host="node-7", python="3.11.2")


def report_start(executor: int = 0, attempt: int = 1, run_id: str = RUN) -> commands.ReportStart:
    return commands.ReportStart(attempt=attempt, run_id=run_id, executor=executor, at=at(executor + 0.25))


def report_end(executor: int = 0, exit_code: int = 0, attempt: int = 1, run_id: str = RUN) -> commands.ReportEnd:
    return commands.ReportEnd(run_id=run_id, ended=ended(executor, exit_code, attempt))


def result(
    outcome: Outcome = Outcome.SUCCEEDED,
    *executors: events.ExecutorEnded,
    attempt: int = 1,
    run_id: str = RUN,
    reason: str | None = None,
    retryable: bool = False,
    outputs: tuple[events.File, ...] = (),
    notes: tuple[str, ...] = (),
) -> commands.ReportResult:
    return commands.ReportResult(
        result=commands.Result(
            attempt=attempt,
            run_id=run_id,
            outcome=outcome,
            reason=reason,
            phase="inputs",
            retryable=retryable,
            executors=executors,
            inputs=(),
            outputs=outputs,
            notes=notes,
        )
    )


def status(said: commands.PulsarStatus, reason: str = "Pulsar said so", *, attempt: int = 1) -> commands.RecordStatus:
    return commands.RecordStatus(attempt=attempt, status=said, reason=reason)


def delay(reason: str, attempt: int = 1) -> commands.DelayAttempt:
    return commands.DelayAttempt(attempt=attempt, reason=reason)


def expire(reason: str = "it took too long", *, claimed: bool) -> commands.ExpireTask:
    return commands.ExpireTask(reason=reason, claimed=claimed)


def give_up(attempt: int = 1, reason: str = "nobody was heard: it may still run") -> commands.GiveUpAttempt:
    return commands.GiveUpAttempt(attempt=attempt, reason=reason)


def refused_claim(*history: events.Event, attempt: int = 1, run_id: str = RUN) -> None:
    """The runner that asks to begin is turned away."""
    given(*history).when(claim(attempt, run_id)).then_refused(errors.AttemptGone)
