"""What requests and followers share: each part built once, of what is given."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tespes import pulsar
from tespes import settings as configuration
from tespes.events import cloud
from tespes.flow import checks, collector, publish, seal
from tespes.flow.attend import Results
from tespes.flow.bell import Bell
from tespes.flow.execute import Tasks
from tespes.flow.health import Check, Health
from tespes.flow.listen import Listener
from tespes.flow.project import Projector
from tespes.flow.projections import Projections
from tespes.flow.publish import Publisher
from tespes.flow.pulsars import Pulsars
from tespes.flow.room import Room
from tespes.flow.seal import HEADS_FILE, Sealer
from tespes.flow.signs import Signs
from tespes.flow.subscribe import Feed
from tespes.flow.uploads import Uploads
from tespes.flow.webhooks import Webhooks
from tespes.projections import TASK_VIEW, ReadModel
from tespes.pulsar import amqp
from tespes.settings import Settings
from tespes.settings.leaving import Leaving
from tespes.storage import Storage
from tespes.store import Store

if TYPE_CHECKING:
    from tespes.flow.tell import Teller

TALKING = frozenset({"api", "dispatch", "listen"})  # roles that have links to Pulsars, if only to know how they are


@dataclass(frozen=True, slots=True)
class Given:
    """What everything is built of.

    :param key: what tokens are derived from; :param audit_key: what the log is sealed with
    """

    settings: Settings
    roles: frozenset[str]
    leaving: Leaving
    store: Store
    models: Sequence[ReadModel]
    sites: Mapping[str, pulsar.Site]
    broker_url: str
    key: bytes
    audit_key: Ed25519PrivateKey


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What followers and requests share."""

    tasks: Tasks
    results: Results
    signs: Signs
    bell: Bell
    feed: Feed
    links: Mapping[str, pulsar.Link]
    pulsars: Pulsars
    make_room: Callable[[], Room]
    storage: Storage
    uploads: Uploads
    projectors: Sequence[Projector]
    projections: Projections
    sealer: Sealer
    publisher: Publisher
    webhooks: Webhooks
    teller: "Teller | None"
    health: Health


def build(given: Given) -> Parts:
    """Everything, in the order in which one needs the other."""
    settings, opened = given.settings, given.store
    tasks = Tasks(opened.log)
    results = Results(tasks, opened.blobs)
    signs = Signs(opened.signs, given.leaving.followers_s)
    links = {name: _link(given, site, Listener(name, tasks, results, signs)) for name, site in given.sites.items()}
    storage = Storage(configuration.storage_options(settings))
    projections = Projections(opened.log, opened.documents, given.models)
    sealer = Sealer(opened.log, given.audit_key, configuration.pace(settings), settings.state_dir / HEADS_FILE)
    publisher = _publisher(given)
    webhooks = Webhooks(opened.log, opened.checkpoints, configuration.webhooks(settings))
    teller = _teller(given)
    talking = links if given.roles & TALKING else {}
    feed = Feed(opened.log, cloud.source(settings.service.id), settings.streams.at_most)
    return Parts(
        tasks=tasks,
        results=results,
        signs=signs,
        bell=Bell(opened.log),
        feed=feed,
        links=links,
        pulsars=Pulsars(opened.log, links),
        make_room=partial(Room, given.sites, configuration.defaults(settings), settings.placement.patience_s),
        storage=storage,
        uploads=Uploads(opened.uploads, storage, tasks, opened.log),
        projectors=[Projector(opened.log, opened.documents, model) for model in given.models],
        projections=projections,
        sealer=sealer,
        publisher=publisher,
        webhooks=webhooks,
        teller=teller,
        health=Health(
            _checks(given, projections, publisher, webhooks, talking)
            | {"seal": checks.sealing(sealer), "feed": checks.feed(feed)}
            | ({"traces": checks.telling(opened.log, opened.checkpoints, teller)} if teller else {})
        ),
    )


def _link(given: Given, site: pulsar.Site, listener: Listener) -> pulsar.Link:
    link = amqp.Link(site, listener.handle, listens="listen" in given.roles, finish_s=given.leaving.followers_s)
    listener.link = link
    return link


def _publisher(given: Given) -> Publisher:
    where = given.settings.events
    url = where.url.get_secret_value() if where.url else given.broker_url
    source = cloud.source(given.settings.service.id)
    return Publisher(given.store.log, given.store.checkpoints, url, where.exchange, source)


def _teller(given: Given) -> "Teller | None":
    """Who tells a collector of tasks, if this process is to. Nobody else loads the library."""
    endpoint = configuration.endpoint(given.settings)
    if endpoint is None or "publish" not in given.roles:
        return None
    from tespes.flow.tell import Teller  # noqa: PLC0415 - see above

    way = collector.Collector(endpoint)
    return Teller(given.store.log, given.store.checkpoints, way, given.settings.service.id)


def _checks(
    given: Given, projections: Projections, publisher: Publisher, webhooks: Webhooks, links: Mapping[str, pulsar.Link]
) -> dict[str, Check]:
    """What this process looks at to know whether it is well."""
    opened, settings = given.store, given.settings
    found = checks.usual(opened.log, opened.documents, TASK_VIEW, projections.parked)
    if links:
        found["pulsars"] = checks.pulsars(links)
    if "publish" in given.roles:
        found["publish"] = checks.publishing(opened.log, opened.checkpoints, publisher)
    if webhooks.all:
        found["webhooks"] = checks.webhooks(webhooks)
    if opened.leases is None:
        found["roles"] = checks.roles(given.roles)
        found["disk"] = checks.disk(settings.state_dir)
    else:
        told = (collector.NAME,) if settings.traces.endpoint else ()
        watched = ("dispatch", "project", publish.NAME, seal.NAME, *told, *(each.stream for each in webhooks.all.values()))
        found["leases"] = checks.Watched(opened.leases, watched, settings.lease.expires_s)
    return found
