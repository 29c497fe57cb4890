"""The data connection of FTP: bytes one way, with back-pressure.

Pieces pass as the event loop reads them, and a timer runs only while there is nothing to do but wait. That is what makes
FTP through TESPES about as fast as the disk.
"""

import asyncio
import ssl
from collections import deque
from typing import Final, cast

from tespes.storage.ftp.wire import Broken, reason, silent

PIECE_BYTES: Final = 256 * 1024


class Data(asyncio.Protocol):
    """A data connection, for either direction.

    :param silence_s: how long nothing may move
    """

    def __init__(self, silence_s: float) -> None:
        self.start = 0  # of the file that comes, where its first byte belongs
        self._silence_s = silence_s
        # Both are there from the connection on, which comes before all else. With TLS it is the socket that is paused: if
        # the connection ends while TLS itself is, uvloop drops what was received and not yet read.
        self._transport: asyncio.Transport
        self._socket: asyncio.Transport
        self._come: deque[bytes] = deque()
        self._come_bytes = 0
        self._is_paused = False
        self._is_ended = False
        self._error: Exception | None = None
        self._is_full = False  # what goes out does not go fast enough
        self._waiting: asyncio.Future[None] | None = None

    async def secure(self, context: ssl.SSLContext, host: str) -> None:
        """Go on in TLS.

        :raises Broken: it fails
        """
        try:
            loop = asyncio.get_running_loop()
            async with asyncio.timeout(self._silence_s):
                secured = await loop.start_tls(self._transport, self, context, server_hostname=host)
        except TimeoutError:
            raise silent(self._silence_s) from None
        except OSError as error:
            raise reason(error) from error
        if secured is None:
            raise Broken("TLS failed: the data connection was closed")
        self._transport = secured
        secured.set_write_buffer_limits(high=PIECE_BYTES)

    async def read(self) -> bytes:
        """What came next; nothing at the end.

        :raises Broken: it does not end well
        """
        if not self._come and not self._is_ended:
            await self._wait()
        if self._come:
            piece = self._come.popleft()
            self._come_bytes -= len(piece)
            if self._is_paused and not self._come:
                self._is_paused = False
                self._socket.resume_reading()
            return piece
        if self._error is not None:
            raise reason(self._error) from self._error
        return b""

    async def write(self, piece: bytes) -> None:
        """Send that, or as much as leaves little in memory.

        :raises Broken: it does not go
        """
        self._check()
        self._transport.write(piece)
        await self._room_again()

    async def flush(self) -> None:
        """Wait until all that was written has left.

        :raises Broken: it does not go
        """
        self._transport.set_write_buffer_limits(high=1, low=0)
        await self._room_again()

    def finish(self) -> None:
        """Nothing more comes from here; what was written still goes."""
        self._transport.close()

    def abort(self) -> None:
        """Let go at once."""
        self._transport.abort()

    async def _room_again(self) -> None:
        while self._is_full:
            before = self._transport.get_write_buffer_size()
            try:
                await self._wait()
            except Broken:
                if self._transport.get_write_buffer_size() >= before:
                    raise
            self._check()

    def _check(self) -> None:
        if self._is_ended:
            raise reason(self._error) if self._error else Broken("the server closed the data connection")

    async def _wait(self) -> None:
        self._waiting = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(self._silence_s):
                await self._waiting
        except TimeoutError:
            raise silent(self._silence_s) from None
        finally:
            self._waiting = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio.Protocol."""
        self._transport = self._socket = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(high=PIECE_BYTES)

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol."""
        self._come.append(data)
        self._come_bytes += len(data)
        if self._come_bytes >= PIECE_BYTES and not self._is_paused:
            self._is_paused = True
            self._socket.pause_reading()
        self._wake()

    def pause_writing(self) -> None:
        """See asyncio.Protocol."""
        self._is_full = True

    def resume_writing(self) -> None:
        """See asyncio.Protocol."""
        self._is_full = False
        self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio.Protocol."""
        self._is_ended, self._error = True, exc
        self._wake()

    def _wake(self) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)
