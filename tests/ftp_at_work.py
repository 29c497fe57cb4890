"""What the tests of FTP storages share: an `Ftp`, and its methods in one line each."""

import contextlib
import functools
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import uvloop

from tespes.storage.ftp import Ftp, Server
from tespes.storage.promise import At, Entry, Manners, Resume

SILENCE_S = 0.5


def on_uvloop(test: Callable[..., Awaitable[None]]) -> Callable[..., None]:
    """The test in the event loop that TESPES runs on."""

    @functools.wraps(test)
    def run(**fixtures: Any) -> None:
        async def whole() -> None:
            await test(**fixtures)

        uvloop.run(whole())

    return run


@contextlib.asynccontextmanager
async def ftp(
    servers: Mapping[str, Server] | None = None,
    *,
    ca_file: Path | None = None,
    silence_s: float = SILENCE_S,
    connections: int = 8,
) -> AsyncIterator[Ftp]:
    """All FTP servers, until the end of the test."""
    storage = Ftp(servers or {}, Manners(silence_s=silence_s, connections=connections, ca_file=ca_file))
    try:
        yield storage
    finally:
        await storage.close()


async def put(storage: Ftp, url: str, content: bytes, size_bytes: int | None = None) -> None:
    """Store that."""
    await storage.store(At(url, "ada"), pieces(content), len(content) if size_bytes is None else size_bytes)


async def got(storage: Ftp, url: str, resume: Resume | None = None) -> bytes:
    """The bytes that come."""
    async with storage.fetch(At(url, "ada"), resume) as fetched:
        return b"".join([piece async for piece in fetched.pieces])


async def version(storage: Ftp, url: str) -> str | None:
    """What a resume would need."""
    async with storage.fetch(At(url, "ada"), None) as fetched:
        assert [piece async for piece in fetched.pieces]
        return fetched.version


async def listed(storage: Ftp, url: str) -> list[Entry]:
    """What is below, in the order in which it comes."""
    return [entry async for entry in storage.list(At(url, "ada"))]


async def pieces(content: bytes, size: int = 100_000) -> AsyncIterator[bytes]:
    """Bytes as they come from a node."""
    for start in range(0, len(content), size):
        yield content[start : start + size]
