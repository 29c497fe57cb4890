"""The laws of the log and of the views, in both stores, under random orders, repetitions, restarts and hands.

A store serves many examples: each uses streams of its own. The oracle reads what the database has, and nothing else.
"""

import asyncio
import copy
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import given as g
import oracle
import strategies
from stores import Place, Stored
from strategies import Wish
from tespes import errors, events, task, tes
from tespes.events import Commit, Entry, Meta
from tespes.flow import audit
from tespes.flow.lead import Lease
from tespes.flow.project import Projector
from tespes.projections import TASK_VIEW, Document
from tespes.store import Store
from tespes.store.conditions import Condition
from views import matching, name_begins, page, state_is, tagged

STREAMS = 3


@dataclass(frozen=True)
class Move:
    """What happens next: a wish of one of the tasks, and what goes wrong with its append; or something to the projector."""

    stream: int
    wish: Wish
    trouble: str
    count: int


moves = st.lists(
    st.builds(
        Move,
        stream=st.integers(0, STREAMS - 1),
        wish=strategies.wishes,
        trouble=st.sampled_from(["", "", "", "again", "stale", "other data", "project", "project twice", "restart"]),
        count=st.integers(1, 20),
    ),
    min_size=20,
    max_size=60,
)


@dataclass
class Tasks:
    """Some tasks in a store, and what was acknowledged to whoever commands them."""

    store: Store
    run: str = field(default_factory=lambda: uuid.uuid4().hex)
    streams: list[str] = field(default_factory=list)
    states: dict[str, task.State] = field(default_factory=dict)
    versions: dict[str, int] = field(default_factory=dict)
    acknowledged: dict[str, Entry] = field(default_factory=dict)

    async def create(self) -> None:
        """New tasks, all at once; each has a name, the first have a tag, and all have one that is theirs alone."""
        self.streams = [uuid.uuid4().hex for _ in range(STREAMS)]
        calls = []
        for number, stream in enumerate(self.streams):
            self.versions[stream] = 0
            tags = {"run": self.run} | ({"first": stream} if number < 2 else {})
            submitted = g.created(2).task.model_copy(update={"name": f"n{number}", "tags": tags})
            calls.append(self._decided(stream, (events.TaskCreated(task=submitted),), ""))
        await asyncio.gather(*calls)

    @property
    def asked(self) -> list[list[Condition]]:
        """What a list of them may be asked for."""
        mine = tagged("run", self.run)
        more: list[list[Condition]] = [[state_is(state.value)] for state in tes.State]
        more += [
            [],
            [name_begins("n1")],
            [name_begins("n")],
            [tagged("first")],
            [tagged("first"), state_is("QUEUED", "RUNNING")],
        ]
        return [[mine, *each] for each in more]

    async def move(self, move: Move) -> None:
        """Decide, append, evolve; and try what must not work."""
        stream = self.streams[move.stream]
        try:
            decision = task.decide(self.states[stream], strategies.wanted(move.wish, self.states[stream]))
        except errors.AttemptGone:
            return
        if decision:
            await self._decided(stream, decision, move.trouble)

    async def _decided(self, stream: str, decision: task.Decision, trouble: str) -> None:
        version = self.versions[stream] + 1
        meta = Meta(at=g.at(version), actor="tests", owner="anonymous")
        commit = events.commit(str(uuid.uuid4()), stream, version, decision, meta)
        entry = await self.store.log.append(commit)
        self.acknowledged[commit.id] = entry
        self.versions[stream] = entry.last_version
        for event in decision:
            state = task.evolve(self.states.get(stream), event, meta.at)
            assert state is not None
            self.states[stream] = state
        await self._trouble(commit, entry, trouble)

    async def _trouble(self, commit: Commit, entry: Entry, trouble: str) -> None:
        other = [events.TaskDeferred(reason="never decided")]
        match trouble:
            case "again":
                assert await self.store.log.append(commit) == entry
            case "stale":
                stale = events.commit(str(uuid.uuid4()), commit.stream, commit.version, other, commit.meta)
                with pytest.raises(errors.VersionConflict):
                    await self.store.log.append(stale)
            case "other data":
                with pytest.raises(errors.IdempotencyConflict):
                    await self.store.log.append(
                        events.commit(commit.id, commit.stream, entry.last_version + 1, other, commit.meta)
                    )
            case _:
                pass


@dataclass
class View:
    """The task view of a store, and its projector: where it is, and what it did last."""

    store: Store
    projector: Projector
    position: int = 0
    last: Sequence[Entry] = ()

    async def follow(self, count: int) -> bool:
        """Apply so many more entries; whether there were any."""
        entries = await self.store.log.read(self.position, count)
        if entries:
            await self.projector.project(entries)
            self.position, self.last = entries[-1].position, entries
        return bool(entries)

    async def move(self, move: Move) -> None:
        """What may happen to a follower."""
        match move.trouble:
            case "project":
                await self.follow(move.count)
            case "project twice" if self.last:
                await self.projector.project(self.last)
            case "restart":
                self.position = max(await self.store.documents.position(TASK_VIEW) - move.count, 0)
            case _:
                pass

    async def catch_up(self, count: int) -> None:
        """Apply everything, so many entries at a time."""
        while await self.follow(count):
            pass

    async def documents(self, streams: Sequence[str]) -> dict[str, Document]:
        """What is stored of these tasks."""
        return await self.store.documents.load(TASK_VIEW, streams)


@settings(max_examples=8)
@given(happens=moves, at_a_time=st.integers(1, 50))
async def test_log_and_view_keep_their_laws(a_store: Store, place: Place, happens: list[Move], at_a_time: int) -> None:
    """Laws 1 to 5: positions, ids, chain, view(task) = fold(events of task), ends; live, resumed, repeated and rebuilt.

    What is searched is part of the view: lists find each task by what it is, and by nothing that it was.
    """
    tasks = Tasks(a_store)
    await tasks.create()
    projector = Projector(a_store.log, a_store.documents, TASK_VIEW)
    await projector.prepare()
    view = View(a_store, projector, await a_store.documents.position(TASK_VIEW))
    for move in happens:
        await tasks.move(move)
        await view.move(move)
    await view.catch_up(at_a_time)

    stored = place.stored()
    oracle.check(stored)
    by_id = {entry["_id"]: entry for entry in stored}
    assert all(by_id[name]["hash"] == entry.hash for name, entry in tasks.acknowledged.items())
    live = await view.documents(tasks.streams)
    for stream in tasks.streams:
        told = oracle.told(entry for entry in stored if entry["stream"] == stream)
        assert oracle.shown(live[stream]) == told
        assert task.tes_state(tasks.states[stream]).value == told.state
        assert told.version == tasks.versions[stream]

    listed = [await page(a_store, *where) for where in tasks.asked]
    assert listed == [matching(live.values(), where) for where in tasks.asked]

    await a_store.documents.forget(TASK_VIEW)
    assert [await page(a_store, *where) for where in tasks.asked] == [[]] * len(listed)
    rebuilt = View(a_store, projector)
    await rebuilt.catch_up(at_a_time)
    assert await rebuilt.documents(tasks.streams) == live
    assert [await page(a_store, *where) for where in tasks.asked] == listed
    assert (await audit.verify(a_store)).flaws == ()


def _other_data(entry: Stored) -> None:
    entry["events"][0]["data"] = '{"reason":"it never happened"}'


def _other_type(entry: Stored) -> None:
    entry["events"][-1]["type"] = "TaskCompleted"


def _other_event_version(entry: Stored) -> None:
    entry["events"][-1]["v"] += 1


def _event_less(entry: Stored) -> None:
    entry["events"].pop()


def _event_more(entry: Stored) -> None:
    entry["events"].append(dict(entry["events"][0]))


def _other_owner(entry: Stored) -> None:
    entry["meta"]["owner"] = "mallory"


def _other_time(entry: Stored) -> None:
    entry["meta"]["at"] = "2026-11-22T12:00:00.001Z"


def _other_id(entry: Stored) -> None:
    entry["_id"] = str(uuid.uuid4())


def _other_stream(entry: Stored) -> None:
    entry["stream"] = "another"


def _other_version(entry: Stored) -> None:
    entry["version"] += 1000


def _other_hash(entry: Stored) -> None:
    entry["hash"] = "f" * 64


def _other_data_hash(entry: Stored) -> None:
    entry["data_hash"] = "f" * 64


def _other_prev_hash(entry: Stored) -> None:
    entry["prev_hash"] = "f" * 64


def _unknown_meta(entry: Stored) -> None:
    entry["meta"]["approved_by"] = "mallory"


def _no_meta(entry: Stored) -> None:
    entry["meta"] = {}


def _no_data(entry: Stored) -> None:
    entry["events"][0]["data"] = None


def _no_type(entry: Stored) -> None:
    del entry["events"][0]["type"]


CHANGES = [
    _other_data,
    _other_type,
    _other_event_version,
    _event_less,
    _event_more,
    _other_owner,
    _other_time,
    _other_id,
    _other_stream,
    _other_version,
    _other_hash,
    _other_data_hash,
    _other_prev_hash,
]
RUINS = [_unknown_meta, _no_meta, _no_data, _no_type]


_STEPS: list[tuple[int, list[events.Event]]] = [
    (1, [g.created(), events.TaskDeferred(reason="no place")]),
    (3, [g.scheduled()]),
    (4, [g.received()]),
    (5, [g.claimed()]),
]


class TestTampering:
    """Law 3: whoever owns the database can change it, but not unseen."""

    COMMITS = 12

    @pytest.fixture
    async def written(self, place: Place) -> list[Stored]:
        """A log of some tasks, and a view that is up to date."""
        async with place.open() as opened:
            for number in range(self.COMMITS):
                first, happened = _STEPS[number // 3]
                meta = Meta(at=g.at(number + 1), actor="tests", owner="anonymous")
                commit = events.commit(str(uuid.uuid4()), f"task-{number % 3}", first, happened, meta)
                await opened.log.append(commit)
            projector = Projector(opened.log, opened.documents, TASK_VIEW)
            await projector.prepare()
            await projector.project(await opened.log.read(0))
        return place.stored()

    @staticmethod
    async def found(place: Place, entries: list[Stored]) -> int | None:
        """The first bad position that an audit of this log names."""
        place.tamper(entries)
        async with place.open(writable=False) as opened:
            verdict = await audit.verify(opened)
        return verdict.flaws[0].position if verdict.flaws else None

    async def test_what_was_not_touched_verifies(self, place: Place, written: list[Stored]) -> None:
        """Written back as it was: no flaw."""
        assert await self.found(place, written) is None

    @pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
    async def test_a_change_is_found(self, place: Place, written: list[Stored], change: Callable[[Stored], None]) -> None:
        """In the first, a middle or the last entry: the position is named."""
        for position in (1, 6, self.COMMITS):
            changed = copy.deepcopy(written)
            change(changed[position - 1])
            assert await self.found(place, changed) == position

    @pytest.mark.parametrize("ruin", RUINS, ids=lambda ruin: ruin.__name__)
    async def test_what_cannot_even_be_read_is_found(
        self, place: Place, written: list[Stored], ruin: Callable[[Stored], None]
    ) -> None:
        """An entry without the shape of one: the log is corrupt at that position; an earlier flaw goes before it."""
        ruined = copy.deepcopy(written)
        ruin(ruined[5])
        assert await self.found(place, ruined) == 6
        async with place.open() as opened:
            with pytest.raises(errors.CorruptLog, match="position 6"):
                await opened.log.read(0)
        CHANGES[0](ruined[2])
        assert await self.found(place, ruined) == 3

    @settings(max_examples=10)
    @given(data=st.data())
    async def test_whatever_is_taken_away_or_moved_is_found(
        self, place: Place, written: list[Stored], data: st.DataObject
    ) -> None:
        """Removed, cut out of the middle, swapped, or put elsewhere: the first position that is not right is named."""
        first = data.draw(st.integers(1, self.COMMITS - 1))
        last = data.draw(st.integers(first + 1, self.COMMITS))
        cut = [*written[: first - 1], *written[last - 1 :]]
        assert await self.found(place, cut) == first

        swapped = copy.deepcopy(written)
        one, other = swapped[first - 1], swapped[last - 1]
        one["position"], other["position"] = other["position"], one["position"]
        assert await self.found(place, swapped) == first

        closed = copy.deepcopy(cut)
        for position, entry in enumerate(closed, start=1):
            entry["position"] = position
        assert await self.found(place, closed) == first

    async def test_a_mended_entry_breaks_the_next(self, place: Place, written: list[Stored]) -> None:
        """Whoever computes the hashes of a changed entry anew is found one position later."""
        changed = copy.deepcopy(written)
        changed[4]["events"][0]["data"] = changed[4]["events"][0]["data"].replace("sandbox", "docker")
        assert changed != written
        _mend(changed[4])
        assert await self.found(place, changed) == 6

    @pytest.mark.parametrize("change", [_other_data, _other_event_version], ids=lambda change: change.__name__)
    async def test_what_cannot_be_understood_is_named(
        self, place: Place, written: list[Stored], change: Callable[[Stored], None]
    ) -> None:
        """Data without the shape of their type, or of a newer release, under hashes that are right."""
        changed = copy.deepcopy(written)
        change(changed[4])
        _mend(changed[4])
        assert await self.found(place, changed) == 5

    @pytest.mark.usefixtures("written")
    async def test_a_view_that_was_changed_is_found(self, place: Place) -> None:
        """Law 4: a view that is not the fold of its events is named with the position of its task's last commit."""
        async with place.open() as opened:
            (view,) = (await opened.documents.load(TASK_VIEW, ["task-1"])).values()
            await opened.documents.forget(TASK_VIEW)
            views = [await self._folded(opened, f"task-{n}") for n in (0, 2)]
            await opened.documents.save(TASK_VIEW, [*views, view | {"state": "COMPLETE"}], self.COMMITS)
            verdict = await audit.verify(opened)
        assert [(flaw.position, "task-1" in flaw.what) for flaw in verdict.flaws] == [(self.COMMITS - 1, True)]

    @pytest.mark.usefixtures("written")
    async def test_a_view_that_is_missing_is_found(self, place: Place) -> None:
        """A task that the view has lost."""
        async with place.open() as opened:
            views = [await self._folded(opened, f"task-{n}") for n in (0, 1)]
            await opened.documents.forget(TASK_VIEW)
            await opened.documents.save(TASK_VIEW, views, self.COMMITS)
            verdict = await audit.verify(opened)
        assert [(flaw.position, "task-2" in flaw.what) for flaw in verdict.flaws] == [(self.COMMITS, True)]

    @staticmethod
    async def _folded(opened: Store, stream: str) -> Document:
        view = None
        for entry in await audit.history(opened.log, stream):
            for recorded in events.recorded(entry):
                view = TASK_VIEW.apply(view, recorded)
        assert view is not None
        return dict(view)


def _mend(entry: Stored) -> None:
    """Make the entry's own hashes right again."""
    entry["data_hash"] = oracle.data_hash(entry)
    entry["hash"] = oracle.entry_hash(entry)


class TestAVersionThatDoesNotFollow:
    """Law 1 for streams: the store takes what is numbered wrongly, an audit finds it."""

    @pytest.mark.parametrize("version", [2, 4])
    async def test_it_is_found(self, a_store: Store, version: int) -> None:
        """Overlapping the commit before it, or leaving a hole."""
        meta = Meta(at=g.at(0), actor="tests", owner="anonymous")
        two: list[events.Event] = [g.created(), events.TaskDeferred(reason="no place")]
        await a_store.log.append(events.commit(str(uuid.uuid4()), "s", 1, two, meta))
        await a_store.log.append(events.commit(str(uuid.uuid4()), "s", version, [g.scheduled()], meta))
        verdict = await audit.verify(a_store)
        assert [flaw.position for flaw in verdict.flaws] == [2]
        assert f"version {version} of stream s, where 3 follows" in verdict.flaws[0].what


async def test_a_log_whose_view_is_of_another_release_verifies(place: Place) -> None:
    """Before TESPES has started for the first time after an upgrade: there is no view to compare."""
    async with place.open() as opened:
        older = Projector(opened.log, opened.documents, replace(TASK_VIEW, version=1))
        await older.prepare()
        await Tasks(opened).create()
        await older.project(await opened.log.read(0))
    async with place.open(writable=False) as opened:
        verdict = await audit.verify(opened)
    assert (verdict.streams, verdict.flaws) == (STREAMS, ())


async def test_a_view_ahead_of_its_log_is_made_anew(a_store: Store) -> None:
    """It belongs to another log: the projector begins at 0."""
    projector = Projector(a_store.log, a_store.documents, TASK_VIEW)
    await projector.prepare()
    await a_store.documents.save(TASK_VIEW, [], 7)
    await projector.prepare()
    assert await a_store.documents.position(TASK_VIEW) == 0


async def test_a_projector_follows_by_itself(a_store: Store) -> None:
    """What is appended shows in the view, after a restart too."""
    tasks = Tasks(a_store)
    for _ in range(2):
        await tasks.create()
        projector = Projector(a_store.log, a_store.documents, TASK_VIEW)
        await projector.prepare()
        running = asyncio.ensure_future(projector.run(Lease(None, float("inf"))))
        head = (await a_store.log.head()).position
        async with asyncio.timeout(10):
            while await a_store.documents.position(TASK_VIEW) < head:  # noqa: ASYNC110 - another process may do it
                await asyncio.sleep(0.01)
        running.cancel()
        await asyncio.wait({running})
        assert set(await a_store.documents.load(TASK_VIEW, tasks.streams)) == set(tasks.streams)
