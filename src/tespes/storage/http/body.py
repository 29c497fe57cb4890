"""The body of a PUT, watched while it goes."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Final

from tespes import errors

BLOCK_BYTES: Final = 256 * 1024


class Body:
    """What is sent. A server that takes nothing of it, or says nothing after its end, is silent.

    :param shown: the URL for people
    """

    def __init__(self, shown: str, pieces: AsyncIterator[bytes], size_bytes: int, silence_s: float) -> None:
        self.size_bytes = size_bytes
        self.began = False
        self._shown = shown
        self._pieces = pieces
        self._silence_s = silence_s
        self._failure: Exception | None = None
        self._watch = asyncio.timeout(None)

    @contextlib.asynccontextmanager
    async def watched(self, wait_s: float | None) -> AsyncIterator[None]:
        """For the time of the request. If the pieces failed, so does this, with that.

        :param wait_s: for the server to want the body; None: as long as for everything else
        :raises TimeoutError: the server was silent
        """
        try:
            async with asyncio.timeout(self._silence_s if wait_s is None else wait_s) as self._watch:
                yield
        except Exception:
            if self._failure is not None:
                raise self._failure from None
            raise

    async def sent(self) -> AsyncGenerator[bytes | memoryview, None]:
        """The pieces, in blocks; the last is kept back until it is sure that nothing failed at their end."""
        self.began = True
        try:
            last = memoryview(b"")
            async for block in self._blocks():
                if last:
                    self._wait_for_server()
                    yield last
                last = block
                self._watch.reschedule(None)  # whoever brings the pieces may be as slow as they like
            self._wait_for_server()
            yield last
        except Exception as error:
            self._failure = error
            raise

    async def _blocks(self) -> AsyncIterator[memoryview]:
        left = self.size_bytes
        self._watch.reschedule(None)
        async for piece in self._pieces:
            left -= len(piece)
            if left < 0:
                break
            for start in range(0, len(piece), BLOCK_BYTES):
                yield memoryview(piece)[start : start + BLOCK_BYTES]
        if left:
            raise errors.TransferInterrupted(f"{self._shown}: what came to be stored has not {self.size_bytes:,} bytes")

    def _wait_for_server(self) -> None:
        self._watch.reschedule(asyncio.get_running_loop().time() + self._silence_s)
