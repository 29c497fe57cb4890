"""A web server on loopback, in a thread of its own: ranges, index pages, PUT, logins, TLS, and failures on command.

    with WebServer(directory) as server:
        server.misbehave("/x", Cut(after_bytes=1000), times=2)
        ...  # GET server.url + "/x"

`server.seen` has every request in order. As a program, for measuring: `python web_server.py DIRECTORY` prints its URL.
"""

import asyncio
import base64
import contextlib
import html
import itertools
import os
import random
import secrets
import sys
import threading
import weakref
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote, unquote

import pytest
import trustme
from aiohttp import web, web_protocol

_BLOCK_BYTES = 256 * 1024
_FOREVER_S = 3600.0


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer instead of the file: a status, a redirect (`Location`), `Retry-After`. Before the body of a PUT is read.

    :param hang_up: close at once afterwards, without reading what the client still sends
    """

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    text: str | bytes = ""
    hang_up: bool = False


@dataclass(frozen=True, slots=True)
class Cut:
    """The connection breaks after so many bytes of the body of this answer (or of a PUT)."""

    after_bytes: int


@dataclass(frozen=True, slots=True)
class Silent:
    """Nothing more comes after so many bytes of the body; None: not even an answer. The connection stays open."""

    after_bytes: int | None = None
    for_s: float = _FOREVER_S


@dataclass(frozen=True, slots=True)
class Lie:
    """Content-Length is this much more (or less) than what comes; if less comes, the connection ends there."""

    by_bytes: int


@dataclass(frozen=True, slots=True)
class NoRanges:
    """A Range is not understood: the whole file comes, with 200."""


@dataclass(frozen=True, slots=True)
class NewVersion:
    """The file has another ETag at each request."""


@dataclass(frozen=True, slots=True)
class WrongRange:
    """206, but with this Content-Range (and no ETag check)."""

    content_range: str


@dataclass(frozen=True, slots=True)
class Chunked:
    """No Content-Length: the body comes in chunks."""


Failure = Answer | Cut | Silent | Lie | NoRanges | NewVersion | WrongRange | Chunked


@dataclass(frozen=True, slots=True)
class Seen:
    """A request: what was asked, and the status it was answered with (0 for none)."""

    method: str
    target: str
    headers: Mapping[str, str]
    status: int


@dataclass(slots=True)
class _Order:
    path: str
    failure: Failure
    times: int | None
    share: float
    chance: random.Random
    method: str


class WebServer:
    """See above; a context manager.

    :param directory: what it serves; made if missing
    :param port: 0 takes a free one
    :param authority: for https, with a certificate for the host (`url` then begins with https)
    :param host: what `url` calls it; it listens on 127.0.0.1 in any case
    """

    def __init__(self, directory: Path, *, port: int = 0, authority: trustme.CA | None = None, host: str = "127.0.0.1") -> None:
        self.directory = directory
        self.host = host
        self.port = port
        self.seen: list[Seen] = []
        self.connections = 0
        self.transports = weakref.WeakSet[asyncio.Transport]()
        self._certificate = authority.issue_cert(host) if authority else None
        self._logins: dict[str, str] = {}
        self._orders: list[_Order] = []
        self._versions = itertools.count(1)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._runner: web.ServerRunner | None = None

    @property
    def url(self) -> str:
        """Without a slash at its end."""
        return f"{'https' if self._certificate else 'http'}://{self.host}:{self.port}"

    def misbehave(
        self, path: str, failure: Failure, *, times: int | None = 1, share: float = 1.0, seed: int = 0, method: str = "*"
    ) -> None:
        """Fail when this path is asked for, as often as said; orders for the same path are used up one after the other.

        :param path: decoded, from `/`; `*` for all
        :param times: None for always; :param share: of the requests, by chance
        :param method: only at this one; `*` for all
        """
        self._orders.append(_Order(path, failure, times, share, random.Random(seed), method))

    def behave(self) -> None:
        """Forget all failures that are left."""
        self._orders.clear()

    def protect(self, path: str, *, user: str = "", password: str = "", token: str = "") -> None:
        """Whatever begins with this path needs that login: 401 without, 403 with another."""
        basic = base64.b64encode(f"{user}:{password}".encode()).decode()
        self._logins[path] = f"Bearer {token}" if token else f"Basic {basic}"

    def asked(self, method: str, path: str = "") -> list[Seen]:
        """The requests of a kind, in order."""
        return [seen for seen in self.seen if seen.method == method and (not path or seen.target.partition("?")[0] == path)]

    def start(self) -> Self:
        """Listen; after a `stop`, on the same port again."""
        self.directory.mkdir(parents=True, exist_ok=True)
        if not self._thread.is_alive():
            self._thread.start()
        asyncio.run_coroutine_threadsafe(self._start(), self._loop).result(30)
        return self

    def stop(self) -> None:
        """Close every connection and stop listening."""
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result(30)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _start(self) -> None:
        server = _Counting(self)
        self._runner = web.ServerRunner(server, shutdown_timeout=0.05)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port, ssl_context=self._tls(), reuse_address=True)
        await site.start()
        self.port = self._runner.addresses[0][1]

    async def _stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None
            for transport in tuple(self.transports):
                transport.abort()
            left = asyncio.all_tasks() - {asyncio.current_task()}
            for task in left:
                task.cancel()
            await asyncio.gather(*left, return_exceptions=True)
            await asyncio.sleep(0.01)  # transports say good-bye in the next rounds of the loop

    def _tls(self) -> Any:
        if self._certificate is None:
            return None
        import ssl  # noqa: PLC0415 - only for this

        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._certificate.configure_cert(context)
        return context

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """One request."""
        path = unquote(request.rel_url.raw_path)
        place = len(self.seen)
        self.seen.append(Seen(request.method, request.raw_path, dict(request.headers), 0))
        answer = await self._answer(request, path, self._next_failure(request.method, path))
        self.seen[place] = Seen(request.method, request.raw_path, dict(request.headers), answer.status)
        return answer

    def _next_failure(self, method: str, path: str) -> Failure | None:
        for order in self._orders:
            fits = order.path in {path, "*"} and order.method in {method, "*"}
            if not fits or order.times == 0 or order.chance.random() >= order.share:
                continue
            order.times = order.times - 1 if order.times is not None else None
            return order.failure
        return None

    async def _answer(self, request: web.BaseRequest, path: str, failure: Failure | None) -> web.StreamResponse:
        if isinstance(failure, Answer):
            body = failure.text.encode() if isinstance(failure.text, str) else failure.text
            response = web.Response(status=failure.status, headers=failure.headers, body=body)
            if failure.hang_up:
                response.force_close()
            return response
        if isinstance(failure, Silent) and failure.after_bytes is None:
            await asyncio.sleep(failure.for_s)
        refused = self._refused(request, path)
        return refused if refused is not None else await self._served(request, path, failure)

    async def _served(self, request: web.BaseRequest, path: str, failure: Failure | None) -> web.StreamResponse:
        file = self.directory / path.lstrip("/")
        match request.method:
            case "GET" | "HEAD" if file.is_dir():
                return _index_page(file, path, request)
            case "GET" | "HEAD" if file.is_file():
                return await self._given(request, file, failure)
            case "PUT":
                return await _taken(request, file, failure)
            case "DELETE" if file.is_file():
                file.unlink()
                return web.Response(status=204)
            case "GET" | "HEAD" | "DELETE":
                return web.Response(status=404, text="there is no such file")
            case _:
                return web.Response(status=405)

    def _refused(self, request: web.BaseRequest, path: str) -> web.Response | None:
        if ".." in path.split("/"):
            return web.Response(status=400)
        for prefix, wanted in self._logins.items():
            if path.startswith(prefix):
                given = request.headers.get("Authorization")
                if given is None:
                    return web.Response(status=401, headers={"WWW-Authenticate": wanted.partition(" ")[0]})
                if given != wanted:
                    return web.Response(status=403)
        return None

    async def _given(self, request: web.BaseRequest, file: Path, failure: Failure | None) -> web.StreamResponse:
        with file.open("rb") as opened:
            found = os.fstat(opened.fileno())
            etag = f'"{found.st_size:x}-{found.st_mtime_ns:x}"'
            if isinstance(failure, NewVersion):
                etag = f'"{next(self._versions)}"'
            start: int | None = 0
            end: int | None = found.st_size
            if not isinstance(failure, NoRanges) and request.headers.get("If-Range", etag) == etag:
                start, end = _range(request.headers.get("Range", ""), found.st_size)
            if start is None or end is None:
                return web.Response(status=416, headers={"Content-Range": f"bytes */{found.st_size}"})
            response = web.StreamResponse(status=206 if (start, end) != (0, found.st_size) else 200)
            response.headers.update({"ETag": etag, "Accept-Ranges": "bytes", "Content-Type": "application/octet-stream"})
            if response.status == 206:
                response.headers["Content-Range"] = f"bytes {start}-{end - 1}/{found.st_size}"
            if isinstance(failure, WrongRange):
                response.set_status(206)
                response.headers["Content-Range"] = failure.content_range
            if isinstance(failure, NoRanges):
                del response.headers["Accept-Ranges"]
            await _send(request, response, opened, start, end, failure)
            return response


class _Counting(web.Server):
    """aiohttp's server; counts connections."""

    def __init__(self, owner: WebServer) -> None:
        super().__init__(owner.handle, access_log=None)
        self._owner = owner

    def connection_made(self, handler: web_protocol.RequestHandler, transport: asyncio.Transport) -> None:
        self._owner.connections += 1
        self._owner.transports.add(transport)
        super().connection_made(handler, transport)


async def _send(
    request: web.BaseRequest, response: web.StreamResponse, opened: Any, start: int, end: int, failure: Failure | None
) -> None:
    size = end - start
    response.content_length = size + failure.by_bytes if isinstance(failure, Lie) else size
    if isinstance(failure, Chunked):
        response.content_length = None
        response.enable_chunked_encoding()
    await response.prepare(request)
    if request.method == "HEAD":
        return
    if isinstance(failure, Chunked):
        opened.seek(start)
        for _ in range(0, size, _BLOCK_BYTES):
            await response.write(opened.read(min(_BLOCK_BYTES, end - opened.tell())))
        return
    stops = failure.after_bytes if isinstance(failure, Cut | Silent) else None
    count = size if stops is None else min(size, stops)
    assert request.transport is not None
    if count:
        await asyncio.get_running_loop().sendfile(request.transport, opened, start, count)
    if isinstance(failure, Silent):
        await asyncio.sleep(failure.for_s)
    if isinstance(failure, Cut | Silent | Lie):
        response.force_close()
        request.transport.close()


async def _taken(request: web.BaseRequest, file: Path, failure: Failure | None) -> web.StreamResponse:
    """The file, under a temporary name until all of it is there."""
    if request.headers.get("Expect", "").lower() == "100-continue":
        assert request.transport is not None
        request.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    if file.is_dir():
        return web.Response(status=409, text="it is a directory")
    file.parent.mkdir(parents=True, exist_ok=True)
    stops = failure.after_bytes if isinstance(failure, Cut | Silent) else None
    temporary = file.with_name(f".{file.name}.{secrets.token_hex(4)}")
    status, got = (204 if file.exists() else 201), 0
    try:
        with temporary.open("wb") as opened:
            async for piece in request.content.iter_any():
                opened.write(piece)
                got += len(piece)
                if stops is not None and got >= stops:
                    await asyncio.sleep(failure.for_s if isinstance(failure, Silent) else 0)
                    assert request.transport is not None
                    request.transport.abort()
                    return web.Response(status=400)
        temporary.rename(file)
    finally:
        temporary.unlink(missing_ok=True)
    return web.Response(status=status)


def _range(header: str, size: int) -> tuple[int | None, int | None]:
    """From and up to where; (None, None) if there is no such part."""
    unit, _, wanted = header.partition("=")
    first, _, last = wanted.partition("-")
    if unit != "bytes" or "," in wanted or not (first or last):
        return 0, size
    if not first:
        return max(0, size - int(last)), size
    if int(first) >= size:
        return None, None
    return int(first), min(size, int(last) + 1) if last else size


def _index_page(directory: Path, path: str, request: web.BaseRequest) -> web.Response:
    """As Apache makes it: links to sort by and to the directory above, then what the directory holds, hidden names not."""
    if not path.endswith("/"):
        return web.Response(status=301, headers={"Location": quote(path) + "/"})
    rows = [f'<tr><td><a href="{quote(str(Path(path).parent))}">Parent Directory</a></td><td>-</td></tr>']
    for each in sorted(directory.iterdir()):
        if not each.name.startswith("."):
            name = each.name + "/" * each.is_dir()
            link = ("./" if ":" in name else "") + quote(name, safe="/:")
            rows.append(
                f'<tr><td><a href="{html.escape(link)}">{html.escape(name)}</a></td><td>{each.stat().st_size}</td></tr>'
            )
    sorting = '<a href="?C=N;O=D">Name</a> <a href="?C=M;O=A">Last modified</a> <a href="?C=S;O=A">Size</a>'
    title = f"Index of {html.escape(path)}"
    page = (
        f"<html><head><title>{title}</title></head><body><h1>{title}</h1>{sorting}<table>{''.join(rows)}</table></body></html>"
    )
    return web.Response(text="" if request.method == "HEAD" else page, content_type="text/html")


@pytest.fixture
def web_server(tmp_path: Path) -> Iterator[WebServer]:
    """A web server of this test's own; its files are in `web_server.directory`."""
    with WebServer(tmp_path / "web") as server:
        yield server


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    """Who signs the certificates of https servers."""
    return trustme.CA()


@pytest.fixture(scope="session")
def ca_file(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """That authority's certificate, to be trusted."""
    path = tmp_path_factory.mktemp("authority") / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    return path


@pytest.fixture
def https_server(tmp_path: Path, authority: trustme.CA) -> Iterator[WebServer]:
    """The same by https, for `localhost`."""
    with WebServer(tmp_path / "secure", authority=authority, host="localhost") as server:
        yield server


@contextlib.asynccontextmanager
async def web_server_for(directory: Path, **arguments: Any) -> AsyncIterator[WebServer]:
    """The same for an asynchronous test that needs several."""
    server = await asyncio.to_thread(WebServer(directory, **arguments).start)
    try:
        yield server
    finally:
        await asyncio.to_thread(server.__exit__)


if __name__ == "__main__":
    with WebServer(Path(sys.argv[1])) as measured:
        sys.stdout.write(measured.url + "\n")
        sys.stdout.flush()
        threading.Event().wait()
