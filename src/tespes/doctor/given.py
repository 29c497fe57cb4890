"""What checks are given: the settings, and what follows from them without asking anybody."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from tespes import errors, surroundings
from tespes import settings as configuration
from tespes.doctor.finding import Finding, ok, problem, warning
from tespes.local.rabbitmq import PrivateRabbitMQ, listens
from tespes.pulsar import Site
from tespes.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """What is looked at.

    :param url: where TESPES listens, or would, as seen from this machine
    :param broker_url: of the RabbitMQ that TESPES uses if nothing else is said; None: it would start one of its own
    :param sites: the Pulsars by name; none, if their settings contradict each other
    :param key: what attempts' tokens are made of; if that is not made yet, anything
    :param job_s: how long the small job may take at each Pulsar; None: it is not sent
    """

    settings: Settings
    url: str
    broker_url: str | None
    sites: Mapping[str, Site]
    key: bytes
    job_s: float | None


async def given(settings: Settings, url: str, key: bytes, job_s: float | None) -> tuple[Given, list[Finding]]:
    """What checks are given, and what there is to say of the settings themselves."""
    broker_url = await _broker_url(settings)
    try:
        configuration.roles(settings)
        models = configuration.read_models(settings)
        sites = configuration.sites(settings, broker_url or surroundings.USUAL_URL, url)
    except errors.SetupError as error:
        found, sites = [problem("settings", str(error))], {}
    else:
        said = f"{_many(len(sites), 'Pulsar')}, {_many(len(models), 'view')}, {_many(len(settings.webhooks), 'webhook')}"
        found = [ok("settings", said)]
        if not sites:
            found.append(warning("settings", "no Pulsar is configured, so tasks will wait: name one under [default.pulsars]"))
    return Given(settings=settings, url=url, broker_url=broker_url, sites=sites, key=key, job_s=job_s), found


async def _broker_url(settings: Settings) -> str | None:
    """As `surroundings.rabbitmq`, but nothing is started."""
    if settings.rabbitmq.url is not None:
        return settings.rabbitmq.url.get_secret_value()
    if await listens(*surroundings.USUAL):
        return surroundings.USUAL_URL
    own = settings.state_dir / "rabbitmq"
    url = PrivateRabbitMQ(own).url if os.access(own / "node.json", os.R_OK) else None
    return url if url and await listens("127.0.0.1", urlsplit(url).port or 0) else None


def _many(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"
