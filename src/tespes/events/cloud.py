"""Events as everybody may see them: CloudEvents 1.0, by whatever door (AMQP, HTTP, webhooks).

What users keep to themselves is left out: the inputs' contents, the values of environment variables, and what executors
wrote. In the place of each such text stand its digest and its size; of the texts of an event after the first thousand there
is nothing, so that many short ones do not become something large. URLs of files are without login and query.

    sequence      = position of the commit in the log (16 digits), a dot, place of the event in the commit (4 digits)
    partitionkey  = subject = the stream: a task's id, or `pulsar:<name>` and the like
    routing key   = what it is about, its type, its owner: `task.TaskCompleted.anonymous`

The sequence sorts as the log does, as a text too: who has seen one may drop whatever is not above it. Its first part is
the position, the cursor of every door.
"""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count
from typing import Any, Final
from urllib.parse import quote

import orjson

from tespes import errors, events
from tespes.events import codec, moment
from tespes.events.record import Entry, event_id, nth
from tespes.tes import urls

SPECVERSION: Final = "1.0"
CONTENT_TYPE: Final = "application/json"
TYPE_PREFIX: Final = "org.tespes."
AMQP_PREFIX: Final = "cloudEvents_"  # of attributes among the headers, in the binary mode of the AMQP binding
_DIGESTS: Final = 1000  # in an event
_KEY_CHARACTERS: Final = 120  # RabbitMQ takes 255 bytes in a routing key

Data = dict[str, Any]


@dataclass(frozen=True, slots=True)
class CloudEvent:
    """One event for others.

    :param attributes: of CloudEvents 1.0 and its extensions, in the standard's words
    :param data: see the module; :param position: of its commit; :param routing_key: for a topic exchange
    """

    attributes: dict[str, str]
    data: Data
    position: int
    routing_key: str

    @property
    def id(self) -> str:
        """The same for every copy."""
        return self.attributes["id"]

    def document(self) -> Data:
        """In JSON format: attributes and data side by side."""
        return {**self.attributes, "datacontenttype": CONTENT_TYPE, "data": self.data}

    def body(self) -> bytes:
        """The data as bytes, for the binary mode: attributes go into headers."""
        return orjson.dumps(self.data)


def of(entry: Entry, source: str, skip: Callable[[errors.TespesError], None] | None = None) -> Iterator[CloudEvent]:
    """The events of an entry, in order.

    :param source: which TESPES, a URI
    :param skip: is told of each event that cannot be read, which is left out then; None: that is raised
    :raises errors.UnknownEvent: see `codec.decode`; so does errors.CorruptLog
    """
    for index in range(len(entry.commit.events)):
        try:
            event = one(entry, index, source)
        except (errors.UnknownEvent, errors.CorruptLog) as error:
            if skip is None:
                raise
            skip(error)
        else:
            yield event


def source(service_id: str) -> str:
    """What events of that service carry as their source."""
    return f"urn:tespes:{quote(service_id)}"


def sequence(position: int, index: int) -> str:
    """See the module."""
    return f"{position:016}.{index:04}"


def type_of(name: str) -> str:
    """The CloudEvents type of an event's newest version."""
    return f"{TYPE_PREFIX}{name}.v{codec.VERSIONS[name]}"


def dataschema(name: str) -> str:
    """What names the schema of its data; see `schema`."""
    return f"urn:tespes:event:{name}:v{codec.VERSIONS[name]}"


def schema(name: str) -> Data:
    """The JSON Schema of an event's data as others see them."""
    found = codec.schema(name)
    definitions = found.get("$defs", {})
    if name == "TaskCreated":
        definitions["Input"]["properties"]["content"] = _PERHAPS_SCHEMA
        definitions["Executor"]["properties"]["env"] = {"type": "object", "additionalProperties": _PERHAPS_SCHEMA}
    if name == "ExecutorEnded":
        found["properties"] |= {"stdout": _TEXT_SCHEMA, "stderr": _TEXT_SCHEMA}
    return found


def public(event: events.Event) -> Data:
    """The data of an event as others see them."""
    return _public(codec.encode(event))


def one(entry: Entry, index: int, source: str) -> CloudEvent:
    """The event at that place of the commit, counted from 0; raises as `of` does."""
    recorded = nth(entry, index)
    name, meta = type(recorded.event).__name__, recorded.meta
    said = {
        "correlationid": meta.correlation,
        "causationid": meta.causation,
        "traceparent": meta.traceparent,
    }
    attributes = {
        "specversion": SPECVERSION,
        "id": event_id(entry.commit.id, index),
        "source": source,
        "type": type_of(name),
        "subject": recorded.stream,
        "time": moment.text(recorded.at),
        "dataschema": dataschema(name),
        "sequence": sequence(recorded.position, index),
        "partitionkey": recorded.stream,
        "streamversion": str(recorded.version),
        "owner": meta.owner,
        "actor": meta.actor,
    } | {key: value for key, value in said.items() if value is not None}
    stored = entry.commit.events[index]
    data = _public(stored) if stored.v == codec.VERSIONS[name] else public(recorded.event)
    return CloudEvent(attributes, data, recorded.position, routing_key(recorded.stream, name, meta.owner))


def routing_key(stream: str, name: str, owner: str) -> str:
    """What a topic exchange finds it by. A word of it never has a dot: what is no letter, digit or `_-~` is %-encoded."""
    kind = "task" if events.is_task(stream) else stream.partition(":")[0]
    return f"{kind}.{name}.{_word(owner)}"


def _public(encoded: codec.Encoded) -> Data:
    data: Data = orjson.loads(encoded.data)
    return _HIDE[encoded.type](data) if encoded.type in _HIDE else data


def _word(text: str) -> str:
    word = quote(text, safe="").replace(".", "%2E")
    return word if len(word) <= _KEY_CHARACTERS else hashlib.sha256(text.encode()).hexdigest()


def _without_contents(data: Data) -> Data:
    task, seen = data["task"], count()
    if "inputs" in task:
        task["inputs"] = [_hidden(_shown(each), "content", seen) for each in task["inputs"]]
    if "outputs" in task:
        task["outputs"] = [_shown(each) for each in task["outputs"]]
    task["executors"] = [_without_values(each, seen) for each in task["executors"]]
    return data


def _shown(file: Data) -> Data:
    return {**file, "url": urls.shown(file["url"])} if "url" in file else file


def _without_values(executor: Data, seen: Iterator[int]) -> Data:
    if "env" not in executor:
        return executor
    return {**executor, "env": {name: _digest(value, seen) for name, value in executor["env"].items()}}


def _without_output(data: Data) -> Data:
    seen = count()
    return _hidden(_hidden(data, "stdout", seen), "stderr", seen)


def _hidden(data: Data, name: str, seen: Iterator[int]) -> Data:
    return {**data, name: _digest(data[name], seen)} if name in data else data


def _digest(text: str, seen: Iterator[int]) -> Data | None:
    """What stands in the place of a text.

    :param seen: counts the texts of the event
    """
    if next(seen) >= _DIGESTS:
        return None
    content = text.encode()
    return {"sha256": hashlib.sha256(content).hexdigest(), "size_bytes": len(content)}


_HIDE: dict[str, Callable[[Data], Data]] = {"TaskCreated": _without_contents, "ExecutorEnded": _without_output}
_TEXT_SCHEMA: Data = {
    "type": "object",
    "description": "A text that is not shown.",
    "properties": {"sha256": {"type": "string"}, "size_bytes": {"type": "integer", "minimum": 0}},
    "required": ["sha256", "size_bytes"],
}
_PERHAPS_SCHEMA: Data = {"anyOf": [_TEXT_SCHEMA, {"type": "null"}]}
