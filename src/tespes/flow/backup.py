"""Make a backup of a log while it grows: a consistent cut, checked as it is written (see `flow.archive`).

A second backup in the same place adds what is new, if it is the same log that went on.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from tespes import __version__, errors
from tespes.events import Entry, chain
from tespes.events.chain import Head
from tespes.flow import archive, collector, publish
from tespes.flow.archive import Contents, Text, Writing
from tespes.flow.execute import now
from tespes.flow.reading import Redactions
from tespes.flow.webhooks import STREAM as WEBHOOK
from tespes.store import Store, Upload

_AT_ONCE: Final = 256


@dataclass(frozen=True, slots=True)
class Made:
    """What became of a backup.

    :param contents: what belongs to it now; :param new: how many commits of it are new
    :param taken_out: the positions of events that are in it as they were, and that were redacted since
    """

    contents: Contents
    new: int
    taken_out: tuple[int, ...]


async def make(store: Store, place: Path, key: str | None) -> Made:
    """Bring the backup in that place up to the end of the log.

    :param key: the public key that the log is sealed with, if it is known
    :raises errors.SetupError: the place cannot be used, or has a backup of another log
    :raises errors.CorruptLog: the log contradicts itself, or the backup there cannot be read: it stays as it is
    """
    with _place(place):
        before = archive.contents(place) or Contents()
        await _continue(store, place, before)
        archive.look(place, before)
        archive.tidy(place, before.parts)
        followers, uploads = await _followers(store), await _uploads(store)  # before the log: they are never ahead of it
        end = (await store.log.head()).position
        made = replace(
            before, at=now(), release=__version__, key=key or before.key, followers=followers, uploads=tuple(uploads)
        )
        taken_out: tuple[int, ...] = ()
        if end > before.position:
            with ExitStack() as stack:
                cut = _Cut(store, Writing(place, before.position + 1, stack), before.head)
                part = await cut.write(end)
            made = replace(made, position=cut.head.position, hash=cut.head.hash, parts=(*before.parts, part))
            taken_out = tuple(sorted({each.position for each in cut.redactions.unfinished()}))
        archive.settle(place, made)
    return Made(made, made.position - before.position, taken_out)


@contextmanager
def _place(place: Path) -> Iterator[None]:
    try:
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
        with archive.held(place):
            yield
    except OSError as error:
        raise errors.SetupError(f"no backup can be kept in {place}: {error.strerror}") from error


async def _continue(store: Store, place: Path, before: Contents) -> None:
    """:raises errors.SetupError: the log is another than that of the backup, or was restored from an older one"""
    if before.position == 0:
        return
    found = await store.log.read_as_is(before.position - 1, 1)
    if not found or chain.head_of(found[0]) != before.head:
        raise errors.SetupError(
            f"the backup in {place} is of another log than {store.description}, or of what it was before it was restored:"
            " name another place"
        )


async def _followers(store: Store) -> dict[str, int]:
    """Views are made anew; whoever brings what happened to others goes on where it was."""
    found = await store.checkpoints.all()
    tell = {name for name in found if name.startswith(WEBHOOK)} | {publish.NAME, collector.NAME}
    return {name: position for name, position in found.items() if name in tell}


async def _uploads(store: Store) -> list[Upload]:
    return [upload for job_id in await store.uploads.jobs() for upload in await store.uploads.of(job_id)]


class _Cut:
    """What follows in the log behind what was kept before.

    :param head: up to where it is written; :param redactions: what was taken out, and what should have been
    """

    def __init__(self, store: Store, part: Writing, head: Head) -> None:
        self.head = head
        self.redactions = Redactions()
        self._store = store
        self._part = part
        self._texts: set[bytes] = set()

    async def write(self, end: int) -> archive.Part:
        """Up to that position, and on to what says why something was taken out, if that came meanwhile."""
        while self.head.position < end:
            entries = await self._store.log.read_as_is(self.head.position, min(_AT_ONCE, end - self.head.position))
            await self._take(entries)
            if self.head.position == end and self.redactions.flaw() is not None:
                end = (await self._store.log.head()).position
        if (flaw := self.redactions.flaw()) is not None:
            raise errors.CorruptLog(f"position {flaw.position} {flaw.what}")
        return self._part.end(self.head.position)

    async def _take(self, entries: Sequence[Entry]) -> None:
        if not entries:
            raise errors.CorruptLog(f"there is a hole in the log after position {self.head.position}")
        for found in entries:
            entry = await self._whole(found)
            if (flaw := chain.flaw(entry, self.head)) is not None:
                raise errors.CorruptLog(f"position {flaw.position} {flaw.what}")
            self._part.entry(entry)
            self.head = chain.head_of(entry)
            self.redactions.see(entry)

    async def _whole(self, entry: Entry) -> Entry:
        """The entry, once its texts are kept; without what is being taken out of it just now."""
        try:
            await self._keep_texts(entry)
        except errors.CorruptLog:
            stream = await self._store.log.read_stream(entry.commit.stream)
            (left,) = (each for each in stream if each.position == entry.position)
            await self._keep_texts(left)
            return left
        return entry

    async def _keep_texts(self, entry: Entry) -> None:
        for sha256 in archive.kept(entry):
            if bytes.fromhex(sha256) not in self._texts:
                self._part.text(Text(sha256, await self._store.blobs.get(sha256)))
                self._texts.add(bytes.fromhex(sha256))
