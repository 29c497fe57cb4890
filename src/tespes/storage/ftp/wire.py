"""The control connection of FTP (RFC 959): a command line goes, an answer comes."""

import asyncio
import re
import ssl
from dataclasses import dataclass
from typing import Final, cast

_FIRST_LINE = re.compile(r"(\d{3})([ -])(.*)", re.DOTALL)
GOODBYE_S: Final = 1.0
_MOST_BYTES: Final = 1 << 20
_WORDS_CHARACTERS: Final = 500
_NEVER = re.compile(r"[\r\n\0]")


@dataclass
class Broken(Exception):
    """The connection is of no use any more.

    :param why: for a person; :param again: whether another connection may do better
    """

    why: str
    again: bool = True

    def __str__(self) -> str:
        return self.why


@dataclass
class Answered(Exception):
    """The server said no: its code and its own words. The connection goes on."""

    code: int
    words: str

    def __str__(self) -> str:
        return f"{self.code} {self.words}".rstrip()

    @property
    def is_for_now(self) -> bool:
        """Whether asking again may help."""
        crowded = re.search(r"too many|maximum", self.words, re.IGNORECASE)  # so ProFTPD says that it is full
        return self.code < 500 or (self.code == 530 and crowded is not None)  # noqa: PLR2004 - RFC 959, 4.2.1

    @property
    def is_unknown_command(self) -> bool:
        """Whether the server has no such command."""
        return self.code in {500, 502, 504}


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server says.

    :param code: three digits; :param lines: the words of each line
    """

    code: int
    lines: tuple[str, ...]

    @property
    def words(self) -> str:
        """All of it, for a person: as text, whatever the server's character set is."""
        text = " ".join(self.lines).encode(errors="surrogateescape").decode(errors="replace")
        return "".join(one if one.isprintable() else "?" for one in " ".join(text.split())[:_WORDS_CHARACTERS])

    def refusal(self) -> Answered:
        """It as a no."""
        return Answered(self.code, self.words)


def reason(error: Exception) -> Broken:
    """What is the matter with a connection, for a person."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return Broken(f"the certificate is not good: {error.verify_message}", again=False)
    if isinstance(error, ssl.SSLError):
        return Broken(f"TLS failed: {error.reason or error}")
    if isinstance(error, OSError) and error.strerror:
        return Broken(error.strerror)
    return Broken(str(error) or type(error).__name__)


def silent(silence_s: float) -> Broken:
    """The server should have said something long ago."""
    return Broken(f"the server said nothing for {silence_s:g} s")


class Control(asyncio.Protocol):
    """The control connection."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self._received = bytearray()
        self._waiting: asyncio.Future[None] | None = None
        self._ended: Broken | None = None
        self.gone = asyncio.Event()

    @property
    def is_quiet(self) -> bool:
        """Whether it is open and the server has said nothing that was not asked for (such as `421 Timeout`)."""
        return self._ended is None and not self._received and self.transport is not None and not self.transport.is_closing()

    async def secure(self, context: ssl.SSLContext, host: str) -> None:
        """Go on in TLS.

        :raises Broken: it fails, or the server had more to say in the open
        """
        if not self.is_quiet or self.transport is None:
            raise Broken("the server spoke before TLS began")
        try:
            loop = asyncio.get_running_loop()
            secured = await loop.start_tls(self.transport, self, context, server_hostname=host)
        except OSError as error:
            raise reason(error) from error
        if secured is None:
            raise Broken("TLS failed: the connection was closed")
        self.transport = secured

    def send(self, line: str) -> None:
        """Send a command."""
        if _NEVER.search(line):
            raise Broken("a line break or a zero byte cannot be part of a command", again=False)
        if self.transport is None or self._ended is not None:
            raise self._ended or Broken("not connected")
        self.transport.write(line.encode(errors="surrogateescape") + b"\r\n")

    async def answer(self, silence_s: float) -> Answer:
        """The next answer of the server, whatever it is.

        :raises Broken: none comes
        """
        try:
            async with asyncio.timeout(silence_s):
                return await self._answer()
        except TimeoutError:
            raise silent(silence_s) from None

    def close(self) -> None:
        """Say good-bye. The server closes the connection; if it does not soon, it is closed here."""
        if self.transport is None or self.transport.is_closing():
            return
        if self._ended is None:
            self.transport.write(b"QUIT\r\n")
            asyncio.get_running_loop().call_later(GOODBYE_S, self.transport.abort)
        else:
            self.transport.close()

    def abort(self) -> None:
        """Let go at once."""
        if self.transport is not None:
            self.transport.abort()

    async def _answer(self) -> Answer:
        line = await self._line()
        first = _FIRST_LINE.fullmatch(line)
        if first is None:
            # Not quoted: a task might name any host and port, and learn who speaks there.
            raise Broken("the server said something that is no FTP")
        code, mark, words = first.groups()
        lines, length = [words], len(line)
        while mark == "-":
            line = await self._line()
            length += len(line)
            if length > _MOST_BYTES:
                raise Broken("the server's answer does not end")
            mark = " " if line.startswith(f"{code} ") else "-"
            lines.append(line[4:] if line.startswith(code) else line)
        return Answer(int(code), tuple(lines))

    async def _line(self) -> str:
        while (end := self._received.find(b"\n")) < 0:
            if self._ended is not None:
                raise self._ended
            if len(self._received) > _MOST_BYTES:
                raise Broken("the server's answer does not end")
            self._waiting = asyncio.get_running_loop().create_future()
            try:
                await self._waiting
            finally:
                self._waiting = None
        line = self._received[:end].rstrip(b"\r")
        del self._received[: end + 1]
        return line.decode(errors="surrogateescape")

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio.Protocol."""
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol."""
        self._received += data
        if len(self._received) > 2 * _MOST_BYTES:
            self._ended = Broken("the server's answer does not end")
            self.abort()
        self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio.Protocol."""
        self._ended = self._ended or (reason(exc) if exc else Broken("the server closed the connection"))
        self.gone.set()
        self._wake()

    def _wake(self) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)
