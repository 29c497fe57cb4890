"""Seal the log: sign its end from time to time, so that nobody changes it, or cuts its end off, unseen.

A seal is an event like any other and goes out by every door: whoever keeps what comes there holds TESPES to it. It is
written into a file beside the database, too, for the audit of somebody who has nothing else.
"""

import asyncio
import os
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import orjson
import structlog
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tespes import errors, events
from tespes.events import Encoded, Entry, Meta, chain, codec, seal
from tespes.flow.execute import now
from tespes.flow.ids import new_id
from tespes.flow.lead import Lease
from tespes.local import files
from tespes.store import Fence, Log

NAME: Final = "seal"
HEADS_FILE: Final = "heads.jsonl"
_ACTOR: Final = "tespes"
_LOOK_EVERY_S: Final = 1.0
_AGAIN_S: Final = 60.0
_AT_ONCE: Final = 200

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Pace:
    """How often the log is sealed: after so many commits, or so many seconds if anything but seals is new."""

    commits: int
    seconds: float


class Sealer:
    """What seals the log: only what follows from the last seal, since a signature says that all of it is what was written.

    `trouble` is why the log is not sealed, for a person; None if it is, or another process does it.

    :param heads: the file beside the database that each seal is written to
    """

    def __init__(self, log: Log, key: Ed25519PrivateKey, pace: Pace, heads: Path) -> None:
        self.log = log
        self.key = key
        self.pace = pace
        self.heads = heads
        self.trouble: str | None = None

    async def run(self, lease: Lease) -> None:
        """Seal until cancelled; what is wrong with the log is looked at again from time to time.

        :raises errors.LeaseLost: another process does it now; errors.Unavailable: see `Log.append`
        """
        try:
            while True:
                try:
                    await self._seal(lease)
                except (errors.CorruptLog, errors.UnknownEvent) as error:
                    self.trouble = f"the log is not sealed any more: {error}; see `tespes audit verify`"
                    _log.error("the log is not sealed", reason=str(error))
                await asyncio.sleep(_AGAIN_S)
        finally:
            self.trouble = None

    async def position(self) -> int:
        """Up to which position of the log everything is sealed. A seal needs none itself."""
        last = await self._last(await self.log.newest(seal.STREAM))
        sealed = last.position if last is not None else 0
        following = await self.log.read(sealed, 1)
        return sealed + sum(entry.commit.stream == seal.STREAM for entry in following)

    async def _seal(self, lease: Lease) -> None:
        """Until cancelled.

        :raises errors.CorruptLog: the log is not what was sealed before; errors.UnknownEvent: a newer release sealed it
        """
        version = await self.log.newest(seal.STREAM)
        last = await self._last(version)
        for head in (last, await asyncio.to_thread(self._kept)):
            await self._check(head)
        if last is not None:
            await self.keep(_keep_once, last)
        tenure = _Tenure(self, lease.fence, version, chain.Head(last.position, last.hash) if last else chain.EMPTY)
        while True:
            while entries := await self.log.read(tenure.seen, _AT_ONCE):
                await tenure.take(entries)
            await tenure.seal_in_time()
            self.trouble = None
            await asyncio.sleep(min(_LOOK_EVERY_S, self.pace.seconds))  # nobody waits for a seal

    async def _check(self, head: events.HeadSigned | None) -> None:
        """Whether the log still is what that seal says."""
        if head is None:
            return
        if not seal.is_signed(head):
            raise errors.CorruptLog(f"the seal of position {head.position} is not good")
        found = await self.log.read_as_is(head.position - 1, 1)
        if not found or (found[0].position, found[0].hash) != (head.position, head.hash):
            raise errors.CorruptLog(f"position {head.position} is not what was sealed")

    def _kept(self) -> events.HeadSigned | None:
        """The last of the seals beside the database that were made with this key."""
        own = seal.public(self.key)
        try:
            found = [head for head in (heads([self.heads]) if self.heads.is_file() else []) if head.key == own]
        except (errors.SetupError, OSError) as error:
            _log.warning("the seals outside of the database cannot be compared", reason=str(error))
            return None
        return next((head for head in sorted(found, key=lambda each: -each.position) if seal.is_signed(head)), None)

    async def keep(self, how: Callable[[Path, events.HeadSigned], None], head: events.HeadSigned) -> None:
        """Write it into the file; where that cannot be, the log is sealed all the same."""
        try:
            await asyncio.to_thread(how, self.heads, head)
        except OSError as error:
            _log.warning("a seal is not kept outside of the database", position=head.position, reason=str(error))

    async def _last(self, version: int) -> events.HeadSigned | None:
        for entry in await self.log.read_stream(seal.STREAM, version - 1) if version else ():
            return _head(entry)
        return None


class _Tenure:
    """What one process seals, from when it may to when another does.

    :param version: of the last seal in its stream; :param sealed: up to where the log is sealed
    """

    def __init__(self, of: Sealer, fence: Fence | None, version: int, sealed: chain.Head) -> None:
        self._of = of
        self._fence = fence
        self._version = version
        self._head = sealed
        self._hashes: list[str] = []
        self._news_since: float | None = None

    @property
    def seen(self) -> int:
        """Up to which position the log was read."""
        return self._head.position

    async def take(self, entries: Sequence[Entry]) -> None:
        """Count them, and seal them as soon as they are enough.

        :raises errors.CorruptLog: they do not follow from what was sealed
        """
        for entry in entries:
            if (flaw := chain.flaw(entry, self._head)) is not None:
                raise errors.CorruptLog(f"position {flaw.position} {flaw.what}")
            self._head = chain.head_of(entry)
            self._hashes.append(entry.hash)
            if entry.commit.stream != seal.STREAM:
                self._news_since = self._news_since or time.monotonic()
            if len(self._hashes) >= self._of.pace.commits and self._news_since is not None:
                await self._seal()

    async def seal_in_time(self) -> None:
        """Whatever is new is not left without a seal for long; a seal is no news."""
        if self._news_since is not None and time.monotonic() - self._news_since >= self._of.pace.seconds:
            await self._seal()

    async def _seal(self) -> None:
        head = seal.sealed(self.seen - len(self._hashes) + 1, self._hashes, self._of.key)
        meta = Meta(at=now(), actor=_ACTOR, owner=_ACTOR)
        commit = events.commit(new_id(), seal.STREAM, self._version + 1, [head], meta)
        try:
            await self._of.log.append(commit, self._fence)
        except errors.VersionConflict as error:
            raise errors.LeaseLost("the log was sealed by somebody else") from error
        self._version += 1
        self._hashes, self._news_since = [], None
        await self._of.keep(_keep, head)


def heads(paths: Iterable[Path]) -> list[events.HeadSigned]:
    """The seals that were kept in these files, a line of JSON for each: as they are written here, or as CloudEvents.

    Lines that are no seals are passed over: they prove nothing. Whether a seal is signed is for whoever knows the keys.

    :raises errors.SetupError: there is no such file
    """
    found: list[events.HeadSigned] = []
    for path in paths:
        try:
            lines = path.read_bytes().splitlines()
        except OSError as error:
            raise errors.SetupError(f"{path} cannot be read: {error.strerror}") from error
        read = [head for head in map(_read, lines) if head is not None]
        if len(read) < len(lines):
            _log.warning("lines that are no seals were passed over", file=str(path), lines=len(lines) - len(read))
        found += read
    return found


def _read(line: bytes) -> events.HeadSigned | None:
    try:
        values = orjson.loads(line)
        event = codec.decode(Encoded("HeadSigned", 1, orjson.dumps(values.get("data", values)).decode()))
    except (ValueError, TypeError, AttributeError, errors.CorruptLog):
        return None
    return event if isinstance(event, events.HeadSigned) else None


def _head(entry: Entry) -> events.HeadSigned:
    event = codec.decode(entry.commit.events[0])
    if not isinstance(event, events.HeadSigned):
        raise errors.CorruptLog(f"position {entry.position} of the log is no seal, in the stream of seals")
    return event


def _keep(path: Path, head: events.HeadSigned) -> None:
    """A line of the file, on disk when this returns."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as file:
        file.write(orjson.dumps(asdict(head), option=orjson.OPT_APPEND_NEWLINE))
        file.flush()
        os.fsync(file.fileno())


def _keep_once(path: Path, head: events.HeadSigned) -> None:
    """Unless it is the last line: a crash may have come between the event and the line, or in the middle of the line."""
    if files.last_line(path).encode() == orjson.dumps(asdict(head)):
        return
    if path.is_file() and not path.read_bytes().endswith(b"\n"):
        with path.open("ab") as file:
            file.write(b"\n")
    _keep(path, head)
