"""What each store promises when processes, servers and disks fail. Nothing is simulated: `kill -9`, and full means full."""

import asyncio
import contextlib
import gc
import os
import signal
import sqlite3
import sys
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from pymongo import MongoClient
from pymongo.errors import BulkWriteError

import given as g
import oracle
import stores
from stores import MongoDB, Place, another_process
from tespes import errors, events
from tespes.events import Commit, Entry, Meta
from tespes.local.mongodb import LocalMongoDB
from tespes.projections import TASK_VIEW
from tespes.store import Options, Store, appender, mongodb, sqlite, sqlite_views
from tespes.store.promise import OutcomeUnknown
from views import document

META = Meta(at=g.at(0), actor="tests", owner="anonymous")


def commit(stream: str, version: int = 1, size_bytes: int = 10) -> Commit:
    """A commit of one event of about that size."""
    return events.commit(str(uuid.uuid4()), stream, version, [events.TaskDeferred(reason="x" * size_bytes)], META)


async def append(store: Store, stream: str, commits: int) -> list[str]:
    """Append one commit after the other; their ids."""
    return [(await store.log.append(commit(stream, version))).commit.id for version in range(1, commits + 1)]


def check(place: Place, acknowledged: Sequence[str]) -> None:
    """Law 2: every acknowledged commit is there exactly once; and the other laws of a log hold."""
    stored = place.stored()
    oracle.check(stored)
    assert set(acknowledged) <= {entry["_id"] for entry in stored}


async def test_a_writer_that_is_killed_leaves_every_acknowledged_commit(place: Place) -> None:
    """`kill -9` at any moment: what was acknowledged is there, what was not is there once at most; and it goes on."""
    acknowledged: list[str] = []
    for commits in (1, 100):
        async with another_process(place) as process:
            assert process.stdout is not None
            said = [await process.stdout.readline() for _ in range(commits)]
            os.kill(process.pid, signal.SIGKILL)
            said += (await process.stdout.read()).splitlines(keepends=True)
        acknowledged += [line.decode().strip() for line in said if line.endswith(b"\n")]
        check(place, acknowledged)
    async with place.open() as opened:
        acknowledged += await append(opened, "after", 3)
    check(place, acknowledged)


@pytest.fixture
def forgotten_sockets() -> Iterator[None]:
    """PyMongo forgets to close a socket on which it cannot connect: those end with the test, not in another's."""
    yield
    gc.collect()


class TestMongoDB:
    """Several processes, one server."""

    @pytest.fixture
    def place(self, mongodb: MongoDB, tmp_path: Path) -> Place:
        return stores.in_mongodb(mongodb, tmp_path)

    async def test_two_writers_keep_one_chain(self, place: Place) -> None:
        """Both append at the same time: positions stay without holes, the chain verifies, everything is there."""
        async with place.open() as one, place.open() as other:
            acknowledged = await asyncio.gather(
                *(append(store, f"{name}{n}", 10) for n in range(8) for name, store in (("one", one), ("other", other)))
            )
        check(place, [commit_id for ids in acknowledged for commit_id in ids])
        assert len(place.stored()) == 160

    async def test_two_writers_of_one_stream_do_not_lose_each_other(self, place: Place) -> None:
        """(stream, version) is the lock: of two that decide on the same version one has to decide again."""
        async with place.open() as one, place.open() as other:

            async def count(store: Store) -> None:
                for _ in range(15):
                    done = False
                    while not done:
                        version = await store.log.newest("s") + 1
                        with contextlib.suppress(errors.VersionConflict):
                            await store.log.append(commit("s", version))
                            done = True

            await asyncio.gather(count(one), count(other))
        assert [entry["version"] for entry in place.stored()] == list(range(1, 31))
        check(place, [])

    async def test_the_same_commit_from_two_writers_is_stored_once(self, place: Place) -> None:
        """A retry may come to another process: the same id and data are the same entry there."""
        async with place.open() as one, place.open() as other:
            for version in range(1, 11):
                wanted = commit("s", version)
                first, second = await asyncio.gather(one.log.append(wanted), other.log.append(wanted))
                assert first == second
        assert len(place.stored()) == 10
        check(place, [])

    async def test_followers_of_one_see_the_other(self, place: Place) -> None:
        """What a process remembers of its own appends never hides another's."""
        async with place.open() as one, place.open() as other:
            await one.log.append(commit("s"))
            theirs = await other.log.append(commit("t"))
            ours = await one.log.append(commit("s", 2))
            assert await one.log.read(1) == [theirs, ours]
            assert await one.log.newest("t") == 1
            assert [entry.position for entry in await other.log.read(0)] == [1, 2, 3]

    @pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
    @pytest.mark.usefixtures("forgotten_sockets")
    async def test_a_server_that_is_killed_loses_nothing_acknowledged(self, tmp_path: Path) -> None:
        """The outcome of a write is unknown: it is found out, and every commit is there exactly once.

        Whoever appends notices nothing but the time that it takes.
        """
        program = Path(sys.executable).with_name("secantusd-py")
        async with LocalMongoDB(tmp_path / "server", program=program) as server:
            place = stores.in_mongodb(MongoDB(server.uri, server), tmp_path)
            async with place.open() as opened:
                writers = [asyncio.ensure_future(append(opened, f"s{n}", 60)) for n in range(8)]
                for _ in range(2):
                    await asyncio.sleep(0.1)
                    await server.kill()
                    await server.start()
                acknowledged = await asyncio.gather(*writers)
            check(place, [commit_id for ids in acknowledged for commit_id in ids])
            assert len(place.stored()) == 8 * 60

    @pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
    @pytest.mark.usefixtures("forgotten_sockets")
    async def test_stopping_without_a_server_leaves_nobody_waiting(self, tmp_path: Path) -> None:
        """TESPES stops while the server is away: soon, and everybody who waits for an append gets an answer."""
        program = Path(sys.executable).with_name("secantusd-py")
        async with LocalMongoDB(tmp_path / "server", program=program) as server:
            options = Options(f"{server.uri}&serverSelectionTimeoutMS=300", "test_stopping", last_write_s=0.2)
            async with Place(options, tmp_path).open() as opened:
                await opened.log.append(commit("s"))
                await server.kill()
                calls = [asyncio.ensure_future(opened.log.append(commit(f"t{n}"))) for n in range(5)]
                await asyncio.sleep(0.1)
                calls.append(asyncio.ensure_future(opened.log.append(commit("u"))))
                await asyncio.sleep(0)
            async with asyncio.timeout(5):
                answers = await asyncio.gather(*calls, return_exceptions=True)
            assert all(isinstance(answer, errors.StoreUnavailable) for answer in answers)
            with pytest.raises(errors.StoreUnavailable):
                await opened.log.append(commit("v"))

    @pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
    @pytest.mark.usefixtures("forgotten_sockets")
    async def test_a_server_that_says_nothing_keeps_nobody_waiting(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Who was being written is told that nobody knows, who was not begun that it is not in the log; then it goes on."""
        monkeypatch.setattr(appender, "_ANSWER_S", 0.5)
        program = Path(sys.executable).with_name("secantusd-py")
        async with LocalMongoDB(tmp_path / "server", program=program) as server:
            place = stores.in_mongodb(MongoDB(server.uri, server), tmp_path)
            async with place.open() as opened:
                first = await opened.log.append(commit("s"))
                assert server.pid is not None
                os.kill(server.pid, signal.SIGSTOP)
                begun, waiting = commit("begun"), commit("waiting")
                calls = [asyncio.ensure_future(opened.log.append(begun))]
                await asyncio.sleep(0.1)
                calls.append(asyncio.ensure_future(opened.log.append(waiting)))
                async with asyncio.timeout(10):
                    answers = await asyncio.gather(*calls, return_exceptions=True)
                os.kill(server.pid, signal.SIGCONT)
                assert [type(answer) for answer in answers] == [errors.WriteUnconfirmed, errors.StoreUnavailable]
                then = [await opened.log.append(each) for each in (begun, waiting, commit("s", 2))]
            check(place, [entry.commit.id for entry in (first, *then)])
            assert len(place.stored()) == 4

    async def test_what_the_server_refuses_is_not_in_the_log(self, place: Place) -> None:
        """An error that is no conflict: StoreUnavailable for what is not in the log, an entry for what is; then on."""
        async with place.open() as opened:
            await opened.log.append(commit("s"))
            with MongoClient[stores.Stored](place.options.mongodb_uri) as client:
                database = client[place.options.mongodb_database]
                database.command("collMod", "log", validator={"stream": {"$ne": "refused"}})
            asked = [commit(stream) for stream in ("a", "b", "refused", "c", "d")]
            found = await asyncio.gather(*map(opened.log.append, asked), return_exceptions=True)
            assert {type(answer) for answer in found} <= {Entry, errors.StoreUnavailable}
            assert isinstance(found[2], errors.StoreUnavailable)
            acknowledged = {answer.commit.id for answer in found if isinstance(answer, Entry)}
            assert {entry["_id"] for entry in place.stored()[1:]} == acknowledged
            again = [each for each in asked if each.stream != "refused"]
            check(place, [entry.commit.id for entry in await asyncio.gather(*map(opened.log.append, again))])
        assert len(place.stored()) == 5

    async def test_what_no_majority_confirmed_is_not_acknowledged(self, place: Place) -> None:
        """A conflict after a part of the batch that the majority did not confirm in time: nobody knows what is durable."""
        failures = [{"index": 1, "code": 11000, "errmsg": "E11000 duplicate key"}]
        late = [{"code": 64, "errmsg": "waiting for replication timed out"}]
        for write_errors in ([], failures):
            error = BulkWriteError({"writeErrors": write_errors, "writeConcernErrors": late, "nInserted": 1})
            async with place.open() as opened:
                table = opened.log._table
                assert isinstance(table, mongodb.LogTable)
                entries = [await opened.log.append(commit(uuid.uuid4().hex)) for _ in range(2)]
                with pytest.raises(OutcomeUnknown):
                    await table._explain(entries, error)

    @pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
    @pytest.mark.usefixtures("forgotten_sockets")
    async def test_a_server_that_is_away_is_said_to_be(self, tmp_path: Path) -> None:
        """SetupError with the address, and without what a person must not read in a log."""
        options = Options("mongodb://tes:secret@127.0.0.1:9/?serverSelectionTimeoutMS=200")
        with pytest.raises(errors.SetupError, match=r"does not answer at 127\.0\.0\.1:9") as raised:
            async with Place(options, tmp_path).open():
                pass
        assert "secret" not in str(raised.value)


class TestSQLite:
    """One writer process, one disk."""

    @pytest.fixture
    def place(self, tmp_path: Path) -> Place:
        return stores.in_sqlite(tmp_path)

    async def test_a_second_writer_is_told_who_the_first_is(self, place: Place) -> None:
        """One writer process: the error names the directory and the process that holds it, and what to do."""
        async with another_process(place) as process:
            with pytest.raises(errors.SetupError, match=f"{place.state_dir} is in use by process {process.pid}: stop it"):
                async with place.open():
                    pass
        async with place.open() as opened:
            assert (await opened.log.head()).position >= 0

    async def test_a_process_cannot_be_its_own_second_writer(self, place: Place) -> None:
        """Opening it twice in one process is the same mistake; the first goes on unharmed."""
        async with place.open() as first:
            with pytest.raises(errors.SetupError, match=f"in use by process {os.getpid()}"):
                async with place.open():
                    pass
            await first.log.append(commit("s"))
        check(place, [])

    async def test_a_directory_that_cannot_be_used_is_named(self, tmp_path: Path) -> None:
        """One line that names the thing."""
        (tmp_path / "file").write_text("")
        with pytest.raises(errors.SetupError, match=f"{tmp_path}/file/state cannot be used"):
            async with stores.in_sqlite(tmp_path / "file" / "state").open():
                pass

    async def test_a_full_disk_costs_nothing_but_time(self, place: Place) -> None:
        """StoreUnavailable for whoever does not fit, and nothing of a batch is half there; with room again it goes on."""
        async with place.open() as opened:
            await opened.log.append(commit("first"))
            await _limit_pages(opened, 60)
            asked = [commit(f"s{n}", 1, 20_000) for n in range(40)]
            found = await asyncio.gather(*map(opened.log.append, asked), return_exceptions=True)
            refused = [each for each, answer in zip(asked, found, strict=True) if not isinstance(answer, Entry)]
            assert refused
            assert {type(answer) for answer in found} <= {Entry, errors.StoreUnavailable}
            assert not {each.id for each in refused} & {entry["_id"] for entry in place.stored()}
            with pytest.raises(errors.StoreUnavailable):
                await opened.blobs.put("00", bytes(10**6))
            oracle.check(place.stored())

            await _limit_pages(opened, 100_000)
            again = await asyncio.gather(*map(opened.log.append, asked))
            assert sorted(entry.position for entry in again) == list(range(2, 42))
            await opened.blobs.put("00", bytes(10**6))
        check(place, [each.id for each in asked])

    async def test_a_full_disk_leaves_the_views_as_they_were(self, place: Place) -> None:
        """Documents and position together, or neither."""
        async with place.open() as opened:
            documents = opened.documents
            await documents.prepare(TASK_VIEW)
            await documents.save(TASK_VIEW, [document("a", 1, 1)], 1)
            assert isinstance(documents, sqlite_views.Documents)
            await documents._writer.run(lambda database: database.execute("PRAGMA max_page_count = 20").fetchall())
            with pytest.raises(errors.StoreUnavailable):
                await documents.save(TASK_VIEW, [document("a", 2, 1), document("b", 1, 2, name="x" * 10**6)], 2)
            assert await documents.position(TASK_VIEW) == 1
            assert await documents.load(TASK_VIEW, ["a", "b"]) == {"a": document("a", 1, 1)}

    async def test_a_store_that_was_killed_in_a_write_opens_again(self, place: Place) -> None:
        """The write-ahead log of a killed process is read; the views may be behind it and are no obstacle."""
        async with another_process(place) as process:
            assert process.stdout is not None
            await process.stdout.readline()
            os.kill(process.pid, signal.SIGKILL)
            await process.wait()
            assert (place.state_dir / "log.sqlite3-wal").exists()
        with contextlib.closing(sqlite3.connect(place.state_dir / "log.sqlite3")) as database:
            assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        check(place, [])


async def _limit_pages(store: Store, pages: int) -> None:
    """The database file may have so many pages: beyond that the disk is full."""
    table = store.log._table
    assert isinstance(table, sqlite.LogTable)
    await table._writer.run(lambda database: database.execute(f"PRAGMA max_page_count = {pages}").fetchall())
