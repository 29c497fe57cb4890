"""The exchanges and queues that TESPES needs at a RabbitMQ, and whether they can be had as TESPES needs them."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from aio_pika import ExchangeType
from aio_pika.abc import AbstractChannel, AbstractConnection
from aiormq.exceptions import ChannelAccessRefused, ChannelLockedResource, ChannelPreconditionFailed
from pamqp.common import FieldTable

from tespes.pulsar import broker, dead, wire
from tespes.pulsar.site import Site

MAY_NOT: Final = "this user must be allowed to configure, write and read amq.default and what begins with pulsar or tespes"


@dataclass(frozen=True, slots=True)
class Exchange:
    """An exchange.

    :param type: see `aio_pika.ExchangeType`
    """

    name: str
    type: ExchangeType
    durable: bool = True


@dataclass(frozen=True, slots=True)
class Queue:
    """A durable queue.

    :param exchange: where it is bound, by its own name; None: it is only written to directly
    """

    name: str
    exchange: str | None = None
    arguments: FieldTable = field(default_factory=dict)


Thing = Exchange | Queue


def of_site(site: Site) -> Iterator[Thing]:
    """What is needed to talk to that Pulsar, in the order in which it is declared."""
    yield Exchange(wire.EXCHANGE, ExchangeType.DIRECT)
    yield Queue(dead.QUEUE, arguments=dead.ARGUMENTS)
    prefix = wire.prefix(site.manager, site.key_prefix)
    for name in (*wire.COMMANDS, *wire.ANSWERS):
        yield Queue(wire.queue(prefix, name), wire.EXCHANGE)


async def declare(channel: AbstractChannel, thing: Thing) -> None:
    """Make it if it is not there; raises what the library does if it cannot be had so."""
    match thing:
        case Exchange():
            await channel.declare_exchange(thing.name, thing.type, durable=thing.durable)
        case Queue():
            queue = await channel.declare_queue(thing.name, durable=True, arguments=thing.arguments)
            if thing.exchange is not None:
                await queue.bind(thing.exchange, routing_key=thing.name)


async def refusal(connection: AbstractConnection, thing: Thing) -> str | None:
    """Declare it as TESPES does at its start; why RabbitMQ refuses that, and what to do, or None if it does not."""
    kind = "exchange" if isinstance(thing, Exchange) else "queue"
    try:
        with broker.talking():
            async with connection.channel() as channel:
                await declare(channel, thing)
    except ChannelAccessRefused as error:
        return f"RabbitMQ refuses the {kind} {thing.name} ({_words(error)}): {MAY_NOT}"
    except (ChannelPreconditionFailed, ChannelLockedResource) as error:
        return f"the {kind} {thing.name} is another than TESPES needs ({_words(error)}): delete it, when nobody uses it"
    return None


def _words(error: Exception) -> str:
    """RabbitMQ's own, without their number."""
    return str(error).partition(" - ")[2] or str(error)
