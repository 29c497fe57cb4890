"""The RabbitMQs: whether each lets TESPES in, takes messages, and has what TESPES needs as it needs it."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Final

import aio_pika
from aio_pika import ExchangeType
from aio_pika.abc import AbstractConnection
from aiormq.exceptions import ChannelAccessRefused

from tespes import errors, surroundings
from tespes.doctor import pulsars
from tespes.doctor.finding import Check, Finding, carried_out, ok, problem, warning
from tespes.doctor.given import Given
from tespes.flow import hint
from tespes.local.rabbitmq import PrivateRabbitMQ
from tespes.pulsar import Site, broker, dead, topology
from tespes.pulsar.site import Tls
from tespes.pulsar.topology import Exchange

_OLDEST: Final = (3, 8)  # the first with quorum queues
_CONFIRM_S: Final = 10.0
_BESIDE_JOBS_S: Final = 90.0


@dataclass(frozen=True, slots=True)
class Broker:
    """A RabbitMQ of the settings, and what of it is used.

    :param setting: which names its URL
    """

    url: str
    setting: str
    tls: Tls | None = None
    exchanges: tuple[Exchange, ...] = ()
    sites: list[Site] = field(default_factory=list)


def checks(given: Given) -> Iterator[Check]:
    """One for each RabbitMQ, with the Pulsars that it leads to."""
    if given.broker_url is None:
        yield Check("broker", partial(_none, given))
    for each in _brokers(given):
        about = f"broker {broker.shown(each.url)}"
        yield Check(about, partial(_look, given, each), _BESIDE_JOBS_S + (given.job_s or 0))


async def _none(given: Given) -> AsyncIterator[Finding]:
    program = PrivateRabbitMQ(given.settings.state_dir).find_program()
    yield ok(
        "broker", f"no rabbitmq.url is set, and nobody listens at 127.0.0.1:5672: TESPES starts one of its own ({program})"
    )


def _brokers(given: Given) -> Sequence[Broker]:
    settings, found = given.settings, list[Broker]()
    published = Exchange(settings.events.exchange, ExchangeType.TOPIC)
    if given.broker_url is not None:
        hints = (Exchange(hint.EXCHANGE, ExchangeType.FANOUT, durable=False),) if settings.store.mongodb_uri else ()
        exchanges = hints if settings.events.url else (*hints, published)
        found.append(Broker(given.broker_url, "rabbitmq.url", exchanges=exchanges))
    if settings.events.url is not None:
        found.append(Broker(settings.events.url.get_secret_value(), "events.url", exchanges=(published,)))
    for site in given.sites.values():
        known = next((each for each in found if (each.url, each.tls) == (site.broker_url, site.tls)), None)
        if known is None:
            known = Broker(site.broker_url, f"pulsars.{site.group or site.name}.broker_url", site.tls)
            found.append(known)
        known.sites.append(site)
    return [each for each in found if given.broker_url is not None or each.url != surroundings.USUAL_URL]


async def _look(given: Given, each: Broker) -> AsyncIterator[Finding]:
    about = f"broker {broker.shown(each.url)}"
    try:
        connection = await broker.logged_in(each.url, each.tls, each.setting)
    except errors.BrokerUnavailable as error:
        yield problem(about, f"{error}: start it, or mend {each.setting}")
        return
    async with connection:
        yield _server(about, connection)
        if refused := await _refused(connection):
            yield problem(about, refused)
            return
        for exchange in each.exchanges:
            refused = await topology.refusal(connection, exchange)
            yield (
                problem(f"exchange {exchange.name}", refused)
                if refused
                else ok(f"exchange {exchange.name}", exchange.type.value)
            )
        for finding in await carried_out([pulsars.check(given, site, connection) for site in each.sites]):
            yield finding
        if each.sites:
            yield await _dead_letters(connection)


def _server(about: str, connection: AbstractConnection) -> Finding:
    properties = getattr(connection.transport, "connection", None)
    version = str((getattr(properties, "server_properties", None) or {}).get("version") or "unknown")
    numbers = tuple(int(each) for each in version.split(".")[:2] if each.isdecimal())
    if numbers and numbers < _OLDEST:
        return problem(about, f"it is RabbitMQ {version}, which has no quorum queues: install 3.8 or newer")
    return ok(about, f"RabbitMQ {version} lets TESPES in")


async def _refused(connection: AbstractConnection) -> str | None:
    """Why it takes no message; None if it does, for a queue that is not there: that is dropped."""
    message, nowhere = aio_pika.Message(b""), f"tespes.probe.{secrets.token_hex(4)}"
    try:
        async with asyncio.timeout(_CONFIRM_S):
            with broker.talking():
                async with connection.channel(publisher_confirms=True, on_return_raises=False) as channel:
                    await channel.default_exchange.publish(message, nowhere, mandatory=False)
    except TimeoutError:
        return "takes no messages: see whether it is short of memory or disk (rabbitmqctl list_alarms)"
    except ChannelAccessRefused:
        return f"RabbitMQ refuses messages to the default exchange: {topology.MAY_NOT}"
    return None


async def _dead_letters(connection: AbstractConnection) -> Finding:
    about = f"queue {dead.QUEUE}"
    if refused := await topology.refusal(connection, topology.Queue(dead.QUEUE, arguments=dead.ARGUMENTS)):
        return problem(about, refused)
    async with connection.channel() as channel:
        count = (await dead.declare(channel)).declaration_result.message_count
    if count:
        return warning(about, f"has {count:,} messages that nobody could understand: see `tespes dead list`")
    return ok(about, "is empty")
