"""What holds for whatever is sent to POST /tasks: a task or a refusal; nothing is lost or added, and it fits the log."""

import json
from typing import Any, cast

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from submissions import EXECUTOR, echoed, executor, read, refused, source, target, task, tried
from tespes import errors, events, tes
from tespes.api.body import read_object
from tespes.api.problems import bad_request, from_error
from tespes.pulsar import Habits
from tespes.pulsar.plan import plan
from tespes.runner import mounts
from tespes.store.appender import COMMIT_BYTES
from tespes.tes import places


class TestSize:
    """A task is one commit of the log: at most 1 MiB; long contents are kept elsewhere."""

    @pytest.mark.parametrize(
        ("sent", "field"),
        [
            (task(name="n" * COMMIT_BYTES), "name"),
            (task(description="é" * (COMMIT_BYTES // 2)), "description"),
            (executor(command=["x" * 131_000] * 9), "executors"),
            (task(inputs=[source(f"/in/{n}") for n in range(30_000)]), "inputs"),
            (task(inputs=[source(f"/in/{n}", content="x") for n in range(60_000)]), "inputs"),
            (task(tags={"k": "v" * COMMIT_BYTES}), "tags"),
        ],
        ids=["name", "description", "command", "inputs", "many inputs", "tags"],
    )  # fmt: skip
    def test_a_task_that_is_too_large_is_told_what_of_it(self, sent: Any, field: str) -> None:
        """400 that names the largest part; never a failure of the store."""
        said = refused(json.dumps(sent, ensure_ascii=False).encode())
        assert said.field == field
        assert f"of them in {field}" in said.found
        assert said.allowed == "at most 1,048,576 bytes are expected, beside contents of inputs of more than 4,096 bytes"

    def test_long_contents_do_not_count(self) -> None:
        """Ten of them are ten times the limit of a commit."""
        read(task(inputs=[{"path": f"/in/{n}", "content": "x" * 2**20} for n in range(10)]))

    def test_short_contents_count(self) -> None:
        """They stand in the event."""
        assert refused(task(inputs=[{"path": f"/in/{n}", "content": "x" * 4096} for n in range(260)])).field == "inputs"

    @pytest.mark.parametrize(("name", "file"), [("inputs", source), ("outputs", target)])
    def test_the_limit_is_that_of_what_is_stored(self, name: str, file: Any) -> None:
        """Whatever TESPES fills in (`type`): as much as fits a commit is taken, and no more."""
        sizes_bytes = [len(stored(task(**{name: [file(f"/d/{number:05}") for number in range(count)]}))) for count in (1, 2)]
        fits = 1 + (COMMIT_BYTES - sizes_bytes[0]) // (sizes_bytes[1] - sizes_bytes[0])
        files = [file(f"/d/{number:05}") for number in range(fits + 1)]
        assert COMMIT_BYTES - 100 < len(stored(task(**{name: files[:-1]}))) <= COMMIT_BYTES
        assert refused(task(**{name: files})).field == name


def stored(sent: Any) -> str:
    """What stands in the log."""
    return events.encode(events.TaskCreated(task=read(sent).task)).data


# Any JSON, and JSON that is nearly a task.

_scalars = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.sampled_from(["/a", "/", "FILE", "\0"])
)
anything = st.recursive(
    _scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


def nearly(model: type[Any], **parts: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """An object with some of the model's fields, each of them right or anything."""
    fields = {name: parts.get(name, _scalars) | anything for name in model.model_fields}
    return st.fixed_dictionaries({}, optional=fields)


_paths = st.sampled_from(
    ["/a[b", "/a", "/a/b", "/a/b/c", "/b", "//a", "/a/.", "/a/*", "/opt", "/opt/x", "/usr/x", "/c/", "/a-", "b", "/"]
)
_words = st.text(max_size=4)
_objects = st.dictionaries(_words, _words | anything, max_size=3)
_file = {"path": _paths, "url": st.just("u"), "type": st.sampled_from(["FILE", "DIRECTORY"]), "path_prefix": _paths}
_streams = dict.fromkeys(("workdir", "stdin", "stdout", "stderr"), _paths)
nearly_tasks = nearly(
    tes.Task,
    inputs=st.lists(nearly(tes.Input, **_file), max_size=3),
    outputs=st.lists(nearly(tes.Output, **_file), max_size=3),
    executors=st.lists(nearly(tes.Executor, image=_words, command=st.lists(_words), env=_objects, **_streams), max_size=2),
    resources=nearly(tes.Resources, backend_parameters=_objects),
    volumes=st.lists(_paths, max_size=2),
    tags=_objects,
)


@settings(max_examples=300)
@given(st.binary(max_size=50) | (anything | nearly_tasks).map(lambda value: json.dumps(value).encode()))
def test_whatever_comes_is_a_task_or_a_bad_request(body: bytes) -> None:
    """Never another error; and the answer can be written, in words that are ours."""
    said = tried(body)
    if isinstance(said, errors.BadRequest):
        answer = cast("bytes", from_error(said).body)
        assert orjson.loads(answer)["field"] == said.field
        assert "Input should" not in said.allowed
        assert "another value" not in said.allowed


_quotes = st.lists(st.sampled_from(["Q", "/", "u0022", "b"]), max_size=4).map("".join)
_around_quotes = st.recursive(_quotes, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_quotes, inner, max_size=3))


@settings(max_examples=300)
@given(
    st.dictionaries(_quotes, _around_quotes, max_size=3), st.sampled_from(['\\"', "\\u0022"]), st.sampled_from(["/", "\\\\"])
)
def test_only_a_key_that_comes_twice_is_one(value: dict[str, Any], quote: str, slash: str) -> None:
    """However the quotes in texts are spelled, and with backslashes before them."""
    body = json.dumps(value).replace("Q", quote).replace("/", slash)
    assert read_object(body.encode()) == json.loads(body)
    twice = f'{{"x": 1, "\\u0078": {body}}}'
    with pytest.raises(errors.BadRequest, match="the key 'x' twice"):
        read_object(twice.encode())


def _was_sent(shown: Any, sent: Any) -> None:
    """Everything that is shown was sent; only `type` may be filled in."""
    match shown:
        case dict():
            for name, entry in shown.items():
                _was_sent(entry, sent.get("type") or "FILE" if name == "type" else sent[name])
        case list():
            assert len(shown) == len(sent)
            for entry, sent_entry in zip(shown, sent, strict=True):
                _was_sent(entry, sent_entry)
        case _:
            assert shown == sent


_characters = st.characters(exclude_characters="\0", exclude_categories=["Cs"])
_paths_of_files = st.sampled_from(
    ["/a", "/a/b", "/a/b/c", "/b", "//a", "/a/.", "/opt/x", "/opt/x/y", "/usr/x", "/c/", "/a-", "/a-/b"]
)
_types = st.sampled_from(["FILE", "DIRECTORY"])
_wildcards = st.sampled_from(["*", "b/*.txt", "?/c", "[a]", "\\\\b/*"])
_patterns = st.builds(lambda path, name: target(f"{path}/{name}", path_prefix=path), _paths_of_files, _wildcards)
_right_streams = st.fixed_dictionaries({}, optional=dict.fromkeys(("stdin", "stdout", "stderr", "workdir"), _paths_of_files))
right_tasks = st.fixed_dictionaries(
    {"executors": st.lists(_right_streams.map(lambda streams: {**EXECUTOR, **streams}), min_size=1, max_size=2)},
    optional={
        "name": st.text(_characters, max_size=9) | st.none(),
        "inputs": st.lists(st.builds(source, _paths_of_files, type=_types), max_size=3),
        "outputs": st.lists(st.builds(target, _paths_of_files, type=_types) | _patterns, max_size=4),
        "volumes": st.lists(_paths_of_files, max_size=2),
        "resources": st.fixed_dictionaries({}, optional={"ram_gb": st.floats(0, 1e9), "preemptible": st.booleans()}),
        "tags": st.dictionaries(st.text(_characters, min_size=1), st.just("v") | st.none()),
    },
)  # fmt: skip


@given(right_tasks)
def test_what_is_taken_comes_back_from_the_log_and_is_what_was_sent(sent: dict[str, Any]) -> None:
    """Event, bytes, event, view: only what was sent, no null, `type` always there."""
    if isinstance(tried(sent), errors.BadRequest):
        return
    shown = echoed(sent)
    _was_sent(shown, sent)
    assert {name for name, value in sent.items() if value is not None} == set(shown)
    assert "null" not in orjson.dumps({**shown, "name": "", "tags": {}}).decode()
    assert all("type" in file for file in [*shown.get("inputs", []), *shown.get("outputs", [])])


@settings(max_examples=500)
@given(right_tasks)
def test_the_runner_refuses_no_paths_that_were_taken(sent: dict[str, Any]) -> None:
    """What the node would refuse and the submission can know is a 400, not a SYSTEM_ERROR: nothing contradicts, and what
    commands write is not read-only.
    """
    submitted = tried(sent)
    if isinstance(submitted, errors.BadRequest):
        return
    planned: Any = plan("1-1", submitted.task, {"kind": "sandbox"}, Habits(), lambda *_: True)
    layout = mounts.lay_out(planned, "/job")
    streams = [executor.get(name) for executor in planned["executors"] for name in ("stdout", "stderr")]
    for path in (*planned["volumes"], *filter(None, streams)):
        mount = layout.mount_of(mounts.absolute("path", path))
        assert mount is not None
        assert not mount.read_only or path in planned["volumes"]
    for mount in layout.mounts:
        assert not any(
            mount.is_file and mounts.is_within(other.container_path, mount.container_path + "/") for other in layout.mounts
        )


def test_the_runner_and_the_submission_know_the_same_system_directories() -> None:
    """Two programs, one list."""
    assert places.SYSTEM_DIRECTORIES == mounts.SYSTEM_DIRECTORIES
    assert set(places.NEVER_HIDDEN) == set(mounts._NEVER_HIDDEN)


@given(st.text(max_size=3), st.sampled_from(["tags", "env"]))
def test_half_a_character_in_a_bodys_key_breaks_no_answer(text: str, field: str) -> None:
    """Runners' bodies are read by pydantic alone: what it names in its complaint can be written."""
    with pytest.raises(ValidationError) as caught:
        tes.Task.model_validate({"executors": [], field: {}, "tags": {"\ud800" + text: 1}})
    assert orjson.loads(cast("bytes", from_error(bad_request(caught.value)).body))["field"].startswith("tags")
