"""One appender for each process: group commit, positions, the hash chain, and what to do when somebody else was first.

It drains a queue; commits that cannot succeed are dropped early; the rest get positions head+1.., hashes, and go to the
database in one round trip. A caller that is cancelled never takes its batch with it.
"""

import asyncio
import random
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import structlog

from tespes import errors
from tespes.events import Commit, Entry, chain
from tespes.events.chain import Head
from tespes.store.promise import Conflict, LogTable, OutcomeUnknown, PositionTaken, SameId, VersionTaken

BATCH_COMMITS = 256
BATCH_BYTES = 4 * 2**20
COMMIT_BYTES = 2**20
_BACK_OFF_S = (0.01, 1.0)
_LAST_WRITE_S = 5.0

_log = structlog.get_logger(__name__)


@dataclass(slots=True, eq=False)
class _Waiting:
    """A commit in the queue, and who waits for it."""

    commit: Commit
    data_hash: str
    answer: asyncio.Future[Entry]


class Appender:
    """The one writer of this process.

    :param table: where to
    :param appended: called with the entries of a batch as soon as they are durable
    """

    def __init__(self, table: LogTable, appended: Callable[[Sequence[Entry]], None]) -> None:
        self._table = table
        self._appended = appended
        self._queue: deque[_Waiting] = deque()
        self._filled = asyncio.Event()
        self._left: list[_Waiting] = []
        self._head: Head | None = None
        self._stopped = False
        self.batches = 0
        self.commits = 0

    async def append(self, commit: Commit) -> Entry:
        """Put the commit into the log; the entry it has there, also if it was there before.

        :raises errors.VersionConflict: another commit took its version of the stream
        :raises errors.IdempotencyConflict: its id is in the log with other events
        :raises errors.StoreUnavailable: it is not in the log
        """
        if commit.size_bytes > COMMIT_BYTES:
            raise errors.BadRequest("", f"{commit.size_bytes} bytes of events", f"at most {COMMIT_BYTES} in a commit")
        if self._stopped:
            raise errors.StoreUnavailable("TESPES is stopping")
        answer: asyncio.Future[Entry] = asyncio.get_running_loop().create_future()
        self._queue.append(_Waiting(commit, chain.data_hash(commit.stream, commit.events), answer))
        self._filled.set()
        return await answer

    async def run(self) -> None:
        """Write batches until cancelled. Cancelled in a write, it finishes that write first."""
        try:
            while True:
                await self._filled.wait()
                await asyncio.sleep(0)  # whoever is ready to append comes along; nobody waits for anybody who is not
                await self._finish(asyncio.ensure_future(self._write(self._take())))
        finally:
            self._stopped = True
            for each in self._queue:
                _fail(each, errors.StoreUnavailable("TESPES is stopping"))

    async def _finish(self, write: asyncio.Future[None]) -> None:
        """Wait for a write; when stopping, as long as a write should take, not until a database comes back."""
        try:
            await asyncio.shield(write)
        except asyncio.CancelledError:
            await asyncio.wait({write}, timeout=_LAST_WRITE_S)
            write.cancel()
            await asyncio.wait({write})
            raise

    def _take(self) -> list[_Waiting]:
        """The next batch: one commit of each stream and id at most, so that the database never meets its own batch."""
        batch: list[_Waiting] = []
        later: list[_Waiting] = []
        seen: set[str] = set()
        size = 0
        while self._queue and len(batch) < BATCH_COMMITS and size < BATCH_BYTES:
            each = self._queue.popleft()
            if each.commit.stream in seen or each.commit.id in seen:
                later.append(each)
                continue
            seen.update((each.commit.stream, each.commit.id))
            size += each.commit.size_bytes
            batch.append(each)
        self._queue.extendleft(reversed(later))
        if not self._queue:
            self._filled.clear()
        return batch

    async def _write(self, batch: list[_Waiting]) -> None:
        """The whole batch; whatever happens, every caller gets an answer."""
        self._left = batch
        try:
            await self._rounds()
        except errors.StoreUnavailable as error:
            self._give_up(error)
        except asyncio.CancelledError:
            self._give_up(errors.StoreUnavailable("TESPES is stopping, and the database does not say what it wrote"))
            raise
        except Exception as error:  # noqa: BLE001 - every caller gets an answer
            _log.exception("a write failed", commits=len(self._left))
            self._give_up(errors.StoreUnavailable(f"the log could not be written: {error}"))

    def _give_up(self, error: errors.StoreUnavailable) -> None:
        self._head = None
        for each in self._left:
            _fail(each, error)

    async def _rounds(self) -> None:
        """As many rounds as the batch needs."""
        pause, unknown = _BACK_OFF_S[0], False
        while self._left:
            try:
                self._left, lost_race = await self._round(self._left)
                unknown = False
            except (OutcomeUnknown, errors.StoreUnavailable) as error:
                # Once nobody knows what was written, only looking can tell: nobody may be told that it was not.
                unknown = unknown or isinstance(error, OutcomeUnknown)
                if not unknown:
                    raise
                _log.warning("the outcome of a write is unknown", reason=str(error), commits=len(self._left))
                self._head, lost_race = None, True
            if lost_race:
                await asyncio.sleep(random.uniform(0, pause))  # noqa: S311 - jitter
                pause = min(pause * 2, _BACK_OFF_S[1])

    async def _round(self, batch: list[_Waiting]) -> tuple[list[_Waiting], bool]:
        """Write once: what is left to write, and whether another process was first."""
        if self._head is None:
            self._head = await self._table.head()
        entries = _numbered(batch, self._head)
        written = await self._table.write(entries)
        self._accept(batch[: written.count], entries[: written.count])
        rest = []
        lost_race = False
        for index in range(written.count, len(batch)):
            conflict = written.conflicts.get(index)
            if isinstance(conflict, PositionTaken):
                lost_race = True
            if conflict is None or isinstance(conflict, PositionTaken):
                rest.append(batch[index])
            else:
                _settle(batch[index], conflict)
        if lost_race:
            self._head = None
        return rest, lost_race

    def _accept(self, batch: Sequence[_Waiting], entries: Sequence[Entry]) -> None:
        if not entries:
            return
        self._head = chain.head_of(entries[-1])
        self.batches += 1
        self.commits += len(entries)
        self._appended(entries)
        for each, entry in zip(batch, entries, strict=True):
            if not each.answer.done():
                each.answer.set_result(entry)
        self._drop_stale(entries)

    def _drop_stale(self, entries: Sequence[Entry]) -> None:
        """Commits in the queue whose version has just been taken cannot succeed: the database need not say so."""
        taken = {(entry.commit.stream, entry.commit.version): entry.commit.id for entry in entries}
        waiting, self._queue = self._queue, deque()
        for each in waiting:
            commit = each.commit
            if taken.get((commit.stream, commit.version), commit.id) == commit.id:
                self._queue.append(each)
            else:
                _settle(each, VersionTaken())


def _numbered(batch: Sequence[_Waiting], head: Head) -> list[Entry]:
    entries = []
    for each in batch:
        entry = chain.link(each.commit, each.data_hash, head)
        entries.append(entry)
        head = chain.head_of(entry)
    return entries


def _settle(waiting: _Waiting, conflict: Conflict) -> None:
    commit = waiting.commit
    match conflict:
        case SameId(entry) if entry.data_hash == waiting.data_hash:
            if not waiting.answer.done():
                waiting.answer.set_result(entry)
        case SameId():
            _fail(waiting, errors.IdempotencyConflict(f"commit {commit.id} is in the log with other events"))
        case VersionTaken():
            _fail(waiting, errors.VersionConflict(f"version {commit.version} of {commit.stream} is taken"))
        case PositionTaken():
            raise AssertionError("a taken position is numbered anew, not settled")


def _fail(waiting: _Waiting, error: errors.TespesError) -> None:
    if not waiting.answer.done():
        waiting.answer.set_exception(error)
