"""The HTTP server: its socket, and its end, in which no request is cut."""

import asyncio
import contextlib
import errno
import select
import socket
from collections.abc import AsyncIterator, Callable
from typing import Final

import structlog
from aiohttp import web

from tespes import errors
from tespes.api import query
from tespes.api.drain import Requests

_IDLE_S: Final = 0.5  # in which a request may still come on a connection that was kept alive
_LOOK_EVERY_S: Final = 0.02
_LOOKS_AT_LINE: Final = 25

_log = structlog.get_logger(__name__)


def listen(host: str, port: int, chosen_with: str = "--port") -> tuple[socket.socket, str]:
    """The listening socket and its URL. Clients that come before everything is ready wait in it.

    :param chosen_with: where people say which port it is
    :raises errors.SetupError: the address is taken or not ours
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listening = socket.create_server((host, port), family=family, backlog=1024)
    except OSError as error:
        reason, _, _ = str(error.strerror).partition(" (while")  # behind that, the library says the address again
        of_port = error.errno in {errno.EADDRINUSE, errno.EACCES}
        mend = f"choose another port with {chosen_with}" if of_port else "name an address of this machine"
        raise errors.SetupError(f"TESPES cannot listen at {host}:{port}: {reason}; {mend}") from error
    return listening, address(host, listening.getsockname()[1])


def address(host: str, port: int) -> str:
    """The URL at which who listens there is reached from this machine."""
    named = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)  # noqa: S104 - compared
    return f"http://{named}:{port}"


@contextlib.asynccontextmanager
async def served(
    listening: socket.socket,
    application: web.Application,
    requests: Requests,
    release: Callable[[], None],
    *,
    drain_s: float,
    cut_s: float,
) -> AsyncIterator[None]:
    """Serve the application until the block is left; then answer what came in, for at most `drain_s`; cut the rest in `cut_s`.

    :param requests: those that are under way in the application
    :param release: called when it ends, to let go of whoever is kept waiting
    """
    line = query.REQUEST_LINE_BYTES_MAX
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=cut_s, max_line_size=line, auto_decompress=False)
    await runner.setup()
    site = web.SockSite(runner, listening)
    try:
        await site.start()
        yield
    finally:
        requests.leave()
        release()
        listening.listen(0)  # no newcomers: whoever is in line when the socket is closed is cut off
        await _let_in(listening)
        await site.stop()
        await _answered(runner, requests, drain_s)
        await runner.cleanup()


@contextlib.asynccontextmanager
async def served_beside(listening: socket.socket, application: web.Application) -> AsyncIterator[None]:
    """Serve what nobody has to be let out of in peace, until the block is left."""
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=0)
    await runner.setup()
    try:
        await web.SockSite(runner, listening).start()
        yield
    finally:
        await runner.cleanup()


async def _let_in(listening: socket.socket) -> None:
    """Wait until nobody is in line; in any case not for long."""
    for _ in range(_LOOKS_AT_LINE):
        await asyncio.sleep(_LOOK_EVERY_S)
        if not select.select([listening], [], [], 0)[0]:
            return


async def _answered(runner: web.AppRunner, requests: Requests, drain_s: float) -> None:
    """Wait until all connections are gone; for those that say nothing, not for long.

    The server itself would ignore bodies that come from now on, so it is ended only after this.
    """
    clock = asyncio.get_running_loop().time
    begun = clock()
    while runner.server is not None and runner.server.connections:
        took_s = clock() - begun
        if took_s > drain_s or (took_s > _IDLE_S and requests.are_none and not _is_sending(runner.server)):
            break
        await asyncio.sleep(_LOOK_EVERY_S)
    if not requests.are_none:
        _log.warning("requests are cut off, for they take too long", drain_s=drain_s)


def _is_sending(server: web.Server) -> bool:
    """Whether some of an answer still waits for the client to read it."""
    return any(each.transport is not None and each.transport.get_write_buffer_size() for each in server.connections)
