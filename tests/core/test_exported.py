"""An export that was edited: whatever was changed in it is found, or cannot be read; never is it sound."""

import uuid
from collections.abc import Iterator
from typing import Any

import orjson
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import crates
import given as g
from tespes import errors, events
from tespes.events import Entry, Meta, chain, seal
from tespes.flow import exported
from tespes.flow.export import FORMAT, Proof, Slice
from tespes.flow.reading import Known
from tespes.store import layout

KEY = seal.key(b"of the tests")
KNOWN = Known(frozenset({seal.public(KEY)}))
META = Meta(at=g.at(0), actor="ada", owner="ada")

Path = tuple[str | int, ...]


def log() -> list[Entry]:
    """A task's history, and a seal over it."""
    entries: list[Entry] = []
    for version, event in enumerate(crates.COMPLETE, start=1):
        link(entries, events.commit(str(uuid.UUID(int=version)), g.TASK, version, (event,), META))
    head = seal.sealed(1, [entry.hash for entry in entries], KEY)
    link(entries, events.commit(str(uuid.UUID(int=100)), seal.STREAM, 1, (head,), META))
    return entries


def link(entries: list[Entry], commit: events.Commit) -> None:
    """The next entry."""
    head = chain.head_of(entries[-1]) if entries else chain.EMPTY
    entries.append(chain.link(commit, chain.data_hash(commit.stream, commit.events), head))


def of_the_task() -> list[Any]:
    """Its export."""
    entries = log()[:-1]
    hashes = [entry.hash for entry in entries]
    head = seal.sealed(1, hashes, KEY)
    proofs = (
        Proof(entry.position, index, len(hashes), seal.path(hashes, index), head.position)
        for index, entry in enumerate(entries)
    )
    found = Slice(g.TASK, tuple(entries), (head,), tuple(proofs), ())
    return [orjson.loads(line) for line in found.lines()]


def of_the_log() -> list[Any]:
    """That of everything."""
    entries = log()
    first = {"record": "log", "format": FORMAT, "position": entries[-1].position, "hash": entries[-1].hash}
    return [first, *({"record": "entry", **layout.document(entry)} for entry in entries)]


EXPORTS = {"task": of_the_task(), "log": of_the_log()}
anything = st.sampled_from((None, "", 0, -1, 1.5, 10**18, [], {}, "x", "é\0", "00" * 32, [1], {"a": 1}, "2026"))


def places(value: Any, path: Path = ()) -> Iterator[Path]:
    """The paths of everything that can be changed."""
    if path:
        yield path
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, each in inside:
        yield from places(each, (*path, name))


def changed(value: Any, path: Path, new: Any) -> Any:
    """The value with something else at that place."""
    if not path:
        return new
    inside = changed(value[path[0]], path[1:], new)
    if isinstance(value, dict):
        return {**value, path[0]: inside}
    return [inside if index == path[0] else each for index, each in enumerate(value)]


@pytest.mark.parametrize("lines", EXPORTS.values(), ids=EXPORTS)
def test_what_was_exported_is_sound(lines: list[Any]) -> None:
    """As long as nobody changes it."""
    assert exported.verify(map(orjson.dumps, lines), KNOWN).flaws == ()


@pytest.mark.parametrize("lines", EXPORTS.values(), ids=EXPORTS)
@settings(max_examples=150)
@given(data=st.data())
def test_whatever_is_changed_is_found(lines: list[Any], data: st.DataObject) -> None:
    """Anything in any line becomes anything else; nothing but `CorruptLog` is ever raised."""
    path = data.draw(st.sampled_from(list(places(lines))))
    edited = changed(lines, path, data.draw(anything))
    assume(edited != lines)
    assert is_refused([orjson.dumps(line) for line in edited])


@pytest.mark.parametrize("lines", EXPORTS.values(), ids=EXPORTS)
@given(data=st.data())
def test_whatever_is_missing_is_found(lines: list[Any], data: st.DataObject) -> None:
    """But for a task's last commit: that there was one, only the whole log says."""
    left_out = data.draw(st.integers(0, len(lines) - 1))
    entries = [index for index, each in enumerate(lines) if each["record"] == "entry"]
    assume(lines[0]["record"] == "log" or left_out != entries[-1])
    assert is_refused([orjson.dumps(line) for line in lines[:left_out] + lines[left_out + 1 :]])


@pytest.mark.parametrize("lines", EXPORTS.values(), ids=EXPORTS)
@given(data=st.data())
def test_whatever_is_cut_off_is_found(lines: list[Any], data: st.DataObject) -> None:
    """After any line, also the first. Of a task its last lines are what proves it."""
    left = data.draw(st.integers(0, len(lines) - 1))
    assert is_refused([orjson.dumps(line) for line in lines[:left]])


def test_a_name_that_stands_twice_in_a_line_is_found() -> None:
    """Else one reader takes the first of them and the other one the last, and only one of them was checked."""
    lines = [orjson.dumps(line) for line in EXPORTS["task"]]
    twice = lines[1].replace(b'{"record":"entry",', b'{"record":"entry","stream":"another",', 1)
    assert twice != lines[1]
    assert is_refused([lines[0], twice, *lines[2:]])


def test_only_what_is_proven_counts_as_sealed() -> None:
    """A proof of nothing says nothing."""
    proof = {"record": "proof", "position": 10**9, "index": 0, "size": 1, "path": [], "seal": 10**9}
    lines = [*EXPORTS["task"], proof]
    assert exported.verify(map(orjson.dumps, lines), KNOWN).sealed == len(crates.COMPLETE)


def is_refused(lines: list[bytes]) -> bool:
    """Whether a flaw is found, or nothing can be read."""
    try:
        return bool(exported.verify(lines, KNOWN).flaws)
    except errors.CorruptLog:
        return True
