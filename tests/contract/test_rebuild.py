"""A view that is made anew while everything goes on (`flow/rebuild.py`), on both stores."""

import asyncio
import contextlib
import signal
import sqlite3
import sys
import time
import uuid
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from pymongo import MongoClient

import oracle
import stores
from histories import write
from stores import MongoDB, Place
from tespes import errors, events, tes
from tespes.events import Recorded, Source
from tespes.flow import rebuild, verify
from tespes.flow.lead import Lease
from tespes.flow.parked import Parked
from tespes.flow.project import Projector
from tespes.flow.read import TaskReader
from tespes.projections import TASK_VIEW, Document, ReadModel
from tespes.store import Fence, Generations, Store, generations
from tespes.store.conditions import Condition, HasPair, OneOf
from tespes.store.generations import Shown
from tespes.store.totals import Within
from tespes.tes.filters import Filters

PROGRAM = Path(__file__).with_name("rebuild_until_killed.py")
FOR_EVER = Lease(None, float("inf"))


@pytest.fixture(autouse=True)
def _hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Readers are quick here: what nobody needs is dropped soon, and a look-up is good for less long."""
    monkeypatch.setattr(rebuild, "KEPT_S", 0.3)
    monkeypatch.setattr(generations, "KEPT_S", 0.3)
    monkeypatch.setattr(generations, "_GOOD_FOR_S", 0.1)
    monkeypatch.setattr(rebuild, "_LOOK_S", 0.02)


@contextlib.asynccontextmanager
async def kept_up(opened: Store, model: ReadModel = TASK_VIEW, lease: Lease = FOR_EVER) -> AsyncIterator[Projector]:
    """Somebody keeps the view up to date."""
    projector = Projector(opened.log, opened.documents, model)
    await projector.prepare()
    running = asyncio.ensure_future(projector.run(lease))
    try:
        yield projector
    finally:
        ended_by_itself = running.done()
        running.cancel()
        await asyncio.wait({running}, timeout=10)
        assert running.done()
        if ended_by_itself:
            running.result()


async def until(true: Callable[[], Any], within_s: float = 20) -> None:
    """Wait until that is true."""
    async with asyncio.timeout(within_s):
        while not await true():  # noqa: ASYNC110 - nothing tells
            await asyncio.sleep(0.02)


async def caught_up(opened: Store, model: ReadModel = TASK_VIEW) -> None:
    """Wait until the view is where the log is."""

    async def there() -> bool:
        return await opened.documents.position(model) >= (await opened.log.head()).position

    await until(there)


async def rebuilt(opened: Store, model: ReadModel = TASK_VIEW) -> Generations:
    """Have it made anew, and wait for that."""
    await rebuild.ask(opened.documents, model)
    return await finished(opened, model)


async def finished(opened: Store, model: ReadModel = TASK_VIEW) -> Generations:
    """What there is once no rebuild is under way, and nothing is left of any."""

    async def over() -> bool:
        known = await opened.documents.generations(model)
        return not known.is_building and not await opened.documents.unread(model)

    try:
        await until(over)
    except TimeoutError as error:
        raise AssertionError(f"{await opened.documents.generations(model)}, {await opened.documents.unread(model)}") from error
    return await opened.documents.generations(model)


async def stored(opened: Store, model: ReadModel = TASK_VIEW) -> dict[str, Document]:
    """All that readers get."""
    page = await opened.documents.page(model, (), before=None, limit=10_000, whole=True)
    return {each["id"]: each for each in page}


async def test_a_view_is_made_anew_while_everything_goes_on(place: Place) -> None:
    """Live = rebuilt = what the events tell, with commits that came twice; whoever reads meanwhile sees no task vanish.

    One reads as another process does: it sees the switch, too.
    """
    async with place.open() as opened, kept_up(opened) as projector, place.open(writable=False) as elsewhere:
        ids = await write(opened, 60)
        await projector.project(await opened.log.read(0, 100))
        await caught_up(opened)
        enough = asyncio.Event()
        reading = asyncio.ensure_future(asyncio.gather(*(_look(each, list(ids), enough) for each in (opened, elsewhere))))
        writing = asyncio.ensure_future(write(opened, 40))
        known = await rebuilt(opened)
        ids += await writing
        await caught_up(opened)
        await until(lambda: _is_shown(elsewhere, known.shown))
        enough.set()
        await reading
        assert (known.shown, known.newest) == (1, 1)
        assert known.outcome is not None
        assert known.outcome.startswith("done: all ")
        found = await stored(opened)
        assert set(found) == set(ids)
        assert await stored(elsewhere) == found
        assert (await verify.verify(opened.log, opened.documents, TASK_VIEW)).named == ()
    log = place.stored()
    for task_id in ids:
        assert oracle.shown(found[task_id]) == oracle.told(entry for entry in log if entry["stream"] == task_id)


async def _look(opened: Store, ids: list[str], enough: asyncio.Event) -> None:
    """Again and again: what was there stays there."""
    seen: set[str] = set(ids)
    while not enough.is_set():
        present = set(await stored(opened))
        assert seen <= present
        assert len(await opened.documents.load(TASK_VIEW, ids[:10])) == 10
        seen = present
        await asyncio.sleep(0.005)


async def _is_shown(opened: Store, generation: int) -> bool:
    documents: Any = opened.documents
    shown: ReadModel = await documents._shown.of(TASK_VIEW)
    return shown.generation == generation


async def test_what_was_not_as_its_events_make_it_is_named_and_mended(a_store: Store) -> None:
    """A document that was changed, one that is missing, one of no task at all. `verify` names the same ones before."""
    async with kept_up(a_store):
        good, changed = await write(a_store, 2)
        await caught_up(a_store)
        live = await stored(a_store)
        wrong = live[changed] | {"version": 99, "state": "QUEUED"}
        phantom = live[changed] | {"id": "phantom", "position": live[changed]["position"] + 1}
        head = (await a_store.log.head()).position
        await a_store.documents.save(TASK_VIEW, [wrong, phantom], head)
        verified = await verify.verify(a_store.log, a_store.documents, TASK_VIEW)
        assert {each.task_id for each in verified.named} == {changed, "phantom"}
        known = await rebuilt(a_store)
        assert known.outcome is not None
        assert known.outcome.startswith("done: 2 of 2 documents were not what their events make: ")
        assert changed in known.outcome
        assert "phantom" in known.outcome
        assert good not in known.outcome
        assert await stored(a_store) == live
        assert (await verify.verify(a_store.log, a_store.documents, TASK_VIEW)).different == 0


@pytest.mark.parametrize("spoilt", ["", "no JSON", "5", "[]", "{}", "1, 2"])
async def test_a_document_that_somebody_wrote_over_is_made_anew(place: Place, spoilt: str) -> None:
    """At the next event of its task, and by a rebuild. Until then it is named, lists have the task as its events make it."""
    async with place.open() as opened, kept_up(opened):
        ids = await write(opened, 3)
        await caught_up(opened)
        live = await stored(opened)
        _write_over(place, spoilt)
        again = await stored(opened)
        assert {each["id"]: each["version"] for each in again.values()} == dict.fromkeys(ids, 0)
        assert [each["position"] for each in again.values()] == [each["position"] for each in live.values()]
        reader = TaskReader(opened.log, opened.documents, opened.blobs)
        page, _ = await reader.page(tes.View.FULL, Filters(), before=None, limit=10)
        assert {task["id"]: task["state"] for task in page} == dict.fromkeys(ids, "COMPLETE")
        verified = await verify.verify(opened.log, opened.documents, TASK_VIEW)
        assert {each.task_id: each.what for each in verified.named} == dict.fromkeys(ids, "is at version 0 of 7")
        happened = [events.LateMessageRecorded(attempt=1, status="failed", source=Source.PULSAR)]
        meta = (await opened.log.read(0, 1))[0].commit.meta
        await opened.log.append(events.commit(str(uuid.uuid4()), ids[0], live[ids[0]]["version"] + 1, happened, meta))
        await caught_up(opened)
        assert (await stored(opened))[ids[0]]["version"] == live[ids[0]]["version"] + 1
        known = await rebuilt(opened)
        assert known.outcome is not None
        assert known.outcome.startswith("done: 2 of 3 documents were not what their events make: ")
        assert (await verify.verify(opened.log, opened.documents, TASK_VIEW)).different == 0


def _write_over(place: Place, text: str) -> None:
    """Every document of the view, as somebody could who owns the database."""
    table = TASK_VIEW.stem
    if place.options.mongodb_uri:
        with MongoClient[dict[str, Any]](place.options.mongodb_uri) as client:
            client[place.options.mongodb_database][table].update_many({}, {"$set": {"body": text}})
        return
    with contextlib.closing(sqlite3.connect(place.state_dir / "views.sqlite3")) as database, database:
        database.execute(f"UPDATE {table}_body SET body = ?", (text,))  # noqa: S608 - a constant name


async def test_it_can_be_made_anew_again_and_again(a_store: Store) -> None:
    """Each time a generation of its own; of those before, nothing is left. Who asks while one is made gets that one."""
    async with kept_up(a_store):
        ids = await write(a_store, 3)
        await caught_up(a_store)
        for number in (1, 2):
            assert (await rebuild.ask(a_store.documents, TASK_VIEW)).newest == number
            assert (await rebuild.ask(a_store.documents, TASK_VIEW)).newest == number
            assert (await finished(a_store)).shown == number
            ids += await write(a_store, 1)
            await caught_up(a_store)
            assert set(await stored(a_store)) == set(ids)
    async with kept_up(a_store):
        ids += await write(a_store, 1)
        await caught_up(a_store)
        assert set(await stored(a_store)) == set(ids)


async def test_an_event_that_cannot_be_read_ends_a_rebuild(place: Place) -> None:
    """It says where; the view stays as it was and goes on. Once the event can be read, a rebuild frees its task."""
    async with place.open() as opened, kept_up(opened):
        ids = await write(opened, 3)
        await caught_up(opened)
    before = place.stored()
    bad = before[4]["stream"]
    place.tamper(
        [
            e | ({"events": [{**each, "type": "TaskFrozen"} for each in e["events"]]} if e["position"] == 5 else {})
            for e in before
        ]
    )
    async with place.open() as opened, kept_up(opened):
        live = await stored(opened)
        known = await rebuilt(opened)
        assert (known.shown, known.newest) == (0, 1)
        assert known.outcome is not None
        assert f"failed: position 5, task {bad}: UnknownEvent: position 5 of the log: TaskFrozen version 1" in known.outcome
        assert await stored(opened) == live
        ids += await write(opened, 1)
        await caught_up(opened)
        parked = Parked(opened.log, opened.documents, TASK_VIEW)
        await parked.park((await opened.log.read(4, 1))[0], errors.UnknownEvent("TaskFrozen"))
        mended = place.stored()
        mended[4] = before[4]
        place.tamper(mended)
        known = await rebuilt(opened)
        assert (known.shown, known.newest) == (2, 2)
        assert set(await stored(opened)) == set(ids)
        assert await parked.tasks() == []


@pytest.mark.parametrize(
    ("step", "times", "shown"),
    [
        ("save", 2, 0),
        ("turn", 2, 0),
        *(pytest.param(*each, marks=pytest.mark.slow) for each in (("turned", 2, 1), ("drop", 1, 1))),
    ],
)
async def test_a_rebuild_that_is_killed_is_finished_by_the_next(place: Place, step: str, times: int, shown: int) -> None:
    """`kill -9` while it is filled, before the switch, after it, and before the old one is dropped: never a half."""
    async with place.open() as opened, kept_up(opened):
        ids = await write(opened, 20)
        await caught_up(opened)
        live = await stored(opened)
    async with place.open() as opened:
        await rebuild.ask(opened.documents, TASK_VIEW)
    options = place.options
    where = [options.mongodb_uri, options.mongodb_database] if options.mongodb_uri else []
    process = await asyncio.create_subprocess_exec(sys.executable, str(PROGRAM), str(place.state_dir), step, str(times), *where)
    async with asyncio.timeout(30):
        assert await process.wait() == -signal.SIGKILL
    async with place.open() as opened:
        assert (await opened.documents.generations(TASK_VIEW)).shown == shown
        assert await stored(opened) == live
        async with kept_up(opened, lease=Lease(_fence(place, 9), float("inf"))):
            known = await finished(opened)
            ids += await write(opened, 2)
            await caught_up(opened)
        assert (known.shown, known.outcome) == (1, "done: all 20 documents are as they were")
        assert set(await stored(opened)) == set(ids)
        assert (await verify.verify(opened.log, opened.documents, TASK_VIEW)).named == ()


def _fence(place: Place, number: int) -> Fence | None:
    return Fence("project", number) if place.options.mongodb_uri else None


async def test_a_store_of_an_older_release_is_read_before_the_first_start(tmp_path: Path) -> None:
    """Nothing is written down of generations there: the first one is shown."""
    async with stores.in_sqlite(tmp_path).open() as opened, kept_up(opened):
        ids = await write(opened, 1)
        await caught_up(opened)
    with contextlib.closing(sqlite3.connect(tmp_path / "views.sqlite3")) as database:
        database.execute("DROP TABLE generation")
    async with stores.in_sqlite(tmp_path).open(writable=False) as opened:
        assert set(await stored(opened)) == set(ids)
        assert await opened.documents.generations(TASK_VIEW) == Generations()


async def test_who_has_lost_the_lease_switches_nothing(mongodb: MongoDB, tmp_path: Path) -> None:
    """A process that was away for long, and thinks that it still makes the view, is refused."""
    async with stores.in_mongodb(mongodb, tmp_path).open() as opened:
        await opened.documents.prepare(TASK_VIEW)
        wanted = await rebuild.ask(opened.documents, TASK_VIEW)
        turn = opened.documents.turn
        assert await turn(TASK_VIEW, wanted, wanted, Fence("project", 2))
        assert not await turn(TASK_VIEW, wanted, Generations(1, 1, "done"), Fence("project", 1))
        assert await opened.documents.generations(TASK_VIEW) == wanted
        assert await turn(TASK_VIEW, wanted, Generations(1, 1, "done"), Fence("project", 2))


async def test_who_takes_over_sees_what_was_switched_at_the_last_moment(mongodb: MongoDB, tmp_path: Path) -> None:
    """The one before switched right after the look; nothing that it does later counts."""
    async with stores.in_mongodb(mongodb, tmp_path).open() as opened:
        await opened.documents.prepare(TASK_VIEW)
        wanted, done = await rebuild.ask(opened.documents, TASK_VIEW), Generations(1, 1, "done")
        documents: Any = opened.documents
        look, before = documents.generations, Fence("project", 1)

        async def and_then_it_switches(model: ReadModel) -> Generations:
            known: Generations = await look(model)
            await opened.documents.turn(TASK_VIEW, wanted, done, before)
            return known

        documents.generations = and_then_it_switches
        async with kept_up(opened, lease=Lease(Fence("project", 2), float("inf"))):
            ids = await write(opened, 2)
            await caught_up(opened)
            assert set(await stored(opened)) == set(ids)
            assert await look(TASK_VIEW) == done
            assert not await opened.documents.turn(TASK_VIEW, done, Generations(1, 2), before)
        with pytest.raises(errors.LeaseLost):
            await Projector(opened.log, opened.documents, TASK_VIEW).run(Lease(before, float("inf")))


async def test_a_generation_of_another_log_is_filled_from_the_beginning(a_store: Store) -> None:
    """One that is ahead of the view cannot be of the same events."""
    await a_store.documents.prepare(TASK_VIEW)
    wanted = await rebuild.ask(a_store.documents, TASK_VIEW)
    new = replace(TASK_VIEW, generation=wanted.newest)
    ids = await write(a_store, 2)
    await a_store.documents.prepare(new)
    await a_store.documents.save(new, [{"id": "x", "version": 1, "position": 1}], 1000)
    async with kept_up(a_store):
        await caught_up(a_store)
        await finished(a_store)
        assert set(await stored(a_store)) == set(ids)


async def test_who_reads_for_long_reads_again_after_a_switch(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was read of a generation that may be gone is not believed, nor that it cannot be read."""
    monkeypatch.setattr(generations, "KEPT_S", 0.0)
    known = Generations()

    async def look(_: str) -> Generations:
        return known

    shown, read = Shown(look), list[int | None]()

    async def work(model: ReadModel) -> int | None:
        nonlocal known
        known = Generations(1, 1)
        read.append(model.generation)
        return model.generation

    async def fail(model: ReadModel) -> int | None:
        if not model.generation:
            raise errors.StoreUnavailable("no such table")
        return model.generation

    assert await shown.read(TASK_VIEW, work) == 1
    assert read == [0, 1]
    shown._seen[TASK_VIEW.stem] = 0, time.monotonic()
    assert await shown.read(TASK_VIEW, fail) == 1
    known = Generations()
    shown.forget(TASK_VIEW)
    with pytest.raises(errors.StoreUnavailable):
        await shown.read(TASK_VIEW, fail)


async def test_a_model_that_fails_for_a_task_parks_it_there_alone(a_store: Store) -> None:
    """The other tasks go on, and so do the other models; a rebuild says what is the matter."""
    ids = await write(a_store, 3)

    def apply(document: Document | None, recorded: Recorded) -> Document:
        if recorded.stream == ids[1]:
            raise ValueError("I do not like this one")
        return {"events": (document or {"events": 0})["events"] + 1}

    model = ReadModel("counted", 1, apply)
    async with kept_up(a_store, model), kept_up(a_store):
        await caught_up(a_store)
        await caught_up(a_store, model)
        found = await stored(a_store, model)
        assert set(found) == {ids[0], ids[2]}
        assert {each["events"] for each in found.values()} == {7}
        (parked,) = await Parked(a_store.log, a_store.documents, model).tasks()
        assert (parked.view, parked.id, parked.reason) == ("counted", ids[1], "ValueError: I do not like this one")
        assert await Parked(a_store.log, a_store.documents, TASK_VIEW).tasks() == []
        assert set(await stored(a_store)) == set(ids)
        known = await rebuilt(a_store, model)
        assert f"task {ids[1]}: ValueError: I do not like this one" in str(known.outcome)


ODD: list[dict[str, Any]] = [
    {"at": Decimal("1.5")},
    {"at": {1, 2}},
    {"at": 2**70},
    {"at": "\ud800"},
    {"owner": {"a": 1}},
    {"owner": 2**63},
    {"tags": {"a": 1}},
    {"tags": ["a"]},
    {"lines": [{"cost": "1"}]},
    {"lines": {"cost": 1}},
]


async def test_a_document_that_cannot_be_stored_parks_its_task_alone(a_store: Store) -> None:
    """JSON cannot carry it, or what is searched or summed is none of that kind; a rebuild says what is the matter."""
    good, *bad = await write(a_store, 1 + len(ODD))
    odd = dict(zip(bad, ODD, strict=True))

    def apply(_: Document | None, recorded: Recorded) -> Document:
        return {"owner": "ada", "at": (1, float("inf")), "lines": [{"cost": 1}]} | odd.get(recorded.stream, {})

    model = ReadModel("odd", 1, apply, columns=("position", "owner"), pairs=("tags",), sums=("cost",))
    async with kept_up(a_store, model):
        await caught_up(a_store, model)
        assert set(await stored(a_store, model)) == {good}
        assert {each.id for each in await Parked(a_store.log, a_store.documents, model).tasks()} == set(bad)
        assert "failed: position " in str((await rebuilt(a_store, model)).outcome)
        wrong = (await verify.verify(a_store.log, a_store.documents, model)).named
        assert {each.task_id: each.what for each in wrong} == dict.fromkeys(bad, "is not in the view")


async def test_columns_may_be_words_of_sql_and_have_numbers(a_store: Store) -> None:
    """They are searched and grouped by; of totals, what has nothing comes first, then numbers, then texts."""
    ids = await write(a_store, 4)
    order = dict(zip(ids, [10, 9, None, "a"], strict=True))

    def apply(_: Document | None, recorded: Recorded) -> Document:
        lines = [{"group": 2, "from": 5}, {"group": 1, "from": 1}]
        return {"order": order[recorded.stream], "where": {"select": "x"}, "lines": lines}

    model = ReadModel(
        name="select",
        version=1,
        apply=apply,
        columns=("position", "order"),
        pairs=("where",),
        indexes=(("position",), ("order", "position"), ("where", "position")),
        lines=("group",),
        sums=("from",),
    )
    async with kept_up(a_store, model):
        await caught_up(a_store, model)
        by_order = await a_store.documents.totals(model, "order")
        assert [(each.of, each.documents, each.sums) for each in by_order] == [
            (of, 1, {"from": 6}) for of in (None, 9, 10, "a")
        ]
        by_group = await a_store.documents.totals(model, "group", Within("order", "a", "b"))
        assert [(each.of, each.sums) for each in by_group] == [(1, {"from": 1}), (2, {"from": 5})]
        where: list[Condition] = [OneOf("order", frozenset({"a"})), HasPair("where", "select", "x")]
        found = await a_store.documents.page(model, where, before=None, limit=10, whole=False)
        assert [(each["id"], each["order"]) for each in found] == [(ids[3], "a")]
