"""Orders about a task: what clients, dispatch, Pulsar and runners want done. Times and ids come in with them."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from tespes import events, tes


class PulsarStatus(StrEnum):
    """The ends that a Pulsar tells of (Pulsar reference: states that are final). Any other status is a sign of life."""

    COMPLETE = "complete"
    FAILED = "failed"
    CANCELLED = "cancelled"
    LOST = "lost"


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateTask:
    """A client submits a task; `notes` says what of it is not heeded. `request_sha256`: see `events.TaskCreated`."""

    task: tes.Task
    kept: tuple[events.Kept, ...] = ()
    notes: tuple[str, ...] = ()
    request_sha256: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelTask:
    """A client wants the task stopped."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeferTask:
    """Dispatch found no place, for this reason."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleAttempt:
    """Dispatch found a place on that Pulsar; `task_id` is the stem of the job's id."""

    task_id: str
    pulsar: str
    runtime: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordReceipt:
    """Pulsar has the job of that attempt."""

    attempt: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimAttempt:
    """A runner asks to begin."""

    attempt: int
    run_id: str
    host: str
    python: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportStart:
    """The runner started an executor."""

    attempt: int
    run_id: str
    executor: int
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportEnd:
    """An executor ended. `ended` has its number and its attempt."""

    run_id: str
    ended: events.ExecutorEnded


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What a runner says at its end, by HTTP or in the last line of its output.

    :param outcome: never `lost`
    :param phase: what it was doing: `claim`, `inputs`, `executor N` or `outputs`
    :param retryable: whether another attempt may fare better
    :param executors: all that ended, in order
    """

    attempt: int
    run_id: str
    outcome: events.Outcome
    reason: str | None
    phase: str
    retryable: bool
    executors: tuple[events.ExecutorEnded, ...]
    inputs: tuple[events.File, ...]
    outputs: tuple[events.File, ...]
    notes: tuple[str, ...]
    kept: tuple[events.Kept, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportResult:
    """The runner's result arrived."""

    result: Result


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordStatus:
    """Pulsar says that the job is over, and there is no readable result.

    :param reason: in words, for example the exit code that Pulsar saw
    """

    attempt: int
    status: PulsarStatus
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DelayAttempt:
    """The attempt does not go on as it should; the reason is worth a line in its log."""

    attempt: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class GiveUpAttempt:
    """Nothing was heard from Pulsar or runner for too long."""

    attempt: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpireTask:
    """The task takes longer than it may. `claimed`: whether an attempt that was claimed does; else it has not come that far."""

    reason: str
    claimed: bool


Command = (
    CreateTask
    | CancelTask
    | DeferTask
    | ScheduleAttempt
    | RecordReceipt
    | ClaimAttempt
    | ReportStart
    | ReportEnd
    | ReportResult
    | RecordStatus
    | DelayAttempt
    | GiveUpAttempt
    | ExpireTask
)
