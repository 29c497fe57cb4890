"""A backup is the log byte for byte, whatever goes on meanwhile, and comes back into a store of either kind."""

import asyncio
import gzip
import hashlib
import json
import signal
import sqlite3
import subprocess
import sys
import uuid
from collections.abc import Callable
from contextlib import AsyncExitStack, closing, suppress
from pathlib import Path
from typing import Any

import pytest
from pymongo import AsyncMongoClient, WriteConcern

import given as g
import histories
import oracle
import sealed
from patients import a_small_disk
from servers import until
from stores import MongoDB, Place, another_process, in_mongodb, in_sqlite
from tespes import errors, events, store, tes
from tespes.events import Outcome, redact
from tespes.flow import archive, audit, backup, collector, publish, restore, texts
from tespes.flow.archive import Contents
from tespes.flow.execute import By, Tasks
from tespes.flow.reading import Known
from tespes.flow.redact import Redactor
from tespes.store import Store, Upload, sqlite, version
from tespes.store.mongodb_signs import Mark
from tespes.task import commands

LONG = "a long text, kept beside the event " * 200
BY = By("tests")
UPLOAD = Upload(
    id="u1", job_id="j-1", index=0, path="/out", url="s3://b/out", owner="anonymous", storage_id="x", size_bytes=9, part_bytes=9
)


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    """Where the backup is."""
    return tmp_path / "backup"


@pytest.fixture(params=["sqlite", "mongodb"])
def target(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """An empty store of either kind, for what is restored."""
    directory = tmp_path / "restored"
    return in_sqlite(directory) if request.param == "sqlite" else in_mongodb(request.getfixturevalue("mongodb"), directory)


async def a_task(opened: Store) -> str:
    """A task whose input is kept beside its event, and which has ended; its id."""
    tasks = Tasks(opened.log)
    submitted = tes.Task(
        inputs=(tes.Input(path="/in", content=LONG),),
        executors=(tes.Executor(image="any", command=("true",), env={"PASSWORD": "Doe-4711"}),),
    )
    task, places = await texts.keep_contents(opened.blobs, submitted)
    task_id = (await tasks.create(commands.CreateTask(task=task, kept=places), "anonymous", BY)).id
    schedule = commands.ScheduleAttempt(task_id=task_id, pulsar="site-a", runtime="sandbox")
    for command in (schedule, g.claim(), g.result(Outcome.SUCCEEDED)):
        await tasks.execute(task_id, command, BY)
    return task_id


def contents(place: Path) -> Contents:
    """What belongs to the backup, which is there."""
    made = archive.contents(place)
    assert made is not None
    return made


def verified(place: Path, known: Known = Known()) -> audit.Verdict:  # noqa: B008 - frozen
    """What is said of it."""
    return archive.verify(place, contents(place), known)


async def restored(kept: Path, target: Place) -> None:
    """Bring it there."""
    async with AsyncExitStack() as stack:
        opened = await store.open_store(target.options, target.state_dir, stack, restoring=True)
        await restore.restore(opened, kept, contents(kept))


async def test_what_is_restored_is_byte_for_byte_what_it_was(place: Place, target: Place, kept: Path, tmp_path: Path) -> None:
    """The log, what is kept beside it, and how far its followers were; then an event that says that it was restored."""
    async with place.open() as opened:
        async with sealed.sealing(opened, tmp_path):
            await sealed.write(opened)
            await a_task(opened)
            await sealed.all_sealed(opened)
        await opened.checkpoints.move(publish.NAME, 5)
        await opened.checkpoints.begin("webhook:portal", 0)
        await opened.checkpoints.begin(collector.NAME, 3)
        await opened.checkpoints.move("a_view", 4)
        await opened.uploads.add(UPLOAD)
        made = await backup.make(opened, kept, None)
    found = verified(kept, Known(sealed.PUBLIC))
    assert (found.flaws, found.unfinished, found.commits) == ((), (), made.new)
    assert found.sealed > 0
    await restored(kept, target)
    log = target.stored()
    assert log[:-1] == place.stored()
    oracle.check(log)
    assert json.loads(log[-1]["events"][0]["data"]) == {"position": made.new, "hash": log[-2]["hash"]}
    async with target.open() as opened:
        assert (await opened.checkpoints.all()) == {publish.NAME: 5, "webhook:portal": 0, collector.NAME: 3}
        assert await opened.uploads.of("j-1") == [UPLOAD]
        assert (await audit.verify(opened, Known(sealed.PUBLIC), log_only=False)).flaws == ()
        assert await opened.mark.read() == str(version.VERSION)


async def test_a_second_backup_adds_only_what_is_new(a_store: Store, kept: Path) -> None:
    """What was written once is never written again; without news, nothing is."""
    await histories.write(a_store, 2)
    first = (await backup.make(a_store, kept, None)).contents
    before = (kept / first.parts[0].name).read_bytes()
    await histories.write(a_store, 1)
    made = await backup.make(a_store, kept, None)
    assert (made.new, len(made.contents.parts)) == (4, 2)
    assert (await backup.make(a_store, kept, None)).new == 0
    assert (kept / first.parts[0].name).read_bytes() == before
    assert contents(kept).parts == made.contents.parts
    assert (verified(kept).flaws, verified(kept).commits) == ((), 12)


async def test_a_log_that_grows_meanwhile_is_cut_consistently(place: Place, kept: Path, tmp_path: Path) -> None:
    """Another process appends as fast as it can: each backup is the log up to some position."""
    target = in_sqlite(tmp_path / "restored")
    async with another_process(place), place.open(writable=False) as opened:
        for _ in range(3):
            await backup.make(opened, kept, None)
            assert verified(kept).flaws == ()
            await asyncio.sleep(0.1)
    await restored(kept, target)
    end = contents(kept).position
    assert target.stored()[:end] == place.stored()[:end]


async def test_a_backup_of_another_log_is_not_gone_on_with(place: Place, kept: Path, tmp_path: Path) -> None:
    """Another one, and the same one that was cut off: the backup stays as it is."""
    async with place.open() as opened:
        await histories.write(opened, 2)
        before = place.stored()
        await histories.write(opened, 1)
        made = await backup.make(opened, kept, None)
    place.tamper(before)
    for other in (place, in_sqlite(tmp_path / "other")):
        async with other.open() as opened:
            with pytest.raises(errors.SetupError, match="another log"):
                await backup.make(opened, kept, None)
    assert contents(kept) == made.contents


async def test_with_another_backups_contents_nothing_is_removed(tmp_path: Path, kept: Path) -> None:
    """Somebody copied two backups into one place: what nobody names any more may be all that is left of a log."""
    other = tmp_path / "other"
    async with in_sqlite(tmp_path / "a").open() as one, in_sqlite(tmp_path / "b").open() as two:
        for each, place, tasks in ((one, kept, 2), (two, other, 1)):
            await histories.write(each, tasks)
            await backup.make(each, place, None)
        (part,) = kept.glob("log-*")
        (other / "backup.json").replace(kept / "backup.json")
        with pytest.raises(errors.SetupError, match="another log"):
            await backup.make(one, kept, None)
        assert part.is_file()


async def test_what_has_lost_a_part_is_not_gone_on_with(a_store: Store, kept: Path) -> None:
    """Nobody should think that there is a backup; what is wrong inside of a part is for `verify` to find."""
    await histories.write(a_store, 1)
    made = await backup.make(a_store, kept, None)
    part = kept / made.contents.parts[0].name
    for tamper in (_half, Path.unlink):
        tamper(part)
        with pytest.raises(errors.CorruptLog, match="is missing or cut off"):
            await backup.make(a_store, kept, None)


async def test_a_full_disk_is_left_as_it_was(tmp_path: Path, a_store: Store) -> None:
    """Who keeps a backup on the disk of the log must not stop the log; nor is there half a mark on a store."""
    await histories.write(a_store, 400)
    with a_small_disk(tmp_path / "small", "size=32k,mode=700") as small:
        with pytest.raises(errors.SetupError, match="No space left on device"):
            await backup.make(a_store, small, None)
        assert list(small.iterdir()) == []
        with suppress(OSError):
            (small / "all").write_bytes(bytes(2**16))
        with pytest.raises(errors.StoreUnavailable, match="No space left on device"):
            await version.DirectoryMark(small).write(version.RESTORING)


async def test_who_begins_while_a_restore_does_takes_no_half_of_it(
    tmp_path: Path, mongodb: MongoDB, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A first start saw no mark; then a restore made its own, and was cut off."""

    def lock(directory: Path, stack: AsyncExitStack) -> None:
        (directory / version.FILE).write_text(version.RESTORING)

    monkeypatch.setattr(sqlite, "lock", lock)
    with pytest.raises(errors.SetupError, match="a part of a backup"):
        async with in_sqlite(tmp_path / "state").open():
            pass
    place = in_mongodb(mongodb, tmp_path)
    async with AsyncMongoClient[dict[str, Any]](mongodb.uri) as client:
        mark = Mark(client[place.options.mongodb_database], WriteConcern("majority"))
        assert await mark.begin() == str(version.VERSION)
        await mark.write(version.RESTORING)
        assert await mark.begin() == version.RESTORING


async def test_what_another_backup_left_is_no_end_of_this_one(place: Place, target: Place, kept: Path) -> None:
    """A restore of one that has a single commit more was cut off just before its end."""
    async with place.open() as opened:
        await histories.write(opened, 1)
        await backup.make(opened, kept, None)
        await opened.log.append(
            events.commit(str(uuid.uuid4()), "log:other", 1, [events.LogRestored(position=1, hash="0" * 64)], sealed.META)
        )
        entries = await opened.log.read_as_is(0)
    async with target.open() as opened:
        await opened.mark.write(version.RESTORING)
        await opened.log.put(entries)
    with pytest.raises(errors.SetupError, match="another backup"):
        await restored(kept, target)


async def test_only_an_empty_store_is_restored_into(place: Place, kept: Path) -> None:
    """Whatever is there stays."""
    async with place.open() as opened:
        await histories.write(opened, 1)
        await backup.make(opened, kept, None)
    before = place.stored()
    with pytest.raises(errors.SetupError, match="not empty"):
        await restored(kept, place)
    assert place.stored() == before
    async with place.open() as opened:
        assert await opened.mark.read() == str(version.VERSION)


def _bytes(part: Path) -> None:
    data = bytearray(part.read_bytes())
    data[len(data) // 2] ^= 1
    part.write_bytes(data)


def _half(part: Path) -> None:
    part.write_bytes(part.read_bytes()[:100])


def _change(part: Path, change: Callable[[list[dict[str, Any]]], object]) -> None:
    """As somebody could who owns the place: with the right digest in backup.json."""
    lines = [json.loads(line) for line in gzip.decompress(part.read_bytes()).splitlines()]
    change(lines)
    part.write_bytes(gzip.compress(b"".join(json.dumps(line).encode() + b"\n" for line in lines)))
    path = part.with_name("backup.json")
    said = json.loads(path.read_text())
    said["parts"][0]["sha256"] = hashlib.sha256(part.read_bytes()).hexdigest()
    path.write_text(json.dumps(said))


def _data(part: Path) -> None:
    def change(lines: list[dict[str, Any]]) -> None:
        event = lines[-1]["events"][0]
        event["data"] = event["data"].replace('"attempt":1', '"attempt":2')

    _change(part, change)


def _entry(part: Path) -> None:
    _change(part, lambda lines: lines.pop(2))


def _end(part: Path) -> None:
    _change(part, lambda lines: lines.pop())


def _text(part: Path) -> None:
    _change(part, lambda lines: lines.remove(next(line for line in lines if line["record"] == "text")))


@pytest.mark.parametrize("tamper", [_bytes, _half, Path.unlink, _data, _entry, _end, _text])
async def test_a_backup_that_was_changed_is_found(a_store: Store, kept: Path, tamper: Callable[[Path], None]) -> None:
    """A byte, the end, a part, an entry, a text: it is named where it shows first."""
    await a_task(a_store)
    made = await backup.make(a_store, kept, None)
    tamper(kept / made.contents.parts[0].name)
    assert len(verified(kept).flaws) == 1


async def test_what_was_taken_out_since_is_taken_out_of_what_is_restored(place: Place, target: Place, kept: Path) -> None:
    """The backup has it, and says so; no store gets it back. One that is made afterwards does not have it."""
    async with place.open() as opened:
        task_id = await a_task(opened)
        await backup.make(opened, kept, None)
        await Redactor(opened.log, opened.blobs, Tasks(opened.log)).redact(task_id, ["task"], "a password", BY)
        made = await backup.make(opened, kept, None)
        anew = kept.with_name("anew")
        await backup.make(opened, anew, None)
    assert made.taken_out == (1,)
    assert [each.position for each in verified(kept).unfinished] == [1]
    assert verified(kept).flaws == verified(anew).flaws == ()
    assert verified(anew).unfinished == ()
    assert b"Doe-4711" not in gzip.decompress((anew / contents(anew).parts[0].name).read_bytes())
    await restored(kept, target)
    assert target.stored()[:-1] == place.stored()
    async with target.open() as opened:
        found = await audit.verify(opened, log_only=True)
        assert (found.flaws, found.unfinished) == ((), ())
        with pytest.raises(errors.CorruptLog):
            await opened.blobs.get(hashlib.sha256(LONG.encode()).hexdigest())


async def test_what_is_half_taken_out_is_left_out(a_store: Store, kept: Path) -> None:
    """Somebody was cut off between the text beside the event and the event: the order counts."""
    task_id = await a_task(a_store)
    await Redactor(a_store.log, a_store.blobs, Tasks(a_store.log)).redact(task_id, ["task.executors"], "a password", BY)
    other_id = await a_task(a_store)
    entries = await a_store.log.read_stream(other_id)
    (entry,) = await a_store.log.read_as_is(entries[0].position - 1, 1)
    order = events.DataRedacted(
        position=entry.position, index=0, reason="r", fields=("task.inputs.0.content",), sha256="0" * 64
    )
    left = redact.without(entry.commit.events[0], order.fields)
    order = events.DataRedacted(
        position=entry.position, index=0, reason="r", fields=order.fields, sha256=redact.sha256(left.encoded)
    )
    said = events.commit(str(uuid.uuid4()), other_id, entries[-1].last_version + 1, [order], sealed.META)
    await a_store.log.append(said)
    await a_store.blobs.remove(left.blobs[0])
    with pytest.raises(errors.CorruptLog):  # the first task names it still, and nobody said that it should not
        await backup.make(a_store, kept, None)
    await a_store.blobs.put(left.blobs[0], LONG.encode())
    await Redactor(a_store.log, a_store.blobs, Tasks(a_store.log)).redact(task_id, ["task.inputs"], "a password", BY)
    await a_store.blobs.remove(left.blobs[0])
    await backup.make(a_store, kept, None)
    assert (verified(kept).flaws, verified(kept).unfinished) == ((), ())


async def test_what_should_have_been_taken_out_is_said_at_once(a_store: Store, kept: Path) -> None:
    """Somebody was cut off behind the order: the backup has what the log still has."""
    task_id = await a_task(a_store)
    entries = await a_store.log.read_stream(task_id)
    left = redact.without(entries[0].commit.events[0], ["task.executors.0.env"])
    order = events.DataRedacted(position=1, index=0, reason="r", fields=left.fields, sha256=redact.sha256(left.encoded))
    await a_store.log.append(events.commit(str(uuid.uuid4()), task_id, entries[-1].last_version + 1, [order], sealed.META))
    assert (await backup.make(a_store, kept, None)).taken_out == (1,)
    assert [each.position for each in verified(kept).unfinished] == [1]


async def test_the_cut_is_behind_what_says_why_something_is_gone(a_store: Store, kept: Path) -> None:
    """Something is taken out while the backup is made: what comes before the order is not kept without it."""
    task_id = await a_task(a_store)
    before = await a_store.log.head()
    await Redactor(a_store.log, a_store.blobs, Tasks(a_store.log)).redact(task_id, ["task"], "a password", BY)
    await histories.write(a_store, 1)
    log: Any = a_store.log
    look, old = log.head, [before]

    async def head() -> Any:
        return old.pop() if old else await look()

    log.head = head
    made = await backup.make(a_store, kept, None)
    assert made.contents.position == (await look()).position
    assert (verified(kept).flaws, verified(kept).unfinished) == ((), ())


async def cut_off(words: list[str], when: Callable[[], bool]) -> None:
    """A command of `tespes`, killed as soon as that is so."""
    process = subprocess.Popen([sys.executable, "-m", "tespes", "backup", *words], stdout=subprocess.DEVNULL)
    await asyncio.to_thread(until, when, every_s=0.001)
    process.send_signal(signal.SIGKILL)
    process.wait()


@pytest.mark.slow
async def test_a_backup_that_is_cut_off_is_none(tmp_path: Path, kept: Path) -> None:
    """There is no backup, or the one of before; the next one makes it whole and leaves nothing behind."""
    place = in_sqlite(tmp_path / "state")
    where = ["--state-dir", str(place.state_dir)]
    async with place.open() as opened:
        await histories.write(opened, 600)
        await cut_off(["make", str(kept), *where], lambda: any(kept.glob("log-*")))
        assert archive.contents(kept) is None
        made = await backup.make(opened, kept, None)
        await histories.write(opened, 600)
        await cut_off(["make", str(kept), *where], lambda: any(kept.glob("log-*.new.*")))
        assert contents(kept) == made.contents
        assert verified(kept).flaws == ()
        await backup.make(opened, kept, None)
    assert sorted(path.name for path in kept.iterdir()) == sorted(
        ["backup.json", *(part.name for part in contents(kept).parts)]
    )


async def test_parts_without_what_says_what_they_belong_to_are_left_alone(a_store: Store, kept: Path) -> None:
    """That may be all that was lost."""
    await histories.write(a_store, 3)
    await backup.make(a_store, kept, None)
    (kept / "backup.json").unlink()
    left = sorted(kept.iterdir())
    with pytest.raises(errors.SetupError, match=r"and no backup\.json: name another place, or empty it"):
        await backup.make(a_store, kept, None)
    assert sorted(kept.iterdir()) == left


def _count(log: Path) -> int:
    """How many commits are in the file, in which there may be no table yet."""
    with suppress(sqlite3.OperationalError), closing(sqlite3.connect(f"file:{log}?mode=ro", uri=True)) as database:
        return int(database.execute("SELECT count(*) FROM log").fetchone()[0])
    return 0


async def test_a_restore_that_is_cut_off_is_gone_on_with_and_nobody_takes_half_of_it(tmp_path: Path, kept: Path) -> None:
    """Until it is done, the store says so to everybody else."""
    place, target = in_sqlite(tmp_path / "state"), in_sqlite(tmp_path / "restored")
    async with place.open() as opened:
        await histories.write(opened, 600)
        made = (await backup.make(opened, kept, None)).contents
    log = target.state_dir / "log.sqlite3"
    where = ["--state-dir", str(target.state_dir)]
    await cut_off(["restore", str(kept), *where], lambda: log.is_file() and _count(log) > 0)
    assert 0 < len(target.stored()) < made.position
    for writable in (True, False):
        with pytest.raises(errors.SetupError, match="a part of a backup"):
            async with target.open(writable=writable):
                pass
    await restored(kept, target)
    assert target.stored()[:-1] == place.stored()


async def test_two_at_once_do_not_mix(a_store: Store, kept: Path) -> None:
    """The second is told to wait."""
    kept.mkdir()
    with archive.held(kept), pytest.raises(errors.SetupError, match="somebody else"):
        await backup.make(a_store, kept, None)


class TestMarks:
    """A store says in which version it is kept."""

    @pytest.mark.parametrize(("mark", "said"), [("2", "is of version 2"), ("one", "where its version is expected")])
    async def test_a_newer_store_is_left_alone(self, place: Place, mark: str, said: str) -> None:
        """For writing and for reading; nothing in it is touched."""
        async with place.open() as opened:
            assert await opened.mark.read() == "1"
            await opened.mark.write(mark)
        before = sorted((path.name, path.stat().st_mtime_ns) for path in place.state_dir.glob("*"))
        for writable in (True, False):
            with pytest.raises(errors.SetupError, match=said):
                async with place.open(writable=writable):
                    pass
        assert sorted((path.name, path.stat().st_mtime_ns) for path in place.state_dir.glob("*")) == before

    async def test_a_newer_state_directory_is_left_alone_with_mongodb_too(self, mongodb: MongoDB, tmp_path: Path) -> None:
        """Keys and seals are kept there."""
        place = in_mongodb(mongodb, tmp_path)
        (tmp_path / version.FILE).write_text("2\n")
        with pytest.raises(errors.SetupError, match="is of version 2"):
            async with place.open():
                pass
        assert [path.name for path in tmp_path.iterdir()] == [version.FILE]

    async def test_a_store_of_before_marks_gets_one(self, tmp_path: Path) -> None:
        """It is of version 1."""
        place = in_sqlite(tmp_path)
        async with place.open() as opened:
            await histories.write(opened, 1)
        (tmp_path / version.FILE).unlink()
        async with place.open():
            assert (tmp_path / version.FILE).read_text() == "1\n"
