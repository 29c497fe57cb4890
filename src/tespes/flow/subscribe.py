"""What has happened, for others: by pages, and live.

All who watch live share one reader of the log, and what it read last: each event is made into bytes once, and only if
somebody wants it. Who waits is woken only for what he wants. Who is further behind reads the log by himself, a piece at a
time, and nothing is kept for anybody: a client that reads slowly gets the next piece when it has taken the last one.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from tespes import errors, events
from tespes.events import Entry, codec, redact
from tespes.flow.follow import follow, patiently, wait
from tespes.flow.latest import SLICE, Latest, Sent, first_piece
from tespes.flow.shown import ALL, Shown, Wanted
from tespes.store import Log

_LOOKED_AT: Final = 20_000
_AT_FIRST: Final = 8  # commits: each may weigh a MiB, so it is seen first whether they do
_PAGE_BYTES: Final = 16 * 2**20
_REST_S: Final = 0.002
_REST_EACH_S: Final = 0.001
_REST_AT_MOST_S: Final = 0.5
_NOBODY_S: Final = 0.1


@dataclass(frozen=True, slots=True)
class Page:
    """A part of the log.

    :param documents: the events, CloudEvents as JSON, in order
    :param next: the position up to which was looked; :param head: the last one that there is
    :param skipped: how many events were left out because this release cannot read them
    """

    documents: list[bytes]
    next: int
    head: int
    skipped: int


@dataclass(eq=False, slots=True)
class _Waiting:
    """A client that has everything up to that position."""

    wanted: Wanted
    position: int
    woken: asyncio.Event = field(default_factory=asyncio.Event)


class Feed:
    """The log, for others.

    :param source: what their events have as their source, see `cloud.source`
    :param at_most: how many may watch live at a time

    `skipped` counts the events that came since the start and that this release cannot read: they are not shown.
    """

    def __init__(self, log: Log, source: str, at_most: int) -> None:
        self._log = log
        self._source = source
        self._at_most = at_most
        self._latest = Latest()
        self._waiting: set[_Waiting] = set()
        self._lives: set[asyncio.Timeout] = set()
        self._closed = False
        self.skipped = 0

    async def run(self) -> None:
        """Read the log for all who watch, until cancelled."""
        self._latest.end = (await patiently("feed", self._log.head)).position
        self._wake(set(self._waiting))
        await follow("feed", self._log, self._latest.end, self._see)

    async def head(self) -> int:
        """The last position of the log."""
        return (await self._log.head()).position

    async def page(self, wanted: Wanted, after: int, limit: int) -> Page:
        """A page of what is wanted after that position. It may be empty although more follows: the work for it is bounded.

        :param limit: of events; the last commit is not cut in two, so that it may be a few more
        """
        head, found, size_bytes, reached = await self.head(), list[bytes | None](), 0, after
        async for entries, looked_at in self._slices(wanted, after, head):
            for shown in map(self._shown, entries):
                more = shown.documents(wanted)
                found += more
                size_bytes += sum(len(document or b"") for document in more)
                if len(found) >= limit or size_bytes > _PAGE_BYTES:
                    return _page(found, shown.position, head)
            reached = looked_at
        return _page(found, reached, head)

    async def of_task(self, task_id: str) -> Page:
        """All events of a task.

        :raises errors.NotFound: there is no such task
        """
        entries = await self._log.read_stream(task_id) if events.is_task(task_id) else []
        if not entries:
            raise errors.NotFound(f"there is no task {task_id}")
        found = [document for entry in entries for document in self._shown(entry).documents(ALL)]
        return _page(found, entries[-1].position, entries[-1].position)

    async def seen(self) -> int:
        """Up to which position of the log those who watch live were woken."""
        return self._latest.end

    @property
    def clients(self) -> int:
        """How many watch live now."""
        return len(self._lives)

    @property
    def is_full(self) -> bool:
        """Whether nobody else may watch now."""
        return self._closed or len(self._lives) >= self._at_most

    @contextlib.asynccontextmanager
    async def watching(self) -> AsyncIterator[None]:
        """While somebody watches.

        :raises TimeoutError: the process is about to end
        """
        async with asyncio.timeout(0 if self._closed else None) as life:
            self._lives.add(life)
            try:
                yield
            finally:
                self._lives.discard(life)

    def close(self) -> None:
        """End all streams, now and later: the process is about to end."""
        self._closed = True
        for life in self._lives:
            life.reschedule(asyncio.get_running_loop().time())

    async def stream(self, wanted: Wanted, after: int, quiet_s: float) -> AsyncGenerator[Sent, None]:
        """What is wanted after that position, piece by piece, until `close`; and where it is, if nothing came for so long.

        :raises errors.CorruptLog: see `Log.read`
        """
        client, at_once = _Waiting(wanted, after), _AT_FIRST
        while not self._closed:  # a driver may swallow the cancellation that ends whoever watches
            piece = self._latest.piece(wanted, client.position)
            if piece is None:
                piece = await self._read(wanted, client.position, at_once)
                at_once = min(2 * max(piece.position - client.position, 1), SLICE)
            if piece.position > client.position:
                client.position = piece.position
                yield piece
            if client.position >= self._latest.end and not await self._is_woken(client, quiet_s):
                yield Sent(b"", client.position)

    async def _read(self, wanted: Wanted, after: int, at_once: int) -> Sent:
        """The next piece, from the log; nothing else of what was read is kept while the client takes it."""
        entries = await patiently("a stream", partial(self._log.read, after, at_once))
        await asyncio.sleep(0)  # it may all have come from memory, and others want their turn
        return first_piece(map(self._shown, entries), wanted, after)

    async def _is_woken(self, client: _Waiting, at_most_s: float) -> bool:
        """Whether something that it may want came in time."""
        client.woken.clear()
        self._waiting.add(client)
        try:
            return await wait(client.woken, at_most_s)
        finally:
            self._waiting.discard(client)

    async def _see(self, entries: Sequence[Entry]) -> None:
        """Wake those who wait for it, take the others on; then rest, so that what comes meanwhile goes out together."""
        if any(map(redact.gives_orders, entries)):  # of an event that is kept here, perhaps
            self._latest.forget()
        self._latest.add([self._shown(entry) for entry in entries])
        streams = {entry.commit.stream for entry in entries}
        happened = [event for entry in entries for event in entry.commit.events]
        types = {event.type for event in happened}
        self.skipped += sum(not codec.is_known(event) for event in happened)
        woken = {each for each in self._waiting if each.wanted.may_be_in(streams, types)}
        self._wake(woken)
        for each in self._waiting:
            each.position = max(each.position, self._latest.end)
        await asyncio.sleep(min(_REST_S + _REST_EACH_S * len(woken), _REST_AT_MOST_S) if self._lives else _NOBODY_S)

    def _wake(self, clients: set[_Waiting]) -> None:
        """They look for themselves now: nobody else takes them on, past what they were woken for."""
        self._waiting -= clients
        for each in clients:
            each.woken.set()

    async def _slices(self, wanted: Wanted, after: int, head: int) -> AsyncIterator[tuple[Sequence[Entry], int]]:
        """What may be wanted after that position, in order, slice by slice; each with the position up to which was looked."""
        if wanted.tasks is not None:
            streams = await asyncio.gather(*map(self._log.read_stream, wanted.tasks))
            found = [entry for stream in streams for entry in stream if after < entry.position <= head]
            yield sorted(found, key=lambda entry: entry.position), head
            return
        end, at_once = min(head, after + _LOOKED_AT), _AT_FIRST
        while after < end:
            entries = await self._log.read_to(end, after, at_once)
            after, at_once = entries[-1].position, min(2 * at_once, SLICE)
            yield entries, after
            await asyncio.sleep(0)

    def _shown(self, entry: Entry) -> Shown:
        return Shown(entry, self._source)


def _page(found: list[bytes | None], reached: int, head: int) -> Page:
    documents = [document for document in found if document is not None]
    return Page(documents, reached, head, len(found) - len(documents))
