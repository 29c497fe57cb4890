"""The one composition root: builds everything once, hands it down, and takes it down in the opposite order."""

import asyncio
import contextlib
import os
import resource
import secrets
import socket
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import structlog
from aiohttp import web

from tespes import api, errors, pulsar, store
from tespes import settings as configuration
from tespes.api import query
from tespes.flow.attend import Attendant, Results
from tespes.flow.bell import Bell
from tespes.flow.dispatch import Dispatch, Means
from tespes.flow.execute import Tasks, now
from tespes.flow.listen import Listener
from tespes.flow.live import Live
from tespes.flow.project import Projector
from tespes.flow.read import TaskReader
from tespes.flow.transfers import Transfers
from tespes.flow.uploads import Uploads
from tespes.flow.watch import Watch
from tespes.local import files
from tespes.local.rabbitmq import PrivateRabbitMQ, listens
from tespes.projections import TASK_VIEW
from tespes.pulsar import amqp
from tespes.settings import Settings
from tespes.storage import Storage
from tespes.store import Store
from tespes.tes import rules
from tespes.tes.service import service_info

_USUAL = ("127.0.0.1", 5672)
_USUAL_URL = "amqp://guest:guest@127.0.0.1:5672/"
_KEY_BYTES = 32
_DRAIN_S = 5.0
_DESCRIPTORS = 65_536

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Service:
    """A TESPES that runs.

    :param url: where it listens; :param uses: what it uses, a line for each thing, for people
    :param store: its log and views
    """

    url: str
    uses: tuple[str, ...]
    store: Store


@contextlib.asynccontextmanager
async def service(settings: Settings) -> AsyncIterator[Service]:
    """A TESPES with the roles that the settings name, until the block is left.

    :raises errors.SetupError: something that a person has to mend
    """
    async with AsyncExitStack() as stack:
        opened = await store.open_store(configuration.store_options(settings), settings.state_dir, stack)
        _allow_descriptors()
        listening, url = _socket(settings)
        stack.callback(listening.close)
        configuration.sites(settings, _USUAL_URL, url)  # what is wrong there is said before anything is started
        broker_url, broker = await _broker(settings, stack)
        background = await stack.enter_async_context(_Background())
        background.start("append", opened.log.run)
        built = _Built(settings, opened, configuration.sites(settings, broker_url, url))
        stack.push_async_callback(built.storage.close)
        await built.projector.prepare()
        built.start(background)
        await stack.enter_async_context(_served(listening, built.application))
        uses = (f"log: {opened.description}", f"broker: {broker}", _described(built.sites))
        yield Service(url, uses, opened)


class _Background:
    """The owner of everything that runs in the background. The end of one of them is the end of all."""

    def __init__(self) -> None:
        self._group = asyncio.TaskGroup()
        self._tasks: list[asyncio.Task[None]] = []

    def start(self, name: str, run: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run that until the service ends."""
        self._tasks.append(self._group.create_task(run(), name=name))

    async def __aenter__(self) -> Self:
        await self._group.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """The last started ends first: nothing appends after the appender has gone."""
        for task in reversed(self._tasks):
            task.cancel()
            await asyncio.wait({task})
        await self._group.__aexit__(kind, error, trace)


class _Built:
    """The parts, put together."""

    def __init__(self, settings: Settings, opened: Store, sites: dict[str, pulsar.Site]) -> None:
        self.sites = sites
        self._roles = frozenset(settings.roles)
        log, documents, blobs = opened.log, opened.documents, opened.blobs
        key = _key(settings)
        tasks = Tasks(log)
        watch = Watch({name: site.slots for name, site in sites.items()}, now())
        results = Results(tasks, blobs)
        self._bell = Bell(log)
        live = Live(self._bell)
        reader = TaskReader(log, documents, blobs, configuration.showing(settings))
        self.projector = Projector(log, documents, TASK_VIEW)
        silence_s = settings.runner.silence_s
        self._links = {name: _link(site, Listener(name, tasks, results, watch, silence_s)) for name, site in sites.items()}
        terms = pulsar.Terms(settings.runner.claim_timeout_s, settings.runner.report_patience_s)
        means = Means(self._links, key, terms, configuration.patience(settings))
        self._dispatch = Dispatch(log, documents, tasks, watch, means)
        self.storage = Storage(configuration.storage_options(settings))
        self._uploads = Uploads(opened.uploads, self.storage, tasks, log)
        attendant = Attendant(
            tasks=tasks,
            results=results,
            watch=watch,
            bell=self._bell,
            live=live,
            storage=self.storage,
            sites=sites,
            key=key,
            habits=configuration.habits(settings),
        )
        transfers = Transfers(working=attendant.working, storage=self.storage, blobs=blobs, uploads=self._uploads)
        info = service_info(configuration.service(settings), self.storage.usable(), rules.SUPPORTED_BACKEND_PARAMETERS)
        routes = api.TaskRoutes(tasks, reader, blobs, self._bell, settings.http.cancel_wait_s, info)
        http = settings.http
        self.application = api.application(
            routes,
            api.LiveRoutes(reader, live),
            api.RunnerRoutes(attendant),
            api.TransferRoutes(attendant, transfers, settings.storage.silence_s),
            max_body_bytes=http.max_body_bytes,
            cors_origins=http.cors_origins,
            public_url=http.public_url,
        )
        self.application.on_shutdown.append(self._release)

    def start(self, background: _Background) -> None:
        """Start what the roles ask for."""
        background.start("bell", self._bell.run)
        background.start("uploads", self._uploads.run)
        if "project" in self._roles:
            background.start("project", self.projector.run)
        if "listen" in self._roles or "dispatch" in self._roles:
            for name, link in self._links.items():
                background.start(f"link {name}", link.run)
        if "dispatch" in self._roles:
            background.start("dispatch", self._dispatch.run)

    async def _release(self, _: web.Application) -> None:
        """Nobody is kept waiting by a process that is about to end."""
        self._bell.close()


def _link(site: pulsar.Site, listener: Listener) -> pulsar.Link:
    link = pulsar.Link(site, listener.handle)
    listener.link = link
    return link


async def _broker(settings: Settings, stack: AsyncExitStack) -> tuple[str, str]:
    """The RabbitMQ of this installation: its URL, and what it is, for people."""
    if settings.rabbitmq.url is not None:
        url = settings.rabbitmq.url.get_secret_value()
        try:
            await amqp.check(url)
        except errors.BrokerUnavailable as error:
            _log.warning("RabbitMQ is awaited", reason=str(error))
        return url, f"RabbitMQ at {amqp.shown(url)}"
    if await listens(*_USUAL):
        await amqp.check(_USUAL_URL)
        return _USUAL_URL, f"RabbitMQ at {amqp.shown(_USUAL_URL)}"
    _log.info("starting a private RabbitMQ", directory=str(settings.state_dir / "rabbitmq"))
    node = await stack.enter_async_context(PrivateRabbitMQ(settings.state_dir / "rabbitmq"))
    return node.url, f"a private RabbitMQ at {amqp.shown(node.url)}, log in {settings.state_dir / 'rabbitmq'}"


def _allow_descriptors() -> None:
    """Each running attempt holds a connection, and the usual 1024 open files are soon used up."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, _DESCRIPTORS)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _socket(settings: Settings) -> tuple[socket.socket, str]:
    """The listening socket and its URL. Clients that come before everything is ready wait in it.

    :raises errors.SetupError: the address is taken or not ours
    """
    host, port = settings.http.host, settings.http.port
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listening = socket.create_server((host, port), family=family, backlog=1024)
    except OSError as error:
        raise errors.SetupError(
            f"TESPES cannot listen at {host}:{port}: {os.strerror(error.errno or 0)}; choose another port with --port"
        ) from error
    named = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)  # noqa: S104 - compared
    return listening, f"http://{named}:{listening.getsockname()[1]}"


@contextlib.asynccontextmanager
async def _served(listening: socket.socket, application: web.Application) -> AsyncIterator[None]:
    line = query.REQUEST_LINE_BYTES_MAX
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=_DRAIN_S, max_line_size=line, auto_decompress=False)
    await runner.setup()
    try:
        await web.SockSite(runner, listening).start()
        yield
    finally:
        await runner.cleanup()


def _key(settings: Settings) -> bytes:
    """What attempts' tokens are derived from: set, or made once and kept in the state directory."""
    if settings.runner.key is not None:
        return settings.runner.key.get_secret_value().encode()
    path = settings.state_dir / "runner.key"
    try:
        if not path.exists():
            files.make_private_directory(settings.state_dir)
            files.write_private(path, secrets.token_hex(_KEY_BYTES))
        key = path.read_bytes()
    except OSError as error:
        raise errors.SetupError(f"the state directory {settings.state_dir} cannot be used: {error}") from error
    if len(key) < _KEY_BYTES:
        raise errors.SetupError(f"{path} is damaged: remove it; the attempts that run now will be turned away")
    return key


def _described(sites: dict[str, pulsar.Site]) -> str:
    if not sites:
        return "Pulsar: no Pulsar is configured, so tasks will wait: name one under [default.pulsars] in the settings"
    named = (f"{name} ({site.slots} places, {site.runtime_kind})" for name, site in sites.items())
    return f"Pulsar: {', '.join(named)}"
