"""The hash chain: a changed, removed or reordered entry is found and named."""

import uuid
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

import given as g
import oracle
import strategies
from tespes import events
from tespes.events import Encoded, Entry, Meta, chain
from tespes.events.chain import Flaw, Head
from tespes.store import layout

SECRET = Meta(at=g.at(0), actor="alice", owner="alice", correlation="r-1", causation="e-1", traceparent="00-1-2-01")


def log(happened: Sequence[Sequence[events.Event]], meta: Meta = SECRET) -> list[Entry]:
    """A log of one stream, a commit for each group of events."""
    head, version, entries = chain.EMPTY, 1, []
    for number, group in enumerate(happened):
        commit = events.commit(str(uuid.UUID(int=number)), "s", version, group, meta)
        entries.append(chain.link(commit, chain.data_hash(commit.stream, commit.events), head))
        head = chain.head_of(entries[-1])
        version += len(group)
    return entries


LOG = log([[g.created()], [g.scheduled()], [g.received()], [g.claimed()], [g.started(), g.ended()]])


def first_flaw(entries: Sequence[Entry]) -> Flaw | None:
    """What an audit of these entries finds first."""
    head = chain.EMPTY
    for entry in entries:
        flaw = chain.flaw(entry, head)
        if flaw is not None:
            return flaw
        head = chain.head_of(entry)
    return None


@given(st.lists(st.lists(strategies.any_event, min_size=1, max_size=3), max_size=4))
def test_a_log_as_it_was_written_verifies(happened: list[list[events.Event]]) -> None:
    """For ourselves, and for somebody who recomputes the chain with nothing but SHA-256 and JSON."""
    entries = log(happened)
    assert first_flaw(entries) is None
    flat = [event for group in happened for event in group]
    ends = [index for index, event in enumerate(flat) if type(event).__name__ in oracle.ENDS]
    if not ends or all(isinstance(event, events.LateMessageRecorded) for event in flat[ends[0] + 1 :]):
        oracle.check([layout.document(entry) for entry in entries])


def test_the_hash_is_what_the_contract_says() -> None:
    """A chain that was computed once must verify for ever: this hash never changes."""
    (entry,) = log([[events.TaskDeferred(reason="no place")]])
    assert entry.data_hash == "4275486e18c7bb3b1623dba32d6469e901c5e65171fa41f1186d00fa63e5aa83"
    assert entry.hash == "27ef555ea1fb76e91201d2111bbf5b9bc153d92aafface5801426e83a7c6c3c5"
    assert entry.prev_hash == "0" * 64


@pytest.mark.parametrize("place", range(len(LOG)))
@pytest.mark.parametrize("removed", [1, 2])
def test_a_removed_entry_is_missed(place: int, removed: int) -> None:
    """The flaw is at the first position that is not there."""
    entries = [*LOG[:place], *LOG[place + removed :]]
    flaw = first_flaw(entries)
    if place + removed >= len(LOG):
        assert flaw is None, "a cut-off end can only be seen from outside"
    else:
        assert flaw is not None
        assert flaw.position == place + 1
        assert "is missing" in flaw.what


@pytest.mark.parametrize("place", range(len(LOG) - 1))
def test_swapped_entries_are_found(place: int) -> None:
    """In another order, with their own positions or with exchanged ones."""
    one, other = LOG[place], LOG[place + 1]
    as_they_are = first_flaw([*LOG[:place], other, one, *LOG[place + 2 :]])
    assert as_they_are is not None
    assert as_they_are.position == place + 1
    exchanged = replace(other, position=one.position), replace(one, position=other.position)
    disguised = first_flaw([*LOG[:place], *exchanged, *LOG[place + 2 :]])
    assert disguised is not None
    assert disguised.position == place + 1


def with_data(entry: Entry, data: str) -> Entry:
    """The entry with other data in its last event."""
    *rest, last = entry.commit.events
    return replace(entry, commit=replace(entry.commit, events=(*rest, replace(last, data=data))))


@pytest.mark.parametrize("place", range(len(LOG)))
@pytest.mark.parametrize("rehashed", [False, True], ids=["as it is", "with its own hashes mended"])
@pytest.mark.parametrize(
    "change",
    [
        lambda entry: with_data(entry, entry.commit.events[-1].data + " "),
        lambda entry: with_data(entry, "{}"),
        lambda entry: replace(entry, commit=replace(entry.commit, events=entry.commit.events[:-1])),
        lambda entry: replace(entry, commit=replace(entry.commit, events=entry.commit.events * 2)),
        lambda entry: replace(
            entry, commit=replace(entry.commit, events=(Encoded("TaskCompleted", 1, entry.commit.events[0].data),))
        ),
        lambda entry: replace(
            entry, commit=replace(entry.commit, events=tuple(replace(each, v=2) for each in entry.commit.events))
        ),
        lambda entry: replace(entry, commit=replace(entry.commit, stream="t")),
        lambda entry: replace(entry, commit=replace(entry.commit, version=entry.commit.version + 1)),
        lambda entry: replace(entry, commit=replace(entry.commit, id=str(uuid.UUID(int=99)))),
        lambda entry: replace(entry, commit=replace(entry.commit, meta=replace(SECRET, at=g.at(0.001)))),
        lambda entry: replace(entry, commit=replace(entry.commit, meta=replace(SECRET, actor="mallory"))),
        lambda entry: replace(entry, commit=replace(entry.commit, meta=replace(SECRET, owner="mallory"))),
        lambda entry: replace(entry, commit=replace(entry.commit, meta=replace(SECRET, correlation=None))),
        lambda entry: replace(entry, commit=replace(entry.commit, meta=replace(SECRET, causation="e-2"))),
        lambda entry: replace(entry, commit=replace(entry.commit, meta=replace(SECRET, traceparent="00-1-3-01"))),
    ],
    ids=[
        "data", "other data", "an event less", "an event more", "type", "event version", "stream", "version", "id",
        "at", "actor", "owner", "correlation", "causation", "traceparent",
    ],
)  # fmt: skip
def test_a_changed_entry_is_found(place: int, change: object, rehashed: bool) -> None:  # noqa: FBT001 - a parameter
    """Whatever was changed. Whoever mends the entry's own hashes breaks the next entry's link to it."""
    assert callable(change)
    changed: Entry = change(LOG[place])
    if rehashed:
        before = chain.head_of(LOG[place - 1]) if place else chain.EMPTY
        changed = chain.link(changed.commit, chain.data_hash(changed.commit.stream, changed.commit.events), before)
    flaw = first_flaw([*LOG[:place], changed, *LOG[place + 1 :]])
    if rehashed and place == len(LOG) - 1:
        assert flaw is None, "a new end can only be seen from outside"
        return
    assert flaw is not None
    assert flaw.position == place + (2 if rehashed else 1)


@pytest.mark.parametrize(
    "changed",
    [
        replace(LOG[2], data_hash="f" * 64),
        replace(LOG[2], prev_hash="f" * 64),
        replace(LOG[2], hash="f" * 64),
        replace(LOG[2], data_hash="f" * 64, hash="f" * 64),
    ],
)
def test_changed_hashes_are_found(changed: Entry) -> None:
    """A hash that was written over."""
    flaw = first_flaw([*LOG[:2], changed, *LOG[3:]])
    assert flaw is not None
    assert flaw.position == 3


def test_an_entry_must_follow_its_own_log() -> None:
    """A log that begins with the middle of another."""
    flaw = chain.flaw(LOG[0], Head(0, "f" * 64))
    assert flaw is not None
    assert "prev_hash" in flaw.what


def test_the_data_hash_is_of_what_happened() -> None:
    """The stream and each event's type, v and data; not times, trace or ids: a commit tried again has the same."""
    one, other = log([[g.created()]]), log([[g.created()]], Meta(at=g.at(9), actor="bob", owner="bob"))
    assert one[0].data_hash == other[0].data_hash
    assert one[0].hash != other[0].hash


@given(st.uuids(), st.integers(0, 300))
def test_an_events_id_follows_from_its_commit(commit_id: uuid.UUID, index: int) -> None:
    """Event id = uuid5(commit id, index)."""
    assert events.event_id(str(commit_id), index) == str(uuid.uuid5(commit_id, str(index)))
