"""Events as they are stored: today's, yesterday's and tomorrow's; and the contracts that are published."""

import json
import traceback
from pathlib import Path
from typing import Any, get_args

import jsonschema
import orjson
import pytest
from hypothesis import given

import strategies
from tespes import contracts, errors, events
from tespes.events import Encoded, canonical, codec, examples, moment, upcast
from tespes.projections import READ_MODELS, ReadModel, fold

ROOT = Path(__file__).parents[2]
KINDS = get_args(events.Event)
PUBLISHED = sorted((ROOT / "events").glob("*.example.json"))


@given(strategies.any_event)
def test_every_event_comes_back_as_it_went_in(event: events.Event) -> None:
    """Round trip; and what is stored is canonical: reading and writing it again gives the same bytes."""
    encoded = events.encode(event)
    assert events.decode(encoded) == event
    assert canonical.dumps(json.loads(encoded.data, parse_int=float)).decode() == encoded.data
    assert events.encode(events.decode(encoded)) == encoded


@given(strategies.any_event)
def test_every_event_fits_its_schema(event: events.Event) -> None:
    """The published schema describes whatever is stored."""
    encoded = events.encode(event)
    jsonschema.validate(json.loads(encoded.data), codec.schema(encoded.type))


@given(strategies.moments)
def test_moments_keep_their_milliseconds_and_their_order(at: Any) -> None:
    """Texts of one width in UTC, so that they sort as the moments do."""
    text = moment.text(at)
    assert moment.read(text) == at
    assert len(text) == len("2026-11-22T12:00:00.000Z")


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_event_has_an_example(kind: type[events.Event]) -> None:
    """House rule 6: an example of each event."""
    assert isinstance(examples.of(kind.__name__), kind)


@pytest.mark.parametrize(("name", "version"), [("TaskPondered", 1), ("TaskCreated", 2), ("TaskCreated", 99), ("", 1)])
def test_what_is_not_known_is_named(name: str, version: int) -> None:
    """An event of a newer release: UnknownEvent, never a guess."""
    with pytest.raises(errors.UnknownEvent, match=f"{name} version {version}"):
        events.decode(Encoded(name, version, "{}"))


@pytest.mark.parametrize(
    "data",
    [
        '{"task":{"executors":[{"command":["x"],"env":{"KEY":"hunter2"}}]}}',
        '{"task":{"executors":[{"image":"a","command":["x"],"env":{"KEY":["hunter2"]}}]}}',
        '{"task":{"executors":[{"image":"a","command":["x"],"env":{"KEY":"hunter2"}}}',
    ],
)
def test_what_cannot_be_read_is_not_quoted(data: str) -> None:
    """The text says where, and what is expected there: it goes into log lines, which have no users' variables in them."""
    with pytest.raises(errors.CorruptLog, match="TaskCreated version 1 does not decode: ") as raised:
        events.decode(Encoded("TaskCreated", 1, data))
    assert "hunter2" not in "".join(traceback.format_exception(raised.value))


@pytest.mark.parametrize("version", [0, -1])
def test_a_version_that_never_was_is_unknown(version: int) -> None:
    """Versions count from 1."""
    with pytest.raises(errors.UnknownEvent):
        events.decode(Encoded("TaskDeferred", version, '{"reason":"x"}'))


@pytest.mark.parametrize("data", ["", "{", "[]", "null", "{}", '{"reason":1}', '{"reason":null}'])
def test_data_of_another_shape_are_corrupt(data: str) -> None:
    """The data do not have the shape that their type and version promise."""
    with pytest.raises(errors.CorruptLog, match="TaskDeferred version 1"):
        events.decode(Encoded("TaskDeferred", 1, data))


def test_fields_of_a_newer_release_are_ignored() -> None:
    """A field that this release does not know breaks nothing."""
    assert events.decode(Encoded("TaskDeferred", 1, '{"later":[1],"reason":"x"}')) == events.TaskDeferred(reason="x")


class TestUpcasting:
    """Old versions are lifted on reading, one step at a time."""

    @pytest.fixture(autouse=True)
    def _two_versions_ago(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """TaskDeferred had `why` in version 1 and `because` in version 2; today, version 3, it is `reason`."""
        monkeypatch.setitem(codec.VERSIONS, "TaskDeferred", 3)
        monkeypatch.setitem(upcast.UPCASTERS, ("TaskDeferred", 1), lambda data: {"because": data["why"]})
        monkeypatch.setitem(upcast.UPCASTERS, ("TaskDeferred", 2), lambda data: {"reason": data["because"] + "!"})

    @pytest.mark.parametrize(("version", "data"), [(1, {"why": "full"}), (2, {"because": "full"}), (3, {"reason": "full!"})])
    def test_every_version_reads_as_today(self, version: int, data: dict[str, str]) -> None:
        """Whatever the version, the same event."""
        encoded = Encoded("TaskDeferred", version, json.dumps(data))
        assert events.decode(encoded) == events.TaskDeferred(reason="full!")

    def test_what_is_written_is_of_today(self) -> None:
        """The newest version is written."""
        assert events.encode(events.TaskDeferred(reason="x")) == Encoded("TaskDeferred", 3, '{"reason":"x"}')

    def test_the_future_stays_unknown(self) -> None:
        """Version 4 is not known to this release."""
        with pytest.raises(errors.UnknownEvent):
            events.decode(Encoded("TaskDeferred", 4, "{}"))

    @pytest.mark.parametrize("data", ["{", '{"because":1}', "{}", "[]"])
    def test_old_data_of_another_shape_are_corrupt(self, data: str) -> None:
        """An upcaster that meets what its version never had: CorruptLog, not a stray exception."""
        with pytest.raises(errors.CorruptLog, match="TaskDeferred version 2"):
            events.decode(Encoded("TaskDeferred", 2, data))

    def test_a_step_that_is_missing_is_no_wrong_guess(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Without the upcaster nothing is read."""
        monkeypatch.delitem(upcast.UPCASTERS, ("TaskDeferred", 1))
        with pytest.raises(errors.CorruptLog):
            events.decode(Encoded("TaskDeferred", 1, '{"why":"full"}'))


def test_every_older_version_has_an_upcaster() -> None:
    """House rule 6: a new meaning is a new version with an upcaster."""
    steps = {(name, version) for name, newest in codec.VERSIONS.items() for version in range(1, newest)}
    assert steps == set(upcast.UPCASTERS)


class TestContracts:
    """What people outside code against."""

    def test_the_published_files_are_what_the_code_says(self) -> None:
        """`tespes contracts write` would change nothing; no older file was removed."""
        written = {str(path): text for path, text in contracts.files()}
        published = {path: (ROOT / path).read_text() for path in written if (ROOT / path).exists()}
        assert published == written

    @pytest.mark.parametrize("path", PUBLISHED, ids=lambda path: path.name)
    def test_every_example_ever_published_still_decodes(self, path: Path) -> None:
        """Of every version, for ever."""
        name, version, *_ = path.name.split(".")
        event = events.decode(Encoded(name, int(version[1:]), path.read_text()))
        assert type(event).__name__ == name

    @pytest.mark.parametrize("path", PUBLISHED, ids=lambda path: path.name)
    def test_every_example_fits_its_schema(self, path: Path) -> None:
        """Schema and example of one version belong together, and the schema is one."""
        schema = orjson.loads(path.with_name(path.name.replace(".example.", ".schema.")).read_bytes())
        jsonschema.Draft202012Validator.check_schema(schema)
        jsonschema.validate(orjson.loads(path.read_bytes()), schema)

    def test_there_is_an_example_of_every_version_ever(self) -> None:
        """A version that was published stays."""
        published = {path.name.removesuffix(".example.json") for path in PUBLISHED}
        versions = {f"{name}.v{v}" for name, newest in codec.VERSIONS.items() for v in range(1, newest + 1)}
        assert versions <= published

    @pytest.mark.parametrize("model", READ_MODELS, ids=lambda model: model.stem)
    def test_the_example_of_a_view_is_its_fold(self, model: ReadModel) -> None:
        """The read side's example follows from the write side's, and fits its schema."""
        stem = f"{model.name}.v{model.version}"
        example = orjson.loads((ROOT / "projections" / f"{stem}.example.json").read_bytes())
        schema = orjson.loads((ROOT / "projections" / f"{stem}.schema.json").read_bytes())
        assert example == fold(model, examples.history())
        jsonschema.Draft202012Validator.check_schema(schema)
        jsonschema.validate(example, schema)
