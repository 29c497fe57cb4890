"""The five endpoints of TES 1.1, under /ga4gh/tes/v1, /v1 and / (clients disagree about the prefix)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from tespes import tes
from tespes.api import query, submission
from tespes.api.problems import json
from tespes.flow import texts
from tespes.flow.execute import By, Tasks
from tespes.flow.read import TaskReader
from tespes.store import Blobs
from tespes.task import commands
from tespes.tes import pages

PREFIXES = ("/ga4gh/tes/v1", "/v1", "")
ANONYMOUS = "anonymous"


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
        submitted = submission.read_task(body)
        task, kept = await texts.keep_contents(self.blobs, submitted)
        created = await self.tasks.create(commands.CreateTask(task=task, kept=kept), ANONYMOUS, By(ANONYMOUS))
        return json({"id": created.id})

    async def get_task(self, request: web.Request) -> web.Response:
        """GetTask."""
        view = query.choice(tes.View, "view", request.query, tes.View.MINIMAL)
        return json(await self.reader.get(request.match_info["id"], view))

    async def list_tasks(self, request: web.Request) -> web.Response:
        """ListTasks, newest first."""
        asked = request.query
        view = query.choice(tes.View, "view", asked, tes.View.MINIMAL)
        state = query.choice(tes.State, "state", asked, None)
        query.refuse_later_filters(asked)
        where = {} if state is None else {"state": state.value}
        found, before = await self.reader.page(view, where, before=query.before(asked), limit=query.page_size(asked))
        answer: dict[str, Any] = {"tasks": found}
        if before is not None:
            answer["next_page_token"] = pages.token(before)
        return json(answer)

    async def cancel_task(self, request: web.Request) -> web.Response:
        """CancelTask; of a task that is over: nothing, and 200."""
        await self.tasks.execute(request.match_info["id"], commands.CancelTask(), By(ANONYMOUS))
        return json({})
