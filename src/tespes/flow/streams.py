"""What became of streams: folded once, kept, and brought up to date by one indexed look-up.

Every answer is as new as its question: the newest version of the stream is looked up each time, and only what came since
is read and folded. So every process sees what every other one wrote.
"""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from tespes import errors, events
from tespes.events import Entry, Recorded, redact
from tespes.store import Log

Value = TypeVar("Value")
KEPT_BYTES = 8 * 2**20  # of events as they are stored; folded they weigh several times as much
_FOLD_BYTES = 1024


@dataclass(frozen=True, slots=True)
class Fold(Generic[Value]):
    """A stream, folded.

    :param newest: the first version of the last commit in it; :param version: of the last event in it
    :param size_bytes: of its events as they are stored; :param event_id: of its last event
    """

    value: Value
    newest: int
    version: int
    size_bytes: int
    event_id: str


class Folds(Generic[Value]):
    """The folds of streams, the most recently used ones in memory.

    :param step: what an event makes of a value; it gets None before the first event
    :param is_one: whether a stream is of the kind that is folded here; of others, there is none
    """

    def __init__(
        self,
        log: Log,
        step: Callable[[Value | None, Recorded], Value | None],
        *,
        is_one: Callable[[str], bool] = events.is_task,
        kept_bytes: int = KEPT_BYTES,
    ) -> None:
        self._log = log
        self._step = step
        self._is_one = is_one
        self._kept_bytes = kept_bytes
        self._bytes = 0
        self._folds: OrderedDict[str, Fold[Value]] = OrderedDict()

    async def load(self, stream: str) -> Fold[Value] | None:
        """The stream as it is now; None if there is none."""
        if not self._is_one(stream):
            return None
        known = self._folds.get(stream)
        newest = await self._log.newest(stream)
        if newest == 0:
            return None
        if known is None or known.newest < newest:
            entries = await self._log.read_stream(stream, known.newest if known else 0)
            if known is not None and any(map(redact.gives_orders, entries)):
                known, entries = None, await self._log.read_stream(stream)
            return self.advance(known, *entries) if entries else known
        self._folds.move_to_end(stream)
        return known

    def kept(self, stream: str) -> Fold[Value] | None:
        """The stream as it was when it was last looked at here, if it is kept: perhaps not as it is now."""
        return self._folds.get(stream)

    def advance(self, known: Fold[Value] | None, *entries: Entry) -> Fold[Value]:
        """The fold after entries that follow `known`; at least one."""
        value, size_bytes = (known.value, known.size_bytes) if known else (None, _FOLD_BYTES)
        for entry in entries:
            size_bytes += entry.commit.size_bytes
            for recorded in events.recorded(entry):
                value = self._step(value, recorded)
        last = entries[-1]
        if value is None:
            raise errors.CorruptLog(f"the stream {last.commit.stream} does not begin with what begins it")
        event_id = events.event_id(last.commit.id, len(last.commit.events) - 1)
        fold = Fold(value, last.commit.version, last.last_version, size_bytes, event_id)
        self._keep(last.commit.stream, fold)
        return fold

    def _keep(self, stream: str, fold: Fold[Value]) -> None:
        """Unless a newer one is kept. Those not used for the longest time go first."""
        present = self._folds.get(stream)
        if present is not None and present.version >= fold.version:
            return
        self._bytes += fold.size_bytes - (present.size_bytes if present else 0)
        self._folds[stream] = fold
        self._folds.move_to_end(stream)
        while self._bytes > self._kept_bytes and len(self._folds) > 1:
            self._bytes -= self._folds.popitem(last=False)[1].size_bytes
