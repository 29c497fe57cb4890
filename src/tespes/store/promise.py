"""What a database must promise to carry TESPES. Two implementations keep it: `mongodb` and `sqlite`.

A log table is insert-only. It refuses a second commit with the same id, the same (stream, version) or the same position,
whoever writes it, and says which of these it was. Acknowledged means: on disk (at a majority, where there are several).
"""

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from tespes import errors
from tespes.events import Encoded, Entry
from tespes.events.chain import Head
from tespes.projections import Document, ReadModel
from tespes.store.conditions import Condition
from tespes.store.generations import Generations
from tespes.store.shared import Agreements, Leases, Signs, Tickets
from tespes.store.totals import By, Total, Within
from tespes.store.version import Mark

LEASE = "lease:"


@dataclass(frozen=True, slots=True)
class Fence:
    """What must not be passed any more once another process has taken the lease: the lease's name, and its number then."""

    name: str
    number: int

    @property
    def stream(self) -> str:
        """Where it is written down who takes the lease; its version is the number."""
        return f"{LEASE}{self.name}"


@dataclass(frozen=True, slots=True)
class SameId:
    """The commit's id is in the log already, in this entry."""

    entry: Entry


@dataclass(frozen=True, slots=True)
class VersionTaken:
    """Another commit has this version of the stream."""


@dataclass(frozen=True, slots=True)
class PositionTaken:
    """Another process took the position."""


Conflict = SameId | VersionTaken | PositionTaken


@dataclass(frozen=True, slots=True)
class Written:
    """What became of a batch.

    :param count: how many entries of its beginning are in the log now
    :param conflicts: why others are not, by their index in the batch; entries that are in neither were not tried
    """

    count: int
    conflicts: Mapping[int, Conflict]


class OutcomeUnknown(Exception):
    """The database did not answer a write. Read, then write again with the same ids."""


class LogTable(Protocol):
    """The log in a database."""

    async def write(self, entries: Sequence[Entry]) -> Written:
        """Insert in order, durably.

        :raises OutcomeUnknown: nobody knows what was written
        :raises errors.StoreUnavailable: nothing was written
        """

    async def head(self) -> Head:
        """The last commit's position and hash, of those that are durable: whoever appends behind it finds out what is newer."""

    async def read(self, after: int, limit: int, *, exact: bool = False) -> list[Entry]:
        """Entries of the positions after+1 to after+limit that are there (at a majority), in order.

        :param exact: nothing may be stored beside or in them that is never written, not even what no hash covers
        :raises errors.CorruptLog: one cannot be read, or is not exact
        """

    async def read_streams(self, after: Mapping[str, int]) -> dict[str, list[Entry]]:
        """For each of these streams that has any: its entries whose first version is above that number, in order."""

    async def newest(self, streams: Sequence[str], *, certain: bool = False) -> dict[str, int]:
        """For each stream that exists: the first version of its last commit.

        :param certain: as the primary knows it, also what no majority has yet: for who decides what may be written
        """

    async def redact(self, position: int, index: int, was: Encoded, left: Encoded) -> bool:
        """Put what is left of an event in its place, durably, with the digest of what was hashed: the one change there is.

        :return: False if its data are not what they were any more: nothing was changed
        """

    async def scrub(self) -> None:
        """Have what was replaced or removed in the log's files no longer, blobs too, as far as that is the database's to say.

        :raises errors.StoreUnavailable: somebody reads them, so it is still there: try again
        """


@dataclass(frozen=True, slots=True)
class Group:
    """Documents that have something in common: how many they are, and the position of the one that was created first."""

    documents: int
    first: int


class Documents(Protocol):
    """Stored views. They can be made anew from the log, so they need not be as durable as it.

    A model that names no generation is the one that is shown, see `generations`.
    """

    async def prepare(self, model: ReadModel) -> list[str]:
        """Make the view's tables and indexes, unless they are there; remove those of its older versions.

        :return: what is left of older versions because another process may still use it
        """

    async def position(self, model: ReadModel) -> int:
        """Up to which position of the log the view is; 0 if it is empty."""

    async def load(self, model: ReadModel, ids: Sequence[str]) -> dict[str, Document]:
        """Those of the documents that exist. One that somebody else wrote over has `id`, `position` and version 0 alone."""

    async def save(self, model: ReadModel, documents: Sequence[Document], position: int, fence: Fence | None = None) -> None:
        """Store documents and the position they are at, together.

        An older version never replaces a newer one, and the position never goes back. No two documents were created at
        the same position of the log.

        :param fence: of the lease under which it is saved, where several processes may write
        :raises errors.LeaseLost: somebody saved under a newer one: the position is not changed
        """

    async def unlist(self, model: ReadModel, document: Document) -> None:
        """Have that document found no longer by what its mappings have, before it is saved with others in them."""

    async def page(
        self, model: ReadModel, where: Sequence[Condition], *, before: int | None, limit: int, whole: bool
    ) -> list[Document]:
        """Documents for which all these conditions hold, newest first, created below position `before`.

        A condition on what an index of the model begins with is looked up there, others are only checked.

        :param whole: False gives only `id` and the columns; a column that the document has not is None
        """

    async def forget(self, model: ReadModel) -> None:
        """Empty the view; its position is 0 again."""

    async def count(self, model: ReadModel) -> int:
        """How many documents there are, roughly while some are being written."""

    async def groups(self, model: ReadModel, column: str, values: Collection[str]) -> dict[str, Group]:
        """For each of these values that documents have in the column, one that an index begins with: those documents.

        What it costs grows with how many they are; no document is read.
        """

    async def totals(self, model: ReadModel, by: By, within: Within | None = None) -> list[Total]:
        """What the lines of all documents come to, grouped by that: each value once, ordered by it."""

    async def generations(self, model: ReadModel) -> Generations:
        """What there is of the view, as it is at this moment."""

    async def turn(self, model: ReadModel, seen: Generations, then: Generations, fence: Fence | None = None) -> bool:
        """Write it if it still is as it was seen, and nobody wrote it under a newer fence; whether it was written."""

    async def unread(self, model: ReadModel) -> list[ReadModel]:
        """Its generations that are still there although nobody will ever need them."""

    async def drop(self, model: ReadModel) -> None:
        """Remove that generation, and how far it was."""


class Checkpoints(Protocol):
    """How far followers are that keep no documents: publishers, webhooks. Durable."""

    async def position(self, name: str) -> int:
        """Up to which position of the log that follower is; 0 if it never began."""

    async def all(self) -> dict[str, int]:
        """How far each is that ever began, by name; views may be among them."""

    async def begin(self, name: str, position: int) -> int:
        """Up to which position it is; one that never began, begins there, and it is known from now on that it did."""

    async def move(self, name: str, position: int, fence: Fence | None = None) -> None:
        """It is there now; it never goes back.

        :param fence: of the lease under which it follows, where several processes may
        :raises errors.LeaseLost: somebody follows under a newer one: nothing is changed
        """

    async def reset(self, name: str, position: int) -> None:
        """It begins there, whatever was before: an operator wants that, or the checkpoint was of another log."""


class Blobs(Protocol):
    """Bytes by their SHA-256."""

    async def put(self, sha256: str, content: bytes) -> None:
        """Keep it, durably; once is enough."""

    async def get(self, sha256: str) -> bytes:
        """The bytes.

        :raises errors.CorruptLog: they are not there, or others
        """

    async def remove(self, sha256: str) -> None:
        """Keep it no longer; that it is not kept is fine."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """A file that goes to its storage in parts, and what is needed to put them together or to give them up.

    :param id: what the runner knows it by; :param storage_id: what the storage does
    :param path: of the file in the container; :param url: of the file, with its owner's logins
    :param is_complete: the file is there, and nothing is left to tidy
    """

    id: str
    job_id: str
    index: int
    path: str
    url: str
    owner: str
    storage_id: str
    size_bytes: int
    part_bytes: int
    is_complete: bool = False


class Uploads(Protocol):
    """The uploads that are not over: no history, but what must be tidied if nobody else does it. Durable."""

    async def add(self, upload: Upload) -> None:
        """Keep it; its id is new."""

    async def get(self, upload_id: str) -> Upload | None:
        """The upload of that id, if it is kept."""

    async def find(self, job_id: str, index: int, path: str) -> Upload | None:
        """An upload of that file which is not complete, if there is one."""

    async def jobs(self) -> list[str]:
        """The jobs that have any."""

    async def of(self, job_id: str) -> list[Upload]:
        """All of a job."""

    async def mark_complete(self, upload_id: str) -> None:
        """The file is there. That the upload is not kept any more is fine."""

    async def remove(self, upload_ids: Sequence[str]) -> None:
        """Keep them no longer; that they are not kept is fine."""


def checked(sha256: str, content: bytes | None) -> bytes:
    """The bytes of a blob, if they are what its name says.

    :raises errors.CorruptLog: they are missing, or others
    """
    if content is None:
        raise errors.CorruptLog(f"the blob {sha256} is missing")
    if hashlib.sha256(content).hexdigest() != sha256:
        raise errors.CorruptLog(f"the blob {sha256} has other bytes than its name says")
    return content


@dataclass(frozen=True, slots=True)
class Tables:
    """A database, opened.

    :param description: what it is and where, for a person; without a password
    :param mark: which version of TESPES's way of keeping things is kept there
    :param leases, tickets, agreements: None where one process alone may write: whatever one alone may do is its own
    """

    description: str
    log: LogTable
    documents: Documents
    checkpoints: Checkpoints
    blobs: Blobs
    uploads: Uploads
    signs: Signs
    leases: Leases | None
    tickets: Tickets | None
    agreements: Agreements | None
    mark: Mark
