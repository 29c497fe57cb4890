"""The one composition root: builds everything once, hands it down, and takes it down in the opposite order."""

import contextlib
import socket
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any

import structlog
from aiohttp import web

from tespes import api, pulsar, serving, store, surroundings
from tespes import settings as configuration
from tespes.api import access
from tespes.api.drain import Requests
from tespes.background import Background
from tespes.events import cloud
from tespes.flow import collector, publish, seal, story
from tespes.flow.attend import Attendant
from tespes.flow.dead import DeadOffice
from tespes.flow.deliver import Delivery
from tespes.flow.dispatch import Dispatch
from tespes.flow.effects import Means
from tespes.flow.hint import Hint
from tespes.flow.lead import Contender, Lease, Work, holder
from tespes.flow.live import Live
from tespes.flow.project import project_all
from tespes.flow.read import TaskReader
from tespes.flow.redact import Redactor
from tespes.flow.transfers import Transfers
from tespes.metrics import Metrics
from tespes.parts import TALKING, Given, Parts, build
from tespes.settings import Settings
from tespes.store import Store
from tespes.tes import parameters
from tespes.tes.service import service_info

_log = structlog.get_logger(__name__)

Run = Callable[[], Coroutine[Any, Any, None]]


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
        models = configuration.read_models(settings)
        opened = await store.open_store(configuration.store_options(settings), settings.state_dir, stack)
        surroundings.allow_descriptors()
        listening, url = serving.listen(settings.http.host, settings.http.port)
        stack.callback(listening.close)
        beside = _listening_beside(settings, stack)
        configuration.sites(settings, surroundings.USUAL_URL, url)  # what is wrong there is said before anything is started
        key = await surroundings.agreed_key(settings, opened.agreements)
        audit_key = await surroundings.agreed_audit_key(settings, opened.agreements)
        broker_url, broker_used = await surroundings.rabbitmq(settings, stack)
        sites = configuration.sites(settings, broker_url, url)
        if roles & TALKING:
            await surroundings.check_pulsars(sites.values())
        background = await stack.enter_async_context(Background(leaving.again_s))
        opened.log.wrote.append(story.wrote)
        background.start("append", opened.log.run)
        given = Given(settings, roles, leaving, opened, models, sites, broker_url, key, audit_key)
        surroundings.warn_of_own_address(given.sites.values(), url, is_shared=opened.leases is not None)
        parts = build(given)
        metrics = Metrics(given, parts)
        stack.push_async_callback(parts.storage.close)
        for projector in parts.projectors:
            await projector.prepare()
        if "publish" in roles:
            await parts.webhooks.prepare()
        if parts.teller is not None:
            await parts.teller.prepare()
        for name, run in _followers(given, parts, metrics):
            background.start(name, run)
        await stack.enter_async_context(_served_beside(metrics, beside))
        await stack.enter_async_context(_served(given, parts, metrics, listening, background))
        uses = (f"log: {opened.description}", f"broker: {broker_used}", surroundings.described(given.sites.values()))
        yield Service(url, uses, opened)


def _listening_beside(settings: Settings, stack: AsyncExitStack) -> socket.socket | None:
    """Where metrics are, if that is a port of their own."""
    if settings.metrics.port is None:
        return None
    listening, _ = serving.listen(settings.metrics.host or settings.http.host, settings.metrics.port, "metrics.port")
    stack.callback(listening.close)
    return listening


def _followers(given: Given, parts: Parts, metrics: Metrics) -> Iterator[tuple[str, Run]]:
    """What runs in the background, as the roles ask for it."""
    name, opened = holder(), given.store
    contender = Contender(opened.leases, opened.log, name, given.settings.lease.expires_s, given.leaving.followers_s)

    def lead(name: str, work: Work) -> Run:
        return partial(contender.lead, name, metrics.led(name, work))

    yield "signs", parts.signs.run
    yield "health", parts.health.run
    if opened.leases is not None:
        yield "hint", Hint(opened.log, given.broker_url, name).run
    if "api" in given.roles:
        yield "bell", parts.bell.run
        yield "feed", parts.feed.run
        yield "uploads", parts.uploads.run
    if "project" in given.roles:
        yield "project", lead("project", partial(project_all, parts.projectors))
    if given.roles & TALKING:
        yield "pulsars", parts.pulsars.run
        for site, link in parts.links.items():
            yield f"link {site}", link.run
    if "dispatch" in given.roles:
        yield "dispatch", lead("dispatch", _dispatching(given, parts, metrics))
    if "publish" in given.roles:
        for tells, work in _telling(given, parts):
            yield tells, lead(tells, work)


def _telling(given: Given, parts: Parts) -> Iterator[tuple[str, Work]]:
    """What seals the log, and tells others of it."""
    yield seal.NAME, parts.sealer.run
    yield publish.NAME, parts.publisher.run
    if parts.teller is not None:
        yield collector.NAME, parts.teller.run
    source = cloud.source(given.settings.service.id)
    for webhook in parts.webhooks.all.values():
        delivery = Delivery(webhook, parts.webhooks, given.store.log, given.store.checkpoints, source)
        yield webhook.stream, delivery.run


def _dispatching(given: Given, parts: Parts, metrics: Metrics) -> Work:
    settings = given.settings
    terms = pulsar.Terms(settings.runner.claim_timeout_s, settings.runner.report_patience_s)
    means = Means(parts.links, parts.pulsars, given.key, terms, configuration.patience(settings))

    async def dispatch(lease: Lease) -> None:
        """For each tenure, all that dispatch remembers is made anew."""
        dispatching = Dispatch(given.store, parts.tasks, parts.signs, parts.make_room(), means)
        with metrics.dispatching(dispatching):
            await dispatching.run(lease)

    return dispatch


def _served(
    given: Given, parts: Parts, metrics: Metrics, listening: socket.socket, background: Background
) -> contextlib.AbstractAsyncContextManager[None]:
    def release() -> None:
        """Nobody is kept waiting by a process that is about to end, and nothing new is begun."""
        _log.info("TESPES was told to end", drain_s=given.settings.http.drain_s)
        parts.bell.close()
        parts.feed.close()
        background.let_go()

    application, requests = _application(given, parts, metrics), Requests()
    requests.watch(application)
    metrics.watch(requests)
    if given.settings.log.level == "debug":
        requests.answered.append(access.answered)
    leaving = given.leaving
    return serving.served(listening, application, requests, release, drain_s=leaving.requests_s, cut_s=leaving.cut_s)


def _served_beside(metrics: Metrics, listening: socket.socket | None) -> contextlib.AbstractAsyncContextManager[None]:
    if listening is None:
        return contextlib.nullcontext()
    return serving.served_beside(listening, api.nothing_but(api.MetricsRoute(metrics.exposition)))


def _application(given: Given, parts: Parts, metrics: Metrics) -> web.Application:
    health = api.HealthRoutes(parts.health, given.settings.roles)
    shown = api.MetricsRoute(metrics.exposition) if given.settings.metrics.port is None else None
    if "api" not in given.roles:
        return api.nothing_but(health, *([shown] if shown else []))
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
        events=api.EventRoutes(parts.feed),
        stream=api.StreamRoutes(parts.feed, settings.streams.quiet_s, settings.streams.silence_s),
        operator=_operator(given, parts),
        metrics=shown,
        max_body_bytes=http.max_body_bytes,
        cors_origins=http.cors_origins,
        public_url=http.public_url,
        exchange=settings.events.exchange,
    )


def _attendant(given: Given, parts: Parts, live: Live) -> Attendant:
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
        hands_on=given.settings.traces.to_tasks,
        former_keys=surroundings.former_keys(given.settings),
    )


def _operator(given: Given, parts: Parts) -> api.OperatorRoutes:
    return api.OperatorRoutes(
        key=given.key,
        pulsars=parts.pulsars,
        make_room=parts.make_room,
        tasks=parts.tasks,
        documents=given.store.documents,
        dead=DeadOffice(given.sites.values()),
        projections=parts.projections,
        webhooks=parts.webhooks,
        redactor=Redactor(given.store.log, given.store.blobs, parts.tasks),
    )
