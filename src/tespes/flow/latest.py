"""What came last, as it is sent: everybody who watches live shares it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final

from tespes.flow.shown import Shown, Wanted

SLICE: Final = 128
_PIECE_BYTES: Final = 2**18
_KEPT_BYTES: Final = 4 * 2**20  # of events as they are stored; as they are sent they weigh several times as much
_ENTRY_BYTES: Final = 1024  # what an entry weighs beside its events' data, roughly


@dataclass(frozen=True, slots=True)
class Sent:
    """A piece of a stream.

    :param text: server-sent events; empty if none of what was looked at is wanted, or nothing came for a while
    :param position: up to which was looked
    """

    text: bytes
    position: int


class Latest:
    """The newest commits, without a hole. `end`: the last position of them, below 0 before the log was looked at."""

    def __init__(self) -> None:
        self.end = -1
        self._commits: list[Shown] = []
        self._bytes = 0
        self._last_end = -1
        self._newest: dict[Wanted, Sent] = {}

    def add(self, commits: Sequence[Shown]) -> None:
        """They follow the last ones."""
        self._last_end, self.end = self.end, commits[-1].position
        self._newest.clear()
        self._commits += commits
        self._bytes += sum(map(_weight, commits))
        dropped = 0
        while self._bytes > _KEPT_BYTES:
            self._bytes -= _weight(self._commits[dropped])
            dropped += 1
        del self._commits[:dropped]

    def forget(self) -> None:
        """Keep none of them: they are read anew if somebody wants them."""
        self._commits.clear()
        self._newest.clear()
        self._bytes = 0

    def piece(self, wanted: Wanted, after: int) -> Sent | None:
        """The first piece of what follows that position; None if that is not kept any more.

        Who waited for what came last, as most do, gets the same bytes as all others who want the same.
        """
        begin = after - self.end + len(self._commits)
        if begin < 0:
            return None
        if after != self._last_end:
            return first_piece(islice(self._commits, begin, begin + SLICE), wanted, after)
        if wanted not in self._newest:
            self._newest[wanted] = first_piece(islice(self._commits, begin, None), wanted, after)
        return self._newest[wanted]


def first_piece(found: Iterable[Shown], wanted: Wanted, after: int) -> Sent:
    """What is wanted of the first of these commits, which follow that position.

    It is not too much: a client that reads slowly has one piece waiting for it, and nothing else is kept for it.
    """
    texts, size_bytes, position = list[bytes](), 0, after
    for shown in found:
        texts.append(shown.sent(wanted))
        size_bytes, position = size_bytes + len(texts[-1]), shown.position
        if size_bytes > _PIECE_BYTES:
            break
    return Sent(b"".join(texts), position)


def _weight(shown: Shown) -> int:
    return _ENTRY_BYTES + shown.entry.commit.size_bytes
