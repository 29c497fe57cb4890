"""The entries that this process appended last: durable and final, so followers need not read them back."""

from collections import deque
from collections.abc import Sequence
from itertools import islice

from tespes.events import Entry

_KEPT_BYTES = 8 * 2**20
_ENTRY_BYTES = 1024  # what an entry weighs beside its events' data, roughly


class Recent:
    """A run of entries without a hole."""

    def __init__(self) -> None:
        self._entries: deque[Entry] = deque()
        self._bytes = 0

    def add(self, entries: Sequence[Entry]) -> None:
        """A batch; others may have written between two batches, and then the run begins anew."""
        if self._entries and self._entries[-1].position + 1 != entries[0].position:
            self.forget()
        self._entries.extend(entries)
        self._bytes += sum(map(_weight, entries))
        while self._bytes > _KEPT_BYTES:
            self._bytes -= _weight(self._entries.popleft())

    def forget(self) -> None:
        """Something in them is not what is stored any more."""
        self._entries.clear()
        self._bytes = 0

    def after(self, position: int, limit: int) -> list[Entry]:
        """The entries that follow that position; none if the run does not reach back that far."""
        if not self._entries or not self._entries[0].position <= position + 1 <= self._entries[-1].position:
            return []
        begin = position + 1 - self._entries[0].position
        return list(islice(self._entries, begin, begin + limit))


def _weight(entry: Entry) -> int:
    return _ENTRY_BYTES + sum(len(event.data) for event in entry.commit.events)
