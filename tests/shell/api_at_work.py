"""The whole HTTP interface over a real store, in this process: for what no task has to run for."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

import given
import stores
from tespes import api, tes
from tespes.flow.attend import Attendant, Results
from tespes.flow.bell import Bell
from tespes.flow.dead import DeadOffice
from tespes.flow.execute import By, Tasks
from tespes.flow.health import Health
from tespes.flow.live import Live
from tespes.flow.project import Projector
from tespes.flow.projections import Projections
from tespes.flow.pulsars import Pulsars
from tespes.flow.read import TaskReader
from tespes.flow.redact import Redactor
from tespes.flow.room import Room
from tespes.flow.signs import Signs
from tespes.flow.subscribe import Feed
from tespes.flow.transfers import Transfers
from tespes.flow.uploads import Uploads
from tespes.flow.webhooks import Webhooks
from tespes.projections import TASK_VIEW
from tespes.pulsar import Habits, Link
from tespes.storage import Options, Storage
from tespes.store import Store
from tespes.task import commands
from tespes.tes.service import Service, service_info

BY = By("test")
PREFIXES = ("/ga4gh/tes/v1", "/v1", "")
EXECUTOR = {"image": "alpine", "command": ["true"]}
KEY = b"what attempts' tokens are made from"
MOST_BODY_BYTES = 256 * 1024
SERVICE = Service("org.example.tes", "a name", "a description", "an organization", "https://example.org", "1.2.3")


@dataclass
class Api:
    """The interface, and what is behind it.

    :param tasks: gives orders as TESPES's own parts do
    """

    application: web.Application
    client: TestClient[web.Request, web.Application]
    tasks: Tasks
    _store: Store
    _projector: Projector
    _projected: int = 0

    async def task_in(self, state: tes.State) -> str:
        """A task that has come as far as RUNNING, CANCELING or PREEMPTED; lists know it."""
        resources = tes.Resources(preemptible=state is tes.State.PREEMPTED)
        submitted = tes.Task(executors=(tes.Executor.model_validate(EXECUTOR),), resources=resources)
        task_id = (await self.tasks.create(commands.CreateTask(task=submitted), "anonymous", BY)).id
        await self._run(task_id, 1)
        match state:
            case tes.State.CANCELING:
                await self.tasks.execute(task_id, given.CANCEL, BY)
            case tes.State.PREEMPTED:
                for attempt in (1, 2, 3):
                    await self.tasks.execute(task_id, given.give_up(attempt), BY)
                    await self._run(task_id, attempt + 1)
            case _:
                pass
        await self.project()
        return task_id

    async def project(self) -> None:
        """Lists know what is in the log."""
        entries = await self._store.log.read(self._projected)
        if entries:
            await self._projector.project(entries)
            self._projected = entries[-1].position

    async def _run(self, task_id: str, attempt: int) -> None:
        if attempt > 3:
            return
        place = commands.ScheduleAttempt(task_id=task_id, pulsar="site", runtime="sandbox")
        for order in (place, given.claim(attempt), given.report_start(attempt=attempt)):
            await self.tasks.execute(task_id, order, BY)


@asynccontextmanager
async def api_at_work(
    directory: Path,
    *,
    showing: tes.Showing | None = None,
    cors_origins: tuple[str, ...] = (),
    max_body_bytes: int = MOST_BODY_BYTES,
    storage: Storage | None = None,
    links: Mapping[str, Link] | None = None,
) -> AsyncIterator[Api]:
    """The interface, on an SQLite store in that directory."""
    async with stores.in_sqlite(directory).open() as store:
        tasks, bell = Tasks(store.log), Bell(store.log)
        live = Live(bell)
        reader = TaskReader(store.log, store.documents, store.blobs, showing or tes.Showing())
        storage = storage or Storage(Options())
        attendant = Attendant(
            tasks=tasks,
            results=Results(tasks, store.blobs),
            signs=Signs(store.signs),
            bell=bell,
            live=live,
            storage=storage,
            sites={},
            key=KEY,
            habits=Habits(),
        )
        info = service_info(SERVICE, ("ftp://",), ())
        routes = api.TaskRoutes(tasks, reader, store.blobs, bell, 0.0, info)
        uploads = Uploads(store.uploads, storage, tasks, store.log)
        transfers = Transfers(working=attendant.working, storage=storage, blobs=store.blobs, uploads=uploads)
        feed = Feed(store.log, "urn:tespes:test", at_most=10)
        application = api.application(
            routes,
            api.LiveRoutes(reader, live),
            api.RunnerRoutes(attendant),
            api.TransferRoutes(attendant, transfers, 5.0),
            api.HealthRoutes(Health({}), ()),
            events=api.EventRoutes(feed),
            stream=api.StreamRoutes(feed, quiet_s=5.0, silence_s=5.0),
            operator=api.OperatorRoutes(
                key=KEY,
                pulsars=Pulsars(store.log, links or {}),
                make_room=lambda: Room({name: link.site for name, link in (links or {}).items()}),
                tasks=tasks,
                documents=store.documents,
                dead=DeadOffice(link.site for link in (links or {}).values()),
                projections=Projections(store.log, store.documents, (TASK_VIEW,)),
                webhooks=Webhooks(store.log, store.checkpoints, ()),
                redactor=Redactor(store.log, store.blobs, tasks),
            ),
            max_body_bytes=max_body_bytes,
            cors_origins=cors_origins,
        )
        projector = Projector(store.log, store.documents, TASK_VIEW)
        await projector.prepare()
        server = TestServer(application)
        await server.start_server(auto_decompress=False)  # as app.py does
        async with TestClient(server) as client:
            yield Api(application, client, tasks, store, projector)
