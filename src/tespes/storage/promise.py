"""What every kind of storage promises. Kinds are told apart by the scheme of a URL; each lives in a module of its own.

Two ways lead to a file: straight between node and storage, where the node only needs a URL, or through TESPES, where
what is needed is a secret or a protocol that nodes do not speak. Bytes are streamed, never held.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True, slots=True)
class At:
    """A file or directory somewhere.

    :param url: as the task has it, or below that; :param owner: of the task, whose logins are used
    """

    url: str
    owner: str


@dataclass(frozen=True, slots=True)
class Manners:
    """How TESPES behaves towards storages.

    :param silence_s: how long a server may say nothing
    :param connections: how many to one host at a time, for all tasks together
    :param url_lifetime_s: how long a signed URL is good for; it is asked for right before it is used
    :param part_bytes: above which an object goes to S3 in parts, and how large those are
    :param ca_file: certificates that are trusted beside the system's
    """

    silence_s: float = 30.0
    connections: int = 8
    url_lifetime_s: float = 900.0
    part_bytes: int = 64 * 2**20
    ca_file: Path | None = None


@dataclass(frozen=True, slots=True)
class Entry:
    """What a directory holds, at any depth.

    :param name: its path below the directory, with `/` between its parts and none at its ends; as it is, nothing escaped
    :param size_bytes: of a file, if the storage says so
    """

    name: str
    size_bytes: int | None = None
    is_directory: bool = False


@dataclass(frozen=True, slots=True)
class Direct:
    """The way of a node straight to the storage: one HTTP request, GET or PUT.

    :param url: with a signature, perhaps: never to be shown; :param shown: what people may see of it
    """

    url: str = field(repr=False)
    shown: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class InParts:
    """The way of a node straight to the storage for a large file: parts of this size, each with a URL of its own."""

    part_bytes: int
    shown: str


@dataclass(frozen=True, slots=True)
class Resume:
    """Go on at a place of the file, if it is still the same.

    :param start: how many bytes are there already; :param version: what `Fetched.version` was when they came
    """

    start: int
    version: str


@dataclass(frozen=True, slots=True)
class Fetched:
    """A file that comes.

    :param pieces: its bytes, from `start` on; ends early only by raising a TransferError
    :param start: 0, unless it goes on where a `Resume` wanted
    :param size_bytes: of the whole file, if the storage says so
    :param version: something that differs if the file does, such as size and date or an ETag; None: it cannot be resumed
    """

    pieces: AsyncIterator[bytes]
    start: int = 0
    size_bytes: int | None = None
    version: str | None = None


class Kind(Protocol):
    """A kind of storage. Every method raises errors.TransferRefused where asking again does not help, and
    errors.TransferInterrupted where it may; the text begins with the file's URL as `urls.shown` has it, and has the
    storage's own words, but never a password or a signature.
    """

    def usable(self) -> tuple[str, ...]:
        """Beginnings of URLs that can be used, for service info, without secrets."""

    def goes_through(self, at: At) -> bool:
        """Whether the bytes of that URL pass through TESPES. Decided by scheme and settings, without asking anybody."""

    async def way_in(self, at: At) -> Direct:
        """The way to the file, where it does not go through."""

    async def way_out(self, at: At, size_bytes: int) -> Direct | InParts:
        """The way for a file of that size, where it does not go through."""

    def list(self, at: At) -> AsyncGenerator[Entry] | None:
        """All that the directory holds; a directory comes before what is inside it. None: only a node can look.

        A name that cannot be a path below the directory (an empty part, `..`) is refused by whoever gets it.
        """

    def fetch(self, at: At, resume: Resume | None) -> AbstractAsyncContextManager[Fetched]:
        """The file, where it goes through."""

    async def store(self, at: At, pieces: AsyncIterator[bytes], size_bytes: int) -> None:
        """Put a file there, whole or not at all, with the directories above it; where it goes through."""

    async def make_directory(self, at: At) -> bool:
        """Make an empty directory; that it is there already is fine. False if this kind of storage has none."""

    async def close(self) -> None:
        """Let go of every connection."""


class Parts(Protocol):
    """A kind of storage that takes large files in parts (S3). Raises as `Kind` does."""

    async def open(self, at: At) -> str:
        """The id of a new upload."""

    async def part_urls(self, at: At, upload_id: str, numbers: Sequence[int]) -> list[str]:
        """A signed URL to PUT each of these parts to; numbers count from 1."""

    async def complete(self, at: At, upload_id: str, etags: Sequence[str]) -> None:
        """Make the file of its parts, which had these ETags. Doing it again after a success is fine."""

    async def abort(self, at: At, upload_id: str) -> None:
        """Give the upload up; that there is none (any more) is fine."""
