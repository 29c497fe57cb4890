"""Seal the log: sign its end from time to time, so that nobody changes it, or cuts its end off, unseen.

A seal is an event like any other and goes out by every door: whoever keeps what comes there holds TESPES to it. It is
written into a file beside the database, too, for the audit of somebody who has nothing else.
"""

import asyncio
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import orjson
import structlog
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tespes import errors, events
from tespes.events import Entry, Meta, codec, seal
from tespes.flow.execute import now
from tespes.flow.ids import new_id
from tespes.flow.lead import Lease
from tespes.local import files
from tespes.store import Fence, Log

NAME: Final = "seal"
HEADS_FILE: Final = "heads.jsonl"
_ACTOR: Final = "tespes"
_LOOK_EVERY_S: Final = 1.0

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Pace:
    """How often the log is sealed: after so many commits, or so many seconds if anything but seals is new."""

    commits: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Sealer:
    """What seals the log.

    :param heads: the file beside the database that each seal is written to
    """

    log: Log
    key: Ed25519PrivateKey
    pace: Pace
    heads: Path

    async def run(self, lease: Lease) -> None:
        """Seal until cancelled.

        :raises errors.LeaseLost: another process does it now; errors.Unavailable: see `Log.append`
        """
        version = await self.log.newest(seal.STREAM)
        last = await self._last(version)
        if last is not None:
            await self.keep(_keep_once, last)
        tenure = _Tenure(self, lease.fence, version, last.position if last else 0)
        while True:
            while entries := await self.log.read(tenure.seen):
                await tenure.take(entries)
            await tenure.seal_in_time()
            await asyncio.sleep(min(_LOOK_EVERY_S, self.pace.seconds))  # nobody waits for a seal

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

    :param version: of the last seal in its stream; :param sealed: up to which position the log is sealed
    """

    def __init__(self, of: Sealer, fence: Fence | None, version: int, sealed: int) -> None:
        self._of = of
        self._fence = fence
        self._version = version
        self._sealed = sealed
        self._hashes: list[str] = []
        self._news_since: float | None = None

    @property
    def seen(self) -> int:
        """Up to which position the log was read."""
        return self._sealed + len(self._hashes)

    async def take(self, entries: Sequence[Entry]) -> None:
        """Count them, and seal them as soon as they are enough."""
        for entry in entries:
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
        head = seal.sealed(self._sealed + 1, self._hashes, self._of.key)
        meta = Meta(at=now(), actor=_ACTOR, owner=_ACTOR)
        commit = events.commit(new_id(), seal.STREAM, self._version + 1, [head], meta)
        try:
            await self._of.log.append(commit, self._fence)
        except errors.VersionConflict as error:
            raise errors.LeaseLost("the log was sealed by somebody else") from error
        self._version, self._sealed = self._version + 1, head.position
        self._hashes, self._news_since = [], None
        await self._of.keep(_keep, head)
        _log.info("sealed", position=head.position, first=head.first)


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
