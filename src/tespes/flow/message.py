"""An event as a message of AMQP: the binary mode of the CloudEvents AMQP binding."""

from typing import Final, cast

import aio_pika
import aiormq
from aio_pika.abc import AbstractChannel
from pamqp.commands import Basic

from tespes.events import cloud, moment
from tespes.events.cloud import CloudEvent

_APP_ID: Final = "tespes"


async def wire(channel: AbstractChannel) -> aiormq.Channel:
    """What `publish` needs of a channel with confirms."""
    return cast("aiormq.Channel", await channel.get_underlay_channel())


async def publish(channel: aiormq.Channel, exchange: str, event: CloudEvent) -> None:
    """Until RabbitMQ has confirmed it; that nobody has a queue for it is fine. Messages leave in the order of these calls.

    :raises AMQPError: RabbitMQ refused it, or the channel is closed; so does RuntimeError
    """
    key, said = event.routing_key, _properties(event)
    # The library would wait for each message until the socket has it: there is no need, for messages in flight are few.
    await channel.basic_publish(event.body(), exchange=exchange, routing_key=key, properties=said, wait=False)


def _properties(event: CloudEvent) -> Basic.Properties:
    """What goes with an event's body: its attributes as headers, and those that AMQP has a place for there as well."""
    return Basic.Properties(
        content_type=cloud.CONTENT_TYPE,
        headers={cloud.AMQP_PREFIX + name: value for name, value in event.attributes.items()},
        delivery_mode=int(aio_pika.DeliveryMode.PERSISTENT),
        message_id=event.id,
        message_type=event.attributes["type"],
        timestamp=moment.read(event.attributes["time"]),
        app_id=_APP_ID,
    )
