"""Requests of TESPES itself to web servers that the settings name: redirects, silence, and errors in words."""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from typing import Final

import aiohttp
import yarl

from tespes import errors
from tespes.storage.http.address import Address, redirected
from tespes.storage.http.body import Body
from tespes.storage.http.failures import failed, named
from tespes.storage.promise import Manners
from tespes.storage.turns import turn

MOST_REDIRECTS: Final = 10
CONTINUE_S: Final = 3.0  # some servers do not know `Expect: 100-continue`, and wait for the body
BUFFER_BYTES: Final = 512 * 1024
_MOVED: Final = {301, 302, 303, 307, 308}
_MOVED_AS_IT_IS: Final = {307, 308}
_STORED: Final = {200, 201, 204}


@dataclass(frozen=True, slots=True)
class Asked:
    """A request.

    :param shown: the URL for people
    :param login: headers for a server; None if TESPES has no business there
    """

    shown: str
    address: Address
    login: Callable[[Address], Mapping[str, str] | None]


class Client:
    """Connections to web servers, kept for the next request."""

    def __init__(self, manners: Manners) -> None:
        """:raises errors.SetupError: manners.ca_file cannot be read"""
        self._manners = manners
        self._trusted = _trusted(manners)
        self._session: aiohttp.ClientSession | None = None
        self._slots: dict[str, asyncio.Semaphore] = {}
        self._no_expect: set[tuple[str, str, int]] = set()

    @contextlib.asynccontextmanager
    async def get(self, asked: Asked, headers: Mapping[str, str]) -> AsyncIterator[aiohttp.ClientResponse]:
        """The answer at the end of all redirects, whatever its status."""
        async with contextlib.AsyncExitStack() as stack:
            with named(asked.shown, self._manners.silence_s):
                response = await self._got(stack, asked, headers)
            yield response

    async def pieces(self, shown: str, response: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
        """The body as it comes."""
        with named(shown, self._manners.silence_s):
            async for piece in response.content.iter_any():
                yield piece

    async def put(self, asked: Asked, pieces: AsyncIterator[bytes], size_bytes: int) -> None:
        """Send that, if the pieces end well; returns when the server has it."""
        if not size_bytes:
            async for _ in pieces:
                raise errors.TransferInterrupted(f"{asked.shown}: more came to be stored than was said")
        with named(asked.shown, self._manners.silence_s):
            at = asked.address
            for _ in range(MOST_REDIRECTS + 1):
                body = Body(asked.shown, pieces, size_bytes, self._manners.silence_s)
                response = await self._put(asked, at, body)
                if response.status in _STORED:
                    return
                if response.status not in _MOVED_AS_IT_IS:
                    raise failed(asked.shown, response)
                at = self._followed(asked, at, response)
                if body.began:
                    self._no_expect.discard(at.origin)
                    raise errors.TransferInterrupted(f"{asked.shown}: {response.status}, after the file was sent already")
            raise _too_many(asked)

    async def close(self) -> None:
        """Let go of every connection."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _got(self, stack: contextlib.AsyncExitStack, asked: Asked, headers: Mapping[str, str]) -> aiohttp.ClientResponse:
        at = asked.address
        for _ in range(MOST_REDIRECTS + 1):
            async with contextlib.AsyncExitStack() as this:
                await this.enter_async_context(self._slot(at.host, asked.shown))
                sent = {**headers, **(asked.login(at) or {})}
                response = await this.enter_async_context(self._opened().get(_sent(at), headers=sent, allow_redirects=False))
                if response.status not in _MOVED:
                    stack.push_async_exit(this.pop_all().__aexit__)
                    return response
            at = self._followed(asked, at, response)
        raise _too_many(asked)

    async def _put(self, asked: Asked, at: Address, body: Body) -> aiohttp.ClientResponse:
        """Asks before it sends, so that a refusal or a redirect comes while nothing of the file is used up."""
        expect = bool(body.size_bytes) and at.origin not in self._no_expect
        try:
            async with self._slot(at.host, asked.shown), body.watched(CONTINUE_S if expect else None):
                headers = {**(asked.login(at) or {}), "Content-Length": str(body.size_bytes)}
                request = self._opened().put(
                    _sent(at),
                    headers=headers,
                    data=body.sent() if body.size_bytes else b"",
                    expect100=expect,
                    allow_redirects=False,
                )
                async with request as response:
                    response.close()  # what was not sent yet is not wanted any more
                    return response
        except TimeoutError:
            if not expect or body.began:
                raise
        self._no_expect.add(at.origin)
        return await self._put(asked, at, body)

    def _followed(self, asked: Asked, at: Address, response: aiohttp.ClientResponse) -> Address:
        """:raises errors.TransferRefused: it leads to where TESPES has no business; whoever asks may not be let in there"""
        try:
            target = redirected(at, response.headers.get("Location", ""))
        except errors.TransferRefused as error:
            raise errors.TransferRefused(f"{asked.shown}: {error}") from error
        if target.origin == at.origin:
            return Address(target.url, at.scheme, at.host, at.port, at.login)
        if asked.login(target) is None:
            raise errors.TransferRefused(f"{asked.shown}: redirects to host {target.names[0]}, which the settings do not name")
        return target

    def _slot(self, host: str, shown: str) -> contextlib.AbstractAsyncContextManager[None]:
        slots = self._slots.setdefault(host, asyncio.Semaphore(self._manners.connections))
        return turn(slots, self._manners, shown, host)

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            silence_s = self._manners.silence_s
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0, ssl=self._trusted, socket_factory=self._socket),
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=silence_s, sock_read=silence_s),
                headers={"Accept-Encoding": "identity", "User-Agent": "tespes"},
                auto_decompress=False,
                cookie_jar=aiohttp.DummyCookieJar(),
                read_bufsize=BUFFER_BYTES,
            )
        return self._session

    def _socket(self, address: aiohttp.AddrInfoType) -> socket.socket:
        """One that the system gives up if a server takes nothing for long: what is left to be sent would keep it open."""
        family, kind, protocol, *_ = address
        made = socket.socket(family, kind, protocol)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(self._manners.silence_s * 1000))
        return made


def _too_many(asked: Asked) -> errors.TransferRefused:
    return errors.TransferRefused(f"{asked.shown}: redirects more than {MOST_REDIRECTS} times")


def _sent(at: Address) -> yarl.URL:
    return yarl.URL(at.url, encoded=True)  # signatures in a query are not to be touched


def _trusted(manners: Manners) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if manners.ca_file is not None:
        try:
            context.load_verify_locations(cafile=manners.ca_file)
        except OSError as error:  # ssl.SSLError is one
            raise errors.SetupError(f"{manners.ca_file}: has no certificates: {error.strerror or error}") from error
    return context
