"""Bring a backup into an empty store: byte for byte what it was, of either kind; views are made anew at the next start.

What was redacted after it was kept is taken out again. The last thing that is written is an event that says that the log
goes on from a backup: whoever has seen more of it hears so by every door.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tespes import errors, events
from tespes.events import Entry, Meta, chain, redact
from tespes.events.chain import Head
from tespes.flow import archive
from tespes.flow.archive import Contents, Text
from tespes.flow.execute import Tasks, now
from tespes.flow.ids import new_id
from tespes.flow.redact import Redactor
from tespes.store import Store, version

STREAM: Final = "log:restores"
_ACTOR: Final = "operator"
_ANOTHER: Final = (
    "the store has a part of another backup, or somebody else writes there: go on with that backup, or stop whoever it is and"
    " empty the store"
)
_AT_ONCE: Final = 500
_AT_ONCE_BYTES: Final = 4 * 2**20


async def restore(store: Store, place: Path, made: Contents) -> Head:
    """The end of the log then. Cut off, it goes on where it was when it is asked again.

    :param made: what belongs to the backup, which was verified
    :raises errors.SetupError: the store is not empty
    :raises errors.CorruptLog: the backup is not what it was; errors.StoreUnavailable: ask again
    """
    behind = await _begun(store, made)
    await store.mark.write(version.RESTORING)
    orders: list[events.DataRedacted] = []
    batch = _Batch(behind)
    for each in archive.read(place, made):
        if isinstance(each, Text):
            await store.blobs.put(each.sha256, each.content)
            continue
        if redact.gives_orders(each):
            orders += redact.orders(each)
        for entries in batch.add(each):
            await store.log.put(entries)
    if batch.entries:
        await store.log.put(batch.entries)
    for order in orders:
        await Redactor(store.log, store.blobs, Tasks(store.log)).carry_out(order)
    await store.log.scrub()
    await _goes_on(store, made)
    head = await _say(store, made)
    await store.mark.write(str(version.VERSION))
    return head


async def _begun(store: Store, made: Contents) -> Head:
    """Up to where the store has the backup already, since a restore was cut off; nothing else may be in it.

    :raises errors.SetupError: something else is
    """
    head, mark = await store.log.head(), await store.mark.read()
    if head.position and mark != version.RESTORING:
        raise errors.SetupError(
            f"{store.description} is not empty, it has {head.position} commits: name another --state-dir, or another"
            " store.mongodb_database"
        )
    if head.position > made.position + 1:  # one more is what was said at the end
        raise errors.SetupError(_ANOTHER)
    found = await store.log.read_as_is(min(head.position, made.position) - 1, 1) if head.position else []
    return chain.head_of(found[0]) if found else chain.EMPTY


class _Batch:
    """Entries that go into the log together.

    :param behind: up to where they are there
    """

    def __init__(self, behind: Head) -> None:
        self.entries: list[Entry] = []
        self._behind = behind
        self._size_bytes = 0

    def add(self, entry: Entry) -> Iterator[list[Entry]]:
        """What is full now.

        :raises errors.SetupError: what is there is of another backup
        """
        if entry.position <= self._behind.position:
            if entry.position == self._behind.position and entry.hash != self._behind.hash:
                raise errors.SetupError(_ANOTHER)
            return
        self.entries.append(entry)
        self._size_bytes += entry.commit.size_bytes
        if len(self.entries) >= _AT_ONCE or self._size_bytes >= _AT_ONCE_BYTES:
            full, self.entries, self._size_bytes = self.entries, [], 0
            yield full


async def _goes_on(store: Store, made: Contents) -> None:
    """What is kept beside the log."""
    for upload in made.uploads:
        if await store.uploads.get(upload.id) is None:
            await store.uploads.add(upload)
    for name, position in made.followers.items():
        await store.checkpoints.reset(name, position)


async def _say(store: Store, made: Contents) -> Head:
    """Write down that the log goes on from here; once, however often this is cut off.

    :raises errors.SetupError: something else follows
    """
    head = await store.log.head()
    if head.position > made.position:
        found = await store.log.read_as_is(made.position, 2)
        if [each.commit.stream for each in found] != [STREAM]:
            raise errors.SetupError(_ANOTHER)
        return head
    meta = Meta(at=now(), actor=_ACTOR, owner=_ACTOR)
    happened = [events.LogRestored(position=made.position, hash=made.hash)]
    commit = events.commit(new_id(), STREAM, await store.log.newest(STREAM) + 1, happened, meta)
    entry = chain.link(commit, chain.data_hash(commit.stream, commit.events), head)
    await store.log.put([entry])
    return chain.head_of(entry)
