"""`GET /events/stream`: nothing is lost and nothing is out of order, whoever reads how slowly and comes back how often."""

import asyncio
import contextlib
import gc
import itertools
import json
import os
import signal
import socket
import subprocess
import uuid
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import httpx_sse
import pytest
from events_at_work import Document, Events, Received, events_at_work, until
from hypothesis import given, settings
from hypothesis import strategies as st

import given as g
import strategies  # noqa: F401 - sets the profile
from servers import ROOT
from stores import MongoDB, Place, in_mongodb
from tespes import events
from tespes.events import Entry
from tespes.flow.shown import ALL, Wanted
from tespes.store import Store

TASKS = tuple(letter * 32 for letter in "abc")
BIG, COUNT = 200_000, 60  # bytes of an event, and how many: more than the system keeps for a client that does not read


@pytest.fixture
async def at_work(a_store: Store) -> AsyncIterator[Events]:
    """The routes, on each store; the log is empty."""
    async with events_at_work(a_store) as running:
        yield running


async def test_past_and_present_are_one(at_work: Events) -> None:
    """From the beginning, then live: name, position and document of each event, once."""
    for task_id in TASKS:
        await at_work.append(task_id, g.created(), g.scheduled())
    async with at_work.stream(after=0) as client:
        found = await client.events(6)
        for task_id in TASKS:
            await at_work.append(task_id, g.claimed())
        found += await client.events(3)
    assert documents(found) == await at_work.expected()
    assert [(each.name, each.last_id) for each in found[:2]] == [("TaskCreated", "0"), ("AttemptScheduled", "1")]
    assert client.last_id == "6"
    assert client.retry_ms > 0


async def test_without_a_position_it_begins_now(at_work: Events) -> None:
    """And a client that was cut off before the first event still begins there."""
    await at_work.append(TASKS[0], g.created())
    async with at_work.stream() as client:
        await client.more()
        assert client.last_id == "1"
        await at_work.append(TASKS[0], g.scheduled())
        assert documents(await client.events(1)) == await at_work.expected(1)
    async with at_work.stream(last_id="1") as again:
        assert documents(await again.events(1)) == await at_work.expected(1)


async def test_the_last_event_id_goes_before_the_query(at_work: Events) -> None:
    """A browser that comes again asks for the address that it was given first."""
    for version in range(3):
        await at_work.append(TASKS[version], g.created())
    async with at_work.stream(last_id="2", after=0) as client:
        assert documents(await client.events(1)) == await at_work.expected(2)


@pytest.mark.parametrize("last_id", ["4", "-1", "abc", "1.0"])
async def test_an_id_of_another_log_is_refused(at_work: Events, last_id: str) -> None:
    """400: to begin anywhere else would lose events, and nobody would know."""
    await at_work.append(TASKS[0], g.created())
    problem = await at_work.refused("/events/stream", {"Last-Event-ID": last_id})
    assert (problem["status"], problem["field"]) == (400, "Last-Event-ID")


async def test_what_is_not_wanted_is_passed_by(a_store: Store) -> None:
    """A client that filters hears where it is, so that it need not look at all of it again."""
    async with events_at_work(a_store, quiet_s=0.1) as at_work:
        async with at_work.stream(after=0, task=TASKS[1], type=["TaskCreated", "TaskCanceled"]) as client:
            for task_id in TASKS:
                await at_work.append(task_id, g.created(), g.scheduled())
            found = await client.until_at(3)
            for task_id in TASKS:
                await at_work.append(task_id, g.claimed())
            found += await client.until_at(6)
        assert documents(found) == await at_work.expected(0, Wanted(frozenset({"TaskCreated"}), frozenset({TASKS[1]})))


@dataclass(frozen=True)
class Move:
    """What happens next: events to a task, at once; then the client reads so many bytes, and comes again if `is_cut`."""

    task: str
    kinds: tuple[int, ...]
    reads_bytes: int
    is_cut: bool


KINDS: tuple[events.Event, ...] = (g.created(), g.scheduled(), g.claimed(), events.TaskDeferred(reason="no place"))
NAMES = tuple(type(event).__name__ for event in KINDS)
moves = st.lists(
    st.builds(
        Move,
        task=st.sampled_from("abc"),
        kinds=st.lists(st.integers(0, len(KINDS) - 1), min_size=1, max_size=4).map(tuple),
        reads_bytes=st.integers(1, 3000),
        is_cut=st.booleans(),
    ),
    max_size=12,
)
filters = st.builds(
    Wanted,
    types=st.none() | st.frozensets(st.sampled_from(NAMES), min_size=1),
    tasks=st.none() | st.frozensets(st.sampled_from("abc"), min_size=1),
)


@given(happens=moves, wanted=filters)
@settings(max_examples=25)
async def test_whatever_happens_nothing_is_lost(a_store: Store, happens: list[Move], wanted: Wanted) -> None:
    """Cut off after any byte, with any filter, while the log grows: each time it goes on where a whole commit was received."""
    ids = {name: uuid.uuid4().hex for name in "abc"}
    wanted = Wanted(wanted.types, wanted.tasks and frozenset(ids[name] for name in wanted.tasks))
    asked = {"type": sorted(wanted.types or ()), "task": sorted(wanted.tasks or ())}
    async with events_at_work(a_store, quiet_s=0.01) as at_work:
        begin = (await a_store.log.head()).position
        last_id, received, left, is_over = str(begin), list[Document](), deque(happens), False
        while not is_over:
            async with at_work.stream(last_id, **asked) as client:
                is_cut = False
                while left and not is_cut:
                    move = left.popleft()
                    await at_work.append(ids[move.task], *(KINDS[kind] for kind in move.kinds))
                    await client.more(move.reads_bytes)
                    is_cut = move.is_cut
                head = (await a_store.log.head()).position
                found = documents(client.taken() if is_cut else await client.until_at(head))
            assert found == (await at_work.expected(int(last_id), wanted))[: len(found)]
            last_id, is_over = client.last_id, not is_cut
            received += [each for each in found if position(each) <= int(last_id)]
        assert received == await at_work.expected(begin, wanted)


async def test_many_follow_at_once(a_store: Store) -> None:
    """Each with a filter of its own, while others write: each gets what it wants, and all of it."""
    kinds: list[frozenset[str] | None] = [None, frozenset(NAMES[:1]), frozenset(NAMES[2:])]
    tasks: list[frozenset[str] | None] = [None, frozenset(TASKS[:1]), frozenset(TASKS[1:]), frozenset({"unknown"})]
    asked = [Wanted(*each) for each in itertools.product(kinds, tasks)] * 3
    async with events_at_work(a_store, quiet_s=0.1) as at_work, contextlib.AsyncExitStack() as stack:
        clients = []
        for each in asked:
            query: dict[str, Any] = {"type": sorted(each.types or ()), "task": sorted(each.tasks or ())}
            clients.append(await stack.enter_async_context(at_work.stream(after=0, **query)))
        for number in range(100):
            some = TASKS[: 1 + number % 3]
            await asyncio.gather(*(at_work.append(task_id, KINDS[number % 4]) for task_id in some))
        head = (await a_store.log.head()).position
        for each, found in zip(asked, await asyncio.gather(*(client.until_at(head) for client in clients)), strict=True):
            assert documents(found) == await at_work.expected(0, each)


async def test_what_another_process_writes_comes_too(mongodb: MongoDB, tmp_path: Path) -> None:
    """Also when nobody gives a hint."""
    place = in_mongodb(mongodb, tmp_path)
    async with (
        place.open() as mine,
        place.open() as others,
        events_at_work(mine) as here,
        events_at_work(others) as there,
        here.stream(after=0) as client,
    ):
        for number in range(5):
            await there.append(TASKS[0], events.TaskDeferred(reason=str(number)))
            assert documents(await client.events(1)) == await there.expected(number)


async def test_a_client_that_never_reads_costs_nothing(a_store: Store) -> None:
    """What it does not take is not kept for it, others are not held up, and after a while it is cut off."""
    async with events_at_work(a_store, silence_s=1.0) as at_work, at_work.stream(after=0) as other:
        address = at_work.url.removeprefix("http://").partition("/")[0].split(":")
        happened = [events.TaskDeferred(reason="x" * BIG)]
        await asyncio.gather(*(at_work.append(f"{number:032}", *happened) for number in range(COUNT)))
        await other.events(COUNT)
        with socket.socket() as lazy:
            lazy.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2**12)
            lazy.connect((address[0], int(address[1])))
            lazy.send(b"GET /v1/events/stream?after=0 HTTP/1.1\r\nHost: tespes\r\n\r\n")
            await until(lambda: at_work.unsent_bytes > 0)
            for number in range(COUNT, COUNT + 5):
                await at_work.append(f"{number:032}", *happened)
                await other.events(1)
                assert at_work.unsent_bytes < 5 * BIG
            await until(lambda: at_work.watchers == 1)


async def test_nothing_is_kept_of_what_was_read_for_a_client(place: Place) -> None:
    """But the piece that it is about to take, however many commits were read at once."""
    async with place.open() as store, events_at_work(store) as at_work:
        happened = [events.TaskDeferred(reason="x" * BIG)]
        streams = {(await at_work.append(uuid.uuid4().hex, *happened)).commit.stream for _ in range(COUNT)}
    async with place.open() as store, events_at_work(store) as at_work:
        await until(lambda: at_work.feed._latest.end == COUNT)
        clients = [at_work.feed.stream(ALL, 0, 5.0) for _ in range(3)]
        for client in clients:
            for _ in range(5):
                assert len((await anext(client)).text) < 3 * BIG
        gc.collect()
        kept = [each.position for each in gc.get_objects() if type(each) is Entry and each.commit.stream in streams]
        assert not kept
        for client in clients:
            await client.aclose()


async def test_a_client_that_goes_is_noticed(a_store: Store) -> None:
    """At the latest when it would hear that the connection lives."""
    async with events_at_work(a_store, quiet_s=0.1) as at_work:
        async with at_work.stream() as client:
            await client.more()
            assert at_work.watchers == 1
        await until(lambda: not at_work.watchers)


async def test_there_are_only_so_many_streams(a_store: Store) -> None:
    """One more is told to come again later; when one has gone, there is a place."""
    async with events_at_work(a_store, at_most=2, quiet_s=0.1) as at_work:
        async with at_work.stream(), at_work.stream(), at_work.http.get(f"{at_work.url}/events/stream") as answer:
            assert (answer.status, answer.headers["Retry-After"]) == (503, "5")
            assert (await answer.json())["retryable"] is True
        await until(lambda: not at_work.watchers)
        async with at_work.stream() as client:
            await client.more()


async def test_at_the_end_of_the_process_streams_end(at_work: Events) -> None:
    """At once and properly; there are no new ones."""
    async with at_work.stream(after=0) as client:
        await at_work.append(TASKS[0], g.created())
        await client.events(1)
        at_work.feed.close()
        async with asyncio.timeout(2):
            assert await client.answer.content.read() == b""
    assert (await at_work.refused("/events/stream"))["status"] == 503


async def test_a_head_request_gets_the_head(at_work: Events) -> None:
    """And no stream without end."""
    async with at_work.http.head(f"{at_work.url}/events/stream") as answer:
        assert (answer.status, answer.headers["Content-Type"]) == (200, "text/event-stream")


async def test_another_client_understands_it(at_work: Events) -> None:
    """A library that others wrote (httpx-sse). What has no data only says where the stream is."""
    await at_work.append(TASKS[0], g.created(), g.scheduled())
    found = []
    url = f"{at_work.url}/events/stream?after=0"
    async with httpx.AsyncClient(timeout=10) as http, httpx_sse.aconnect_sse(http, "GET", url) as source:
        async for event in source.aiter_sse():
            if event.data:
                found.append((event.event, event.json()))
            if len(found) == 2:
                break
    assert [document for _, document in found] == await at_work.expected()
    assert [name for name, _ in found] == ["TaskCreated", "AttemptScheduled"]


async def test_the_shell_follows(at_work: Events) -> None:
    """`examples/follow.sh`: a line for each event, with what it was told to look for."""
    await at_work.append(TASKS[0], g.created())
    script = [str(ROOT / "examples" / "follow.sh"), at_work.url.removesuffix("/v1"), "after=0&type=TaskCreated"]
    shell = await asyncio.create_subprocess_exec(*script, stdout=subprocess.PIPE, start_new_session=True)
    try:
        assert shell.stdout is not None
        async with asyncio.timeout(10):
            lines = [await shell.stdout.readline()]
            await at_work.append(TASKS[1], g.created(), g.scheduled())
            lines.append(await shell.stdout.readline())
    finally:
        os.killpg(shell.pid, signal.SIGTERM)
        await shell.wait()
    expected = [event for event in await at_work.expected() if event["type"] == "org.tespes.TaskCreated.v1"]
    assert [json.loads(line) for line in lines] == expected


@pytest.mark.parametrize("count", [20_000, pytest.param(200_000, marks=pytest.mark.slow)])
async def test_every_door_has_the_whole_log_and_goes_live(at_work: Events, count: int) -> None:
    """From position 0: all events, in order, without a hole; then what happens now."""
    some = [events.TaskDeferred(reason=f"reason {number}") for number in range(8)]
    for begin in range(0, count // 8, 500):
        tasks = [f"{number:032x}" for number in range(begin, begin + 500)]
        await asyncio.gather(*(at_work.append(task_id, *some) for task_id in tasks))
    page = await at_work.pages(limit=2000)
    async with at_work.stream(after=0) as client:
        streamed = documents(await client.events(count))
        await at_work.append("0" * 32, events.TaskDeferred(reason="now"))
        streamed += documents(await client.events(1))
    assert len(page) == count
    assert streamed[:-1] == page
    sequences = [f"{1 + place // 8:016}.{place % 8:04}" for place in range(count)]
    assert [each["sequence"] for each in page] == sequences
    assert streamed[-1] == (await at_work.page(after=count // 8))["events"][0]


def documents(found: list[Received]) -> list[Document]:
    """The CloudEvents in them."""
    return [each.document for each in found]


def position(document: Document) -> int:
    """Of its commit in the log."""
    return int(document["sequence"].partition(".")[0])
