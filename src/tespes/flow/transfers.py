"""The files of tasks on their way: what a node asks right before it fetches or stores one, and the bytes that pass through.

Logins never leave TESPES: a node gets the bytes, or a URL that is good for one request.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from tespes import errors, tes
from tespes.flow import names
from tespes.flow.execute import KnownTask
from tespes.flow.jobs import Caller
from tespes.flow.uploads import Uploads
from tespes.storage import At, Direct, Entry, Fetched, InParts, Resume, Storage, below, shown
from tespes.store import Blobs


@dataclass(frozen=True, slots=True)
class Through:
    """The bytes pass through TESPES."""


@dataclass(frozen=True, slots=True)
class Upload:
    """A large file goes straight to its storage, in parts.

    :param id: what the node names the upload by; :param part_bytes: how large each part but the last is
    """

    id: str
    part_bytes: int
    shown: str


@dataclass(frozen=True, slots=True)
class Found:
    """A file that a task left: where the container saw it, and its size."""

    path: str
    size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Transfers:
    """What runners ask about files. Every method looks first whether the attempt is still wanted.

    :param working: the task of an attempt that is wanted, or errors.AttemptGone
    """

    working: Callable[[Caller], Awaitable[KnownTask]]
    storage: Storage
    blobs: Blobs
    uploads: Uploads

    async def entries(self, caller: Caller, index: int) -> AsyncGenerator[Entry] | Direct:
        """All that an input directory holds; or where the node finds a page with that.

        :raises errors.TransferError: it cannot be listed, perhaps in the middle
        """
        known = await self.working(caller)
        wanted = _input(known, index)
        if wanted.type is not tes.FileType.DIRECTORY:
            raise errors.NotFound(f"input {index} is no directory")
        at = At(wanted.url or "", known.owner)
        entries = self.storage.list(at)
        return await self.storage.way_in(at) if entries is None else entries

    async def ways_in(self, caller: Caller, index: int, wanted: Sequence[str]) -> list[Through | Direct]:
        """How each of these files of an input comes; raises as `entries` does."""
        known = await self.working(caller)
        ways: list[Through | Direct] = []
        for name in wanted:
            at = _source(known, index, name)
            through = known.has_content(index) or self.storage.goes_through(at)
            ways.append(Through() if through else await self.storage.way_in(at))
        return ways

    @asynccontextmanager
    async def fetch(self, caller: Caller, index: int, name: str, resume: Resume | None) -> AsyncIterator[Fetched]:
        """The bytes of an input's file; raises as `entries` does."""
        known = await self.working(caller)
        at = _source(known, index, name)
        if (content := await self._content(known, index)) is not None:
            yield _whole(content)
        else:
            async with self.storage.fetch(at, resume) as fetched:
                yield fetched

    async def ways_out(self, caller: Caller, index: int, files: Sequence[Found]) -> list[Through | Direct | Upload]:
        """How each of these files of an output is stored; raises as `entries` does."""
        known = await self.working(caller)
        return [await self._way_out(caller, known, index, file) for file in files]

    async def store(self, caller: Caller, index: int, path: str | None, size_bytes: int, pieces: AsyncIterator[bytes]) -> None:
        """Store a file of an output, whole or not at all; raises as `entries` does.

        :param path: where the container saw it; None stands for the output's own
        """
        known = await self.working(caller)
        at = _target(known, index, path)
        await self.storage.store(at, self._while_wanted(caller, pieces), size_bytes)

    async def make_directories(self, caller: Caller, index: int, paths: Sequence[str]) -> list[str]:
        """Make empty directories of an output; a note for each that cannot be; raises as `entries` does."""
        known = await self.working(caller)
        notes: list[str] = []
        for path in paths:
            at = _target(known, index, path)
            if not await self.storage.make_directory(at):
                notes.append(f"output {path}: is an empty directory, which {shown(at.url)} cannot be")
        return notes

    async def part_urls(self, caller: Caller, upload_id: str, numbers: Sequence[int]) -> Sequence[str]:
        """Signed URLs for parts of an upload, counted from 1; raises as `entries` does."""
        await self.working(caller)
        return await self.uploads.part_urls(caller.job, upload_id, numbers)

    async def complete(self, caller: Caller, upload_id: str, etags: Sequence[str]) -> None:
        """Make the file of its parts; raises as `entries` does."""
        await self.working(caller)
        await self.uploads.complete(caller.job, upload_id, etags)

    async def _way_out(self, caller: Caller, known: KnownTask, index: int, file: Found) -> Through | Direct | Upload:
        at = _target(known, index, file.path)
        if self.storage.goes_through(at):
            return Through()
        match await self.storage.way_out(at, file.size_bytes):
            case Direct() as direct:
                return direct
            case InParts(part_bytes=part_bytes) as parts:
                upload_id = await self.uploads.open(caller.job, index, file.path, at, file.size_bytes, part_bytes)
                return Upload(upload_id, part_bytes, parts.shown)

    async def _while_wanted(self, caller: Caller, pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """The pieces; at their end the attempt must still be wanted, or the file never gets its name."""
        async for piece in pieces:
            yield piece
        await self.working(caller)

    async def _content(self, known: KnownTask, index: int) -> bytes | None:
        if (sha256 := known.kept_content(index)) is not None:
            return await self.blobs.get(sha256)
        literal = _input(known, index).literal
        return None if literal is None else literal.encode()


def _input(known: KnownTask, index: int) -> tes.Input:
    inputs = known.submitted.inputs or ()
    if index >= len(inputs):
        raise errors.NotFound(f"the task has no input {index}")
    return inputs[index]


def _source(known: KnownTask, index: int, name: str) -> At:
    wanted = _input(known, index)
    if names.input_path(wanted, name) is None:
        raise errors.TransferRefused(f"{shown(wanted.url or wanted.path)}: {errors.quoted(name)} is no name of a file below it")
    return At(below(wanted.url or "", name), known.owner)


def _target(known: KnownTask, index: int, path: str | None) -> At:
    outputs = known.submitted.outputs or ()
    if index >= len(outputs):
        raise errors.NotFound(f"the task has no output {index}")
    declared = outputs[index]
    url = names.output_url(declared, declared.path if path is None else path)
    if url is None:
        raise errors.TransferRefused(f"{errors.quoted(path)} is not what the output {declared.path} speaks of")
    return At(url, known.owner)


def _whole(content: bytes) -> Fetched:
    return Fetched(_once(content), size_bytes=len(content))


async def _once(content: bytes) -> AsyncIterator[bytes]:
    if content:
        yield content
