"""The five endpoints of TES 1.1, under /ga4gh/tes/v1, /v1 and / (clients disagree about the prefix)."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from aiohttp import web

from tespes import tes
from tespes.api import idempotency, openapi, operations, origin, query, submission
from tespes.api.problems import json
from tespes.flow import texts
from tespes.flow.bell import Bell
from tespes.flow.cancel import cancel
from tespes.flow.execute import Tasks
from tespes.flow.read import TaskReader
from tespes.store import Blobs
from tespes.task import commands
from tespes.tes import pages
from tespes.tes.service import old_service_info


@dataclass(frozen=True, slots=True)
class TaskRoutes:
    """The handlers, with what they need."""

    tasks: Tasks
    reader: TaskReader
    blobs: Blobs
    bell: Bell
    cancel_wait_s: float
    service_info: Mapping[str, Any]

    def add_to(self, app: web.Application) -> None:
        """Add the routes under every prefix."""
        openapi.add(app, operations.GET_SERVICE_INFO, self.get_service_info)
        openapi.add(app, operations.LIST_TASKS, self.list_tasks)
        openapi.add(app, operations.CREATE_TASK, self.create_task)
        openapi.add(app, operations.GET_TASK, self.get_task)
        openapi.add(app, operations.CANCEL_TASK, self.cancel_task)
        openapi.add(app, operations.GET_OLD_SERVICE_INFO, self.get_old_service_info)

    async def get_service_info(self, _: web.Request) -> web.Response:
        """GetServiceInfo."""
        return json(self.service_info)

    async def get_old_service_info(self, _: web.Request) -> web.Response:
        """What py-tes 0.4 takes for GetServiceInfo."""
        return json(old_service_info(self.service_info))

    async def create_task(self, request: web.Request) -> web.Response:
        """CreateTask: answered when the task is durable."""
        body = await request.read()
        submitted = submission.read_task(body)
        by = origin.by(request)
        once = idempotency.once(request, body, by.actor)
        if once is not None and (known := await self.tasks.created(once.commit_id, once.request_sha256)) is not None:
            return json({"id": known.id})  # before anything of it is kept
        task, kept = await texts.keep_contents(self.blobs, submitted.task)
        command = commands.CreateTask(task=task, kept=kept, notes=submitted.notes)
        if once is None:
            created = await self.tasks.create(command, by.actor, by)
        else:
            command = replace(command, request_sha256=once.request_sha256)
            created = await self.tasks.create_once(command, once.commit_id, by.actor, by)
        return json({"id": created.id})

    async def get_task(self, request: web.Request) -> web.Response:
        """GetTask, now or as of an earlier time."""
        view = query.choice(tes.View, "view", request.query, tes.View.MINIMAL)
        return json(await self.reader.get(request.match_info["id"], view, query.as_of(request.query)))

    async def list_tasks(self, request: web.Request) -> web.Response:
        """ListTasks, newest first."""
        asked = request.query
        view = query.choice(tes.View, "view", asked, tes.View.MINIMAL)
        filters, after = query.page(asked, legacy_states=self.reader.showing.legacy_states)
        found, before = await self.reader.page(view, filters, before=after, limit=query.page_size(asked))
        answer: dict[str, Any] = {"tasks": found}
        if before is not None:
            answer["next_page_token"] = pages.token(before, filters)
        return json(answer)

    async def cancel_task(self, request: web.Request) -> web.Response:
        """CancelTask; of a task that is over: nothing, and 200."""
        await cancel(self.tasks, self.bell, request.match_info["id"], origin.by(request), self.cancel_wait_s)
        return json({})
