"""What tasks used: for those who share a service and its costs. `apply(usage, event)` is its whole definition.

A document says whose task it is and when it came, and has a line for each attempt, since attempts may run at different
Pulsars. Totals are made of the lines by the databases, see `store.totals`.

CPU time is cores that the task asked for (1 if it did not say) times how long its executors ran, by the node's clock. An
executor that did not end by itself, because the task was canceled or its node lost, counts by TESPES's clock: from when it
was heard to have started to when the attempt was over.
"""

from datetime import datetime
from typing import (
    Any,
    NotRequired,  # pydantic reads it on Python 3.11
)

from typing_extensions import TypedDict

from tespes import events, tes
from tespes.events import Recorded, moment

NAME = "usage"
VERSION = 1

_MOST = 2**53 - 1  # what JSON carries exactly
_ENDS: dict[type, tes.State] = {
    events.TaskCanceled: tes.State.CANCELED,
    events.TaskCompleted: tes.State.COMPLETE,
    events.TaskExecutorFailed: tes.State.EXECUTOR_ERROR,
    events.TaskSystemFailed: tes.State.SYSTEM_ERROR,
    events.TaskPreempted: tes.State.PREEMPTED,
}


class Line(TypedDict):
    """What an attempt used.

    `attempts` is 1: the lines are summed. `cpu_ms`: cores times milliseconds. `bytes_in` and `bytes_out`: of the files that
    were fetched and stored. `uncounted`: how many lists of files were too long to stand in the log's events: their bytes are
    not in the two. `running_since`: of an executor that has not ended, when TESPES heard that it had started.
    """

    attempt: int
    pulsar: str
    attempts: int
    cpu_ms: int
    bytes_in: int
    bytes_out: int
    uncounted: int
    running_since: str | None


class Usage(TypedDict):
    """See the module. `day`: on which the task was created, UTC. `state`: the one in which it ended; None while it lives."""

    id: str
    version: int
    position: int
    owner: str
    day: str
    state: str | None
    cores: int
    tags: NotRequired[dict[str, str]]
    lines: list[Line]


def apply(usage: Any, recorded: Recorded) -> Any:  # noqa: C901, PLR0911 - one case for each event
    """The document after the event."""
    event = recorded.event
    match event:
        case events.TaskCreated():
            return _created(recorded, event)
        case events.AttemptScheduled():
            return {**usage, "lines": [*usage["lines"], _line(event)]}
        case events.ExecutorStarted():
            return _changed(usage, event.attempt, running_since=moment.text(recorded.at))
        case events.ExecutorEnded():
            return _ran(usage, event.attempt, event.started_at, event.ended_at)
        case events.AttemptEnded():
            return _moved(_stopped(usage, event.attempt, recorded.at), event)
        case events.TaskCanceled() | events.TaskCompleted() | events.TaskExecutorFailed():
            return {**usage, "state": _ENDS[type(event)].value}
        case events.TaskSystemFailed() | events.TaskPreempted():
            return {**usage, "state": _ENDS[type(event)].value}
        case events.TaskDeferred() | events.TaskCancelRequested() | events.AttemptReceived() | events.AttemptClaimed():
            return usage
        case events.AttemptOrphaned() | events.AttemptDelayed() | events.AttemptExpired():
            return usage
        case events.LateMessageRecorded() | events.DataRedacted():
            return usage
        case events.PulsarDrained() | events.PulsarEnabled() | events.LeaseTaken() | events.HeadSigned():
            return usage  # of no task
        case events.LogRestored() | events.WebhookParked() | events.WebhookResumed():
            return usage


def _created(recorded: Recorded, event: events.TaskCreated) -> dict[str, Any]:
    resources, tags = event.task.resources, event.task.tags
    cores = (resources.cpu_cores if resources else None) or 1
    found = {"owner": recorded.meta.owner, "day": f"{recorded.at:%Y-%m-%d}", "state": None, "cores": cores}
    return {**found, **({"tags": tags} if tags else {}), "lines": []}


def _line(event: events.AttemptScheduled) -> Line:
    return {
        "attempt": event.attempt,
        "pulsar": event.pulsar,
        "attempts": 1,
        "cpu_ms": 0,
        "bytes_in": 0,
        "bytes_out": 0,
        "uncounted": 0,
        "running_since": None,
    }


def _ran(usage: Any, attempt: int, begin: datetime, end: datetime) -> Any:
    """An executor ran from then to then; a clock that was set back meanwhile makes no costs negative."""
    ms = max(round((end - begin).total_seconds() * 1000), 0)
    before = next((line["cpu_ms"] for line in usage["lines"] if line["attempt"] == attempt), 0)
    return _changed(usage, attempt, cpu_ms=min(before + usage["cores"] * ms, _MOST), running_since=None)


def _stopped(usage: Any, attempt: int, at: datetime) -> Any:
    """The attempt is over, and with it the executor that still ran."""
    since = next((line["running_since"] for line in usage["lines"] if line["attempt"] == attempt), None)
    return _ran(usage, attempt, moment.read(since), at) if since else usage


def _moved(usage: Any, event: events.AttemptEnded) -> Any:
    lists = sum(kept.place in {"inputs", "outputs"} for kept in event.kept)
    return _changed(
        usage,
        event.attempt,
        bytes_in=min(sum(file.size_bytes for file in event.inputs), _MOST),
        bytes_out=min(sum(file.size_bytes for file in event.outputs), _MOST),
        uncounted=lists,
    )


def _changed(usage: Any, attempt: int, **fields: Any) -> Any:
    lines = [{**line, **fields} if line["attempt"] == attempt else line for line in usage["lines"]]
    return {**usage, "lines": lines}
