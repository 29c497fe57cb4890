"""What a task's executors write, while they run: beside the standard, under the same prefixes."""

from dataclasses import dataclass
from typing import Annotated, Required

from aiohttp import web
from pydantic import Field
from typing_extensions import TypedDict

from tespes import tes
from tespes.api import openapi
from tespes.api.operations import TASK_ID
from tespes.api.problems import json
from tespes.flow.live import Live, logs
from tespes.flow.read import TaskReader


class ExecutorOutput(TypedDict, total=False):
    """What an executor wrote last. One that has ended has its exit code and times, the running one when it was read."""

    executor: Required[Annotated[int, Field(ge=0, description="Counted from 0.")]]
    running: Required[bool]
    stdout: str
    stderr: str
    read_at: str
    start_time: str
    end_time: str
    exit_code: int


class TaskOutput(TypedDict, total=False):
    """What the executors of a task's last attempt wrote."""

    id: Required[str]
    state: Required[tes.State]
    attempt: Annotated[int, Field(ge=1, description="Absent as long as there is none.")]
    executors: Required[list[ExecutorOutput]]


GET_TASK_LOGS = openapi.Operation(
    method="GET",
    path="/tasks/{id}/logs",
    operation_id="GetTaskLogs",
    description="What the executors of the last attempt wrote, of the running one as far as it has come. TESPES's own.",
    parameters=(TASK_ID,),
    answer=TaskOutput,
    problems=(404, 503),
)


@dataclass(frozen=True, slots=True)
class LiveRoutes:
    """The handler, with what it needs."""

    reader: TaskReader
    live: Live

    def add_to(self, app: web.Application) -> None:
        """Add the route under every prefix."""
        openapi.add(app, GET_TASK_LOGS, self.get_logs)

    async def get_logs(self, request: web.Request) -> web.Response:
        """The ends of what the executors of the last attempt wrote, of the running one as far as it has come."""
        return json(await logs(self.reader, self.live, request.match_info["id"]))
