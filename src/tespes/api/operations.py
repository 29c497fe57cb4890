"""What the five endpoints of TES 1.1 promise (operations of the standard, in its own names), and one from before it."""

from typing import Annotated

from pydantic import Field
from typing_extensions import TypedDict

from tespes import tes
from tespes.api import idempotency, origin
from tespes.api.openapi import Operation, Parameter
from tespes.tes import answers, pages

EXAMPLE = {
    "inputs": [{"url": "ftp://127.0.0.1:25127/holy_file", "path": "/data/file1", "type": "FILE"}],
    "outputs": [{"path": "/data/outfile", "url": "ftp://127.0.0.1:25127/outfile-1", "type": "FILE"}],
    "executors": [{"image": "alpine", "command": ["md5sum"], "stdin": "/data/file1", "stdout": "/data/outfile"}],
}

_PAGE_SIZE = Annotated[int, Field(ge=1, le=pages.PAGE_SIZE_MAX, json_schema_extra={"format": "int32"})]
TASK_ID = Parameter("id", str, "The task's id.", place="path")
VIEW = Parameter(
    "view",
    tes.View,
    "How much of a task is shown. `MINIMAL`: id and state. `BASIC`: all but the executors' output, the inputs' `content`"
    " and the system logs. `FULL`: all.",
    default=tes.View.MINIMAL.value,
)
AS_OF = Parameter(
    "as_of",
    str,
    "A position of the log, or a moment (RFC 3339): the task as it was known then. No part of TES 1.1.",
)
_FILTERS = (
    Parameter("name_prefix", str, "Tasks whose name begins with this."),
    Parameter("state", tes.State, "Tasks in this state."),
    Parameter("tag_key", list[str], "Tasks that have this tag. Given several times: all of these tags."),
    Parameter("tag_value", list[str], "The values of these tags, in the same order; an empty one, or none, means any value."),
)
IDEMPOTENCY_KEY = Parameter(
    idempotency.HEADER,
    Annotated[str, Field(pattern=idempotency.PATTERN)],
    "Of the client's choice: a task that is submitted again with the same key is the same task. No part of TES 1.1.",
    place="header",
)
_ORIGIN = (
    Parameter(
        origin.REQUEST_ID,
        str,
        "Of the client's choice: the `correlationid` of every event that this leads to; at most 128 visible ASCII characters,"
        " else it is ignored. No part of TES 1.1.",
        place="header",
    ),
    Parameter(
        origin.TRACEPARENT,
        str,
        "W3C trace context: the `traceparent` of every event that this leads to; ignored if it is none. No part of TES 1.1.",
        place="header",
    ),
)
_PAGING = (
    Parameter("page_size", _PAGE_SIZE, "How many tasks at most are in a page.", default=pages.PAGE_SIZE_DEFAULT),
    Parameter("page_token", str, "The `next_page_token` of the page before; without it, the first page."),
)


class OldServiceInfo(TypedDict):
    """What is answering here, in the words of TES 0.4."""

    name: str
    doc: str
    storage: list[str]


GET_SERVICE_INFO = Operation(
    method="GET",
    path="/service-info",
    operation_id="GetServiceInfo",
    description="What is answering here, and which storages and backend parameters it knows.",
    answer=answers.ServiceInfo,
)
GET_OLD_SERVICE_INFO = Operation(
    method="GET",
    path="/tasks/service-info",
    operation_id="GetOldServiceInfo",
    description="What clients that know only the first versions of TES ask for, such as Toil's. No part of TES 1.1.",
    answer=OldServiceInfo,
    is_deprecated=True,
)
LIST_TASKS = Operation(
    method="GET",
    path="/tasks",
    operation_id="ListTasks",
    description="A page of tasks, newest first. It may be moments behind.",
    parameters=(*_FILTERS, *_PAGING, VIEW),
    answer=answers.ListTasksResponse,
    problems=(400, 503),
)
CREATE_TASK = Operation(
    method="POST",
    path="/tasks",
    operation_id="CreateTask",
    description="Submit a task. It is on disk before this is answered. Null counts as absent, unknown fields are ignored.",
    parameters=(IDEMPOTENCY_KEY, *_ORIGIN),
    body=tes.Task,
    example=EXAMPLE,
    answer=answers.CreateTaskResponse,
    problems=(400, 409, 413, 415, 503),
)
GET_TASK = Operation(
    method="GET",
    path="/tasks/{id}",
    operation_id="GetTask",
    description="A task as it is at this moment, or as it was known then.",
    parameters=(TASK_ID, VIEW, AS_OF),
    answer=answers.Task,
    problems=(400, 404, 503),
)
CANCEL_TASK = Operation(
    method="POST",
    path="/tasks/{id}:cancel",
    operation_id="CancelTask",
    description="Cancel a task. A task that is over stays as it is.",
    parameters=(TASK_ID, *_ORIGIN),
    answer=answers.CancelTaskResponse,
    problems=(404, 503),
)
