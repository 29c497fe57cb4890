"""Files of the machine that TESPES runs on (`file:///path`, or just `/path`), below the roots that the settings allow."""

import asyncio
import contextlib
import functools
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

from tespes import errors
from tespes.storage.local.file import Reading, Writing
from tespes.storage.local.places import Places, path, worded
from tespes.storage.local.tree import batches
from tespes.storage.promise import At, Direct, Entry, Fetched, InParts, Manners, Resume
from tespes.storage.turns import turn
from tespes.tes import urls

BLOCK_BYTES = 1024 * 1024

Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True)
class Roots:
    """The directories below which files may be used.

    :param read: for inputs; :param write: for outputs, and for inputs as well
    """

    read: tuple[Path, ...] = ()
    write: tuple[Path, ...] = ()


class Local:
    """See promise.Kind."""

    def __init__(self, roots: Roots, manners: Manners) -> None:
        self._manners = manners
        self._slots = asyncio.Semaphore(manners.connections)  # each is a thread
        self._usable = tuple(dict.fromkeys((*roots.read, *roots.write)))
        self._read = Places(self._usable, "inputs")
        self._write = Places(roots.write, "outputs")

    def usable(self) -> tuple[str, ...]:
        """See promise.Kind.usable."""
        return tuple(f"{root.as_uri().rstrip('/')}/" for root in self._usable)

    def goes_through(self, at: At) -> bool:  # noqa: ARG002 - wherever it is
        """See promise.Kind.goes_through."""
        return True

    async def way_in(self, at: At) -> Direct:
        """See promise.Kind.way_in."""
        raise errors.TransferRefused(f"{urls.shown(at.url)}: passes through TESPES")

    async def way_out(self, at: At, size_bytes: int) -> Direct | InParts:  # noqa: ARG002 - of any size
        """See promise.Kind.way_out."""
        return await self.way_in(at)

    async def list(self, at: At) -> AsyncGenerator[Entry]:
        """See promise.Kind.list. Links are followed; one that leads out of the roots is refused."""
        shown = urls.shown(at.url)
        async with _thread(shown) as thread:
            top = await thread(lambda _: path(at.url))
        found = batches(self._read, at.url, top)
        while (batch := await asyncio.to_thread(next, found, None)) is not None:
            for entry in batch:
                yield entry

    @contextlib.asynccontextmanager
    async def fetch(self, at: At, resume: Resume | None) -> AsyncIterator[Fetched]:
        """See promise.Kind.fetch."""
        async with self._turn(at) as thread:
            file = await thread(lambda opened: Reading(self._read, at.url, resume, opened))
            yield Fetched(_pieces(thread, file), file.start, file.size_bytes, file.version)

    async def store(self, at: At, pieces: AsyncIterator[bytes], size_bytes: int) -> None:
        """See promise.Kind.store."""
        async with self._turn(at) as thread:
            file = await thread(lambda opened: Writing(self._write, at.url, size_bytes, opened))
            async for block in _blocks(pieces):
                await thread(functools.partial(file.write, block))
            await thread(lambda _: file.finish())

    async def make_directory(self, at: At) -> bool:
        """See promise.Kind.make_directory."""
        async with _thread(urls.shown(at.url)) as thread:
            await thread(lambda opened: self._write.directory(path(at.url), opened))
        return True

    async def close(self) -> None:
        """See promise.Kind.close: nothing stays open."""

    @contextlib.asynccontextmanager
    async def _turn(self, at: At) -> AsyncIterator["_Thread"]:
        shown = urls.shown(at.url)
        async with turn(self._slots, self._manners, shown, "this machine"), _thread(shown) as thread:
            yield thread


class _Thread(Protocol):
    """Does work in the one thread, in order; what it puts on the stack is closed at the end, in that thread as well."""

    def __call__(self, work: Callable[[contextlib.ExitStack], Answer], /) -> asyncio.Future[Answer]: ...


@contextlib.asynccontextmanager
async def _thread(shown: str) -> AsyncIterator[_Thread]:
    """A thread for one file. Whoever is canceled waits for nothing: whatever is left to close is closed after them."""
    executor = ThreadPoolExecutor(1, "file")
    opened = contextlib.ExitStack()

    def done(work: Callable[[contextlib.ExitStack], Answer]) -> Answer:
        with worded(shown):
            return work(opened)

    def thread(work: Callable[[contextlib.ExitStack], Answer], /) -> asyncio.Future[Answer]:
        return asyncio.get_running_loop().run_in_executor(executor, done, work)

    try:
        yield thread
    finally:
        closed = executor.submit(opened.close)
        executor.shutdown(wait=False)
        await asyncio.shield(asyncio.wrap_future(closed))


async def _pieces(thread: _Thread, file: Reading) -> AsyncIterator[bytes]:
    """One is read while another is on its way."""
    coming = thread(lambda _: file.read(BLOCK_BYTES))
    while piece := await coming:
        coming = thread(lambda _: file.read(BLOCK_BYTES))
        yield piece


async def _blocks(pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Pieces put together: going to another thread and back has its price."""
    gathered, size = [], 0
    async for piece in pieces:
        gathered.append(piece)
        size += len(piece)
        if size >= BLOCK_BYTES:
            yield b"".join(gathered)
            gathered, size = [], 0
    yield b"".join(gathered)
