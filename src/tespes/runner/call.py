"""HTTP/1.1 on one connection: a request, and an answer whose body is read as it comes.

`http.client` would cost each job 40 ms of processor time for its imports, three times the start of Python itself. What
the runner needs of HTTP is little: Content-Length, chunked answers, and those that just end (RFC 9112). No compression.
"""

from __future__ import annotations

import functools
import select
import socket
from contextlib import ExitStack, contextmanager, suppress

TYPE_CHECKING = False
if TYPE_CHECKING:
    import ssl
    from typing import Callable, Dict, Iterator, Optional, Tuple, Union

CHUNK_BYTES = 256 * 1024
OK, NO_CONTENT, REDIRECTION, NOT_MODIFIED, SERVER_ERROR = 200, 204, 300, 304, 500
_CONNECT_TIMEOUT_S = 10.0
_AHEAD_BYTES = 16 * 1024
_LONGEST_LINE_BYTES = 64 * 1024
_MOST_HEADERS = 200


class Away(ConnectionError):
    """Nobody listens there (now): what was asked is not at fault."""


class Broken(ConnectionError):
    """The answer did not come, stopped early, or is not HTTP."""


class Unanswered(Broken):
    """The connection was closed before there was an answer."""


class Answered(ConnectionError):
    """The answer came before the whole body was sent."""


class Address:
    """Where a server is, read from a URL: http(s)://host[:port][/prefix]."""

    def __init__(self, url: str) -> None:
        scheme, _, rest = url.partition("://")
        authority, _, prefix = rest.partition("/")
        if scheme not in ("http", "https") or not authority:
            raise ValueError(f"{url!r} is not an http or https URL")
        self.url = url
        self.secure = scheme == "https"
        self.authority = authority
        self.prefix = "/" + prefix.rstrip("/") if prefix.rstrip("/") else ""
        name, _, port = authority.rpartition(":") if authority.rpartition(":")[2].isdigit() else (authority, "", "")
        self.host = name.strip("[]")
        self.port = int(port) if port else (443 if self.secure else 80)
        self.origin = (self.secure, self.host.lower(), self.port)

    def connect(self, timeout_s: float) -> Line:
        """A connection whose every wait lasts at most `timeout_s`; raises `Away`."""
        try:
            # as bytes: for a str the standard library would load its IDNA tables, which costs more than the call
            place = (self.host.encode("idna" if not self.host.isascii() else "ascii"), self.port)
            connection = socket.create_connection(place, min(timeout_s, _CONNECT_TIMEOUT_S))  # type: ignore[arg-type]
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self.secure:
                connection = _tls().wrap_socket(connection, server_hostname=self.host, suppress_ragged_eofs=False)
            connection.settimeout(timeout_s)
        except OSError as error:
            raise Away(error.errno, error.strerror or str(error)) from error
        except (UnicodeError, OverflowError):
            raise Away(None, f"{self.authority} is no address") from None
        return Line(connection, self)


@functools.lru_cache(maxsize=None)
def _tls() -> ssl.SSLContext:
    import ssl  # noqa: PLC0415 - half of the jobs' start-up time, and only needed here

    return ssl.create_default_context()


class Line:
    """A connection, with what came over it and was not asked for yet. `is_free`: another request may follow."""

    def __init__(self, connection: socket.socket, address: Address) -> None:
        self.address = address
        self.socket = connection
        self.is_free = False
        self._ahead = b""
        self._arrivals = select.poll()
        self._arrivals.register(connection, select.POLLIN)

    def close(self) -> None:
        self.socket.close()

    def break_off(self) -> None:
        """Wake whoever waits for it in another thread."""
        with suppress(OSError):  # closed already
            socket.socket.shutdown(self.socket, socket.SHUT_RDWR)  # the socket's own: TLS has nothing to say any more

    def send(self, data: Union[bytes, memoryview]) -> None:
        """All of it; what must not last longer than the time-out is each wait, not the whole."""
        sent = self.socket.send(data)
        while sent < len(data):
            sent += self.socket.send(memoryview(data)[sent:])

    def has_more(self) -> bool:
        """Whether something came that nobody has read, or the other end closed it."""
        return bool(self._ahead or self._arrivals.poll(0))

    def is_answered(self) -> bool:
        """Whether an answer came, other than a 1xx. With TLS that cannot be seen."""
        if self.address.secure or not self.has_more():
            return False
        return self.socket.recv(10, socket.MSG_PEEK)[9:10] != b"1"

    def said_more(self) -> bool:
        """Whether bytes came that are not part of the answer."""
        return bool(self._ahead or (not self.address.secure and self.has_more() and self.socket.recv(1, socket.MSG_PEEK)))

    def read_line(self) -> str:
        """The next line without its end."""
        while b"\n" not in self._ahead:
            piece = self._piece()
            if not piece or len(self._ahead) > _LONGEST_LINE_BYTES:
                raise Broken("the answer ended inside a line") if self._ahead else Unanswered("closed without an answer")
            self._ahead += piece
        line, _, self._ahead = self._ahead.partition(b"\n")
        return line.decode("latin-1").rstrip("\r")

    def _piece(self) -> bytes:
        """What came; nothing at the end. With TLS a cut is no end, but none of them may be inside of a line anyway."""
        try:
            return self.socket.recv(_AHEAD_BYTES)
        except OSError as error:
            if not self._is_cut(error):
                raise
            return b""

    def read_into(self, view: memoryview) -> int:
        """How many bytes came; 0 at the end of the connection, which with TLS must be announced."""
        if not self._ahead:
            return self._received_into(view)
        count = min(len(view), len(self._ahead))
        view[:count] = self._ahead[:count]
        self._ahead = self._ahead[count:]
        return count

    def _received_into(self, view: memoryview) -> int:
        try:
            return self.socket.recv_into(view)
        except OSError as error:
            if not self._is_cut(error):
                raise
            raise Broken("the connection was cut") from error

    def _is_cut(self, error: OSError) -> bool:
        """Whether it ended, but not as TLS ends."""
        if not self.address.secure:
            return False
        import ssl  # noqa: PLC0415 - now it is loaded

        return isinstance(error, ssl.SSLEOFError)


class Answer:
    """Status, headers (names in lower case) and the body, which is read as it comes."""

    def __init__(self, line: Line) -> None:
        self.line = line
        self.status, self.phrase, self.headers, version = _read_head(line)
        while self.status < OK:
            self.status, self.phrase, self.headers, version = _read_head(line)
        connection = self.headers.get("connection", "").lower()
        self.can_be_followed = "close" not in connection and (version != "HTTP/1.0" or "keep-alive" in connection)
        self._chunked = self.headers.get("transfer-encoding", "").lower().endswith("chunked")
        self.size_bytes = self._announced()
        self._left = 0 if self._chunked else self.size_bytes
        self.is_over = self.size_bytes == 0
        self.url = ""

    @property
    def just_ends(self) -> bool:
        """Whether the body's end is not announced, so that a cut cannot be told from it."""
        return self.size_bytes is None and not self._chunked

    def read_into(self, view: memoryview) -> int:
        """How many bytes of the body came; 0 at its end. Raises `Broken` if that is not the end that was announced."""
        if self._chunked and not self._left and not self.is_over:
            self._begin_chunk()
        if self.is_over:
            return 0
        count = self.line.read_into(view if self._left is None else view[: self._left])
        if self._left is None:
            self.is_over, self.can_be_followed = not count, False
            return count
        if not count:
            raise Broken(f"the connection ended {self._left} bytes before the end of the file")
        self._left -= count
        if not self._left and self._chunked:
            self.line.read_line()
        self.is_over = not self._left and not self._chunked
        return count

    def body(self, most_bytes: int = 64 * 1024 * 1024) -> bytes:
        """The whole body; meant for small ones."""
        if self.just_ends:
            raise Broken("the answer does not say how long it is")
        return self.text(most_bytes)

    def text(self, most_bytes: int) -> bytes:
        """The same, of servers that need not say how long it is."""
        whole, view = bytearray(), memoryview(bytearray(min(self.size_bytes or CHUNK_BYTES, CHUNK_BYTES)))
        while True:
            count = self.read_into(view)
            if not count:
                return bytes(whole)
            whole += view[:count]
            if len(whole) > most_bytes:
                raise Broken("the answer is too long")

    def _announced(self) -> Optional[int]:
        if self.status in (NO_CONTENT, NOT_MODIFIED):
            return 0
        if self._chunked or "content-length" not in self.headers:
            return None
        return _number(self.headers["content-length"], 10)

    def _begin_chunk(self) -> None:
        self._left = _number(self.line.read_line().partition(";")[0], 16)
        if not self._left:
            while self.line.read_line():  # trailers
                pass
            self.is_over = True


@contextmanager
def call(address: Address, request: str, headers: Dict[str, str], content: bytes, *, timeout_s: float) -> Iterator[Answer]:
    """The answer to a `request` ("POST /x") on a connection of its own; raises `Away`, `Broken` or another `OSError`."""
    with ExitStack() as stack:
        line = address.connect(timeout_s)
        stack.callback(line.close)
        yield exchange(line, request, {**headers, "Connection": "close"}, content)


def exchange(
    line: Line, request: str, headers: Dict[str, str], content: bytes = b"", more: Optional[Callable[[Line], None]] = None
) -> Answer:
    """The answer, its body still to be read. `more` sends what follows the content; how long that is, the headers say."""
    method, _, target = request.partition(" ")
    if content or method == "POST":
        headers = {**headers, "Content-Length": str(len(content))}
    lines = [f"{method} {line.address.prefix}{target} HTTP/1.1", f"Host: {line.address.authority}"]
    lines += ["Accept-Encoding: identity", *(f"{name}: {value}" for name, value in headers.items()), "", ""]
    refused: Optional[OSError] = None
    try:
        line.send("\r\n".join(lines).encode("latin-1") + content)
        if more is not None:
            more(line)
    except socket.timeout as error:
        if not line.is_answered():
            raise
        refused = error
    except OSError as error:
        refused = error  # an answer may have come before the body was wanted
    try:
        answer = Answer(line)
    except OSError as error:
        raise refused or error from error
    if refused is not None:
        answer.can_be_followed = False
        if answer.status < REDIRECTION:
            raise refused  # a success that did not wait for the whole body is none
    return answer


def _read_head(line: Line) -> Tuple[int, str, Dict[str, str], str]:
    words = line.read_line().split(None, 2)
    if len(words) < 2 or not words[0].startswith("HTTP/1."):  # noqa: PLR2004 - version and status
        raise Broken("the answer is not HTTP")
    headers: Dict[str, str] = {}
    for _ in range(_MOST_HEADERS):
        text = line.read_line()
        if not text:
            return _number(words[1], 10), "".join(words[2:]), headers, words[0]
        name, _, value = text.partition(":")
        headers[name.strip().lower()] = value.strip()
    raise Broken("the answer has too many headers")


def _number(text: str, base: int) -> int:
    try:
        number = int(text.strip(), base)
    except ValueError:
        raise Broken(f"the answer has {text[:40]!r} where a number should be") from None
    if number < 0:
        raise Broken(f"the answer has {text[:40]!r} where a length should be")
    return number
