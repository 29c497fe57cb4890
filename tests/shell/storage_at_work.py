"""A web server on a real socket that keeps files, and that fails on command in all the ways a storage can."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import re
import ssl
import urllib.parse
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path

REASONS = {200: "OK", 201: "Created", 206: "Partial Content", 302: "Found", 404: "Not Found", 416: "Range Not Satisfiable"}


@dataclass
class Request:
    """What was asked; `body` is empty until it was read."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes = b""


@dataclass
class Trouble:
    """What goes wrong with one request.

    :param status: instead of the usual answer, with `headers` and `body`
    :param cut_after: so many bytes of a body, sent or received, the connection is reset
    :param said_bytes: what Content-Length says; -1: nothing does, and the answer ends with the connection
    :param pause_s: before the answer; :param is_silent: no answer comes; :param reads_bytes: of a body before the answer
    :param version: another ETag; "": none. :param ranges: whether Range is heeded; :param if_range: whether If-Range is
    """

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    cut_after: int | None = None
    said_bytes: int | None = None
    pause_s: float = 0.0
    is_silent: bool = False
    reads_bytes: int | None = None
    version: str | None = None
    ranges: bool = True
    if_range: bool = True


class Storage:
    """`files` by path, `heard` in order; `trouble` is asked at each request."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.heard: list[Request] = []
        self.connections = 0
        self.trouble: Callable[[Request], Trouble | None] = lambda _: None
        self.url = ""
        self._serving: set[asyncio.Task[None]] = set()

    async def stop(self) -> None:
        """Nobody is served any more."""
        for task in self._serving:
            task.cancel()
        await asyncio.gather(*self._serving, return_exceptions=True)

    def fails(self, *troubles: Trouble) -> None:
        """So do the next requests, one by one."""
        left = iter(troubles)
        self.trouble = lambda _: next(left, None)

    def way(self, path: str, **headers: str) -> dict[str, object]:
        """How a plan's file gets straight to this path; its query is a secret."""
        return {"url": f"{self.url}{path}?signature=secret", "headers": headers, "shown": f"web:/{path}"}

    @contextlib.asynccontextmanager
    async def secured(self, certificate: Path, key: Path) -> AsyncIterator[str]:
        """The same storage with TLS: its URL."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        server = await asyncio.start_server(self.serve, "127.0.0.1", 0, ssl=context)
        try:
            yield f"https://localhost:{server.sockets[0].getsockname()[1]}"
        finally:
            server.close()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """All requests of one connection."""
        self.connections += 1
        task = asyncio.current_task()
        assert task is not None
        self._serving.add(task)
        try:
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
                while head := await reader.readuntil(b"\r\n\r\n"):
                    request = _request(head)
                    self.heard.append(request)
                    if not await self._answered(request, self.trouble(request) or Trouble(), reader, writer):
                        break
        finally:
            self._serving.discard(task)
            writer.close()

    async def _answered(
        self, request: Request, trouble: Trouble, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        await asyncio.sleep(60 if trouble.is_silent else trouble.pause_s)
        announced = int(request.headers.get("content-length", 0))
        wanted = announced if trouble.reads_bytes is None else trouble.reads_bytes
        if request.method == "PUT" and trouble.cut_after is not None:
            await reader.readexactly(min(announced, trouble.cut_after))
            writer.transport.abort()
            return False
        request.body = await reader.readexactly(wanted)
        status, headers, body = self._usual(request, trouble) if not trouble.status else (trouble.status, {}, trouble.body)
        headers = {**headers, **trouble.headers}
        size_bytes = len(body) if trouble.said_bytes is None else trouble.said_bytes
        if size_bytes >= 0:
            headers["Content-Length"] = str(size_bytes)
        version = "HTTP/1.0" if size_bytes < 0 else "HTTP/1.1"
        lines = [f"{version} {status} {REASONS.get(status, 'Whatever')}", *(f"{n}: {v}" for n, v in headers.items()), "", ""]
        writer.write("\r\n".join(lines).encode() + (body if trouble.cut_after is None else body[: trouble.cut_after]))
        await writer.drain()
        if trouble.cut_after is not None:
            await asyncio.sleep(0.005)  # or what is still on its way would be lost too
            writer.transport.abort()
        return size_bytes == len(body) and wanted == announced and trouble.cut_after is None

    def _usual(self, request: Request, trouble: Trouble) -> tuple[int, dict[str, str], bytes]:
        path = urllib.parse.unquote(request.target.partition("?")[0])
        if request.method == "PUT":
            self.files[path] = request.body
            return 201, {"ETag": tag(request.body)}, b""
        if path not in self.files:
            return 404, {}, b"no such file"
        content = self.files[path]
        version = tag(content) if trouble.version is None else trouble.version
        headers = {"ETag": version} if version else {}
        start = re.fullmatch(r"bytes=(\d+)-", request.headers.get("range", ""))
        changed = trouble.if_range and request.headers.get("if-range", version) != version
        if start is None or not trouble.ranges or changed:
            return 200, headers, content
        first = int(start.group(1))
        if first >= len(content):
            return 416, {**headers, "Content-Range": f"bytes */{len(content)}"}, b""
        return 206, {**headers, "Content-Range": f"bytes {first}-{len(content) - 1}/{len(content)}"}, content[first:]


def tag(content: bytes) -> str:
    """A strong ETag."""
    return f'"{hashlib.md5(content).hexdigest()}"'  # noqa: S324 - as S3 does


def _request(head: bytes) -> Request:
    first, *lines = head.decode("latin-1").split("\r\n")[:-2]
    method, target, _ = first.split(" ")
    headers = dict(line.split(": ", 1) for line in lines)
    return Request(method, target, {name.lower(): value for name, value in headers.items()})


@contextlib.asynccontextmanager
async def storage_at_work() -> AsyncIterator[Storage]:
    storage = Storage()
    server = await asyncio.start_server(storage.serve, "127.0.0.1", 0, limit=2**20)
    storage.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield storage
    finally:
        server.close()
        await storage.stop()
