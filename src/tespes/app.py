"""The one composition root: builds everything once, hands it down, and takes it down in the opposite order."""

import contextlib
import socket
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any

import structlog
from aiohttp import web

from tespes import api, pulsar, serving, store, surroundings
from tespes import settings as configuration
from tespes.api.drain import Requests
from tespes.background import Background
from tespes.flow import checks
from tespes.flow.attend import Attendant, Results
from tespes.flow.bell import Bell
from tespes.flow.dead import DeadOffice
from tespes.flow.dispatch import Dispatch
from tespes.flow.effects import Means
from tespes.flow.execute import Tasks
from tespes.flow.health import Check, Health
from tespes.flow.hint import Hint
from tespes.flow.lead import Contender, Lease, Work, holder
from tespes.flow.listen import Listener
from tespes.flow.live import Live
from tespes.flow.parked import Parked
from tespes.flow.project import Projector
from tespes.flow.pulsars import Pulsars
from tespes.flow.read import TaskReader
from tespes.flow.room import Room
from tespes.flow.signs import Signs
from tespes.flow.transfers import Transfers
from tespes.flow.uploads import Uploads
from tespes.projections import TASK_VIEW
from tespes.pulsar import amqp
from tespes.settings import Settings
from tespes.settings.leaving import Leaving
from tespes.storage import Storage
from tespes.store import Store
from tespes.tes import parameters
from tespes.tes.service import service_info

_log = structlog.get_logger(__name__)

Run = Callable[[], Coroutine[Any, Any, None]]

_TALKING = frozenset({"api", "dispatch", "listen"})  # roles that have links to Pulsars, if only to know how they are


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
        roles, leaving = configuration.roles(settings), configuration.leaving(settings)
        opened = await store.open_store(configuration.store_options(settings), settings.state_dir, stack)
        surroundings.allow_descriptors()
        listening, url = serving.listen(settings.http.host, settings.http.port)
        stack.callback(listening.close)
        configuration.sites(settings, surroundings.USUAL_URL, url)  # what is wrong there is said before anything is started
        key = await surroundings.agreed_key(settings, opened.agreements)
        broker_url, broker_used = await surroundings.rabbitmq(settings, stack)
        background = await stack.enter_async_context(Background(leaving.again_s))
        background.start("append", opened.log.run)
        given = _Given(settings, roles, leaving, opened, configuration.sites(settings, broker_url, url), broker_url, key)
        surroundings.warn_of_own_address(given.sites.values(), url, is_shared=opened.leases is not None)
        parts = _parts(given)
        stack.push_async_callback(parts.storage.close)
        await parts.projector.prepare()
        for name, run in _followers(given, parts):
            background.start(name, run)
        await stack.enter_async_context(_served(given, parts, listening, background))
        uses = (f"log: {opened.description}", f"broker: {broker_used}", surroundings.described(given.sites.values()))
        yield Service(url, uses, opened)


@dataclass(frozen=True, slots=True)
class _Given:
    """What everything is built of.

    :param key: what tokens are derived from
    """

    settings: Settings
    roles: frozenset[str]
    leaving: Leaving
    store: Store
    sites: Mapping[str, pulsar.Site]
    broker_url: str
    key: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class _Parts:
    """What followers and requests share."""

    tasks: Tasks
    results: Results
    signs: Signs
    bell: Bell
    links: Mapping[str, pulsar.Link]
    pulsars: Pulsars
    make_room: Callable[[], Room]
    storage: Storage
    uploads: Uploads
    projector: Projector
    parked: Parked
    health: Health


def _parts(given: _Given) -> _Parts:
    settings, opened = given.settings, given.store
    tasks = Tasks(opened.log)
    results = Results(tasks, opened.blobs)
    signs = Signs(opened.signs, given.leaving.followers_s)
    links = {name: _link(given, site, Listener(name, tasks, results, signs)) for name, site in given.sites.items()}
    storage = Storage(configuration.storage_options(settings))
    parked = Parked(opened.log, opened.documents, TASK_VIEW)
    return _Parts(
        tasks=tasks,
        results=results,
        signs=signs,
        bell=Bell(opened.log),
        links=links,
        pulsars=Pulsars(opened.log, links),
        make_room=partial(Room, given.sites, configuration.defaults(settings), settings.placement.patience_s),
        storage=storage,
        uploads=Uploads(opened.uploads, storage, tasks, opened.log),
        projector=Projector(opened.log, opened.documents, TASK_VIEW),
        parked=parked,
        health=Health(_checks(given, parked, links if given.roles & _TALKING else {})),
    )


def _link(given: _Given, site: pulsar.Site, listener: Listener) -> pulsar.Link:
    link = amqp.Link(site, listener.handle, listens="listen" in given.roles, finish_s=given.leaving.followers_s)
    listener.link = link
    return link


def _followers(given: _Given, parts: _Parts) -> Iterator[tuple[str, Run]]:
    """What runs in the background, as the roles ask for it."""
    name, opened = holder(), given.store
    contender = Contender(opened.leases, opened.log, name, given.settings.lease.expires_s, given.leaving.followers_s)
    yield "signs", parts.signs.run
    yield "health", parts.health.run
    if opened.leases is not None:
        yield "hint", Hint(opened.log, given.broker_url, name).run
    if "api" in given.roles:
        yield "bell", parts.bell.run
        yield "uploads", parts.uploads.run
    if "project" in given.roles:
        yield "project", partial(contender.lead, "project", parts.projector.run)
    if given.roles & _TALKING:
        yield "pulsars", parts.pulsars.run
        for site, link in parts.links.items():
            yield f"link {site}", link.run
    if "dispatch" in given.roles:
        yield "dispatch", partial(contender.lead, "dispatch", _dispatching(given, parts))


def _dispatching(given: _Given, parts: _Parts) -> Work:
    settings = given.settings
    terms = pulsar.Terms(settings.runner.claim_timeout_s, settings.runner.report_patience_s)
    means = Means(parts.links, parts.pulsars, given.key, terms, configuration.patience(settings))

    async def dispatch(lease: Lease) -> None:
        """For each tenure, all that dispatch remembers is made anew."""
        await Dispatch(given.store, parts.tasks, parts.signs, parts.make_room(), means).run(lease)

    return dispatch


def _served(
    given: _Given, parts: _Parts, listening: socket.socket, background: Background
) -> contextlib.AbstractAsyncContextManager[None]:
    def release() -> None:
        """Nobody is kept waiting by a process that is about to end, and nothing new is begun."""
        _log.info("TESPES was told to end", drain_s=given.settings.http.drain_s)
        parts.bell.close()
        background.let_go()

    application, requests = _application(given, parts), Requests()
    requests.watch(application)
    leaving = given.leaving
    return serving.served(listening, application, requests, release, drain_s=leaving.requests_s, cut_s=leaving.cut_s)


def _application(given: _Given, parts: _Parts) -> web.Application:
    health = api.HealthRoutes(parts.health, given.settings.roles)
    if "api" not in given.roles:
        return api.nothing_but(health)
    opened, settings, http = given.store, given.settings, given.settings.http
    live = Live(parts.bell)
    reader = TaskReader(opened.log, opened.documents, opened.blobs, configuration.showing(settings))
    attendant = _attendant(given, parts, live)
    transfers = Transfers(working=attendant.working, storage=parts.storage, blobs=opened.blobs, uploads=parts.uploads)
    info = service_info(configuration.service(settings), parts.storage.usable(), parameters.SUPPORTED_BACKEND_PARAMETERS)
    return api.application(
        api.TaskRoutes(parts.tasks, reader, opened.blobs, parts.bell, http.cancel_wait_s, info),
        api.LiveRoutes(reader, live),
        api.RunnerRoutes(attendant),
        api.TransferRoutes(attendant, transfers, settings.storage.silence_s),
        health,
        operator=_operator(given, parts),
        max_body_bytes=http.max_body_bytes,
        cors_origins=http.cors_origins,
        public_url=http.public_url,
    )


def _attendant(given: _Given, parts: _Parts, live: Live) -> Attendant:
    return Attendant(
        tasks=parts.tasks,
        results=parts.results,
        signs=parts.signs,
        bell=parts.bell,
        live=live,
        storage=parts.storage,
        sites=given.sites,
        key=given.key,
        habits=configuration.habits(given.settings),
    )


def _operator(given: _Given, parts: _Parts) -> api.OperatorRoutes:
    return api.OperatorRoutes(
        key=given.key,
        pulsars=parts.pulsars,
        make_room=parts.make_room,
        tasks=parts.tasks,
        documents=given.store.documents,
        dead=DeadOffice(given.sites.values()),
        parked=parts.parked,
    )


def _checks(given: _Given, parked: Parked, links: Mapping[str, pulsar.Link]) -> dict[str, Check]:
    """What this process looks at to know whether it is well."""
    opened, settings = given.store, given.settings
    found = checks.usual(opened.log, opened.documents, TASK_VIEW, parked)
    if links:
        found["pulsars"] = checks.pulsars(links)
    if opened.leases is None:
        found["roles"] = checks.roles(given.roles)
        found["disk"] = checks.disk(settings.state_dir)
    else:
        found["leases"] = checks.Watched(opened.leases, ("dispatch", "project"), settings.lease.expires_s)
    return found
