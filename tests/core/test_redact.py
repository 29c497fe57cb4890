"""What may be taken out of events, and what is left: it still decodes, and still says what was hashed."""

import hashlib
import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

import given as g
import strategies
from tespes import events, tes
from tespes.events import Encoded, Kept, Meta, Outcome, chain, codec, redact

CREATED = events.TaskCreated(
    task=tes.Task(
        name="a secret project",
        tags={"org.example.patient": "Doe", "org": "x"},
        inputs=(
            tes.Input(path="/in/a", content=""),
            tes.Input(path="/in/b", url="https://user:word@example.org/b"),
        ),
        executors=(tes.Executor(image="alpine", command=("run", "--token=abc"), env={"PASSWORD": "s", "A.B": "t"}),),
    ),
    kept=(Kept(place="inputs.0.content", sha256="ab" * 32, size_bytes=9000),),
)


def left_of(event: events.Event, *fields: str) -> redact.Left:
    """What is left of it."""
    return redact.without(codec.encode(event), fields)


def texts(encoded: Encoded) -> dict[str, object]:
    """Its data."""
    found: dict[str, object] = json.loads(encoded.data)
    return found


@pytest.mark.parametrize(
    ("field", "gone"),
    [
        ("task.executors.0.env.PASSWORD", {'"s"'}),
        ("task.executors.0.env.A.B", {'"t"'}),
        ("task.executors.0.env", {'"s"', '"t"'}),
        ("task.executors.0.command.1", {"--token=abc"}),
        ("task.inputs.1.url", {"user:word"}),
        ("task.tags.org.example.patient", {"Doe"}),
        ("task.tags.org", {'"x"'}),
        ("task.name", {"a secret project"}),
        ("task.inputs.0.content", {"ab" * 32}),
        ("task", {'"s"', '"t"', "run", "--token=abc", "user:word", "Doe", '"x"', "a secret project", "ab" * 32}),
    ],
)
def test_a_field_means_the_texts_below_it_and_no_others(field: str, gone: set[str]) -> None:
    """A key with dots in it is one part of a name; everything else stays as it was."""
    before, left = codec.encode(CREATED), left_of(CREATED, field)
    everything = {'"s"', '"t"', "run", "--token=abc", "user:word", "Doe", '"x"', "a secret project", "ab" * 32}
    assert {each for each in everything if each not in left.encoded.data} == gone
    assert left.fields == (field,)
    assert left.encoded.sha256 == hashlib.sha256(before.data.encode()).hexdigest()
    assert isinstance(codec.decode(left.encoded), events.TaskCreated)


@pytest.mark.parametrize(
    "field", ["task.executors.0.image", "task.inputs.0.path", "task.executors.1.env", "nothing", "task.name.x"]
)
def test_what_an_event_is_about_stays(field: str) -> None:
    """Images and paths are not taken out, and what is not there cannot be."""
    assert left_of(CREATED, field) == redact.Left(codec.encode(CREATED), (), ())


def test_a_text_beside_the_event_is_not_named_any_more() -> None:
    """Its place says that it is gone; whoever keeps it learns its name."""
    left = left_of(CREATED, "task.inputs.0.content")
    assert left.blobs == ("ab" * 32,)
    created = codec.decode(left.encoded)
    assert isinstance(created, events.TaskCreated)
    assert created.kept == ()
    assert created.task.inputs is not None
    assert created.task.inputs[0].content == redact.REDACTED


def test_a_list_beside_the_event_stays_empty() -> None:
    """Files that were too many to stand in the event."""
    ended = replace(g.over(Outcome.SUCCEEDED), kept=(Kept(place="outputs", sha256="cd" * 32, size_bytes=90_000),))
    left = left_of(ended, "outputs")
    assert left.blobs == ("cd" * 32,)
    assert (texts(left.encoded)["kept"], texts(left.encoded)["outputs"]) == ([], [])


@given(strategies.any_event, st.sampled_from(["task", "reason", "stdout", "notes", "outputs", "inputs"]))
def test_taking_out_twice_is_taking_out_once(event: events.Event, field: str) -> None:
    """Whoever was cut off asks again: the same is left, and it decodes."""
    left = left_of(event, field)
    again = redact.without(left.encoded, [field])
    assert again.encoded == left.encoded
    assert type(codec.decode(left.encoded)) is type(event)


@given(strategies.any_event)
def test_the_chain_does_not_notice(event: events.Event) -> None:
    """What was hashed is known by its digest."""
    meta = Meta(at=g.at(0), actor="a", owner="a")
    commit = events.commit("0" * 32, "s", 1, [event], meta)
    left = tuple(redact.without(each, ["task", "reason", "stdout"]).encoded for each in commit.events)
    assert chain.data_hash("s", left) == chain.data_hash("s", commit.events)


def test_readers_of_a_stream_see_what_is_left_before_it_is_stored() -> None:
    """The event that says so is enough."""
    meta = Meta(at=g.at(0), actor="a", owner="a")
    created = chain.link(events.commit("0" * 32, "s", 1, [CREATED], meta), "d", chain.EMPTY)
    order = events.DataRedacted(position=1, index=0, reason="r", fields=("task.name",), sha256="x")
    ordered = chain.link(events.commit("1" * 32, "s", 2, [order], meta), "d", chain.head_of(created))
    (seen, _) = redact.heeded([created, ordered])
    assert "a secret project" not in seen.commit.events[0].data
    assert redact.heeded([seen, ordered])[0] == seen
    assert redact.heeded([created]) == [created]
