"""Files on FTP servers, plain or with TLS; the bytes pass through TESPES.

The client of aioftp, whose server the demo uses, would not do: it looks for a file by listing the directory it is in, it
waits for TLS on a data connection before the command that makes servers begin it, and it starts a task for each read.
"""

import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping
from contextlib import AbstractAsyncContextManager

from tespes import errors
from tespes.storage.ftp.data import Data
from tespes.storage.ftp.places import Login, Place, Server, place
from tespes.storage.ftp.pool import Pool, Turn
from tespes.storage.ftp.session import Found, Session
from tespes.storage.ftp.upload import Directories, upload
from tespes.storage.ftp.walk import walk
from tespes.storage.ftp.wire import Answered, Broken
from tespes.storage.promise import At, Direct, Entry, Fetched, Manners, Resume
from tespes.tes import urls

_NOT_A_FILE = "is a directory, a file was declared"
_NOT_A_DIRECTORY = "is a file, a directory was declared"


class Ftp:
    """All FTP servers. For what the methods do and raise, see promise.Kind.

    :param servers: what is known of some, by `host:port`, or by `host` for the usual port (21; 990 for TLS from the
        beginning); others are visited as anonymous
    """

    def __init__(self, servers: Mapping[str, Server], manners: Manners) -> None:
        self._servers = {host.lower(): server for host, server in servers.items()}
        self._pool = Pool(manners)
        self._directories = Directories()
        self._cannot_resume: set[tuple[str, int]] = set()  # servers that said so, and then did not

    def usable(self) -> tuple[str, ...]:
        """See promise.Kind.usable."""
        known = (f"{'ftps' if server.tls == 'implicit' else 'ftp'}://{host}/" for host, server in self._servers.items())
        return (*known, "ftp://", "ftps://")

    def goes_through(self, at: At) -> bool:
        """Always: nodes do not speak FTP."""
        del at
        return True

    async def way_in(self, at: At) -> Direct:
        """There is none."""
        raise errors.TransferRefused(f"{urls.shown(at.url)}: nodes do not speak FTP")

    async def way_out(self, at: At, size_bytes: int) -> Direct:
        """There is none."""
        del size_bytes
        return await self.way_in(at)

    async def list(self, at: At) -> AsyncGenerator[Entry]:
        """See promise.Kind.list."""
        with _named(at):
            where = place(at, self._servers)
            async with self._pool.turn(where.account) as turn:
                try:
                    async with contextlib.aclosing(walk(turn.session, where.path)) as entries:
                        async for entry in entries:
                            yield entry
                except Answered as error:
                    if not error.is_for_now and await _is_file(turn.session, where.path):
                        raise errors.TransferRefused(_NOT_A_DIRECTORY) from error
                    raise
                turn.is_clean = True

    def fetch(self, at: At, resume: Resume | None) -> AbstractAsyncContextManager[Fetched]:
        """See promise.Kind.fetch."""
        return self._fetch(at, resume)

    async def store(self, at: At, pieces: AsyncIterator[bytes], size_bytes: int) -> None:
        """See promise.Kind.store."""
        with _named(at):
            where = self._file(at)
            async with self._pool.turn(where.account) as turn:
                await upload(turn, where.path, pieces, size_bytes, self._directories)

    async def make_directory(self, at: At) -> bool:
        """See promise.Kind.make_directory."""
        with _named(at):
            where = place(at, self._servers)
            async with self._pool.turn(where.account) as turn:
                await self._directories.make(turn.session, where.path)
                turn.is_clean = True
        return True

    async def close(self) -> None:
        """See promise.Kind.close."""
        await self._pool.close()

    def _file(self, at: At) -> Place:
        where = place(at, self._servers)
        if where.path == "/":
            raise errors.TransferRefused("the URL names no file")
        return where

    @contextlib.asynccontextmanager
    async def _fetch(self, at: At, resume: Resume | None) -> AsyncIterator[Fetched]:
        with _named(at):
            where = self._file(at)
            async with self._pool.turn(where.account) as turn:
                found = await turn.session.find(where.path) or Found("unknown")
                if found.type == "directory":
                    raise errors.TransferRefused(_NOT_A_FILE)
                version = None if where.account.address in self._cannot_resume else found.version
                start = resume.start if resume is not None and resume.version == version else 0
                if start and start == found.size_bytes:  # nothing is missing, which some servers refuse to send
                    turn.is_clean = True
                    yield Fetched(_nothing(), start, found.size_bytes, version)
                    return
                data = await turn.session.begin(f"RETR {where.path}", start)
                async with contextlib.aclosing(self._pieces(at, turn, data, found.size_bytes)) as pieces:
                    yield Fetched(pieces, data.start, found.size_bytes, version)

    async def _pieces(self, at: At, turn: Turn, data: Data, size_bytes: int | None) -> AsyncGenerator[bytes]:
        come = data.start
        with _named(at):
            try:
                while piece := await data.read():
                    come += len(piece)
                    if size_bytes is not None and come > size_bytes:
                        if data.start:  # from the beginning, most likely
                            self._cannot_resume.add(turn.session.account.address)
                        raise errors.TransferInterrupted(f"the server said {size_bytes:,} bytes, more came")
                    yield piece
            except Broken as error:
                raise await turn.session.why(error) from error
            await turn.session.end()
            if size_bytes is not None and come != size_bytes:
                raise errors.TransferInterrupted(f"the server said {size_bytes:,} bytes, {come:,} came")
            turn.is_clean = True


async def _is_file(session: Session, path: str) -> bool:
    if await session.is_directory(path):
        return False
    found = await session.find(path)
    return found is not None and found.type == "file"


async def _nothing() -> AsyncIterator[bytes]:
    nothing: tuple[bytes, ...] = ()
    for piece in nothing:
        yield piece


@contextlib.contextmanager
def _named(at: At) -> Iterator[None]:
    """Turn what went wrong into a TransferError, with the file's name and the server's own words."""
    name = urls.shown(at.url)
    try:
        yield
    except Answered as error:
        kind = errors.TransferInterrupted if error.is_for_now else errors.TransferRefused
        raise kind(f"{name}: {error}") from error
    except Broken as error:
        kind = errors.TransferInterrupted if error.again else errors.TransferRefused
        raise kind(f"{name}: {error}") from error
    except errors.TransferError as error:
        if str(error).startswith(f"{name}: "):
            raise
        raise type(error)(f"{name}: {error}") from error


__all__ = ["Ftp", "Login", "Server"]
