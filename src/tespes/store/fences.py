"""What the appender knows of leases: who appends under one that somebody else has taken is refused.

The log itself is the fence. A lease's stream tells who took it, and positions are unique, so looking at it *after* the
head was read is enough: whatever is appended to the position behind that head was appended before the lease was taken
again. If it was taken in between, the position is taken too, the append fails, and everything is looked at anew.

As long as the head is this process's own last write, nobody else has written anything: what was seen once stays true,
but for what this process itself appends.
"""

from collections.abc import Iterable, Sequence

from tespes.events import Entry
from tespes.store.promise import Fence, LogTable


class Fences:
    """The newest versions of leases' streams, as far as they were asked for since the head was read."""

    def __init__(self, table: LogTable) -> None:
        self._table = table
        self._newest: dict[str, int] = {}

    async def broken(self, fences: Iterable[Fence]) -> frozenset[Fence]:
        """Those that are no good any more. To be asked after the head was read, or while it is this process's own."""
        asked = frozenset(fences)
        unknown = {fence.stream for fence in asked} - self._newest.keys()
        if unknown:
            found = await self._table.newest(sorted(unknown), certain=True)
            self._newest.update((stream, found.get(stream, 0)) for stream in unknown)
        return frozenset(fence for fence in asked if self._newest[fence.stream] > fence.number)

    def note(self, entries: Sequence[Entry]) -> None:
        """These were appended by this process."""
        for entry in entries:
            if entry.commit.stream in self._newest:
                self._newest[entry.commit.stream] = entry.commit.version

    def forget(self) -> None:
        """Others may have appended."""
        self._newest.clear()
