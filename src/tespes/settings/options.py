"""What each part of TESPES needs of the settings, in that part's own terms."""

from tespes import __version__, errors, pulsar, storage, store, tes
from tespes.flow.collector import Endpoint
from tespes.flow.seal import Pace
from tespes.flow.webhooks import Webhook
from tespes.projections import ReadModel
from tespes.settings import projections, pulsars, storages, traces
from tespes.settings import webhooks as hooks
from tespes.settings.leaving import Leaving, leaving_within
from tespes.settings.sections import ROLES, Role, Settings
from tespes.task import Patience
from tespes.task.placement import Defaults
from tespes.tes.limits import Limits
from tespes.tes.service import Service


def roles(settings: Settings) -> frozenset[Role]:
    """The parts that this process runs. With SQLite nobody can run the others: then `/readyz` says that.

    :raises errors.SetupError: another process that runs the others would not understand this one
    """
    chosen = frozenset(settings.roles)
    if chosen == frozenset(ROLES) or settings.store.mongodb_uri is None:
        return chosen
    if settings.runner.key is None:
        raise errors.SetupError("roles are spread over processes: give all of them the same runner.key")
    if settings.rabbitmq.url is None:
        raise errors.SetupError("roles are spread over processes: give all of them the same rabbitmq.url")
    uncalled = [name for name, each in settings.pulsars.items() if (each.callback_url or settings.http.public_url) is None]
    if "dispatch" in chosen and "api" not in chosen and uncalled:
        raise errors.SetupError(
            f"pulsars.{uncalled[0]}.callback_url is missing: this process has not the role api, so name where runners find it"
        )
    return chosen


def store_options(settings: Settings) -> store.Options:
    """What the store needs."""
    uri, left = settings.store.mongodb_uri, leaving(settings)
    return store.Options(
        mongodb_uri=uri.get_secret_value() if uri else None,
        mongodb_database=settings.store.mongodb_database,
        last_write_s=left.write_s,
        close_s=left.goodbye_s,
    )


def leaving(settings: Settings) -> Leaving:
    """How long each may take once the process is told to stop."""
    return leaving_within(settings.http.drain_s)


def storage_options(settings: Settings) -> storage.Options:
    """What the storages need."""
    return storages.options(settings.storage)


def patience(settings: Settings) -> Patience:
    """How long dispatch waits."""
    limits = Limits(**settings.limits.model_dump())
    return Patience(**settings.patience.model_dump(), claim_s=settings.runner.claim_timeout_s, limits=limits)


def read_models(settings: Settings) -> tuple[ReadModel, ...]:
    """The views that are kept up to date, see `projections.read_models`."""
    return projections.read_models(settings.projections)


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
        running_s=settings.limits.running_s,
    )


def showing(settings: Settings) -> tes.Showing:
    """How tasks are shown."""
    return tes.Showing(settings.http.legacy_states, settings.http.minimal_includes_executors)


def service(settings: Settings) -> Service:
    """Who answers here."""
    return Service(**settings.service.model_dump(), version=__version__)


def sites(settings: Settings, broker_url: str, own_url: str) -> dict[str, pulsar.Site]:
    """The Pulsars, see `pulsars.sites`."""
    return pulsars.sites(settings.pulsars, broker_url=broker_url, public_url=settings.http.public_url, own_url=own_url)


def defaults(settings: Settings) -> Defaults:
    """What a task counts for that does not say what it needs."""
    return Defaults(settings.placement.default_cpus, settings.placement.default_ram_gb)


def pace(settings: Settings) -> Pace:
    """How often the log is sealed."""
    return Pace(settings.audit.seal_commits, settings.audit.seal_s)


def webhooks(settings: Settings) -> tuple[Webhook, ...]:
    """Who gets events by HTTP."""
    return hooks.webhooks(settings.webhooks)


def endpoint(settings: Settings) -> Endpoint | None:
    """The collector that is told of tasks."""
    return traces.endpoint(settings.traces)
