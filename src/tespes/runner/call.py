"""One HTTP/1.1 request on one connection, bodies streamed.

`http.client` would cost each job 40 ms of processor time for its imports, three times the start of Python itself. What
the runner needs of HTTP is little: Content-Length and chunked answers (RFC 9112), no redirects, compression or proxies.
"""

from __future__ import annotations

import socket
from contextlib import ExitStack, closing, contextmanager, suppress

TYPE_CHECKING = False
if TYPE_CHECKING:
    from io import BufferedReader
    from typing import Dict, Iterable, Iterator, Optional

    from . import stop

CHUNK_BYTES = 256 * 1024
OK, NO_CONTENT, REDIRECTION, SERVER_ERROR = 200, 204, 300, 500
_CONNECT_TIMEOUT_S = 10.0
_LONGEST_LINE_BYTES = 64 * 1024
_MOST_HEADERS = 200


class Away(ConnectionError):
    """Nobody listens there (now): what was asked is not at fault."""


class Broken(ConnectionError):
    """The answer did not come, stopped early, or is not HTTP."""


class Address:
    """Where TESPES is, read from its `callback_url`: http(s)://host[:port][/prefix]."""

    def __init__(self, url: str) -> None:
        scheme, _, rest = url.partition("://")
        authority, _, prefix = rest.partition("/")
        if scheme not in ("http", "https") or not authority:
            raise ValueError(f"callback_url {url!r} is not an http or https URL")
        self.url = url
        self.secure = scheme == "https"
        self.authority = authority
        self.prefix = "/" + prefix.rstrip("/") if prefix.rstrip("/") else ""
        name, _, port = authority.rpartition(":") if authority.rpartition(":")[2].isdigit() else (authority, "", "")
        self.host = name.strip("[]")
        self.port = int(port) if port else (443 if self.secure else 80)

    def connect(self, timeout_s: float) -> socket.socket:
        """A connection whose every wait lasts at most `timeout_s`; raises `Away`."""
        try:
            # as bytes: for a str the standard library would load its IDNA tables, which costs more than the call
            place = (self.host.encode("idna" if not self.host.isascii() else "ascii"), self.port)
            connection = socket.create_connection(place, min(timeout_s, _CONNECT_TIMEOUT_S))  # type: ignore[arg-type]
            connection.settimeout(timeout_s)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return self._secured(connection) if self.secure else connection
        except OSError as error:
            raise Away(error.errno, error.strerror or str(error)) from error

    def _secured(self, connection: socket.socket) -> socket.socket:
        import ssl  # noqa: PLC0415 - half of the jobs' start-up time, and only needed here

        return ssl.create_default_context().wrap_socket(connection, server_hostname=self.host)


class Answer:
    """Status, headers (names in lower case) and the body, which is read as it comes."""

    def __init__(self, reader: BufferedReader) -> None:
        self._reader = reader
        self.status, self.headers = _read_head(reader)
        while self.status < OK:
            self.status, self.headers = _read_head(reader)

    def close(self) -> None:
        self._reader.close()

    def chunks(self) -> Iterator[bytes]:
        """The body in pieces; raises `Broken` if it ends before its announced end."""
        if self.status == NO_CONTENT:
            return iter(())
        if self.headers.get("transfer-encoding", "").lower() == "chunked":
            return self._chunked()
        if "content-length" not in self.headers:
            raise Broken("the answer does not say how long it is")
        return self._exactly(_number(self.headers["content-length"], 10))

    def body(self, most_bytes: int = 64 * 1024 * 1024) -> bytes:
        """The whole body; meant for small ones."""
        whole = bytearray()
        for chunk in self.chunks():
            whole += chunk
            if len(whole) > most_bytes:
                raise Broken("the answer is too long")
        return bytes(whole)

    def _chunked(self) -> Iterator[bytes]:
        while True:
            size_bytes = _number(_read_line(self._reader).partition(";")[0], 16)
            yield from self._exactly(size_bytes)
            if not size_bytes:
                break
            _read_line(self._reader)
        while _read_line(self._reader):  # trailers
            pass

    def _exactly(self, size_bytes: int) -> Iterator[bytes]:
        while size_bytes:
            piece = self._reader.read1(min(size_bytes, CHUNK_BYTES))
            if not piece:
                raise Broken(f"the connection ended {size_bytes} bytes before the end of the file")
            size_bytes -= len(piece)
            yield piece


@contextmanager
def call(
    address: Address,
    request: str,
    headers: Dict[str, str],
    *,
    body: Iterable[bytes] = (),
    timeout_s: float,
    stopped: Optional[stop.Stop] = None,
) -> Iterator[Answer]:
    """The answer to a `request` ("PUT /x"), its body still to be read; raises `Away`, `Broken` or another `OSError`.

    The length of `body` must be among the headers. An order to stop breaks the connection, whatever it waits for.
    """
    with ExitStack() as stack:
        connection = stack.enter_context(address.connect(timeout_s))
        if stopped is not None:
            stack.enter_context(stopped.calling(lambda: _break(connection)))
        yield stack.enter_context(closing(_exchange(connection, address, request, headers, body)))


def _break(connection: socket.socket) -> None:
    with suppress(OSError):  # closed already
        socket.socket.shutdown(connection, socket.SHUT_RDWR)  # the socket's own: TLS has nothing to say any more


def _exchange(
    connection: socket.socket, address: Address, request: str, headers: Dict[str, str], body: Iterable[bytes]
) -> Answer:
    method, _, target = request.partition(" ")
    lines = [f"{method} {address.prefix}{target} HTTP/1.1", f"Host: {address.authority}", "Connection: close"]
    lines += ["Accept-Encoding: identity", *(f"{name}: {value}" for name, value in headers.items()), "", ""]
    refused: Optional[OSError] = None
    try:
        connection.sendall("\r\n".join(lines).encode("ascii"))
        for piece in body:
            connection.sendall(piece)
    except (BrokenPipeError, ConnectionResetError) as error:
        refused = error  # an answer may have come before the body was wanted
    try:
        answer = Answer(connection.makefile("rb"))
    except OSError as error:
        raise refused or error from error
    if refused is not None and answer.status < REDIRECTION:
        raise refused  # a success that did not wait for the whole body is none
    return answer


def _read_head(reader: BufferedReader) -> tuple[int, Dict[str, str]]:
    words = _read_line(reader).split(None, 2)
    if len(words) < 2 or not words[0].startswith("HTTP/1."):  # noqa: PLR2004 - version and status
        raise Broken("the answer is not HTTP" if words else "the connection was closed without an answer")
    headers: Dict[str, str] = {}
    for _ in range(_MOST_HEADERS):
        line = _read_line(reader)
        if not line:
            return _number(words[1], 10), headers
        name, _, value = line.partition(":")
        headers[name.strip().lower()] = value.strip()
    raise Broken("the answer has too many headers")


def _read_line(reader: BufferedReader) -> str:
    line = reader.readline(_LONGEST_LINE_BYTES)
    if line and not line.endswith(b"\n"):
        raise Broken("the answer ended inside a line")
    return line.decode("latin-1").rstrip("\r\n")


def _number(text: str, base: int) -> int:
    try:
        number = int(text.strip(), base)
    except ValueError:
        raise Broken(f"the answer has {text[:40]!r} where a number should be") from None
    if number < 0:
        raise Broken(f"the answer has {text[:40]!r} where a length should be")
    return number
