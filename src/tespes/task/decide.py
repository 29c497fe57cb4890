"""What follows from a command: `decide(state, command) -> events`. The table of races in one place.

It changes nothing, and answers () when there is nothing new: asking twice is safe.
"""

from tespes import errors, events
from tespes.task import commands, endings, reports
from tespes.task.commands import Command
from tespes.task.state import Canceling, Claimed, Ended, Expiring, Received, Scheduled, State, Waiting

Decision = tuple[events.Event, ...]


def decide(state: State | None, command: Command) -> Decision:  # noqa: C901, PLR0911, PLR0912 - one case for each command
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
            return reports.started(_working(state, command.attempt, command.run_id), command)
        case commands.ReportEnd():
            return reports.ended(_working(state, command.ended.attempt, command.run_id), command.ended)
        case commands.ReportResult():
            return endings.result(state, command.result)
        case commands.RecordStatus():
            return endings.status(state, command)
        case commands.DelayAttempt():
            return _delay(state, command)
        case commands.GiveUpAttempt():
            return endings.give_up(state, command)
        case commands.ExpireTask():
            return endings.expire(state, command)


def _create(command: Command) -> Decision:
    if isinstance(command, commands.CreateTask):
        created = events.TaskCreated(
            task=command.task, kept=command.kept, notes=command.notes, request_sha256=command.request_sha256
        )
        return (created,)
    raise errors.NotFound("there is no such task")


def _cancel(state: State) -> Decision:
    match state:
        case Waiting() | Scheduled() | Received():
            return (events.TaskCancelRequested(), events.TaskCanceled())
        case Claimed() | Expiring():
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


def _delay(state: State, command: commands.DelayAttempt) -> Decision:
    if isinstance(state, Waiting | Ended) or state.attempt.number != command.attempt:
        return ()
    told = events.AttemptDelayed(attempt=command.attempt, reason=command.reason)
    return (told,) if state.attempt.is_news(command.reason) else ()


def _claim(state: State, command: commands.ClaimAttempt) -> Decision:
    match state:
        case Scheduled() | Received() if state.attempt.number == command.attempt:
            claim = events.AttemptClaimed(
                attempt=command.attempt, run_id=command.run_id, host=command.host, python=command.python
            )
            return (claim,)
        case Claimed() if state.is_run(command.attempt, command.run_id):
            return ()
        case _:
            raise errors.AttemptGone("this attempt was canceled, superseded, or is another runner's")


def _working(state: State, attempt: int, run_id: str) -> Claimed:
    if isinstance(state, Claimed) and state.is_run(attempt, run_id):
        return state
    raise errors.AttemptGone("this attempt was canceled, superseded, or is another runner's")
