"""What is published on RabbitMQ, for programs: an AsyncAPI 3.0 document, made of the schemas of the events."""

import inspect
from typing import Any, Final, get_args

from tespes.events import cloud, examples
from tespes.events.cloud import Data
from tespes.events.types import Event

EXCHANGE: Final = "tespes.events"
_VERSION: Final = "3.0.0"
_BINDING: Final = "0.3.0"
_SCHEMAS: Final = "#/components/schemas/"
_OWN: Final = "#/$defs/"
_PERSISTENT: Final = 2
_ABOUT: Final = ("task", "pulsar", "lease", "log", "webhook")
_DESCRIPTION: Final = """\
Every event of the log, at least once: CloudEvents 1.0 in the binary mode of their AMQP binding, attributes as headers and
data as body. First copies come in the order of the log, and copies have the same `id` and `sequence`: whoever has seen a
sequence drops whatever is not above it (but not in a queue with `x-overflow: reject-publish`, which mixes up the order:
bind none). What nobody has bound a queue for is gone: events of any age are at `GET /events`."""

_ATTRIBUTES: Final[dict[str, Data]] = {
    "specversion": {"const": cloud.SPECVERSION},
    "id": {"format": "uuid", "description": "Of the event, the same for every copy."},
    "source": {"format": "uri", "description": "Which TESPES."},
    "type": {"description": "What happened, and in which version."},
    "subject": {"description": "The stream: a task's id, or `pulsar:<name>` and the like."},
    "time": {"format": "date-time", "description": "When it was decided."},
    "dataschema": {"format": "uri", "description": "What names the schema of the data."},
    "sequence": {
        "pattern": r"^[0-9]{16}\.[0-9]{4}$",
        "description": "Position of the commit in the log, and place of the event in the commit: sorts as the log does.",
    },
    "partitionkey": {"description": "The same as `subject`."},
    "streamversion": {"pattern": "^[1-9][0-9]*$", "description": "Its place in its stream, from 1."},
    "owner": {"description": "Whose task it is."},
    "actor": {"description": "Who caused it."},
    "correlationid": {"description": "The request or message that it belongs to."},
    "causationid": {"description": "The event that led to it."},
    "traceparent": {"description": "W3C trace context of the request that began it."},
}
_OPTIONAL: Final = {"correlationid", "causationid", "traceparent"}


def document(version: str, exchange: str = EXCHANGE) -> Data:
    """The document.

    :param version: of TESPES; :param exchange: the name of the exchange
    """
    schemas: Data = {"Attributes": _attributes()}
    messages = {kind.__name__: _message(kind, schemas) for kind in get_args(Event)}
    return {
        "asyncapi": _VERSION,
        "info": {
            "title": "TESPES",
            "version": version,
            "description": _DESCRIPTION,
            "license": {"name": "MIT"},
        },
        "defaultContentType": cloud.CONTENT_TYPE,
        "channels": {"events": _channel(messages, exchange)},
        "operations": {"publishEvents": _operation()},
        "components": {"messages": messages, "schemas": dict(sorted(schemas.items()))},
    }


def _channel(messages: Data, exchange: str) -> Data:
    return {
        "address": "{about}.{event}.{owner}",
        "description": "The routing key. Bind a queue with `task.#`, `task.TaskCompleted.*`, `task.*.alice` and the like.",
        "parameters": {
            "about": {"description": "What kind of stream it is in.", "enum": list(_ABOUT)},
            "event": {"description": "What happened.", "enum": list(messages)},
            "owner": {"description": "Whose it is; what is no letter, digit or one of `_-~` is %-encoded."},
        },
        "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in messages},
        "bindings": {
            "amqp": {
                "is": "routingKey",
                "exchange": {"name": exchange, "type": "topic", "durable": True, "autoDelete": False},
                "bindingVersion": _BINDING,
            }
        },
    }


def _operation() -> Data:
    return {
        "action": "send",
        "channel": {"$ref": "#/channels/events"},
        "summary": "TESPES sends every event, persistent and confirmed.",
        "bindings": {"amqp": {"deliveryMode": _PERSISTENT, "mandatory": False, "timestamp": True, "bindingVersion": _BINDING}},
    }


def _message(kind: type[Event], schemas: Data) -> Data:
    name = kind.__name__
    said = {"type": cloud.type_of(name), "dataschema": cloud.dataschema(name)}
    own = {cloud.AMQP_PREFIX + attribute: {"const": value} for attribute, value in said.items()}
    return {
        "name": name,
        "summary": inspect.cleandoc(kind.__doc__ or "").partition("\n")[0],
        "contentType": cloud.CONTENT_TYPE,
        "headers": {"type": "object", "allOf": [{"$ref": f"{_SCHEMAS}Attributes"}, {"properties": own}]},
        "payload": _lifted(cloud.schema(name), schemas),
        "bindings": {"amqp": {"messageType": cloud.type_of(name), "bindingVersion": _BINDING}},
        "examples": [{"payload": cloud.public(examples.of(name))}],
    }


def _attributes() -> Data:
    """The headers that all messages have."""
    return {
        "type": "object",
        "properties": {cloud.AMQP_PREFIX + name: {"type": "string", **said} for name, said in _ATTRIBUTES.items()},
        "required": [cloud.AMQP_PREFIX + name for name in _ATTRIBUTES if name not in _OPTIONAL],
    }


def _lifted(schema: Data, schemas: Data) -> Data:
    """The schema, with its definitions where those of all schemas are."""
    schemas.update({name: _moved(each) for name, each in schema.get("$defs", {}).items()})
    return {name: _moved(each) for name, each in schema.items() if name != "$defs"}


def _moved(value: Any) -> Any:
    match value:
        case {"$ref": str(target)}:
            return value | {"$ref": target.replace(_OWN, _SCHEMAS)}
        case dict():
            return {name: _moved(each) for name, each in value.items()}
        case list():
            return [_moved(each) for each in value]
        case _:
            return value
