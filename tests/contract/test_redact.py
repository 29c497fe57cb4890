"""What was taken out of a task is nowhere any more, and the log still proves everything else."""

import json
from collections.abc import AsyncIterator

import pytest
from pymongo import MongoClient

import given as g
import sealed
from stores import Place, Stored
from tespes import errors, events, tes
from tespes.events import Outcome, redact
from tespes.events.chain import Flaw
from tespes.flow import audit, texts
from tespes.flow.execute import By, Tasks
from tespes.flow.folding import fold_stream
from tespes.flow.project import Projector
from tespes.flow.read import TaskReader
from tespes.flow.reading import Known
from tespes.flow.redact import Redactor
from tespes.projections import TASK_VIEW
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

    async def begin(self, content: str = LONG_SECRET) -> str:
        """A task that waits for a place; its id."""
        submitted = tes.Task(
            name="a name",
            tags={"patient": SECRET},
            inputs=(tes.Input(path="/in", content=content),),
            executors=(tes.Executor(image="alpine", command=("true",), env={"PASSWORD": SECRET}),),
        )
        task, kept = await texts.keep_contents(self.store.blobs, submitted)
        return (await self.tasks.create(commands.CreateTask(task=task, kept=kept), "anonymous", BY)).id

    async def end(self) -> None:
        """It runs, prints the secret, and ends."""
        self.id = await self.begin()
        printed = events.ExecutorEnded(attempt=1, executor=0, exit_code=0, started_at=g.at(1), ended_at=g.at(2), stdout=PRINTED)
        schedule = commands.ScheduleAttempt(task_id=self.id, pulsar="site-a", runtime="sandbox")
        for command in (schedule, g.claim(), g.result(Outcome.SUCCEEDED, printed)):
            await self.tasks.execute(self.id, command, BY)
        await self.project()

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
    last = (await audit.history(ended.store.log, ended.id))[-1]
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
    entries = await ended.store.log.read_stream(ended.id)
    left = redact.without(entries[0].commit.events[0], [ENV, CONTENT])
    order = events.DataRedacted(
        position=entries[0].position, index=0, reason="r", fields=left.fields, sha256=redact.sha256(left.encoded)
    )
    version = entries[-1].last_version + 1
    await ended.store.log.append(events.commit("1" * 32, ended.id, version, [order], sealed.META))
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


async def _flaws(place: Place, entries: list[Stored]) -> tuple[Flaw, ...]:
    place.tamper(entries)
    async with place.open(writable=False) as opened:
        return (await audit.verify(opened, Known())).flaws


def _traces(place: Place) -> bool:
    """Whether any of the secrets is anywhere in the database."""
    secrets = (SECRET.encode(), b"a long secret")
    if place.options.mongodb_uri is None:
        found = b"".join(path.read_bytes() for path in sorted(place.state_dir.glob("*.sqlite3*")))
    else:
        with MongoClient[Stored](place.options.mongodb_uri) as client:
            database = client[place.options.mongodb_database]
            found = repr([list(database[name].find()) for name in database.list_collection_names()]).encode()
    return any(secret in found for secret in secrets)
