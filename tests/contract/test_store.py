"""What both stores promise (`store/promise.py`, and the log on top of it). Each test runs on SQLite and on MongoDB."""

import asyncio
import hashlib
import uuid
from collections.abc import Sequence

import pytest

import given as g
import oracle
from stores import Place
from tespes import errors, events, tes
from tespes.events import Commit, Entry, Meta, chain
from tespes.projections import TASK_VIEW, fold
from tespes.store import Store, layout
from tespes.store.appender import COMMIT_BYTES
from views import document, name_begins, page, tagged

META = Meta(at=g.at(0), actor="tests", owner="anonymous", correlation="request-1")
AWKWARD = '.$a.b $set "\\/\x01\x7f\u2028 é דּ 😀 ' + "x" * 40

CONTENT_SHA256 = hashlib.sha256(b"content").hexdigest()


def commit(stream: str, version: int = 1, *happened: events.Event, commit_id: str | None = None, meta: Meta = META) -> Commit:
    """A commit; of one event that says where it is, if none is given."""
    said = happened or (events.TaskDeferred(reason=f"{stream} {version}"),)
    return events.commit(commit_id or str(uuid.uuid4()), stream, version, said, meta)


def big(size_bytes: int, letter: str = "x") -> events.TaskDeferred:
    """An event of about that size."""
    return events.TaskDeferred(reason=letter * (size_bytes // len(letter.encode())))


async def outcomes(store: Store, commits: Sequence[Commit]) -> list[Entry | BaseException]:
    """What becomes of commits that are asked for at the same time."""
    return await asyncio.gather(*map(store.log.append, commits), return_exceptions=True)


async def whole_log(store: Store) -> list[Entry]:
    """Every entry."""
    entries: list[Entry] = []
    while more := await store.log.read(len(entries)):
        entries += more
    return entries


class TestTheLog:
    """Append, and find it again."""

    async def test_an_empty_log_has_nothing(self, a_store: Store) -> None:
        """Position 0, no stream."""
        assert await a_store.log.head() == chain.EMPTY
        assert await a_store.log.read(0) == []
        assert await a_store.log.read_stream("s") == []
        assert await a_store.log.newest("s") == 0

    async def test_what_is_appended_is_found(self, a_store: Store, place: Place) -> None:
        """By position, by stream, as the head; and as it was given."""
        asked = [commit("s"), commit("t", 1, g.created(), g.scheduled()), commit("s", 2)]
        entries = [await a_store.log.append(each) for each in asked]
        assert [entry.commit for entry in entries] == asked
        assert [entry.position for entry in entries] == [1, 2, 3]
        assert await a_store.log.read(0) == entries
        assert await a_store.log.read_stream("s") == [entries[0], entries[2]]
        assert await a_store.log.head() == chain.head_of(entries[-1])
        oracle.check(place.stored())

    @pytest.mark.parametrize("writable", [True, False], ids=["by the writer", "by a reader"])
    async def test_reading_starts_and_stops_where_it_is_told(
        self,
        a_store: Store,
        place: Place,
        writable: bool,  # noqa: FBT001 - a parameter
    ) -> None:
        """After a position, at most so many; after the end, nothing. What the writer remembers is what is stored."""
        entries = [await a_store.log.append(commit("s", version)) for version in range(1, 6)]
        async with place.open(writable=False) as reader:
            log = a_store.log if writable else reader.log
            assert await log.read(0) == entries
            assert await log.read(2) == entries[2:]
            assert await log.read(1, 2) == entries[1:3]
            assert await log.read(0, 1) == entries[:1]
            assert await log.read(5) == []
            assert await log.read(99) == []

    async def test_a_stream_is_read_after_a_version(self, a_store: Store) -> None:
        """Entries whose first version is above it; the newest is the first version of the last commit."""
        three = [events.TaskDeferred(reason=reason) for reason in "abc"]
        entries = [await a_store.log.append(commit("s", 1)), await a_store.log.append(commit("s", 2, *three))]
        entries.append(await a_store.log.append(commit("s", 5)))
        assert [entry.last_version for entry in entries] == [1, 4, 5]
        assert await a_store.log.read_stream("s", 1) == entries[1:]
        assert await a_store.log.read_stream("s", 2) == entries[2:]
        assert await a_store.log.read_stream("s", 4) == entries[2:]
        assert await a_store.log.read_stream("s", 5) == []
        assert await a_store.log.newest("s") == 5

    async def test_many_look_ups_at_once_get_their_own_answers(self, a_store: Store) -> None:
        """`newest` of many streams comes in one round trip; each caller gets its own."""
        await outcomes(a_store, [commit(f"s{n}") for n in range(20)])
        await outcomes(a_store, [commit(f"s{n}", 2) for n in range(0, 20, 2)])
        found = await asyncio.gather(*(a_store.log.newest(f"s{n}") for n in range(21)))
        assert found == [2, 1] * 10 + [0]

    async def test_an_append_is_seen_by_whoever_waits(self, a_store: Store) -> None:
        """The signal that was taken before the append is set after it."""
        signal = a_store.log.signal
        assert not signal.is_set()
        await a_store.log.append(commit("s"))
        assert signal.is_set()
        assert not a_store.log.signal.is_set()

    async def test_a_hole_is_never_read_over(self, place: Place) -> None:
        """Nobody goes past a missing position; an audit may look at what is there."""
        async with place.open() as writer:
            for version in range(1, 5):
                await writer.log.append(commit("s", version))
        place.tamper([entry for entry in place.stored() if entry["position"] != 3])
        async with place.open() as opened:
            with pytest.raises(errors.CorruptLog, match="hole in the log after position 0"):
                await opened.log.read(0)
            with pytest.raises(errors.CorruptLog, match="hole in the log after position 2"):
                await opened.log.read(2)
            assert [entry.position for entry in await opened.log.read_as_is(0)] == [1, 2, 4]


class TestAppending:
    """Conflicts, repetitions, crowds."""

    async def test_the_same_commit_again_is_the_same_entry(self, a_store: Store, place: Place) -> None:
        """Same id and same data: already appended; stored once. When and by whom it is tried again does not matter."""
        first = await a_store.log.append(commit("s", commit_id=str(uuid.UUID(int=1))))
        await a_store.log.append(commit("s", 2))
        later = Meta(at=g.at(9), actor="somebody else", owner="anonymous")
        assert await a_store.log.append(first.commit) == first
        assert await a_store.log.append(commit("s", commit_id=first.commit.id, meta=later)) == first
        assert len(place.stored()) == 2

    async def test_the_same_commit_at_the_same_time_is_stored_once(self, a_store: Store, place: Place) -> None:
        """Ten callers, one commit: one entry, and all get it."""
        asked = commit("s")
        found = await outcomes(a_store, [asked] * 10)
        assert [entry.commit for entry in found if isinstance(entry, Entry)] == [asked] * 10
        assert len(place.stored()) == 1

    @pytest.mark.parametrize(
        "other",
        [
            commit("s", 1, events.TaskDeferred(reason="other"), commit_id=str(uuid.UUID(int=1))),
            commit("s", 1, events.TaskCanceled(), commit_id=str(uuid.UUID(int=1))),
            commit("t", 1, commit_id=str(uuid.UUID(int=1))),
            commit("s", 2, commit_id=str(uuid.UUID(int=1))),
        ],
        ids=["other data", "other type", "other stream", "other version"],
    )
    async def test_the_same_id_for_something_else_is_a_conflict(self, a_store: Store, place: Place, other: Commit) -> None:
        """Same id, other data: idempotency conflict."""
        first = await a_store.log.append(commit("s", commit_id=str(uuid.UUID(int=1))))
        with pytest.raises(errors.IdempotencyConflict):
            await a_store.log.append(other)
        assert await whole_log(a_store) == [first]
        assert len(place.stored()) == 1
        oracle.check(place.stored())

    async def test_one_loser_never_fails_the_others(self, a_store: Store, place: Place) -> None:
        """(stream, version) taken: VersionConflict for that commit; the rest of the batch goes through, in its order."""
        once = commit("t", commit_id=str(uuid.UUID(int=1)))
        await outcomes(a_store, [commit("s"), once])
        asked = [
            commit("a"),
            commit("s"),
            commit("b"),
            once,
            commit("c", commit_id=once.id),
            commit("d"),
            commit("t", 1),
            commit("e"),
        ]
        found = await outcomes(a_store, asked)
        kinds = [type(each) for each in found]
        assert kinds == [
            Entry,
            errors.VersionConflict,
            Entry,
            Entry,
            errors.IdempotencyConflict,
            Entry,
            errors.VersionConflict,
            Entry,
        ]
        streams = [entry.commit.stream for entry in await whole_log(a_store)]
        assert streams == ["s", "t", "a", "b", "d", "e"]
        oracle.check(place.stored())

    async def test_a_crowd_on_few_streams_gets_through(self, a_store: Store, place: Place) -> None:
        """200 callers on 5 streams, each again whenever somebody else was first: all are in, no hole anywhere."""

        async def insist(number: int) -> Entry:
            stream = f"s{number % 5}"
            while True:
                version = await a_store.log.newest(stream) + 1
                try:
                    return await a_store.log.append(commit(stream, version, events.TaskDeferred(reason=str(number))))
                except errors.VersionConflict:
                    continue

        entries = await asyncio.gather(*map(insist, range(200)))
        assert sorted(entry.position for entry in entries) == list(range(1, 201))
        assert sorted(await whole_log(a_store), key=lambda entry: entry.position) == sorted(
            entries, key=lambda entry: entry.position
        )
        oracle.check(place.stored())

    async def test_one_streams_commits_in_one_go_keep_their_order(self, a_store: Store, place: Place) -> None:
        """Asked for in the order of their versions, they go in in that order, each in a batch after the other."""
        found = await outcomes(a_store, [commit("s", version) for version in range(1, 31)])
        assert [entry.position for entry in found if isinstance(entry, Entry)] == list(range(1, 31))
        oracle.check(place.stored())

    async def test_a_caller_that_goes_away_takes_nothing_along(self, a_store: Store, place: Place) -> None:
        """A caller's cancellation never cancels its commit, nor anybody else's."""
        asked = [commit(f"s{n}") for n in range(20)]
        calls = [asyncio.ensure_future(a_store.log.append(each)) for each in asked]
        await asyncio.sleep(0)
        for call in calls[::2]:
            call.cancel()
        found = await asyncio.gather(*calls, return_exceptions=True)
        assert [type(each) for each in found[::2]] == [asyncio.CancelledError] * 10
        assert [entry.commit for entry in found[1::2] if isinstance(entry, Entry)] == asked[1::2]
        assert [entry.commit for entry in await whole_log(a_store)] == asked
        oracle.check(place.stored())

    async def test_who_waits_when_the_store_closes_gets_an_answer(self, place: Place) -> None:
        """A write under way is finished; what was not begun is refused. Nobody waits for ever, and no answer is wrong."""
        async with place.open() as opened:
            calls = [asyncio.ensure_future(opened.log.append(commit("s", n))) for n in range(1, 40)]
            await asyncio.sleep(0.01)
        found = await asyncio.gather(*calls, return_exceptions=True)
        assert {type(each) for each in found} <= {Entry, errors.StoreUnavailable}
        written = [each.commit.id for each in found if isinstance(each, Entry)]
        assert [entry["_id"] for entry in place.stored()] == written

    @pytest.mark.parametrize("letter", ["x", "é", "😀"])
    async def test_a_commit_has_a_limit(self, a_store: Store, letter: str) -> None:
        """A commit is at most 1 MiB encoded, in bytes; more is refused and nothing of it is stored."""
        frame = len('{"reason":""}')
        await a_store.log.append(commit("s", 1, big(COMMIT_BYTES - frame, letter)))
        with pytest.raises(errors.BadRequest, match="at most 1048576"):
            await a_store.log.append(commit("s", 2, big(COMMIT_BYTES - frame + 4, letter)))
        with pytest.raises(errors.BadRequest, match="at most 1048576"):
            await a_store.log.append(commit("s", 2, *[big(COMMIT_BYTES // 2, letter)] * 2))
        assert len(await whole_log(a_store)) == 1

    async def test_many_large_commits_at_once_go_through(self, a_store: Store, place: Place) -> None:
        """More than a batch holds: it takes several."""
        asked = [commit(f"s{n}", 1, big(900_000)) for n in range(10)]
        found = await outcomes(a_store, asked)
        assert [type(each) for each in found] == [Entry] * 10
        oracle.check(place.stored())

    async def test_many_small_commits_at_once_share_round_trips(self, a_store: Store) -> None:
        """Group commit: 500 commits are far fewer round trips."""
        found = await outcomes(a_store, [commit(f"s{n}") for n in range(500)])
        assert [entry.position for entry in found if isinstance(entry, Entry)] == list(range(1, 501))
        assert a_store.log.mean_batch > 50

    async def test_somebody_elses_commits_are_no_obstacle(self, a_store: Store, place: Place) -> None:
        """Another process took the position that was next here: the commit is numbered anew."""
        ours = await a_store.log.append(commit("s"))
        theirs = commit("t")
        entry = chain.link(theirs, chain.data_hash("t", theirs.events), chain.head_of(ours))
        place.tamper([*place.stored(), layout.document(entry)])
        async with asyncio.timeout(10):
            found = await outcomes(a_store, [commit("s", 2), commit("t"), commit("u")])
        assert [type(each) for each in found] == [Entry, errors.VersionConflict, Entry]
        assert [each.position for each in found if isinstance(each, Entry)] == [3, 4]
        oracle.check(place.stored())


class TestOpeningAgain:
    """A store that is closed and opened, or opened twice."""

    async def test_everything_is_found_again(self, place: Place) -> None:
        """Log, views, their position and blobs; and the log goes on where it was."""
        async with place.open() as first:
            entries = [await first.log.append(commit("s", version)) for version in (1, 2)]
            await first.documents.prepare(TASK_VIEW)
            await first.documents.save(TASK_VIEW, [document("a", 1, 1)], 2)
            await first.blobs.put(CONTENT_SHA256, b"content")
        async with place.open() as again:
            assert await whole_log(again) == entries
            assert await again.log.append(entries[1].commit) == entries[1]
            third = await again.log.append(commit("s", 3))
            assert (third.position, third.prev_hash) == (3, entries[1].hash)
            await again.documents.prepare(TASK_VIEW)
            assert await again.documents.position(TASK_VIEW) == 2
            assert await again.documents.load(TASK_VIEW, ["a"]) == {"a": document("a", 1, 1)}
            assert await again.blobs.get(CONTENT_SHA256) == b"content"
        oracle.check(place.stored())

    async def test_a_reader_beside_the_writer_sees_what_is_acknowledged(self, place: Place) -> None:
        """Opened for reading only, beside a running TESPES."""
        async with place.open() as writer:
            await writer.documents.prepare(TASK_VIEW)
            await writer.log.append(commit("s"))
            async with place.open(writable=False) as reader:
                assert (await reader.log.head()).position == 1
                entry = await writer.log.append(commit("s", 2))
                await writer.documents.save(TASK_VIEW, [document("a", 1, 1)], 1)
                await writer.blobs.put(CONTENT_SHA256, b"content")
                assert await reader.log.read(1) == [entry]
                assert await reader.documents.load(TASK_VIEW, ["a"]) == {"a": document("a", 1, 1)}
                assert await reader.documents.position(TASK_VIEW) == 1
                assert await reader.blobs.get(CONTENT_SHA256) == b"content"
            await writer.log.append(commit("s", 3))

    async def test_a_reader_without_a_writer_finds_the_log(self, place: Place) -> None:
        """After TESPES has stopped, too."""
        async with place.open() as writer:
            entry = await writer.log.append(commit("s"))
        async with place.open(writable=False) as reader:
            assert await whole_log(reader) == [entry]


class TestNames:
    """What clients call things."""

    async def test_awkward_names_survive_byte_for_byte(self, a_store: Store, place: Place) -> None:
        """'.', '$', controls and any Unicode in names and values, in the log and in the views."""
        names = {AWKWARD: AWKWARD, "": "", ".": "$", "$where": "1", "a.b": "c.d", "__proto__": "x"}
        order = tes.Task(
            name=AWKWARD,
            executors=(tes.Executor(image="a", command=(AWKWARD,), env=names),),
            tags=names,
            resources=tes.Resources(ram_gb=0.1, disk_gb=1e21, backend_parameters=names),
        )
        created = events.TaskCreated(task=order)
        meta = Meta(at=g.at(0.001), actor=AWKWARD, owner=AWKWARD, correlation=AWKWARD)
        entry = await a_store.log.append(commit(AWKWARD, 1, created, meta=meta))
        assert await a_store.log.read_stream(AWKWARD) == [entry]
        assert await a_store.log.newest(AWKWARD) == 1
        assert [recorded.event for recorded in events.recorded(entry)] == [created]
        assert place.stored()[0]["events"][0]["data"] == events.encode(created).data
        oracle.check(place.stored())

        view = fold(TASK_VIEW, events.recorded(entry))
        await a_store.documents.prepare(TASK_VIEW)
        await a_store.documents.save(TASK_VIEW, [view], 1)
        assert await a_store.documents.load(TASK_VIEW, [AWKWARD]) == {AWKWARD: view}
        assert await page(a_store, name_begins(AWKWARD), tagged(AWKWARD, AWKWARD)) == [view]
        for key, value in names.items():
            assert await page(a_store, tagged(key, value), name_begins(AWKWARD[:9])) == [view]
            assert await page(a_store, tagged(f"{key}x")) == []


class TestBlobs:
    """Bytes by their SHA-256."""

    @pytest.mark.parametrize("size_bytes", [0, 1, 2**20, 8 * 2**20, 9 * 2**20])
    async def test_what_is_kept_is_got_back(self, a_store: Store, size_bytes: int) -> None:
        """Any size; kept twice is kept once."""
        content = (hashlib.sha256(b"seed").digest() * (size_bytes // 32 + 1))[:size_bytes]
        name = hashlib.sha256(content).hexdigest()
        await a_store.blobs.put(name, content)
        await a_store.blobs.put(name, content)
        assert await a_store.blobs.get(name) == content

    async def test_many_at_once_do_not_mix(self, a_store: Store) -> None:
        """Each under its own name, also when the same one comes from two sides."""
        contents = [bytes([n]) * 1000 for n in range(20)] * 2
        await asyncio.gather(*(a_store.blobs.put(hashlib.sha256(each).hexdigest(), each) for each in contents))
        for each in contents:
            assert await a_store.blobs.get(hashlib.sha256(each).hexdigest()) == each

    async def test_what_is_missing_is_a_corrupt_log(self, a_store: Store) -> None:
        """It was written before the event that names it: if it is not there, something is broken."""
        with pytest.raises(errors.CorruptLog, match="abcd"):
            await a_store.blobs.get("abcd")

    async def test_a_blob_with_other_bytes_is_corrupt(self, a_store: Store) -> None:
        """Its name says what it holds."""
        await a_store.blobs.put(CONTENT_SHA256, b"something else")
        with pytest.raises(errors.CorruptLog, match="has other bytes than its name says"):
            await a_store.blobs.get(CONTENT_SHA256)
