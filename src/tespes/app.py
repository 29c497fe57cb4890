"""The one composition root: builds everything once, hands it down, and takes it down in the opposite order."""

import contextlib
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial

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
from tespes.flow.lead import Contender, Lease, holder
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
from tespes.storage import Storage
from tespes.store import Store
from tespes.tes import parameters
from tespes.tes.service import service_info

_FOR_REQUESTS = 0.5  # of the time to leave; the rest is for what is being written


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
        configuration.roles(settings)
        opened = await store.open_store(configuration.store_options(settings), settings.state_dir, stack)
        surroundings.allow_descriptors()
        listening, url = serving.listen(settings.http.host, settings.http.port)
        stack.callback(listening.close)
        configuration.sites(settings, surroundings.USUAL_URL, url)  # what is wrong there is said before anything is started
        broker_url, broker_used = await surroundings.rabbitmq(settings, stack)
        background = await stack.enter_async_context(Background())
        background.start("append", opened.log.run)
        built = _Built(settings, opened, configuration.sites(settings, broker_url, url), broker_url)
        stack.push_async_callback(built.storage.close)
        await built.projector.prepare()
        built.start(background)

        def release() -> None:
            """Nobody is kept waiting by a process that is about to end, and nothing new is begun."""
            built.bell.close()
            background.let_go()

        drain_s = settings.http.drain_s * _FOR_REQUESTS
        served = serving.served(listening, built.application, built.requests, release, drain_s)
        await stack.enter_async_context(served)
        uses = (f"log: {opened.description}", f"broker: {broker_used}", _described(built.sites))
        yield Service(url, uses, opened)


class _Built:
    """The parts, put together."""

    def __init__(self, settings: Settings, opened: Store, sites: dict[str, pulsar.Site], broker_url: str) -> None:
        self.sites = sites
        self._roles = configuration.roles(settings)
        self._is_shared = opened.leases is not None
        self.requests = Requests()
        name = holder()
        self._contender = Contender(opened.leases, opened.log, name, settings.lease.expires_s)
        self._hint = Hint(opened.log, broker_url, name)
        log, documents, blobs = opened.log, opened.documents, opened.blobs
        key = surroundings.runner_key(settings)
        tasks = Tasks(log)
        self._signs = Signs(opened.signs)
        results = Results(tasks, blobs)
        self.bell = Bell(log)
        live = Live(self.bell)
        reader = TaskReader(log, documents, blobs, configuration.showing(settings))
        self.projector = Projector(log, documents, TASK_VIEW)
        listens = "listen" in self._roles
        self._links = {
            name: _link(site, Listener(name, tasks, results, self._signs), listens=listens) for name, site in sites.items()
        }
        terms = pulsar.Terms(settings.runner.claim_timeout_s, settings.runner.report_patience_s)
        self._pulsars = Pulsars(log, self._links)
        means = Means(self._links, self._pulsars, key, terms, configuration.patience(settings))
        make_room = partial(Room, sites, configuration.defaults(settings), settings.placement.patience_s)
        self._make_dispatch: Callable[[], Dispatch] = lambda: Dispatch(opened, tasks, self._signs, make_room(), means)
        self.storage = Storage(configuration.storage_options(settings))
        self._uploads = Uploads(opened.uploads, self.storage, tasks, log)
        attendant = Attendant(
            tasks=tasks,
            results=results,
            signs=self._signs,
            bell=self.bell,
            live=live,
            storage=self.storage,
            sites=sites,
            key=key,
            habits=configuration.habits(settings),
        )
        transfers = Transfers(working=attendant.working, storage=self.storage, blobs=blobs, uploads=self._uploads)
        info = service_info(configuration.service(settings), self.storage.usable(), parameters.SUPPORTED_BACKEND_PARAMETERS)
        routes = api.TaskRoutes(tasks, reader, blobs, self.bell, settings.http.cancel_wait_s, info)
        self._health = Health(_checks(settings, opened, self._links if self._roles & {"listen", "dispatch"} else {}))
        health = api.HealthRoutes(self._health, settings.roles)
        if "api" not in self._roles:
            self.application = api.nothing_but(health)
            self.requests.watch(self.application)
            return
        http = settings.http
        self.application = api.application(
            routes,
            api.LiveRoutes(reader, live),
            api.RunnerRoutes(attendant),
            api.TransferRoutes(attendant, transfers, settings.storage.silence_s),
            health,
            operator=api.OperatorRoutes(
                key=key,
                pulsars=self._pulsars,
                make_room=make_room,
                tasks=tasks,
                documents=documents,
                dead=DeadOffice(sites.values()),
                parked=Parked(log, documents, TASK_VIEW),
            ),
            max_body_bytes=http.max_body_bytes,
            cors_origins=http.cors_origins,
            public_url=http.public_url,
        )

        self.requests.watch(self.application)

    def start(self, background: Background) -> None:
        """Start what the roles ask for."""
        background.start("signs", self._signs.run)
        background.start("health", self._health.run)
        if self._is_shared:
            background.start("hint", self._hint.run)
        if "api" in self._roles:
            background.start("bell", self.bell.run)
            background.start("uploads", self._uploads.run)
        if "project" in self._roles:
            background.start("project", lambda: self._contender.lead("project", self.projector.run))
        if self._roles & {"api", "dispatch", "listen"}:
            background.start("pulsars", self._pulsars.run)
            for name, link in self._links.items():
                background.start(f"link {name}", link.run)
        if "dispatch" in self._roles:
            background.start("dispatch", lambda: self._contender.lead("dispatch", self._dispatch))

    async def _dispatch(self, lease: Lease) -> None:
        """For each tenure, all that dispatch remembers is made anew."""
        await self._make_dispatch().run(lease)


def _link(site: pulsar.Site, listener: Listener, *, listens: bool) -> pulsar.Link:
    link = amqp.Link(site, listener.handle, listens=listens)
    listener.link = link
    return link


def _checks(settings: Settings, opened: Store, links: Mapping[str, pulsar.Link]) -> dict[str, Check]:
    """What this process looks at to know whether it is well."""
    found: dict[str, Check] = {
        "store": checks.store(opened.log),
        "writing": checks.writing(opened.log),
        "list": checks.view(opened.log, opened.documents, TASK_VIEW),
        "clock": checks.clock(),
        "parked": checks.parked(Parked(opened.log, opened.documents, TASK_VIEW)),
    }
    if links:
        found["pulsars"] = checks.pulsars(links)
    if opened.leases is None:
        found["disk"] = checks.disk(settings.state_dir)
    else:
        found["leases"] = checks.Watched(opened.leases, ("dispatch", "project"), settings.lease.expires_s)
    return found


def _described(sites: dict[str, pulsar.Site]) -> str:
    if not sites:
        return "Pulsar: no Pulsar is configured, so tasks will wait: name one under [default.pulsars] in the settings"
    named = (f"{name} ({site.offer}, {site.runtime_kind})" for name, site in sites.items())
    return f"Pulsar: {', '.join(named)}"
