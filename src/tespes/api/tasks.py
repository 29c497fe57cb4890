"""The five endpoints of TES 1.1, under /ga4gh/tes/v1, /v1 and / (clients disagree about the prefix)."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, TypeVar

from aiohttp import web
from pydantic import ValidationError

from tespes import errors, tes
from tespes.api.problems import bad_request, json
from tespes.flow import texts
from tespes.flow.execute import By, Tasks
from tespes.flow.read import TaskReader
from tespes.store import Blobs
from tespes.task import commands
from tespes.tes import pages

PREFIXES = ("/ga4gh/tes/v1", "/v1", "")
ANONYMOUS = "anonymous"
_NUL = b"\\u0000"
_DIGITS_MAX = 9

Choice = TypeVar("Choice", bound=StrEnum)


@dataclass(frozen=True, slots=True)
class TaskRoutes:
    """The handlers, with what they need."""

    tasks: Tasks
    reader: TaskReader
    blobs: Blobs
    service_info: Mapping[str, Any]

    def add_to(self, app: web.Application) -> None:
        """Add the routes under every prefix."""
        for prefix in PREFIXES:
            app.router.add_get(f"{prefix}/service-info", self.get_service_info)
            app.router.add_post(f"{prefix}/tasks", self.create_task)
            app.router.add_get(f"{prefix}/tasks", self.list_tasks)
            app.router.add_get(f"{prefix}/tasks/{{id:[^/:]+}}", self.get_task)
            app.router.add_post(f"{prefix}/tasks/{{id:[^/:]+}}:cancel", self.cancel_task)

    async def get_service_info(self, _: web.Request) -> web.Response:
        """GetServiceInfo."""
        return json(self.service_info)

    async def create_task(self, request: web.Request) -> web.Response:
        """CreateTask: answered when the task is durable."""
        body = await request.read()
        submitted = read_task(body)
        task, kept = await texts.keep_contents(self.blobs, submitted)
        created = await self.tasks.create(commands.CreateTask(task=task, kept=kept), ANONYMOUS, By(ANONYMOUS))
        return json({"id": created.id})

    async def get_task(self, request: web.Request) -> web.Response:
        """GetTask."""
        view = _choice(tes.View, "view", request.query, tes.View.MINIMAL)
        return json(await self.reader.get(request.match_info["id"], view))

    async def list_tasks(self, request: web.Request) -> web.Response:
        """ListTasks, newest first."""
        query = request.query
        view = _choice(tes.View, "view", query, tes.View.MINIMAL)
        state = _choice(tes.State, "state", query, None)
        _refuse_later_filters(query)
        where = {} if state is None else {"state": state.value}
        found, before = await self.reader.page(view, where, before=_before(query), limit=_page_size(query))
        answer: dict[str, Any] = {"tasks": found}
        if before is not None:
            answer["next_page_token"] = pages.token(before)
        return json(answer)

    async def cancel_task(self, request: web.Request) -> web.Response:
        """CancelTask; of a task that is over: nothing, and 200."""
        await self.tasks.execute(request.match_info["id"], commands.CancelTask(), By(ANONYMOUS))
        return json({})


def read_task(body: bytes) -> tes.Task:
    """The task in a request's body.

    :raises errors.BadRequest: it is none, and where
    """
    try:
        task = tes.Task.model_validate_json(body)
    except ValidationError as error:
        raise bad_request(error) from error
    if _NUL in body:
        _refuse_nul(task.document(), "")
    resources = task.resources
    if resources and resources.backend_parameters_strict and resources.backend_parameters:
        found = ", ".join(resources.backend_parameters)
        raise errors.BadRequest("resources.backend_parameters", found, "this release supports none, and they are strict")
    return task


def _refuse_nul(value: Any, field: str) -> None:
    """NUL can be in no path, argument or variable. (The body may also spell a backslash before `u0000`: that is fine.)"""
    if isinstance(value, str) and "\0" in value:
        raise errors.BadRequest(field, "a NUL character", "text without NUL is expected")
    if isinstance(value, dict):
        for name, entry in value.items():
            _refuse_nul(name, field)
            _refuse_nul(entry, f"{field}.{name}".lstrip("."))
    if isinstance(value, list):
        for index, entry in enumerate(value):
            _refuse_nul(entry, f"{field}.{index}".lstrip("."))


def _choice(kind: type[Choice], name: str, query: Mapping[str, str], default: Choice | None) -> Any:
    found = query.get(name)
    if not found:
        return default
    try:
        return kind(found)
    except ValueError as error:
        raise errors.BadRequest(name, found, f"one of {', '.join(kind)} is expected") from error


def _page_size(query: Mapping[str, str]) -> int:
    found = query.get("page_size")
    if not found:
        return pages.PAGE_SIZE_DEFAULT
    if not found.isascii() or not found.isdecimal() or len(found) > _DIGITS_MAX or not 1 <= int(found) <= pages.PAGE_SIZE_MAX:
        raise errors.BadRequest("page_size", found, f"a whole number from 1 to {pages.PAGE_SIZE_MAX} is expected")
    return int(found)


def _before(query: Mapping[str, str]) -> int | None:
    found = query.get("page_token")
    if not found:
        return None
    try:
        return pages.position_of(found)
    except ValueError as error:
        raise errors.BadRequest("page_token", found, "a next_page_token of this server is expected") from error


def _refuse_later_filters(query: Mapping[str, str]) -> None:
    """A filter that is accepted and not applied would be worse than none."""
    for name in ("name_prefix", "tag_key", "tag_value"):
        if query.get(name):
            raise errors.BadRequest(name, query[name], "this release filters by state only")
