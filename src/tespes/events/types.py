"""What can happen to a task: one type for each event. (What can happen to the service is in `service`.)

Names of events and of their fields are the storage format: they never change. A new meaning is a new version, with an
upcaster in `upcast.py` and an example in `events/`. When something happened, who did it and for whom stand beside the
event, in the commit that holds it (`record.Meta`).

Each docstring says what caused the event and what always follows.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Annotated

from pydantic import PlainSerializer

from tespes import tes
from tespes.events import moment
from tespes.events.service import ServiceEvent

Moment = Annotated[datetime, PlainSerializer(moment.text, return_type=str, when_used="json")]


class Outcome(StrEnum):
    """How an attempt ended."""

    SUCCEEDED = "succeeded"  # every executor did its work and the outputs are stored
    EXECUTOR_FAILED = "executor_failed"  # an executor's exit code was not 0
    SYSTEM_FAILED = "system_failed"  # anything else went wrong, and somebody could say what
    LOST = "lost"  # nobody can say what became of it
    KILLED = "killed"  # it was stopped because the task was canceled


class Source(StrEnum):
    """Who said something about an attempt."""

    PULSAR = "pulsar"
    RUNNER = "runner"


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """A text too long for an event, kept as a blob.

    :param place: where the text belongs, for example `inputs.0.content` or `stdout`
    :param sha256: of its UTF-8 bytes, in hexadecimal; the blob's name
    :param size_bytes: of its UTF-8 bytes
    """

    place: str
    sha256: str
    size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """A file that was moved: its path in the container, its size and its SHA-256 in hexadecimal, measured on the node."""

    path: str
    url: str | None = None
    size_bytes: int
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskCreated:
    """A client submitted a task. The first event of every task; an AttemptScheduled, a TaskDeferred or a cancel follows.

    :param kept: the inputs' contents that were too long to stand in `task`
    :param notes: what of the client's wishes is not heeded, in words; it does not stand in `task` any more
    :param request_sha256: of the request's canonical form, if the client gave an idempotency key with it
    """

    task: tes.Task
    kept: tuple[Kept, ...] = ()
    notes: tuple[str, ...] = ()
    request_sha256: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskDeferred:
    """No Pulsar can take the task now. Repeated only when the reason changes."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptScheduled:
    """A place was found: the job will be sent to that Pulsar under that id. The sending follows, again after a crash.

    :param attempt: its number, from 1
    :param job_id: `<task>-<attempt>`, what Pulsar knows the job by
    :param pulsar: the name of the Pulsar in the settings
    :param runtime: what runs the executors there, for example `sandbox` or `docker`
    """

    attempt: int
    job_id: str
    pulsar: str
    runtime: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptReceived:
    """Pulsar said that it has the job (a receipt or the status `running`). A claim, the attempt's end or a cancel follows."""

    attempt: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptClaimed:
    """The runner on the node asked to begin and got the plan. From now on the attempt may have effects.

    :param run_id: the runner's own random number: a second runner of the same job is turned away
    :param host: the node's name; :param python: the version of the Python that runs the runner
    """

    attempt: int
    run_id: str
    host: str
    python: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutorStarted:
    """The runner started executor number `executor` (from 0); inputs are there. Its end or the attempt's end follows.

    :param at: the node's clock
    """

    attempt: int
    executor: int
    at: Moment


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutorEnded:
    """An executor ended by itself. The next executor or the attempt's end follows.

    :param exit_code: 128 + N if signal N ended it
    :param started_at: and `ended_at`: the node's clock
    :param stdout: and `stderr`: the tails of both streams, unless they stand in `kept`
    """

    attempt: int
    executor: int
    exit_code: int
    started_at: Moment
    ended_at: Moment
    stdout: str = ""
    stderr: str = ""
    kept: tuple[Kept, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptOrphaned:
    """Pulsar lost the job while its runner is alive: the attempt goes on and the runner's own result will count."""

    attempt: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptDelayed:
    """The attempt does not go on as it should, for this reason. Once for each reason; whatever else follows may follow."""

    attempt: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptExpired:
    """The attempt, which may have effects, took longer than it may and is being stopped. Its end follows."""

    attempt: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptEnded:
    """The attempt is over. Another attempt, or the task's end in the same commit, follows.

    :param reason: in words; None only for `succeeded`
    :param inputs: and `outputs`: what was fetched and what was stored
    :param notes: what the runner had to say beside that
    :param kept: `inputs` or `outputs`, if there were too many: a JSON array of what would stand there
    """

    attempt: int
    outcome: Outcome
    reason: str | None = None
    inputs: tuple[File, ...] = ()
    outputs: tuple[File, ...] = ()
    notes: tuple[str, ...] = ()
    kept: tuple[Kept, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskCancelRequested:
    """A client asked to cancel. A TaskCanceled follows: at once, or as soon as the attempt is confirmed dead."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskCanceled:
    """Nothing of the task runs any more, because a client wanted that. Nothing but late messages follows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskCompleted:
    """The executors succeeded and the outputs are stored. Nothing but late messages follows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskExecutorFailed:
    """An executor's exit code was not 0 and its errors are not ignored. Nothing but late messages follows."""

    executor: int
    exit_code: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskSystemFailed:
    """Something other than an executor failed for good. Nothing but late messages follows."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskPreempted:
    """A preemptible task was lost and its attempts are used up. Nothing but late messages follows."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LateMessageRecorded:
    """A message contradicts the task's end: it is on record, once for each attempt and status, and changes nothing.

    Version 1 did not say who sent it.
    """

    attempt: int
    status: str
    source: Source


@dataclass(frozen=True, slots=True, kw_only=True)
class DataRedacted:
    """An operator had something taken out of an earlier event of this task; what it was hashed as stays on record.

    Whoever may be told who and why reads it in `meta.actor` and here. The replacement itself follows.

    :param position: and `index`: the event, as its commit's place in the log and its place in the commit, from 0
    :param fields: what was taken out, for example `task.executors.0.env`
    :param sha256: of the event's canonical data as they are now
    """

    position: int
    index: int
    reason: str
    fields: tuple[str, ...]
    sha256: str


Event = (
    TaskCreated
    | TaskDeferred
    | AttemptScheduled
    | AttemptReceived
    | AttemptClaimed
    | ExecutorStarted
    | ExecutorEnded
    | AttemptOrphaned
    | AttemptDelayed
    | AttemptExpired
    | AttemptEnded
    | TaskCancelRequested
    | TaskCanceled
    | TaskCompleted
    | TaskExecutorFailed
    | TaskSystemFailed
    | TaskPreempted
    | LateMessageRecorded
    | DataRedacted
    | ServiceEvent
)
