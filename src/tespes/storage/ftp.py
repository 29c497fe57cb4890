"""Files on FTP servers, by aioftp: one connection for each transfer, uploads under a temporary name first."""

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from urllib.parse import unquote, urlsplit

import aioftp

from tespes import errors

PORT = 21
PIECE_BYTES = 256 * 1024
_PERMANENT = "5"
_REMOVE_AFTER_S = (0.0, 0.1, 0.5)


@dataclass(frozen=True, slots=True)
class Login:
    """Who TESPES is on a server."""

    user: str
    password: str


@dataclass(frozen=True, slots=True)
class Place:
    """A file on a server."""

    host: str
    port: int
    login: Login
    path: PurePosixPath

    def __str__(self) -> str:
        """For people: without user and password."""
        port = "" if self.port == PORT else f":{self.port}"
        return f"ftp://{self.host}{port}{self.path}"


def place(url: str, logins: Mapping[str, Login]) -> Place:
    """Where an ftp URL points, and as whom TESPES goes there.

    :raises errors.TransferRefused: the URL names no file
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port or PORT
    except ValueError as error:
        raise errors.TransferRefused(f"an ftp URL cannot be read: {error}") from error
    path = PurePosixPath("/" + unquote(parts.path).lstrip("/"))
    if not host or path == PurePosixPath("/") or ".." in path.parts:
        raise errors.TransferRefused(f"ftp://{host}{parts.path}: the URL names no file")
    known = logins.get(f"{host}:{port}") or logins.get(host) or Login("anonymous", "anonymous@")
    login = Login(unquote(parts.username), unquote(parts.password or "")) if parts.username else known
    return Place(host, port, login, path)


@contextlib.asynccontextmanager
async def fetch(where: Place, silence_s: float) -> AsyncIterator[AsyncIterator[bytes]]:
    """See Storage.fetch."""
    with _named(where):
        async with _session(where, silence_s) as client:
            await _look(client, where)
            stream = await client.download_stream(where.path)
            yield _pieces(where, stream)


async def store(where: Place, pieces: AsyncIterator[bytes], silence_s: float) -> None:
    """See Storage.store. Directories are made; the name appears only when the file is whole."""
    temporary = where.path.with_name(f".{where.path.name}.{secrets.token_hex(6)}.part")
    with _named(where):
        try:
            async with _session(where, silence_s) as client:
                await _make_directories(client, where.path.parent)
                async with client.upload_stream(temporary) as stream:
                    async for piece in pieces:
                        await stream.write(piece)
                await _rename(client, temporary, where.path)
        except BaseException:
            await _remove(where, temporary, silence_s)
            raise


async def _remove(where: Place, path: PurePosixPath, silence_s: float) -> None:
    """Remove what may be there, in a connection of its own: the one that failed may be in the middle of something."""
    for pause_s in _REMOVE_AFTER_S:
        await asyncio.sleep(pause_s)
        with contextlib.suppress(Exception):
            async with _session(where, silence_s) as client:
                if await client.exists(path):
                    await client.remove_file(path)
                else:
                    return


async def _make_directories(client: aioftp.Client, directory: PurePosixPath) -> None:
    """Each that is missing; that somebody else made it a moment before is fine."""
    if directory == PurePosixPath("/") or await client.exists(directory):
        return
    await _make_directories(client, directory.parent)
    try:
        await client.make_directory(directory, parents=False)
    except aioftp.StatusCodeError:
        if not await client.exists(directory):
            raise


async def _rename(client: aioftp.Client, temporary: PurePosixPath, final: PurePosixPath) -> None:
    """Some servers do not rename onto a file that is there: it is put aside, and back if that did not help."""
    try:
        await client.rename(temporary, final)
    except aioftp.StatusCodeError as error:
        if not str(error.received_codes[-1]).startswith(_PERMANENT) or not await client.exists(final):
            raise
        aside = final.with_name(f"{temporary.name}.old")
        await client.rename(final, aside)
        try:
            await client.rename(temporary, final)
        except BaseException:
            with contextlib.suppress(Exception):
                await client.rename(aside, final)
            raise
        await client.remove_file(aside)


async def _look(client: aioftp.Client, where: Place) -> None:
    """Ask for the file before a data connection is opened for it, which a refusal would leave open.

    :raises errors.TransferRefused: it is a directory
    """
    found = await client.stat(where.path)
    if found.get("type") == "dir":
        raise errors.TransferRefused(f"{where}: is a directory, a file was declared")


async def _pieces(where: Place, stream: aioftp.DataConnectionThrottleStreamIO) -> AsyncIterator[bytes]:
    with _named(where):
        async for piece in stream.iter_by_block(PIECE_BYTES):
            yield piece
        await stream.finish()


@contextlib.asynccontextmanager
async def _session(where: Place, silence_s: float) -> AsyncIterator[aioftp.Client]:
    client = aioftp.Client(socket_timeout=silence_s, connection_timeout=silence_s)
    try:
        await client.connect(where.host, where.port)
        await client.login(where.login.user, where.login.password)
        yield client
        with contextlib.suppress(Exception):  # the file is there: how the server says good-bye does not matter
            await client.quit()
    finally:
        client.close()


@contextlib.contextmanager
def _named(where: Place) -> Iterator[None]:
    """Turn the library's errors into ours, with the file's name and the server's own words."""
    try:
        yield
    except aioftp.StatusCodeError as error:
        code, words = str(error.received_codes[-1]), " ".join(line.strip() for line in error.info)
        kind = errors.TransferRefused if code.startswith(_PERMANENT) else errors.TransferInterrupted
        raise kind(f"{where}: {code} {words}") from error
    except errors.TespesError:
        raise
    except (OSError, EOFError, aioftp.AIOFTPException, ValueError, LookupError, AttributeError) as error:
        # The last three: what the library meets in answers that are no FTP.
        raise errors.TransferInterrupted(f"{where}: {str(error) or type(error).__name__}") from error
