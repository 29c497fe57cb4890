"""What became of streams: folded once, kept, and brought up to date by one indexed look-up.

Every answer is as new as its question: the newest version of the stream is looked up each time, and only what came since
is read and folded. So every process sees what every other one wrote.
"""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from tespes import events
from tespes.events import Entry, Recorded
from tespes.store import Log

Value = TypeVar("Value")
KEPT = 20_000


@dataclass(frozen=True, slots=True)
class Fold(Generic[Value]):
    """A stream, folded.

    :param newest: the first version of the last commit in it; :param version: of the last event in it
    """

    value: Value
    newest: int
    version: int


class Folds(Generic[Value]):
    """The folds of streams, the most recently used ones in memory.

    :param step: what an event makes of a value; it gets None before the first event
    """

    def __init__(self, log: Log, step: Callable[[Value | None, Recorded], Value | None], kept: int = KEPT) -> None:
        self._log = log
        self._step = step
        self._kept = kept
        self._folds: OrderedDict[str, Fold[Value]] = OrderedDict()

    async def load(self, stream: str) -> Fold[Value] | None:
        """The stream as it is now; None if there is none."""
        known = self._folds.get(stream)
        newest = await self._log.newest(stream)
        if newest == 0:
            return None
        if known is None or known.newest < newest:
            return self.advance(stream, await self._log.read_stream(stream, known.newest if known else 0), known)
        self._folds.move_to_end(stream)
        return known

    def advance(self, stream: str, entries: Sequence[Entry], known: Fold[Value] | None) -> Fold[Value] | None:
        """The fold after these entries, which follow `known`; kept unless a newer one is."""
        if not entries:
            return known
        value = known.value if known else None
        for entry in entries:
            for recorded in events.recorded(entry):
                value = self._step(value, recorded)
        if value is None:
            return None
        fold = Fold(value, entries[-1].commit.version, entries[-1].last_version)
        present = self._folds.get(stream)
        if present is None or present.version < fold.version:
            self._keep(stream, fold)
        return fold

    def _keep(self, stream: str, fold: Fold[Value]) -> None:
        self._folds[stream] = fold
        self._folds.move_to_end(stream)
        if len(self._folds) > self._kept:
            self._folds.popitem(last=False)
