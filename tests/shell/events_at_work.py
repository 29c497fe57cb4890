"""The routes of events over a real store, and a client that reads server-sent events as the HTML standard says (9.2)."""

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import orjson
from aiohttp import web
from aiohttp.test_utils import BaseTestServer, TestServer

import given as g
from tespes import api, events
from tespes.api import openapi, problems
from tespes.background import Background
from tespes.events import Entry, Meta, cloud
from tespes.flow.shown import Wanted
from tespes.flow.subscribe import Feed
from tespes.store import Store

SOURCE = cloud.source("org.example.tes")
WITHIN_S = 20.0
PIECE_BYTES = 2**16
Document = dict[str, Any]


@dataclass(frozen=True)
class Received:
    """An event as a client gets it."""

    last_id: str
    name: str
    data: str

    @property
    def document(self) -> Document:
        """The CloudEvent in it."""
        found: Document = orjson.loads(self.data)
        return found


@dataclass
class Client:
    """A client of a stream; what comes is only read when it is asked for.

    :param last_id: what it would send if it came again
    """

    answer: aiohttp.ClientResponse
    last_id: str = ""
    retry_ms: int = 0
    unread: bytes = b""
    _id: str = ""
    _found: list[Received] = field(default_factory=list)

    async def events(self, count: int) -> list[Received]:
        """The next so many events."""
        async with asyncio.timeout(WITHIN_S):
            while len(self._found) < count:
                await self.more()
        found, self._found = self._found[:count], self._found[count:]
        return found

    async def until_at(self, position: int) -> list[Received]:
        """All that comes until the last event id is at least that."""
        async with asyncio.timeout(WITHIN_S):
            while int(self.last_id or -1) < position:
                await self.more()
        return self.taken()

    def taken(self) -> list[Received]:
        """All that has come."""
        found, self._found = self._found, []
        return found

    async def more(self, at_most_bytes: int = PIECE_BYTES) -> int:
        """Read on, at most so many bytes; how many came."""
        piece = await self.answer.content.read(at_most_bytes)
        if not piece:
            raise EOFError
        *blocks, self.unread = (self.unread + piece).split(b"\n\n")
        for block in blocks:
            self._dispatch(block.decode().split("\n"))
        return len(piece)

    def _dispatch(self, lines: Sequence[str]) -> None:
        name, data = "message", list[str]()
        for line in lines:
            key, _, value = line.partition(": ")
            match key:
                case "event":
                    name = value
                case "data":
                    data.append(value)
                case "id":
                    self._id = value
                case "retry":
                    self.retry_ms = int(value)
                case _:
                    assert line.startswith(":"), line
        self.last_id = self._id
        if data:
            self._found.append(Received(self.last_id, name, "\n".join(data)))


@dataclass
class Events:
    """The routes, and the log behind them."""

    store: Store
    feed: Feed
    server: BaseTestServer
    url: str
    http: aiohttp.ClientSession
    versions: dict[str, int] = field(default_factory=dict)

    @property
    def watchers(self) -> int:
        """How many watch live."""
        return len(self.feed._lives)

    @property
    def unsent_bytes(self) -> int:
        """What is kept for clients that have not taken it, beyond what the system does."""
        assert self.server.runner is not None
        assert self.server.runner.server is not None
        ways = (each.transport for each in self.server.runner.server.connections)
        return sum(way.get_write_buffer_size() for way in ways if way is not None)

    async def append(self, task_id: str, *happened: events.Event) -> Entry:
        """It happens to that task, at once."""
        version = self.versions.get(task_id, 0) + 1
        self.versions[task_id] = version + len(happened) - 1
        meta = Meta(at=g.at(0), actor="tests", owner="anonymous")
        return await self.store.log.append(events.commit(str(uuid.uuid4()), task_id, version, happened, meta))

    async def expected(self, after: int = 0, wanted: Wanted | None = None) -> list[Document]:
        """What a subscriber has to get: all that is wanted of the log, straight from the store."""
        wanted, found = wanted or Wanted(), list[Document]()
        while entries := await self.store.log.read(after):
            for entry in entries:
                for stored, event in zip(entry.commit.events, cloud.of(entry, SOURCE), strict=True):
                    is_task = wanted.tasks is None or entry.commit.stream in wanted.tasks
                    if is_task and (wanted.types is None or stored.type in wanted.types):
                        found.append(event.document())
            after = entries[-1].position
        return found

    async def page(self, **asked: Any) -> Document:
        """What GET /events answers."""
        async with self.http.get(f"{self.url}/events", params=asked) as answer:
            assert answer.status == 200, await answer.text()
            found: Document = await answer.json()
            return found

    async def pages(self, **asked: Any) -> list[Document]:
        """All pages, one after the other, until the head is reached."""
        found, after, head = [], asked.pop("after", 0), None
        while head is None or after < head:
            page = await self.page(after=after, **asked)
            assert page["next"] > after or page["next"] == page["head"]
            found += page["events"]
            after, head = page["next"], page["head"]
        return found

    @contextlib.asynccontextmanager
    async def stream(self, last_id: str = "", **asked: Any) -> AsyncIterator[Client]:
        """A client that follows."""
        headers = {"Last-Event-ID": last_id} if last_id else {}
        async with self.http.get(f"{self.url}/events/stream", params=asked, headers=headers) as answer:
            assert answer.status == 200, await answer.text()
            assert answer.headers["Content-Type"] == "text/event-stream"
            yield Client(answer, last_id)
            answer.close()

    async def refused(self, path: str, headers: Mapping[str, str] | None = None) -> Document:
        """The problem that it is answered with, and its status."""
        async with self.http.get(f"{self.url}{path}", headers=headers) as answer:
            assert answer.content_type == "application/problem+json", answer.status
            found: Document = await answer.json()
            assert found["status"] == answer.status
            return found


async def until(true: Callable[[], bool]) -> None:
    """Wait until that is true."""
    async with asyncio.timeout(WITHIN_S):
        while not true():  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.02)


@contextlib.asynccontextmanager
async def events_at_work(
    store: Store, *, quiet_s: float = 5.0, silence_s: float = 5.0, at_most: int = 100
) -> AsyncIterator[Events]:
    """The routes on that store."""
    feed = Feed(store.log, SOURCE, at_most)
    application = web.Application(middlewares=[problems.answer_errors])
    application[openapi.OPERATIONS] = []
    api.EventRoutes(feed).add_to(application)
    api.StreamRoutes(feed, quiet_s, silence_s).add_to(application)
    async with Background(again_s=0.5) as background, TestServer(application) as server:
        background.start("feed", feed.run)
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(connector=connector, read_bufsize=PIECE_BYTES) as http:
            yield Events(store, feed, server, str(server.make_url("/v1")), http)
        feed.close()
