"""What each part of TESPES needs of the settings, in that part's own terms."""

from urllib.parse import urlsplit

from tespes import __version__, errors, pulsar, storage, store, tes
from tespes.settings import storages
from tespes.settings.sections import Pulsar, Settings
from tespes.task import Patience
from tespes.tes.service import Service

_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


def store_options(settings: Settings) -> store.Options:
    """What the store needs."""
    uri = settings.store.mongodb_uri
    return store.Options(uri.get_secret_value() if uri else None, settings.store.mongodb_database)


def storage_options(settings: Settings) -> storage.Options:
    """What the storages need."""
    return storages.options(settings.storage)


def patience(settings: Settings) -> Patience:
    """How long dispatch waits."""
    return Patience(**settings.patience.model_dump())


def habits(settings: Settings) -> pulsar.Habits:
    """How runners work."""
    runner, files = settings.runner, settings.storage
    return pulsar.Habits(
        tail_bytes=runner.tail_bytes,
        heartbeat_s=runner.heartbeat_s,
        report_patience_s=runner.report_patience_s,
        at_once=files.at_once,
        silence_s=files.silence_s,
        most_files=files.most_files,
        missing=settings.outputs.missing,
    )


def showing(settings: Settings) -> tes.Showing:
    """How tasks are shown."""
    return tes.Showing(settings.http.legacy_states, settings.http.minimal_includes_executors)


def service(settings: Settings) -> Service:
    """Who answers here."""
    return Service(**settings.service.model_dump(), version=__version__)


def sites(settings: Settings, broker_url: str, own_url: str) -> dict[str, pulsar.Site]:
    """The Pulsars, by name.

    :param broker_url: the RabbitMQ of those that name no other; :param own_url: where nodes on this machine reach TESPES
    :raises errors.SetupError: a Pulsar elsewhere has no callback_url
    """
    return {name: _site(name, each, settings, broker_url, own_url) for name, each in settings.pulsars.items()}


def _site(name: str, each: Pulsar, settings: Settings, broker_url: str, own_url: str) -> pulsar.Site:
    url = each.broker_url.get_secret_value() if each.broker_url else broker_url
    callback = each.callback_url or settings.http.public_url
    if callback is None and urlsplit(url).hostname not in _LOOPBACK:
        raise errors.SetupError(
            f"pulsars.{name}.callback_url is missing: its broker is not on this machine, so name the address where its"
            " nodes reach TESPES"
        )
    return pulsar.Site(
        name=name,
        broker_url=url,
        manager=each.manager,
        key_prefix=each.key_prefix,
        slots=each.slots,
        runtime=each.runtime.model_dump(exclude_none=True),
        callback_url=(callback or own_url).rstrip("/"),
    )
