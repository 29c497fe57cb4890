"""Read a log as an auditor does: from the beginning, entry by entry, up to where it contradicts itself or its seals.

What is kept meanwhile is small: the last version of each stream, the hashes that no seal has covered yet, and what was
taken out of events.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from tespes import errors, events
from tespes.events import Entry, chain, codec, redact, seal
from tespes.events.chain import Flaw
from tespes.flow.seal import Pace

_HASH_BYTES = 32
_LATE = 5  # times the pace, and this much more, is a seal late before somebody is accused
_LATE_COMMITS = 1000
_LATE_S = 60.0


@dataclass(frozen=True, slots=True)
class Known:
    """What an auditor brings along.

    :param keys: the public keys that seals may be signed with, hexadecimal; none: that of the first seal
    :param heads: seals that were kept elsewhere
    :param pace: how often the log is sealed; None: nobody knows, and it may have no seals at all
    """

    keys: frozenset[str] = frozenset()
    heads: Sequence[events.HeadSigned] = ()
    pace: Pace | None = None


class Reading:
    """What was read so far, and found sound.

    :param head: its end; `streams`: the last version of each stream; `sealed`: up to where seals cover it
    """

    def __init__(self, known: Known) -> None:
        self.head = chain.EMPTY
        self.events = 0
        self.streams: dict[str, int] = {}
        self.sealed = 0
        self.keys = known.keys
        self.redactions = Redactions()
        self._pace = known.pace
        self._heads: dict[int, list[events.HeadSigned]] = {}
        for head in known.heads:
            self._heads.setdefault(head.position, []).append(head)
        self._hashes = bytearray()
        self._news_since: datetime | None = None
        self._last: Entry | None = None

    def take(self, entry: Entry) -> Flaw | None:
        """What is wrong with the next entry; if nothing is, it counts."""
        commit = entry.commit
        flaw = chain.flaw(entry, self.head) or self._version_flaw(entry) or self._head_flaw(entry)
        if flaw is not None:  # a commit that was changed together with its own hashes shows in the one behind it
            return self._unreadable() or flaw
        self._last = entry
        self.head = chain.head_of(entry)
        self.events += len(commit.events)
        self.streams[commit.stream] = entry.last_version
        self._hashes += bytes.fromhex(entry.hash)
        self.redactions.see(entry)
        if commit.stream == seal.STREAM:
            return self._seal_flaw(entry)
        self._news_since = self._news_since or commit.meta.at
        return None

    def end(self, position: int) -> Flaw | None:
        """What is wrong with the log if it ends here, though it should end at that position, or is known to be longer."""
        if self.head.position < position:
            return Flaw(self.head.position + 1, "is missing, and everything after it")
        beyond = [each for each, heads in self._heads.items() if each > self.head.position and any(map(self._counts, heads))]
        if beyond:
            said = f"is missing, and what follows: the log was sealed up to position {max(beyond)}"
            return Flaw(self.head.position + 1, said)
        return self._late_flaw()

    def _late_flaw(self) -> Flaw | None:
        """Seals that were taken away, or never made: too much came after the last one, or over too long a time."""
        if self._pace is None or not self.keys or self._last is None or self._news_since is None:
            return None
        count = len(self._hashes) // _HASH_BYTES
        took_s = (self._last.commit.meta.at - self._news_since).total_seconds()
        if count <= _LATE * self._pace.commits + _LATE_COMMITS and took_s <= _LATE * self._pace.seconds + _LATE_S:
            return None
        said = f"for {took_s:.0f} s, where {self._pace.commits} commits or {self._pace.seconds:g} s are usual"
        return Flaw(self.sealed + 1, f"to {self.head.position}: under no seal {said}")

    def _unreadable(self) -> Flaw | None:
        """Whether the last entry cannot be understood, whatever its hashes say."""
        try:
            for encoded in self._last.commit.events if self._last else ():
                codec.decode(encoded)
        except (errors.CorruptLog, errors.UnknownEvent) as error:
            return Flaw(self.head.position, f"cannot be read: {error}")
        return None

    def _version_flaw(self, entry: Entry) -> Flaw | None:
        commit = entry.commit
        follows = self.streams.get(commit.stream, 0) + 1
        if commit.version == follows:
            return None
        return Flaw(entry.position, f"has version {commit.version} of stream {commit.stream}, where {follows} follows")

    def _head_flaw(self, entry: Entry) -> Flaw | None:
        """Against the seals that were kept elsewhere."""
        for head in self._heads.get(entry.position, ()):
            if head.hash != entry.hash and self._counts(head):
                return Flaw(head.first, f"to {head.position}: something in them is not what was sealed and kept elsewhere")
        return None

    def _counts(self, head: events.HeadSigned) -> bool:
        """Whether what was kept elsewhere is a seal: a line that anybody may have written proves nothing."""
        return head.key in (self.keys or {head.key}) and seal.is_signed(head)

    def _seal_flaw(self, entry: Entry) -> Flaw | None:
        """What is wrong with a seal, if anything; if nothing is, what it covers is sealed."""
        head = codec.decode(entry.commit.events[0])
        if not isinstance(head, events.HeadSigned):
            return Flaw(entry.position, "is no seal, in the stream of seals")
        self.keys = self.keys or frozenset({head.key})
        count = head.position - self.sealed
        if head.first != self.sealed + 1 or not 0 < count < len(self._hashes) // _HASH_BYTES:
            return Flaw(entry.position, f"seals {head.first} to {head.position}, where {self.sealed + 1} follows")
        if not seal.is_signed(head):
            return Flaw(entry.position, "is a seal whose signature is not good")
        if head.key not in self.keys:
            return Flaw(entry.position, f"is sealed with another key: {head.key}; name it with --key too if it is yours")
        covered = [self._hash(index) for index in range(count)]
        if head.hash != covered[-1] or head.root != seal.root(covered):
            return Flaw(
                head.first, f"to {head.position}: something in them is not what was sealed at position {entry.position}"
            )
        del self._hashes[: count * _HASH_BYTES]
        self.sealed = head.position
        self._news_since = entry.commit.meta.at if len(self._hashes) > _HASH_BYTES else None  # what came while it was made
        return None

    def _hash(self, index: int) -> str:
        return self._hashes[index * _HASH_BYTES : (index + 1) * _HASH_BYTES].hex()


@dataclass(frozen=True, slots=True)
class Unfinished:
    """Something that an event says was taken out of a task, and that is still there."""

    task_id: str
    position: int
    fields: tuple[str, ...]


class Redactions:
    """What was taken out of events, and what says so.

    :param may_withhold: whether an event may stand there as nothing but its digest: those are `withheld`
    """

    def __init__(self, *, may_withhold: bool = False) -> None:
        self.withheld: set[tuple[str, int, int]] = set()
        self._may_withhold = may_withhold
        self._left: dict[tuple[str, int, int], str] = {}
        self._ordered: dict[tuple[str, int, int], list[events.DataRedacted]] = {}

    def see(self, entry: Entry) -> None:
        """The next entry."""
        stream = entry.commit.stream
        for index, encoded in enumerate(entry.commit.events):
            if encoded.sha256 is not None and not encoded.data and self._may_withhold:
                self.withheld.add((stream, entry.position, index))
            elif encoded.sha256 is not None:
                self._left[stream, entry.position, index] = redact.sha256(encoded)
        if redact.gives_orders(entry):
            for order in redact.orders(entry):
                self._ordered.setdefault((stream, order.position, order.index), []).append(order)

    def flaw(self) -> Flaw | None:
        """The first event that is not what was hashed, and not what an event says is left of it."""
        for place, sha256 in sorted(self._left.items(), key=lambda item: item[0][1:]):
            stream, position, _ = place
            orders = self._ordered.get(place)
            if not orders:
                return Flaw(position, f"has other data than were hashed, and no event says why (stream {stream})")
            if sha256 not in {order.sha256 for order in orders}:
                return Flaw(position, f"has other data than were left when some were taken out (stream {stream})")
        return None

    def unfinished(self) -> tuple[Unfinished, ...]:
        """What is still stored, though an event says that it was taken out."""
        return tuple(
            Unfinished(stream, position, tuple(field for order in orders for field in order.fields))
            for (stream, position, index), orders in self._ordered.items()
            if (place := (stream, position, index)) not in self.withheld and self._left.get(place) != orders[-1].sha256
        )
