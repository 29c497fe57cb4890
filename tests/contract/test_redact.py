"""What was taken out of a task is nowhere any more, and the log still proves everything else."""

import asyncio
import hashlib
import json
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from pymongo import MongoClient

import given as g
import sealed
from stores import Place, Stored, in_sqlite
from tespes import errors, events, tes
from tespes.__main__ import main
from tespes.events import Outcome, redact
from tespes.events.chain import Flaw
from tespes.flow import audit, texts
from tespes.flow.execute import By, Tasks
from tespes.flow.folding import fold_stream
from tespes.flow.project import Projector
from tespes.flow.read import TaskReader
from tespes.flow.reading import Known
from tespes.flow.redact import Redactor
from tespes.projections import TASK_VIEW, USAGE
from tespes.store import Store
from tespes.task import commands

BY = By("operator")
SECRET, LONG_SECRET, PRINTED = "Doe-4711", "a long secret " * 1000, "it printed Doe-4711"
ENV, CONTENT = "task.executors.0.env.PASSWORD", "task.inputs.0.content"


class Ended:
    """A task with secrets in it that has ended, and everything that reads it."""

    def __init__(self, opened: Store) -> None:
        self.store = opened
        self.tasks = Tasks(opened.log)
        self.reader = TaskReader(opened.log, opened.documents, opened.blobs)
        self.projector = Projector(opened.log, opened.documents, TASK_VIEW)
        self.redactor = Redactor(opened.log, opened.blobs, self.tasks)
        self.id = ""
        self._projected = 0

    async def begin(self, *contents: str) -> str:
        """A task that waits for a place, with these inputs; its id."""
        submitted = tes.Task(
            name="a name",
            tags={"patient": SECRET},
            inputs=tuple(tes.Input(path=f"/in{index}", content=each) for index, each in enumerate(contents or (LONG_SECRET,))),
            executors=(tes.Executor(image="alpine", command=("true",), env={"PASSWORD": SECRET}),),
        )
        task, kept = await texts.keep_contents(self.store.blobs, submitted)
        return (await self.tasks.create(commands.CreateTask(task=task, kept=kept), "anonymous", BY)).id

    async def end(self) -> None:
        """It runs, prints the secret, and ends."""
        self.id = await self.run(await self.begin())
        await self.project()

    async def run(self, task_id: str) -> str:
        """It takes its input, prints the secret, and ends."""
        printed = events.ExecutorEnded(attempt=1, executor=0, exit_code=0, started_at=g.at(1), ended_at=g.at(2), stdout=PRINTED)
        digest = hashlib.sha256(LONG_SECRET.encode()).hexdigest()
        taken = events.File(path="/in0", size_bytes=len(LONG_SECRET), sha256=digest)
        result = g.result(Outcome.SUCCEEDED, printed)
        result = replace(result, result=replace(result.result, inputs=(taken,)))
        schedule = commands.ScheduleAttempt(task_id=task_id, pulsar="site-a", runtime="sandbox")
        for command in (schedule, g.claim(), result):
            await self.tasks.execute(task_id, command, BY)
        return task_id

    async def order(self, fields: list[str]) -> tuple[events.DataRedacted, redact.Left]:
        """Somebody begins to take these out of its first event, and is cut off; what is to be left."""
        entries = await self.store.log.read_stream(self.id)
        left = redact.without(entries[0].commit.events[0], fields)
        position, digest = entries[0].position, redact.sha256(left.encoded)
        order = events.DataRedacted(position=position, index=0, reason="r", fields=left.fields, sha256=digest)
        await self.store.log.append(events.commit("1" * 32, self.id, entries[-1].last_version + 1, [order], sealed.META))
        return order, left

    async def project(self) -> None:
        """The view knows what is in the log."""
        while entries := await self.store.log.read(self._projected):
            await self.projector.project(entries)
            self._projected = entries[-1].position

    async def shown(self) -> str:
        """All that readers see of it."""
        return json.dumps(await self.reader.get(self.id, tes.View.FULL))


@pytest.fixture
async def ended(place: Place) -> AsyncIterator[Ended]:
    """A task that has ended."""
    async with place.open() as opened:
        task = Ended(opened)
        await task.projector.prepare()
        await task.end()
        yield task


async def test_what_was_taken_out_is_shown_nowhere(ended: Ended) -> None:
    """Readers that had the task in memory, lists, the view that follows, and one that is made anew: all say so."""
    before = await ended.shown()
    assert all(secret in before for secret in (SECRET, LONG_SECRET, PRINTED))
    await ended.reader.page(tes.View.FULL, tes.filters.Filters(), before=None, limit=10)
    done = await ended.redactor.redact(ended.id, [ENV, CONTENT, "task.tags", "stdout"], "asked for by the patient", BY)
    assert [each.fields for each in done] == [(ENV, CONTENT, "task.tags"), ("stdout",)]
    await ended.project()
    after = await ended.shown()
    assert SECRET not in after
    assert "a long secret" not in after
    assert after.count(redact.REDACTED) == 4
    (listed,), _ = await ended.reader.page(tes.View.FULL, tes.filters.Filters(), before=None, limit=10)
    assert json.dumps(listed) == after
    fresh = TaskReader(ended.store.log, ended.store.documents, ended.store.blobs)
    assert json.dumps(await fresh.get(ended.id, tes.View.FULL)) == after
    stored = (await ended.store.documents.load(TASK_VIEW, [ended.id]))[ended.id]
    assert stored == await fold_stream(ended.store.log, TASK_VIEW, ended.id)
    found = await audit.verify(ended.store)
    assert (found.flaws, found.unfinished) == ((), ())


async def test_who_and_why_are_on_record(ended: Ended) -> None:
    """In the task's own history, with the digest of what is left."""
    (done,) = await ended.redactor.redact(ended.id, [ENV], "asked for by the patient", BY)
    *_, last = events.recorded((await audit.history(ended.store.log, ended.id))[-1])
    assert (last.event, last.meta.actor, last.meta.owner) == (done, "operator", "anonymous")
    (entry,) = await ended.store.log.read_as_is(done.position - 1, 1)
    assert redact.sha256(entry.commit.events[done.index]) == done.sha256


async def test_asking_again_changes_nothing(ended: Ended) -> None:
    """And something more of the same event can be taken out later."""
    await ended.redactor.redact(ended.id, [ENV], "r", BY)
    assert await ended.redactor.redact(ended.id, [ENV], "r", BY) == []
    (more,) = await ended.redactor.redact(ended.id, [ENV, "task.name"], "r", BY)
    assert more.fields == (ENV, "task.name")
    found = await audit.verify(ended.store)
    assert (found.flaws, found.unfinished) == ((), ())


async def test_what_was_cut_off_is_told_and_finished_by_asking_again(ended: Ended) -> None:
    """The event is there, the data are not replaced: readers heed it already."""
    order, left = await ended.order([ENV, CONTENT])
    await ended.project()
    found = await audit.verify(ended.store)
    assert found.flaws == ()
    assert [(each.task_id, each.position, each.fields) for each in found.unfinished] == [
        (ended.id, order.position, (ENV, CONTENT))
    ]
    shown = await ended.shown()
    assert f'"PASSWORD": "{SECRET}"' not in shown
    assert "a long secret" not in shown
    assert await ended.redactor.redact(ended.id, [ENV], "r", BY) == []
    found = await audit.verify(ended.store)
    assert (found.flaws, found.unfinished) == ((), ())
    (blob,) = left.blobs
    with pytest.raises(errors.CorruptLog, match="missing"):
        await ended.store.blobs.get(blob)


def test_what_is_unfinished_is_no_success(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The command's exit status says so, and its output what to do."""

    async def cut_off() -> None:
        async with in_sqlite(tmp_path).open() as opened:
            task = Ended(opened)
            await task.projector.prepare()
            await task.end()
            await task.order([ENV])

    asyncio.run(cut_off())
    assert main(["audit", "verify", "--state-dir", str(tmp_path)]) == 1
    said = capsys.readouterr().out
    assert f"--field {ENV}" in said
    assert "sound" not in said


async def test_a_text_that_another_task_has_too_stays_for_that(ended: Ended) -> None:
    """Blobs are shared: only the last one who names it takes it away."""
    other = await ended.begin()
    (done,) = await ended.redactor.redact(ended.id, [CONTENT], "r", BY)
    assert LONG_SECRET in json.dumps(await ended.reader.get(other, tes.View.FULL))
    assert "a long secret" not in await ended.shown()
    await ended.tasks.execute(other, g.CANCEL, BY)
    await ended.redactor.redact(other, [CONTENT], "r", BY)
    assert LONG_SECRET not in json.dumps(await ended.reader.get(other, tes.View.FULL))
    assert done.index == 0


async def test_a_text_that_the_task_has_twice_stays_for_the_other(ended: Ended) -> None:
    """Both inputs name the same blob."""
    twice = await ended.run(await ended.begin(LONG_SECRET, LONG_SECRET))
    await ended.redactor.redact(ended.id, [CONTENT], "r", BY)
    await ended.redactor.redact(twice, [CONTENT], "r", BY)
    assert json.dumps(await ended.reader.get(twice, tes.View.FULL)).count(LONG_SECRET) == 1
    await ended.redactor.redact(twice, ["task.inputs.1.content"], "r", BY)
    assert "a long secret" not in json.dumps(await ended.reader.get(twice, tes.View.FULL))


async def test_two_at_once_both_are_done(ended: Ended) -> None:
    """By the same process, or by another one: none puts back what the other took out."""
    others = [Redactor(ended.store.log, ended.store.blobs, ended.tasks) for _ in range(2)]
    fields = [[ENV], ["task.name"], ["task.tags"], [CONTENT]]
    redactors = [ended.redactor, ended.redactor, *others]
    await asyncio.gather(*(each.redact(ended.id, names, "r", BY) for each, names in zip(redactors, fields, strict=True)))
    found = await audit.verify(ended.store, log_only=True)
    assert (found.flaws, found.unfinished) == ((), ())
    (entry,) = await ended.store.log.read_as_is(0, 1)
    assert entry.commit.events[0].data.count(redact.REDACTED) == 4


async def test_what_changed_meanwhile_is_not_overwritten(ended: Ended) -> None:
    """What is left was made of other data."""
    (entry,) = await ended.store.log.read_as_is(0, 1)
    was = entry.commit.events[0]
    assert await ended.store.log.redact(1, 0, was, redact.without(was, [ENV]).encoded)
    assert not await ended.store.log.redact(1, 0, was, redact.without(was, ["task.name"]).encoded)
    (entry,) = await ended.store.log.read_as_is(0, 1)
    assert entry.commit.events[0] == redact.without(was, [ENV]).encoded


async def test_somebody_who_reads_the_file_is_not_waited_for_and_it_is_said(tmp_path: Path) -> None:
    """Writers go on; what was taken out is in the file until it is asked for again."""
    place = in_sqlite(tmp_path)
    async with place.open() as opened:
        task = Ended(opened)
        await task.projector.prepare()
        await task.end()
        with closing(sqlite3.connect(tmp_path / "log.sqlite3")) as reader:
            reader.execute("BEGIN")
            reader.execute("SELECT count(*) FROM log").fetchone()
            asked = asyncio.create_task(task.redactor.redact(task.id, ["stdout"], "r", BY))
            async with asyncio.timeout(20):
                await asyncio.gather(*(task.begin() for _ in range(5)))
                with pytest.raises(errors.StoreUnavailable, match="still in the file"):
                    await asked
            assert PRINTED.encode() in _bytes(tmp_path, "log.sqlite3*")
        assert await task.redactor.redact(task.id, ["stdout"], "r", BY) == []
        assert PRINTED.encode() not in _bytes(tmp_path, "log.sqlite3*")


async def test_a_task_that_still_needs_its_data_keeps_them(ended: Ended) -> None:
    """So do all of them that nobody knows, and what a task is about."""
    running = await ended.begin()
    with pytest.raises(errors.BadRequest, match="not ended"):
        await ended.redactor.redact(running, [ENV], "r", BY)
    with pytest.raises(errors.NotFound):
        await ended.redactor.redact("0" * 32, [ENV], "r", BY)
    with pytest.raises(errors.BadRequest, match=r"task\.executors\.0\.image"):
        await ended.redactor.redact(ended.id, [ENV, "task.executors.0.image"], "r", BY)
    assert len(await ended.store.log.read_stream(ended.id)) == 4


async def test_nothing_of_it_is_left_in_the_database(place: Place) -> None:
    """Neither in the log nor in blobs or views, and in SQLite not between the rows either, once TESPES has ended."""
    async with place.open() as opened:
        task = Ended(opened)
        await task.projector.prepare()
        await task.end()
        assert _traces(place)
        await task.redactor.redact(task.id, [ENV, CONTENT, "task.tags.patient", "stdout"], "r", BY)
        await task.project()
    assert not _traces(place)
    async with place.open(writable=False) as opened:
        assert (await audit.verify(opened)).flaws == ()


async def test_a_replacement_that_was_changed_is_found(place: Place, ended: Ended) -> None:
    """Only what the event says may stand there, and only where an event says so."""
    (done,) = await ended.redactor.redact(ended.id, [ENV], "r", BY)
    stored = place.stored()
    event = stored[done.position - 1]["events"][0]
    event["data"] = event["data"].replace(redact.REDACTED, "something else")
    assert [flaw.position for flaw in await _flaws(place, stored)] == [done.position]
    without = [entry for entry in stored if entry["events"][0]["type"] != "DataRedacted"]
    assert [flaw.position for flaw in await _flaws(place, without)] == [done.position]


async def test_a_text_that_is_gone_without_an_order_is_found(ended: Ended) -> None:
    """It is kept beside its event, which says what it was."""
    await ended.store.blobs.remove(hashlib.sha256(LONG_SECRET.encode()).hexdigest())
    (flaw,) = (await audit.verify(ended.store)).flaws
    assert (flaw.position, "missing" in flaw.what) == (1, True)
    assert (await audit.verify(ended.store, log_only=True)).flaws == ()


async def test_what_lists_find_a_task_by_is_checked_too(place: Place, ended: Ended) -> None:
    """It stands beside the document, and is made of it."""
    _change_column(place, "state", "CANCELED")
    (flaw,) = (await audit.verify(ended.store)).flaws
    assert "found by" in flaw.what


async def test_a_document_of_no_task_is_found_wherever_it_is(ended: Ended) -> None:
    """Also behind the end of the log; and how far each view is, is said."""
    stored = (await ended.store.documents.load(TASK_VIEW, [ended.id]))[ended.id]
    forged = stored | {"id": "f" * 32, "position": 1000}
    await ended.store.documents.save(TASK_VIEW, [forged], 0)
    found = await audit.verify(ended.store)
    assert ["not in the log" in flaw.what for flaw in found.flaws] == [True]
    assert [USAGE.name in line for line in found.behind] == [True]


def _change_column(place: Place, name: str, value: str) -> None:
    """Of all documents, behind TESPES's back; the documents stay as they are."""
    if place.options.mongodb_uri is None:
        with closing(sqlite3.connect(place.state_dir / "views.sqlite3")) as database, database:
            database.execute(f"UPDATE {TASK_VIEW.table} SET {name} = ?", (value,))  # noqa: S608 - constants
        return
    with MongoClient[Stored](place.options.mongodb_uri) as client:
        client[place.options.mongodb_database][TASK_VIEW.table].update_many({}, {"$set": {name: value}})


async def _flaws(place: Place, entries: list[Stored]) -> tuple[Flaw, ...]:
    place.tamper(entries)
    async with place.open(writable=False) as opened:
        return (await audit.verify(opened, Known())).flaws


def _traces(place: Place) -> bool:
    """Whether any of the secrets is anywhere in the database."""
    secrets = (SECRET.encode(), b"a long secret")
    if place.options.mongodb_uri is None:
        found = _bytes(place.state_dir, "*.sqlite3*")
    else:
        with MongoClient[Stored](place.options.mongodb_uri) as client:
            database = client[place.options.mongodb_database]
            found = repr([list(database[name].find()) for name in database.list_collection_names()]).encode()
    return any(secret in found for secret in secrets)


def _bytes(directory: Path, names: str) -> bytes:
    """What is in these files."""
    return b"".join(path.read_bytes() for path in sorted(directory.glob(names)))
