"""What a TES server answers, as types: the API's description is made of them, and the tests hold the answers to them.

Nothing is validated against them when an answer is sent. A name with `tes` before it is the standard's schema; what the
client sent comes back as it was read (`tespes.tes.task`), without the fields that were absent.
"""

from typing import Annotated, Any, Literal, Required

from pydantic import Field
from typing_extensions import TypedDict

from tespes.tes.task import INT32_MAX, Executor, Input, Output, Resources, State

_INT32 = {"format": "int32"}
_INT64 = {"format": "int64"}
_DATE_TIME = {"format": "date-time"}
_URI = {"format": "uri"}
_READ_ONLY = {"readOnly": True}


def _time(description: str, **more: Any) -> Any:
    return Field(description=f"{description} (RFC 3339, UTC).", json_schema_extra={**_DATE_TIME, **more})


class ExecutorLog(TypedDict, total=False):
    """How one executor went; it comes into the log when the executor has ended."""

    start_time: Annotated[str, _time("When it started")]
    end_time: Annotated[str, _time("When it ended")]
    stdout: Annotated[str, Field(description="The end of its standard output. FULL view only.")]
    stderr: Annotated[str, Field(description="The end of its standard error. FULL view only.")]
    exit_code: Required[
        Annotated[int, Field(ge=-INT32_MAX - 1, le=INT32_MAX, description="Its exit status.", json_schema_extra=_INT32)]
    ]


class OutputFileLog(TypedDict):
    """A file that was stored."""

    url: Annotated[str, Field(description="Where it is.")]
    path: Annotated[str, Field(description="Where it was in the container.")]
    size_bytes: Annotated[str, Field(pattern="^[0-9]+$", description="Its size, as a text.", json_schema_extra=_INT64)]


class TaskLog(TypedDict, total=False):
    """One attempt to run the task."""

    logs: Required[Annotated[list[ExecutorLog], Field(description="An entry for each executor that has ended.")]]
    metadata: Annotated[dict[str, str], Field(description="Which attempt, at which Pulsar, as which job, on which host.")]
    start_time: Annotated[str, _time("When the attempt was handed to a Pulsar")]
    end_time: Annotated[str, _time("When the attempt ended")]
    outputs: Required[Annotated[list[OutputFileLog], Field(description="The files stored; of a directory, each of its files.")]]
    system_logs: Annotated[list[str], Field(description="What TESPES has to say of the attempt. FULL view only.")]


class Task(TypedDict, total=False):
    """A task. Which fields there are depends on the view; `id` and `state` are always there."""

    id: Required[Annotated[str, Field(description="The task's id, given by TESPES.", json_schema_extra=_READ_ONLY)]]
    state: Required[Annotated[State, Field(json_schema_extra=_READ_ONLY)]]
    name: Annotated[str, Field(description="As the client sent it.")]
    description: Annotated[str, Field(description="As the client sent it.")]
    inputs: Annotated[list[Input], Field(description="Files that are there before the first executor starts.")]
    outputs: Annotated[list[Output], Field(description="Files that are stored after the last executor has ended.")]
    resources: Resources
    executors: Annotated[list[Executor], Field(description="Commands, run one after another.")]
    volumes: Annotated[list[str], Field(description="Directories that all executors share, empty at first.")]
    tags: Annotated[dict[str, str], Field(description="As the client sent them.")]
    logs: Annotated[list[TaskLog], Field(description="An entry for each attempt.", json_schema_extra=_READ_ONLY)]
    creation_time: Annotated[str, _time("When TESPES took the task", **_READ_ONLY)]


class ListTasksResponse(TypedDict, total=False):
    """A page of tasks, newest first."""

    tasks: Required[list[Task]]
    next_page_token: Annotated[str, Field(description="Asks for the next page; absent on the last one.")]


class CreateTaskResponse(TypedDict):
    """The task was taken, and is on disk."""

    id: Annotated[str, Field(description="The new task's id.")]


class CancelTaskResponse(TypedDict):
    """An empty object."""


class Organization(TypedDict):
    """Who runs this service."""

    name: str
    url: Annotated[str, Field(json_schema_extra=_URI)]


class ServiceType(TypedDict):
    """Which interface, in which version."""

    group: Annotated[str, Field(description="`org.ga4gh`: the standard is GA4GH's.")]
    artifact: Literal["tes"]
    version: Annotated[str, Field(description="Of the standard.")]


class ServiceInfo(TypedDict, total=False):
    """What is answering here (GA4GH service info 1.0.0, with what TES adds)."""

    id: Required[Annotated[str, Field(description="This installation, as a reversed domain name.")]]
    name: Required[str]
    type: Required[ServiceType]
    description: str
    organization: Required[Organization]
    contactUrl: Annotated[str, Field(description="A page, or a mailto: address.", json_schema_extra=_URI)]
    documentationUrl: Annotated[str, Field(json_schema_extra=_URI)]
    createdAt: Annotated[str, _time("When the service was first there")]
    updatedAt: Annotated[str, _time("When the service was last changed")]
    environment: Annotated[str, Field(description="For example `production` or `test`.")]
    version: Required[Annotated[str, Field(description="Of TESPES.")]]
    storage: Annotated[list[str], Field(description="Where files come from and go to: beginnings of URLs.")]
    tesResources_backend_parameters: Annotated[
        list[str], Field(description="Keys of `backend_parameters` that are understood.")
    ]
