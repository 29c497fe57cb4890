"""The task and its parts as TES 1.1 names them (schemas tesTask, tesInput, tesOutput, tesExecutor, tesResources).

The models are the shape of a task: unknown fields are ignored, and only what was sent is written, with `type` filled in.
Fields that the server owns (id, state, logs, creation_time) are not read. What a task must be like to be taken stands in
`rules`: the log is read with these models too, and what was taken once must be readable for ever.
"""

import enum
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

INT32_MAX = 2**31 - 1
ENTRIES_MAX = 10_000


class State(enum.StrEnum):
    """tesState. UNKNOWN and PAUSED are never shown by TESPES."""

    UNKNOWN = "UNKNOWN"
    QUEUED = "QUEUED"
    INITIALIZING = "INITIALIZING"
    RUNNING = "RUNNING"
    PAUSED = "PAUSED"
    COMPLETE = "COMPLETE"
    EXECUTOR_ERROR = "EXECUTOR_ERROR"
    SYSTEM_ERROR = "SYSTEM_ERROR"
    CANCELED = "CANCELED"
    CANCELING = "CANCELING"
    PREEMPTED = "PREEMPTED"


TERMINAL = frozenset({State.COMPLETE, State.EXECUTOR_ERROR, State.SYSTEM_ERROR, State.CANCELED, State.PREEMPTED})


class FileType(enum.StrEnum):
    """tesFileType: FILE unless the client says DIRECTORY."""

    FILE = "FILE"
    DIRECTORY = "DIRECTORY"


def _few(mapping: Any) -> Any:
    """Nobody shall have to read a million complaints about one object."""
    if isinstance(mapping, dict) and len(mapping) > ENTRIES_MAX:
        raise ValueError(f"at most {ENTRIES_MAX:,} entries are expected")
    return mapping


def _number(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError("a number is expected")  # noqa: TRY004 - pydantic's way to refuse
    return value


def _whole(value: Any) -> Any:
    if isinstance(value, bool) or (isinstance(value, float) and not value.is_integer()):
        raise ValueError("a whole number is expected: TES 1.1 takes whole cores")
    return value


Texts = Annotated[dict[str, str], BeforeValidator(_few)]
Cores = Annotated[int, BeforeValidator(_whole), Field(json_schema_extra={"minimum": 0, "maximum": INT32_MAX})]
Gigabytes = Annotated[float, BeforeValidator(_number), Field(allow_inf_nan=False, json_schema_extra={"minimum": 0})]
NotEmpty = Annotated[str, Field(json_schema_extra={"minLength": 1})]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class Input(_Part):
    """A file or directory to be there before the first executor starts (tesInput)."""

    name: str | None = None
    description: str | None = None
    url: str | None = None
    path: str
    type: FileType = FileType.FILE
    content: str | None = None
    streamable: bool | None = None

    @property
    def literal(self) -> str | None:
        """The content, if the file is made of it: one that is not empty comes before the URL, an empty one after it."""
        return self.content if self.content or not self.url else None


class Output(_Part):
    """A file or directory to be stored after the last executor ended (tesOutput)."""

    name: str | None = None
    description: str | None = None
    url: NotEmpty
    path: str
    path_prefix: str | None = None
    type: FileType = FileType.FILE

    @property
    def is_pattern(self) -> bool:
        """Whether the path has wildcards; with `[` alone and no prefix it is a name: Nextflow sends such (`sample[12].txt`)."""
        return "*" in self.path or "?" in self.path or ("[" in self.path and bool(self.path_prefix))


class Executor(_Part):
    """One command in one container (tesExecutor)."""

    image: NotEmpty
    command: Annotated[tuple[str, ...], Field(fail_fast=True)]
    workdir: str | None = None
    stdin: str | None = None
    stdout: str | None = None
    stderr: str | None = None
    env: Texts | None = None
    ignore_error: bool | None = None


class Resources(_Part):
    """What the task asks for (tesResources): cpu_cores in cores, ram_gb and disk_gb in gigabytes of 10^9 bytes."""

    cpu_cores: Cores | None = None
    preemptible: bool | None = None
    ram_gb: Gigabytes | None = None
    disk_gb: Gigabytes | None = None
    zones: Annotated[tuple[str, ...], Field(fail_fast=True)] | None = None
    backend_parameters: Texts | None = None
    backend_parameters_strict: bool | None = None


class Task(_Part):
    """A task as a client submits it (tesTask without the fields that the server owns)."""

    name: str | None = None
    description: str | None = None
    inputs: Annotated[tuple[Input, ...], Field(fail_fast=True)] | None = None
    outputs: Annotated[tuple[Output, ...], Field(fail_fast=True)] | None = None
    resources: Resources | None = None
    executors: Annotated[tuple[Executor, ...], Field(fail_fast=True, json_schema_extra={"minItems": 1})]
    volumes: Annotated[tuple[str, ...], Field(fail_fast=True)] | None = None
    tags: Texts | None = None

    def document(self) -> dict[str, Any]:
        """The task as JSON-ready values: what was sent, nothing that was absent."""
        return self.model_dump(mode="json", exclude_none=True)
