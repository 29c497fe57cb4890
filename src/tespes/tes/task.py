"""The task and its parts as TES 1.1 names them (schemas tesTask, tesInput, tesOutput, tesExecutor, tesResources).

The models read what clients really send (explicit nulls count as absent, unknown fields are ignored) and write only what
was sent, with `type` filled in. Fields that the server owns (id, state, logs, creation_time) are not read.
"""

import enum
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

INT32_MAX = 2**31 - 1


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


def _absolute(path: str) -> str:
    if path[:1] != "/" or "/../" in f"{path}/" or not path.strip("/"):
        raise ValueError("an absolute path below / without '..' is expected")
    return path


def _without_nulls(mapping: Any) -> Any:
    """Drop null values: clients such as Cromwell send them in tags."""
    if isinstance(mapping, dict) and None in mapping.values():
        return {key: value for key, value in mapping.items() if value is not None}
    return mapping


def _or_file(value: Any) -> Any:
    return FileType.FILE if value is None else value


ContainerPath = Annotated[str, AfterValidator(_absolute)]
Type = Annotated[FileType, BeforeValidator(_or_file)]
Texts = Annotated[dict[str, str], BeforeValidator(_without_nulls)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class Input(_Part):
    """A file or directory to be there before the first executor starts (tesInput)."""

    name: str | None = None
    description: str | None = None
    url: str | None = None
    path: ContainerPath
    type: Type = FileType.FILE
    content: str | None = None
    streamable: bool | None = None

    @model_validator(mode="after")
    def _has_a_source(self) -> Self:
        if not self.url and self.content is None:
            raise ValueError("either url or content is required")
        return self


class Output(_Part):
    """A file or directory to be stored after the last executor ended (tesOutput)."""

    name: str | None = None
    description: str | None = None
    url: Annotated[str, Field(min_length=1)]
    path: ContainerPath
    path_prefix: str | None = None
    type: Type = FileType.FILE


class Executor(_Part):
    """One command in one container (tesExecutor)."""

    image: Annotated[str, Field(min_length=1)]
    command: tuple[str, ...]
    workdir: ContainerPath | None = None
    stdin: ContainerPath | None = None
    stdout: ContainerPath | None = None
    stderr: ContainerPath | None = None
    env: Texts | None = None
    ignore_error: bool | None = None


class Resources(_Part):
    """What the task asks for (tesResources): cpu_cores in cores, ram_gb and disk_gb in gigabytes of 10^9 bytes."""

    cpu_cores: Annotated[int, Field(ge=0, le=INT32_MAX)] | None = None
    preemptible: bool | None = None
    ram_gb: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    disk_gb: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    zones: tuple[str, ...] | None = None
    backend_parameters: Texts | None = None
    backend_parameters_strict: bool | None = None


class Task(_Part):
    """A task as a client submits it (tesTask without the fields that the server owns)."""

    name: str | None = None
    description: str | None = None
    inputs: tuple[Input, ...] | None = None
    outputs: tuple[Output, ...] | None = None
    resources: Resources | None = None
    executors: Annotated[tuple[Executor, ...], Field(min_length=1)]
    volumes: tuple[ContainerPath, ...] | None = None
    tags: Texts | None = None

    def document(self) -> dict[str, Any]:
        """The task as JSON-ready values: what was sent, nothing that was absent."""
        return self.model_dump(mode="json", exclude_none=True)
