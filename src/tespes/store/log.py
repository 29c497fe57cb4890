"""The log: append, read, and know when something new is there."""

import asyncio
import time
from collections.abc import Callable, Sequence

import structlog

from tespes import errors
from tespes.events import Commit, Encoded, Entry, redact
from tespes.events.chain import Head
from tespes.store.appender import LAST_WRITE_S, Appender
from tespes.store.coalesce import Coalesced
from tespes.store.promise import Fence, LogTable, OutcomeUnknown
from tespes.store.recent import Recent
from tespes.store.shared import Tickets

READ_AT_ONCE = 2000

_log = structlog.get_logger(__name__)


class Log:
    """A log table with its appender.

    :param table: where the log lives
    :param tickets: None if no other process writes there; if others do, the signal is only a hint
    :param last_write_s: see Appender

    `written` is the last position that this process wrote. Who wants to know is in `wrote`, which are called with the
    entries of each batch; `waited` is called with the seconds that each append took its caller.
    """

    def __init__(self, table: LogTable, tickets: Tickets | None, last_write_s: float = LAST_WRITE_S) -> None:
        self._table = table
        self._appender = Appender(table, tickets, self._notice, last_write_s)
        self._newest = Coalesced(table.newest)
        self._streams = Coalesced(self._read_streams)
        self._grown = asyncio.Event()
        self._recent = Recent()
        self.shared = tickets is not None
        self.written = 0
        self.wrote: list[Callable[[Sequence[Entry]], None]] = []
        self.waited: Callable[[float], None] = lambda _: None

    async def run(self) -> None:
        """Append what is asked for until cancelled; somebody must own this."""
        await self._appender.run()

    async def append(self, commit: Commit, fence: Fence | None = None) -> Entry:
        """See Appender.append."""
        begun = time.perf_counter()
        entry = await self._appender.append(commit, fence)
        self.waited(time.perf_counter() - begun)
        return entry

    @property
    def trouble(self) -> str | None:
        """Why the last append failed; None if it did not."""
        return self._appender.trouble

    @property
    def mean_batch(self) -> float:
        """Commits in a round trip, on average since the start."""
        return self._appender.commits / max(self._appender.batches, 1)

    async def head(self) -> Head:
        """The end of the log."""
        return await self._table.head()

    async def read(self, after: int, limit: int = READ_AT_ONCE) -> list[Entry]:
        """The entries that follow position `after`, in order, without a hole.

        :raises errors.CorruptLog: there is a hole, and it was there when looked at again
        """
        if recent := self._recent.after(after, limit):
            return recent
        entries = await self._table.read(after, limit)
        if not _contiguous(entries, after):
            entries = await self._table.read(after, limit)
            if not _contiguous(entries, after):
                raise errors.CorruptLog(f"there is a hole in the log after position {after}")
        if any(map(redact.gives_orders, entries)):
            self._recent.forget()
        return entries

    async def read_to(self, end: int, after: int, limit: int = READ_AT_ONCE) -> list[Entry]:
        """As `read`, but not past position `end`, which is behind `after` and known to be there: at least one entry."""
        limit = min(limit, end - after)
        entries = await self.read(after, limit) or await self.read(after, limit)
        if not entries:
            raise errors.CorruptLog(f"there is a hole in the log after position {after}")
        return entries

    async def read_as_is(self, after: int, limit: int = READ_AT_ONCE) -> list[Entry]:
        """What `read` would look at, holes or not, and nothing that was never written so: for an audit."""
        return await self._table.read(after, limit, exact=True)

    async def read_stream(self, stream: str, after: int = 0) -> list[Entry]:
        """The stream's entries whose first version is above `after`, in order; without what was taken out of them."""
        return await self._streams.get((stream, after)) or []

    async def newest(self, stream: str) -> int:
        """The first version of the stream's last commit; 0 if there is no such stream. One indexed look-up."""
        return await self._newest.get(stream) or 0

    async def put(self, entries: Sequence[Entry]) -> None:
        """Write entries as they are, behind the end of a log that nobody else writes: those of a backup.

        :raises errors.StoreUnavailable: not all of them are there, or nobody knows: the head says how many
        """
        try:
            written = await self._table.write(entries)
        except OutcomeUnknown as error:
            raise errors.StoreUnavailable(f"nobody knows what was written: {error}") from error
        if written.count < len(entries):
            raise errors.StoreUnavailable(
                f"position {entries[written.count].position} was not written: somebody else writes there"
            )

    async def redact(self, position: int, index: int, was: Encoded, left: Encoded) -> bool:
        """See promise.LogTable.redact."""
        done = await self._table.redact(position, index, was, left)
        self._recent.forget()
        return done

    async def scrub(self) -> None:
        """See promise.LogTable.scrub."""
        await self._table.scrub()

    @property
    def signal(self) -> asyncio.Event:
        """Set with the next append of this process, or the next hint. Take it before reading, wait after nothing was there."""
        return self._grown

    def wake(self) -> None:
        """Have the log looked at: another process says that it has grown."""
        self._grown.set()
        self._grown = asyncio.Event()

    def _notice(self, entries: Sequence[Entry]) -> None:
        self._recent.add(entries)
        self.written = entries[-1].position
        self.wake()
        for tell in self.wrote:
            try:
                tell(entries)
            except Exception:  # noqa: BLE001 - the rim: it is in the log, and who cannot bear to hear so must not make it doubtful
                _log.exception("what was written could not be told", position=self.written)

    async def _read_streams(self, wanted: Sequence[tuple[str, int]]) -> dict[tuple[str, int], list[Entry]]:
        """Many streams in one round trip; one that is asked for twice is read from the lower version on."""
        least: dict[str, int] = {}
        for stream, after in wanted:
            least[stream] = min(after, least.get(stream, after))
        found = await self._table.read_streams(least)
        return {
            (stream, after): redact.heeded([entry for entry in found.get(stream, ()) if entry.commit.version > after])
            for stream, after in wanted
        }


def _contiguous(entries: Sequence[Entry], after: int) -> bool:
    return all(entry.position == after + 1 + index for index, entry in enumerate(entries))
