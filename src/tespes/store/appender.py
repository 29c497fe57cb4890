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
from tespes.store.fences import Fences
from tespes.store.promise import (
    LEASE,
    Conflict,
    Fence,
    LogTable,
    OutcomeUnknown,
    PositionTaken,
    SameId,
    VersionTaken,
    Written,
)
from tespes.store.shared import Tickets
from tespes.store.turns import Turns

BATCH_COMMITS = 256
BATCH_BYTES = 4 * 2**20
COMMIT_BYTES = 2**20
_BACK_OFF_S = (0.01, 1.0)
LAST_WRITE_S = 2.5
_ANSWER_S = 15.0  # longer than an election among MongoDB's members usually takes

_log = structlog.get_logger(__name__)


@dataclass(slots=True, eq=False)
class _Waiting:
    """A commit in the queue, and who waits for it.

    :param is_unknown: a write that nobody answered may have put it into the log
    """

    commit: Commit
    fence: Fence | None
    data_hash: str
    answer: asyncio.Future[Entry]
    is_unknown: bool = False


class Appender:
    """The one writer of this process.

    :param table: where to; :param tickets: the queue of those that append there; None if there are no others
    :param appended: called with the entries of a batch as soon as they are durable
    :param last_write_s: for how long a write that was begun may take once the process ends

    `trouble` is why the last write failed; None if it did not.
    """

    def __init__(
        self,
        table: LogTable,
        tickets: Tickets | None,
        appended: Callable[[Sequence[Entry]], None],
        last_write_s: float = LAST_WRITE_S,
    ) -> None:
        self._table = table
        self._turns = Turns(tickets) if tickets is not None else None
        self._appended = appended
        self._last_write_s = last_write_s
        self._queue: deque[_Waiting] = deque()
        self._filled = asyncio.Event()
        self._left: list[_Waiting] = []
        self._is_unknown = False  # whether some of these may be in the log
        self._head: Head | None = None
        self._fences = Fences(table)
        self._stopped = False
        self.trouble: str | None = None
        self.batches = 0
        self.commits = 0

    async def append(self, commit: Commit, fence: Fence | None = None) -> Entry:
        """Put the commit into the log; the entry it has there, also if it was there before.

        :param fence: of the lease under which it is appended, if there is one
        :raises errors.LeaseLost: another process has taken the lease
        :raises errors.VersionConflict: another commit took its version of the stream
        :raises errors.IdempotencyConflict: its id is in the log with other events
        :raises errors.StoreUnavailable: it is not in the log
        :raises errors.WriteUnconfirmed: nobody knows
        """
        if commit.size_bytes > COMMIT_BYTES:
            raise errors.BadRequest("", f"{commit.size_bytes} bytes of events", f"at most {COMMIT_BYTES} in a commit")
        if self._stopped:
            raise errors.StoreUnavailable("TESPES is stopping")
        answer: asyncio.Future[Entry] = asyncio.get_running_loop().create_future()
        self._queue.append(_Waiting(commit, fence, chain.data_hash(commit.stream, commit.events), answer))
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
            self._turn_away("TESPES is stopping")

    async def _finish(self, write: asyncio.Future[None]) -> None:
        """Wait for a write; as long as callers can be made to wait, and when stopping, as long as a write should take."""
        try:
            await asyncio.wait({write}, timeout=_ANSWER_S)
        except asyncio.CancelledError:
            await asyncio.wait({write}, timeout=self._last_write_s)
            raise
        finally:
            if not write.done():
                write.cancel()
                await asyncio.wait({write})
                self._turn_away("the database does not answer")

    def _turn_away(self, reason: str) -> None:
        """Nothing of what waits was begun."""
        while self._queue:
            _fail(self._queue.popleft(), errors.StoreUnavailable(reason))

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
            if each.commit.stream.startswith(LEASE):
                break  # what comes after it must find it in the log
        self._queue.extendleft(reversed(later))
        if not self._queue:
            self._filled.clear()
        return batch

    async def _write(self, batch: list[_Waiting]) -> None:
        """The whole batch; whatever happens, every caller gets an answer."""
        self._left = batch
        try:
            await self._rounds()
            await asyncio.sleep(0)  # whoever has an answer now may append the next
            if self._turns is not None and not self._queue:
                await self._turns.end()
        except errors.StoreUnavailable as error:
            self._give_up(error)
        except asyncio.CancelledError:
            self._give_up(errors.WriteUnconfirmed("the database does not answer, and nobody knows whether it wrote this"))
            raise
        except Exception as error:  # noqa: BLE001 - every caller gets an answer
            _log.exception("a write failed", commits=len(self._left))
            self._give_up(errors.WriteUnconfirmed(f"the log could not be written, or nobody knows: {error}"))

    def _give_up(self, error: errors.StoreUnavailable) -> None:
        self._head = None
        self.trouble = str(error)
        for each in self._left:
            _fail(each, error)

    async def _rounds(self) -> None:
        """As many rounds as the batch needs."""
        pause, self._is_unknown = _BACK_OFF_S[0], False
        while self._left:
            try:
                self._left = await self._round(self._left)
                self._is_unknown = False
            except (OutcomeUnknown, errors.StoreUnavailable) as error:
                task = asyncio.current_task()
                if task is not None and task.cancelling():  # the driver makes an error of a cancellation
                    raise asyncio.CancelledError from error
                # Once nobody knows what was written, only looking can tell: nobody may be told that it was not.
                self._is_unknown = self._is_unknown or isinstance(error, OutcomeUnknown)
                if not self._is_unknown:
                    raise
                for each in self._left:
                    each.is_unknown = True
                _log.warning("the outcome of a write is unknown", reason=str(error), commits=len(self._left))
                self._head = None
                await asyncio.sleep(random.uniform(0, pause))  # noqa: S311 - jitter
                pause = min(pause * 2, _BACK_OFF_S[1])

    async def _round(self, batch: list[_Waiting]) -> list[_Waiting]:
        """Write once; what is left to write."""
        if self._turns is not None and await self._turns.wait():
            self._head = None
        looked = self._head is None
        if self._head is None:
            self._fences.forget()
            self._head = await self._table.head()
        batch = await self._unbroken(batch)
        if not batch:
            return []
        entries = _numbered(batch, self._head)
        written = await self._table.write(entries)
        self._tell_of_found(batch, written)
        self._accept(batch[: written.count], entries[: written.count])
        if any(isinstance(conflict, PositionTaken) for conflict in written.conflicts.values()):
            self._head = None  # another process was first
            if looked and self._turns is not None:
                await self._turns.line_up()
                await asyncio.sleep(random.uniform(0, _BACK_OFF_S[0]))  # noqa: S311 - until a majority has what was first
        return _left(batch, written)

    async def _unbroken(self, batch: list[_Waiting]) -> list[_Waiting]:
        """Those whose leases nobody has taken since: once the head is known, this can be known (see `fences`)."""
        broken = await self._fences.broken(each.fence for each in batch if each.fence is not None)
        if not broken:
            return batch
        more = "; what was being written then may be in the log" if self._is_unknown else ""
        for each in batch:
            if each.fence is not None and each.fence in broken:
                _fail(each, errors.LeaseLost(f"another process has taken the lease {each.fence.name}{more}"))
        return [each for each in batch if each.fence not in broken]

    def _accept(self, batch: Sequence[_Waiting], entries: Sequence[Entry]) -> None:
        if not entries:
            return
        self._head = chain.head_of(entries[-1])
        self._fences.note(entries)
        self.trouble = None
        self.batches += 1
        self.commits += len(entries)
        self._appended(entries)
        for each, entry in zip(batch, entries, strict=True):
            if not each.answer.done():
                each.answer.set_result(entry)
        self._drop_stale(entries)

    def _tell_of_found(self, batch: Sequence[_Waiting], written: Written) -> None:
        """Those that were written after all, when nobody answered: nobody has heard of them yet."""
        conflicts = written.conflicts.items()
        found = [each.entry for index, each in conflicts if isinstance(each, SameId) and batch[index].is_unknown]
        for entry in sorted(found, key=lambda entry: entry.position):
            self._appended((entry,))

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


def _left(batch: Sequence[_Waiting], written: Written) -> list[_Waiting]:
    """Those that are to be tried again; the others that were not written get their answer."""
    left = []
    for index in range(written.count, len(batch)):
        conflict = written.conflicts.get(index)
        if conflict is None or isinstance(conflict, PositionTaken):
            left.append(batch[index])
        else:
            _settle(batch[index], conflict)
    return left


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
