"""`GET /events`, `GET /tasks/{id}/events`, and a task as it was known at an earlier time. Live: `test_event_stream`."""

import uuid
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from api_at_work import BY, Api, api_at_work
from events_at_work import Events, events_at_work, until

import given as g
from stores import Place, Stored, in_sqlite
from tespes import events
from tespes.events import codec
from tespes.flow import checks
from tespes.flow.shown import Wanted
from tespes.store import Store
from tespes.task import commands

FIRST, SECOND = "a" * 32, "b" * 32
COMPLETE = (g.ended(), g.over(events.Outcome.SUCCEEDED), events.TaskCompleted())


@pytest.fixture
async def at_work(a_store: Store) -> AsyncIterator[Events]:
    """The routes, on each store, with two tasks: six commits, ten events."""
    async with events_at_work(a_store) as running:
        await happen(running)
        yield running


@pytest.fixture
async def on_sqlite(tmp_path: Path) -> AsyncIterator[Events]:
    """The same on SQLite, for what has nothing to do with the store."""
    async with in_sqlite(tmp_path).open() as store, events_at_work(store) as running:
        await happen(running)
        yield running


async def happen(running: Events) -> None:
    """Two tasks begin, one of them ends."""
    for task_id in (FIRST, SECOND):
        await running.append(task_id, g.created())
        await running.append(task_id, g.scheduled(), g.claimed())
    await running.append(FIRST, g.started())
    await running.append(FIRST, *COMPLETE)


class TestPages:
    """`GET /events`."""

    async def test_a_page_has_the_events_of_the_log(self, at_work: Events) -> None:
        """As CloudEvents, in order; `next` is where it ends, `head` where the log does."""
        page = await at_work.page()
        assert page == {"events": await at_work.expected(), "next": 6, "head": 6, "skipped": 0}
        first, *others = page["events"]
        assert (first["type"], first["subject"], first["sequence"]) == ("org.tespes.TaskCreated.v1", FIRST, f"{1:016}.0000")
        assert (first["source"], first["datacontenttype"]) == ("urn:tespes:org.example.tes", "application/json")
        assert [each["sequence"] for each in others] == sorted(each["sequence"] for each in others)
        assert [each["streamversion"] for each in page["events"] if each["subject"] == FIRST] == list("1234567")

    async def test_pages_follow_each_other(self, at_work: Events) -> None:
        """From wherever, however small: nothing is missing, nothing comes twice."""
        for limit in (1, 2, 3, 2000):
            assert await at_work.pages(limit=limit) == await at_work.expected()
        for after in range(7):
            assert await at_work.pages(after=after, limit=1) == await at_work.expected(after)

    async def test_what_was_written_together_comes_together(self, at_work: Events) -> None:
        """The limit does not cut a commit in two: positions would not say where to go on."""
        page = await at_work.page(after=5, limit=1)
        assert [each["type"] for each in page["events"]] == [
            "org.tespes.ExecutorEnded.v1",
            "org.tespes.AttemptEnded.v1",
            "org.tespes.TaskCompleted.v1",
        ]

    @pytest.mark.parametrize("limit", [1, 500])
    async def test_filters(self, at_work: Events, limit: int) -> None:
        """By type, by task, by both; several of one mean any of them. Then `next` passes what was not wanted."""
        for types, tasks in (
            (["TaskCreated"], []),
            (["TaskCreated", "TaskCompleted"], []),
            ([], [FIRST]),
            ([], [FIRST, SECOND]),
            (["AttemptClaimed", "TaskCompleted"], [SECOND]),
            (["TaskCanceled"], []),
            ([], ["unknown"]),
        ):
            wanted = Wanted(frozenset(types) or None, frozenset(tasks) or None)
            expected = await at_work.expected(0, wanted)
            assert await at_work.pages(limit=limit, type=types, task=tasks) == expected
        assert (await at_work.page(type="TaskCanceled"))["next"] == 6

    async def test_the_work_for_a_page_is_bounded(self, at_work: Events, monkeypatch: pytest.MonkeyPatch) -> None:
        """Where nothing is wanted for long, an empty page says how far was looked."""
        monkeypatch.setattr("tespes.flow.subscribe._LOOKED_AT", 2)
        assert await at_work.page(type="TaskCompleted") == {"events": [], "next": 2, "head": 6, "skipped": 0}
        assert len(await at_work.pages(type="TaskCompleted")) == 1

    async def test_an_empty_log_has_an_empty_page(self, a_store: Store) -> None:
        """And nothing after it."""
        async with events_at_work(a_store) as running:
            assert await running.page() == {"events": [], "next": 0, "head": 0, "skipped": 0}

    async def test_at_the_head_there_is_nothing_yet(self, at_work: Events) -> None:
        """The same page shows it later."""
        assert await at_work.page(after=6) == {"events": [], "next": 6, "head": 6, "skipped": 0}
        await at_work.append(SECOND, g.started())
        assert (await at_work.page(after=6))["events"] == await at_work.expected(6)

    @pytest.mark.parametrize(
        ("asked", "field", "allowed"),
        [
            ("after=7", "after", "a position of this log, 0 to 6, is expected"),
            ("after=-1", "after", "a position of this log, 0 to 6, is expected"),
            ("after=1e3", "after", "a position of this log, 0 to 6, is expected"),
            (f"after={'9' * 400}", "after", "a position of this log, 0 to 6, is expected"),
            ("after=%D9%A3", "after", "a position of this log, 0 to 6, is expected"),
            ("after=1&after=2", "after", "one is expected"),
            ("limit=0", "limit", "a whole number from 1 to 2000 is expected"),
            ("limit=2001", "limit", "a whole number from 1 to 2000 is expected"),
            ("limit=many", "limit", "a whole number from 1 to 2000 is expected"),
            ("type=TaskDone", "type", f"one of {', '.join(codec.VERSIONS)} is expected"),
            ("type=TaskCreated&type=taskcreated", "type", f"one of {', '.join(codec.VERSIONS)} is expected"),
            ("task=lease:dispatch", "task", "the id of a task is expected"),
            ("&".join(f"task={number}" for number in range(101)), "task", "at most 100 are possible"),
        ],
        ids=lambda value: value[:20],
    )
    async def test_what_is_wrong_is_named(self, on_sqlite: Events, asked: str, field: str, allowed: str) -> None:
        """400, for pages and streams alike; a position from the future is told where the log ends."""
        for path in ("/events", "/events/stream"):
            if path == "/events/stream" and field == "limit":
                continue
            problem = await on_sqlite.refused(f"{path}?{asked}")
            assert (problem["status"], problem["field"]) == (400, field)
            assert problem["detail"].endswith(allowed)

    async def test_what_is_empty_counts_as_absent(self, at_work: Events) -> None:
        """Clients send empty parameters."""
        assert await at_work.page(after="", limit="", type="", task="") == await at_work.page()

    async def test_what_a_newer_release_wrote_is_skipped(self, place: Place) -> None:
        """And counted: the page and the stream go on after it."""
        async with place.open() as store, events_at_work(store) as running:
            for task_id in (FIRST, SECOND):
                await running.append(task_id, g.created())
                await running.append(task_id, g.scheduled(), g.claimed())
        place.tamper([of_a_newer_release(entry) for entry in place.stored()])
        async with place.open() as store, events_at_work(store) as running:
            page = await running.page()
            assert (page["next"], page["skipped"]) == (4, 3)
            kinds = [each["type"].removeprefix("org.tespes.") for each in page["events"]]
            assert kinds == ["TaskCreated.v1", "AttemptClaimed.v1", "AttemptClaimed.v1"]
            assert (await running.page(type="TaskCreated"))["skipped"] == 1
            assert (await running.page(task=FIRST))["skipped"] == 1
            async with running.stream(after=0) as client:
                assert [each.last_id for each in await client.until_at(4)] == ["1", "2", "4"]

    async def test_what_a_newer_release_writes_is_counted(self, a_store: Store) -> None:
        """Also if nobody watches: where people look."""
        async with events_at_work(a_store) as running:
            known = (await running.append(FIRST, g.created())).commit
            [event] = known.events
            newer = replace(
                known, id=str(uuid.uuid4()), stream=SECOND, events=(replace(event, type="TaskDreamt"),), decoded=None
            )
            await a_store.log.append(newer)
            await until(lambda: running.feed.skipped == 1)
            assert (await checks.feed(running.feed)()).document() == {"status": "ready", "skipped_events": 1}


def of_a_newer_release(entry: Stored) -> Stored:
    """A type and a version that this one does not know."""
    happened = [dict(event) for event in entry["events"]]
    if entry["stream"] == SECOND and happened[0]["type"] == "TaskCreated":
        happened[0]["v"] = 99
    if happened[0]["type"] == "AttemptScheduled":
        happened[0]["type"] = "AttemptDreamt"
    return entry | {"events": happened}


class TestATask:
    """`GET /tasks/{id}/events`."""

    async def test_all_its_events(self, at_work: Events) -> None:
        """In order, with their versions."""
        async with at_work.http.get(f"{at_work.url}/tasks/{FIRST}/events") as answer:
            found = await answer.json()
        assert found == {"events": await at_work.expected(0, Wanted(tasks=frozenset({FIRST}))), "skipped": 0}
        assert [each["streamversion"] for each in found["events"]] == list("1234567")

    @pytest.mark.parametrize("task_id", ["unknown", "lease%3Adispatch"])
    async def test_of_no_task_there_are_none(self, at_work: Events, task_id: str) -> None:
        """404, like any other question about it."""
        assert (await at_work.refused(f"/tasks/{task_id}/events"))["status"] == 404


@pytest.fixture
async def interface(tmp_path: Path) -> AsyncIterator[Api]:
    """The whole interface."""
    async with api_at_work(tmp_path) as running:
        yield running


async def test_a_task_as_it_was(interface: Api) -> None:
    """At each position of its life, and at each moment, in each view: what GET said then."""
    then: list[tuple[int, dict[str, object], dict[str, object]]] = []

    async def look(query: str = "") -> tuple[dict[str, object], dict[str, object]]:
        answers = [await interface.client.get(f"/v1/tasks/{task_id}?view={view}{query}") for view in ("MINIMAL", "FULL")]
        assert [answer.status for answer in answers] == [200, 200]
        minimal, full = [await answer.json() for answer in answers]
        return minimal, full

    await interface.client.post("/v1/tasks", json={"executors": [{"image": "alpine", "command": ["true"]}]})
    created = await interface.client.post("/v1/tasks", json={"executors": [{"image": "alpine", "command": ["true"]}]})
    task_id = (await created.json())["id"]
    place = commands.ScheduleAttempt(task_id=task_id, pulsar="site", runtime="sandbox")
    for order in (None, place, g.claim(), g.report_start(), g.CANCEL):
        if order is not None:
            await interface.tasks.execute(task_id, order, BY)
        events_page = await (await interface.client.get("/v1/events?limit=2000")).json()
        then.append((events_page["head"], *await look()))
    for position, *shown in then:
        assert list(await look(f"&as_of={position}")) == shown
    happened = (await (await interface.client.get(f"/v1/tasks/{task_id}/events")).json())["events"]
    last_at = {int(each["sequence"][:16]): each["time"] for each in happened}
    for position, at in last_at.items():
        newest = max(other for other, time in last_at.items() if time <= at)
        assert await look(f"&as_of={at}") == await look(f"&as_of={newest}"), position
    zone = happened[-1]["time"].replace("Z", "+00:00")
    assert await look(f"&as_of={zone}") == (then[-1][1], then[-1][2])  # with a + that stands for a space


@pytest.mark.parametrize(
    ("when", "status", "said"),
    [
        ("1", 404, "it was created at position 2"),
        ("0", 404, "it was created at position 2"),
        ("2020-01-01T00:00:00Z", 404, "it was created at position 2"),
        ("3", 400, "a position of this log, up to 2, is expected"),
        ("2020-01-01T00:00:00", 400, "a position of the log, or a moment (RFC 3339), is expected"),
        ("yesterday", 400, "a position of the log, or a moment (RFC 3339), is expected"),
        ("-1", 400, "a position of the log, or a moment (RFC 3339), is expected"),
    ],
)
async def test_a_time_at_which_it_was_not(interface: Api, when: str, status: int, said: str) -> None:
    """Before it was created there is no task, and that is said; a position that the log has not reached is refused."""
    for _ in range(2):
        answer = await interface.client.post("/v1/tasks", json={"executors": [{"image": "alpine", "command": ["true"]}]})
    task_id = (await answer.json())["id"]
    refused = await interface.client.get(f"/v1/tasks/{task_id}?as_of={when}")
    assert (refused.status, said in (await refused.json())["detail"]) == (status, True)
    unknown = await interface.client.get(f"/v1/tasks/{uuid.uuid4().hex}?as_of={when}")
    assert unknown.status == (status if status == 400 else 404)
