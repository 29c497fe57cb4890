"""The AsyncAPI document: it is one, and it describes what is published."""

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any, get_args

import jsonschema
import pytest
from hypothesis import given

import given as g
import strategies
from tespes import events
from tespes.events import Entry, Meta, asyncapi, cloud, codec, examples

ROOT = Path(__file__).parents[2]
STANDARD = json.loads((ROOT / "tests" / "data" / "asyncapi" / "3.0.0.json").read_text())
DOCUMENT = asyncapi.document("1.2.3", "elsewhere")
KINDS = get_args(events.Event)
META = Meta(
    at=g.at(0), actor="pulsar:site-a", owner="alice@example.org", correlation="c", causation="e", traceparent="00-1-2-01"
)


def schema_of(name: str, part: str) -> dict[str, Any]:
    """What the document says of a part of a message."""
    return {"$ref": f"#/components/messages/{name}/{part}", "components": DOCUMENT["components"]}


def cloud_event(event: events.Event) -> cloud.CloudEvent:
    """The event, as it is published."""
    commit = events.commit("0b5d8b5e-6c3b-4c0e-9f2e-8f3d5a5c7b1a", "ab" * 16, 3, [event], META)
    (found,) = cloud.of(Entry(commit, 17, "", "", ""), cloud.source("org.example.tes"))
    return found


def refs(value: Any) -> Iterator[str]:
    """Every reference in it."""
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        for each in value.values():
            yield from refs(each)
    if isinstance(value, list):
        for each in value:
            yield from refs(each)


def test_it_is_an_asyncapi_document() -> None:
    """By the JSON Schema that the AsyncAPI initiative publishes."""
    jsonschema.Draft7Validator(STANDARD).validate(DOCUMENT)


def test_every_reference_leads_somewhere() -> None:
    """Within the document."""
    for target in set(refs(DOCUMENT)):
        found: Any = DOCUMENT
        for part in target.removeprefix("#/").split("/"):
            found = found[part]


def test_it_names_the_exchange_of_the_settings() -> None:
    """And what kind it is."""
    exchange = DOCUMENT["channels"]["events"]["bindings"]["amqp"]["exchange"]
    assert exchange == {"name": "elsewhere", "type": "topic", "durable": True, "autoDelete": False}


def test_definitions_that_events_share_are_the_same() -> None:
    """They stand in one place, so one of a name must not hide another."""
    found: dict[str, Any] = {}
    for kind in KINDS:
        for name, definition in cloud.schema(kind.__name__).get("$defs", {}).items():
            assert found.setdefault(name, definition) == definition
            assert name not in codec.VERSIONS


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_event_is_described(kind: type[events.Event]) -> None:
    """With a line of its own words, and an example that fits."""
    message = DOCUMENT["components"]["messages"][kind.__name__]
    assert message["summary"]
    (example,) = message["examples"]
    jsonschema.validate(example["payload"], schema_of(kind.__name__, "payload"))


@given(strategies.any_event)
def test_whatever_is_published_fits(event: events.Event) -> None:
    """Headers and body, whatever the event."""
    name, published = type(event).__name__, cloud_event(event)
    headers = {cloud.AMQP_PREFIX + attribute: value for attribute, value in published.attributes.items()}
    jsonschema.validate(headers, schema_of(name, "headers"))
    jsonschema.validate(json.loads(published.body()), schema_of(name, "payload"))
    assert headers.keys() == DOCUMENT["components"]["schemas"]["Attributes"]["properties"].keys()
    about, word, owner = published.routing_key.split(".")
    assert about in DOCUMENT["channels"]["events"]["parameters"]["about"]["enum"]
    assert (word, owner) == (name, "alice%40example%2Eorg")


def test_attributes_without_a_value_are_left_out() -> None:
    """An event that nobody asked for has no correlation."""
    commit = events.commit("0b5d8b5e-6c3b-4c0e-9f2e-8f3d5a5c7b1a", "pulsar:a", 1, [examples.of("PulsarEnabled")], META)
    bare = Meta(at=META.at + timedelta(seconds=1), actor="tespes", owner="tespes")
    commit = events.Commit(id=commit.id, stream=commit.stream, version=1, events=commit.events, meta=bare)
    (published,) = cloud.of(Entry(commit, 1, "", "", ""), "urn:x")
    assert not {"correlationid", "causationid", "traceparent"} & published.attributes.keys()
    assert published.routing_key == "pulsar.PulsarEnabled.tespes"
