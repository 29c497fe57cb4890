"""A runner's result, as it comes by HTTP and as the last line of a job's output."""

from datetime import UTC, datetime
from typing import Annotated, Literal

import pydantic
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from tespes.tes.task import INT32_MAX

MAX_BYTES = 256 * 1024
Whole = Annotated[int, Field(ge=0)]
Digest = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class _Said(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


def _sane(at: datetime) -> datetime:
    """A node's clock may be wrong, but not by centuries: those would not fit a moment in UTC."""
    if not 1970 < at.year < 9000:  # noqa: PLR2004 - see above
        raise ValueError("a moment of our time is expected")
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at


Clock = Annotated[datetime, AfterValidator(_sane)]


class Ended(_Said):
    """An executor that ended."""

    executor: Whole
    exit_code: Annotated[int, Field(ge=-INT32_MAX - 1, le=INT32_MAX)]
    started_at: Clock
    ended_at: Clock
    stdout: str = ""
    stderr: str = ""


class Moved(_Said):
    """A file that was fetched or stored; `index` is its place in the task."""

    index: Whole
    path: str
    size_bytes: Whole
    sha256: Digest


class Result(_Said):
    """What a runner has to say at its end; the last line of a job's output has only the counts of long lists of files."""

    tespes: Literal[1]
    job_id: str
    run_id: str
    outcome: Literal["succeeded", "executor_failed", "system_failed", "killed", "superseded"]
    reason: str | None = None
    phase: str = "claim"
    retryable: bool = False
    executors: tuple[Ended, ...] = ()
    inputs: tuple[Moved, ...] = ()
    outputs: tuple[Moved, ...] = ()
    notes: tuple[str, ...] = ()
    inputs_count: Whole = 0
    outputs_count: Whole = 0


def read(text: str | bytes) -> Result | None:
    """The result in a line or a body; None if there is none that can be read."""
    if len(text) > MAX_BYTES:
        return None
    try:
        return Result.model_validate_json(text)
    except pydantic.ValidationError:
        return None
