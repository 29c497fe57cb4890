"""The task view: what TES clients read. `apply(document, event)` is its whole definition.

A document holds the task in the standard's FULL shape under `task`, and beside it what is searched or must be fetched:
`state`, `name`, `tags`, `owner`, `position` (of the creation: newest first is by it), `version` (of the last event applied: an
event that comes twice changes nothing) and `kept` (texts that live in blobs, by their place in `task`).
"""

from typing import (
    Any,
    NotRequired,  # pydantic reads it on Python 3.11
)

from typing_extensions import TypedDict

from tespes import events, tes
from tespes.events import Outcome, Recorded, moment

NAME = "task_view"
VERSION = 2

_LOG_FIELDS = ("logs", "metadata", "start_time", "end_time", "outputs", "system_logs")  # tesTaskLog


class KeptText(TypedDict):
    """What of the task lives in a blob: its place in `task`, for example `inputs.0.content` or `logs.0.outputs`."""

    place: str
    sha256: str
    size_bytes: int


class TaskView(TypedDict):
    """See the module."""

    id: str
    version: int
    position: int
    state: str
    owner: str
    name: NotRequired[str]
    tags: NotRequired[dict[str, str]]
    kept: list[KeptText]
    task: dict[str, Any]


def apply(view: TaskView | None, recorded: Recorded) -> TaskView | None:  # noqa: C901, PLR0911, PLR0912 - one case for each event
    """The view after the event; the same view if the event was applied before."""
    event = recorded.event
    if isinstance(event, events.TaskCreated):
        return _created(recorded, event) if view is None else view
    if view is None or recorded.version <= view["version"]:
        return view
    view = {**view, "version": recorded.version}
    match event:
        case events.TaskDeferred() | events.TaskCancelRequested():
            return _asked(view, event)
        case events.AttemptScheduled():
            return _scheduled(view, recorded, event)
        case events.AttemptReceived():
            return _in_state(view, tes.State.INITIALIZING)
        case events.AttemptClaimed():
            return _claimed(view, event)
        case events.ExecutorStarted():
            return view if view["state"] == tes.State.CANCELING else _in_state(view, tes.State.RUNNING)
        case events.ExecutorEnded():
            return _executor_ended(view, event)
        case events.AttemptOrphaned() | events.AttemptDelayed() | events.AttemptExpired():
            return _noted(view, event.reason)
        case events.AttemptEnded():
            return _attempt_ended(view, recorded, event)
        case events.TaskCanceled():
            return _over(view, recorded, tes.State.CANCELED)
        case events.TaskCompleted():
            return _over(view, recorded, tes.State.COMPLETE)
        case events.TaskExecutorFailed():
            return _over(view, recorded, tes.State.EXECUTOR_ERROR)
        case events.TaskSystemFailed():
            return _over(view, recorded, tes.State.SYSTEM_ERROR, event.reason)
        case events.TaskPreempted():
            return _over(view, recorded, tes.State.PREEMPTED, event.reason)
        case events.LateMessageRecorded():
            return _noted(view, f"attempt {event.attempt}: '{event.status}' came after the end and changed nothing")
        case events.DataRedacted():
            return view
        case events.PulsarDrained() | events.PulsarEnabled() | events.LeaseTaken() | events.HeadSigned():
            return view  # of no task
        case events.LogRestored() | events.WebhookParked() | events.WebhookResumed():
            return view


def _created(recorded: Recorded, event: events.TaskCreated) -> TaskView:
    submitted = event.task.document()
    view: TaskView = {
        "id": recorded.stream,
        "version": recorded.version,
        "position": recorded.position,
        "state": tes.State.QUEUED.value,
        "owner": recorded.meta.owner,
        "kept": [_kept(kept, "") for kept in event.kept],
        "task": {
            "id": recorded.stream,
            "state": tes.State.QUEUED.value,
            **submitted,
            "creation_time": moment.text(recorded.at),
        },
    }
    if "name" in submitted:
        view["name"] = submitted["name"]
    if "tags" in submitted:
        view["tags"] = submitted["tags"]
    return _noted(view, *event.notes)


def _asked(view: TaskView, event: events.TaskDeferred | events.TaskCancelRequested) -> TaskView:
    match event:
        case events.TaskDeferred():
            return _noted(view, f"waiting: {event.reason}")
        case events.TaskCancelRequested():
            return _in_state(view, tes.State.CANCELING)


def _scheduled(view: TaskView, recorded: Recorded, event: events.AttemptScheduled) -> TaskView:
    """A new log; the notes of the time before the first attempt move into it."""
    logs = _logs(view)
    waited = logs.pop()["system_logs"] if logs and "metadata" not in logs[-1] else []
    metadata = {"attempt": str(event.attempt), "job_id": event.job_id, "pulsar": event.pulsar, "runtime": event.runtime}
    log = {"logs": [], "metadata": metadata, "outputs": [], "start_time": moment.text(recorded.at)}
    if waited:
        log["system_logs"] = waited
    return _in_state(_with_logs(view, [*logs, log]), tes.State.QUEUED)


def _claimed(view: TaskView, event: events.AttemptClaimed) -> TaskView:
    logs = _logs(view)
    metadata = {**logs[-1]["metadata"], "host": event.host}
    return _in_state(_with_logs(view, [*logs[:-1], {**logs[-1], "metadata": metadata}]), tes.State.INITIALIZING)


def _executor_ended(view: TaskView, event: events.ExecutorEnded) -> TaskView:
    logs = _logs(view)
    entry = {
        "start_time": moment.text(event.started_at),
        "end_time": moment.text(event.ended_at),
        "stdout": event.stdout,
        "stderr": event.stderr,
        "exit_code": event.exit_code,
    }
    place = f"logs.{len(logs) - 1}.logs.{len(logs[-1]['logs'])}."
    ended = {**logs[-1], "logs": [*logs[-1]["logs"], entry]}
    view["kept"] = [*view["kept"], *(_kept(kept, place) for kept in event.kept)]
    return _with_logs(view, [*logs[:-1], ended])


def _attempt_ended(view: TaskView, recorded: Recorded, event: events.AttemptEnded) -> TaskView:
    logs = _logs(view)
    outputs = [output_log(file.path, file.url, file.size_bytes) for file in event.outputs]
    log = {**logs[-1], "outputs": outputs, "end_time": moment.text(recorded.at)}
    place = f"logs.{len(logs) - 1}."
    view["kept"] = [*view["kept"], *(_kept(kept, place) for kept in event.kept if kept.place == "outputs")]
    notes = list(event.notes)
    if event.reason and event.outcome is not Outcome.EXECUTOR_FAILED:
        notes.append(f"attempt {event.attempt}: {event.reason}")
    view = _noted(_with_logs(view, [*logs[:-1], log]), *notes)
    return view if view["state"] == tes.State.CANCELING else _in_state(view, tes.State.QUEUED)


def output_log(path: str, url: str | None, size_bytes: int) -> dict[str, str]:
    """A stored output as the standard shows it (tesOutputFileLog): its size is a text."""
    return {"url": url or "", "path": path, "size_bytes": str(size_bytes)}


def _over(view: TaskView, recorded: Recorded, state: tes.State, reason: str | None = None) -> TaskView:
    logs = _logs(view)
    if logs and "end_time" not in logs[-1]:
        view = _with_logs(view, [*logs[:-1], {**logs[-1], "end_time": moment.text(recorded.at)}])
    if reason and not any(note.endswith(reason) for log in logs for note in log.get("system_logs", [])):
        view = _noted(view, reason)
    return _in_state(view, state)


def _in_state(view: TaskView, state: tes.State) -> TaskView:
    """The state at the top and, as the standard has it, in the task."""
    return {**view, "state": state.value, "task": {**view["task"], "state": state.value}}


def _logs(view: TaskView) -> list[dict[str, Any]]:
    return list(view["task"].get("logs", []))


def _with_logs(view: TaskView, logs: list[dict[str, Any]]) -> TaskView:
    """The last of the logs is what changed. Fields stay in the standard's order: `creation_time` comes last."""
    task = {name: value for name, value in view["task"].items() if name not in {"logs", "creation_time"}}
    last = {name: logs[-1][name] for name in _LOG_FIELDS if name in logs[-1]}
    return {**view, "task": {**task, "logs": [*logs[:-1], last], "creation_time": view["task"]["creation_time"]}}


def _noted(view: TaskView, *notes: str) -> TaskView:
    """Lines in the system_logs of the last attempt, or of a log of its own before the first."""
    if not notes:
        return view
    logs = _logs(view) or [{"logs": [], "outputs": []}]
    last = {**logs[-1], "system_logs": [*logs[-1].get("system_logs", []), *notes]}
    return _with_logs(view, [*logs[:-1], last])


def _kept(kept: events.Kept, place: str) -> KeptText:
    return {"place": place + kept.place, "sha256": kept.sha256, "size_bytes": kept.size_bytes}
