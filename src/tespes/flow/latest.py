"""What came last, as it is sent: everybody who watches live shares it."""

from collections.abc import Sequence
from dataclasses import dataclass
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
        self._pieces: dict[Wanted, list[Sent]] = {}

    def add(self, commits: Sequence[Shown]) -> None:
        """They follow the last ones."""
        self._last_end, self.end = self.end, commits[-1].position
        self._pieces.clear()
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
        self._bytes = 0

    def pieces(self, wanted: Wanted, after: int) -> list[Sent] | None:
        """What is wanted of what follows that position; None if that is not kept any more.

        Who waited for what came last, as most do, gets the same bytes as all others who want the same.
        """
        begin = after - self.end + len(self._commits)
        if begin < 0:
            return None
        if after != self._last_end:
            return in_pieces(self._commits[begin : begin + SLICE], wanted)
        if wanted not in self._pieces:
            self._pieces[wanted] = in_pieces(self._commits[begin:], wanted)
        return self._pieces[wanted]


def in_pieces(found: Sequence[Shown], wanted: Wanted) -> list[Sent]:
    """What is wanted of these commits, not too much at a time: a client that reads slowly has one piece waiting for it."""
    pieces, texts, size_bytes = list[Sent](), list[bytes](), 0
    for shown in found:
        texts.append(shown.sent(wanted))
        size_bytes += len(texts[-1])
        if size_bytes > _PIECE_BYTES or shown is found[-1]:
            pieces.append(Sent(b"".join(texts), shown.position))
            texts, size_bytes = [], 0
    return pieces


def _weight(shown: Shown) -> int:
    return _ENTRY_BYTES + shown.entry.commit.size_bytes
