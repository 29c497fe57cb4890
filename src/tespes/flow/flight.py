"""Messages in flight: sent, and not confirmed yet."""

import asyncio
import contextlib
import time
from collections import deque
from typing import Any, Final

from aiormq.exceptions import AMQPError

from tespes.pulsar import broker

BROKEN: Final = (AMQPError, OSError, RuntimeError)  # what the library raises when something is wrong with a connection
_MOST: Final = 256
_LAND_S: Final = 1.0


class Flight:
    """What is sent over one channel: up to which position all of it is confirmed, and what is not confirmed yet, in order.

    `saved` is the checkpoint's position.
    """

    def __init__(self, after: int) -> None:
        self.confirmed = self.saved = self._began = after
        self._sent: deque[tuple[int, asyncio.Future[Any]]] = deque()
        self._room = asyncio.Semaphore(_MOST)
        self._more = asyncio.Event()
        self._since = time.monotonic()

    @property
    def has_progressed(self) -> bool:
        """Whether anything was confirmed."""
        return self.confirmed > self._began

    @property
    def is_empty(self) -> bool:
        """Whether everything is."""
        return not self._sent

    @property
    def waits_s(self) -> float:
        """For how long nothing was confirmed that should be."""
        return time.monotonic() - self._since if self._sent else 0.0

    async def room(self) -> None:
        """Wait until one more may be added."""
        await self._room.acquire()

    def add(self, up_to: int, publishing: asyncio.Future[Any]) -> None:
        """One more; there must be room.

        :param up_to: the position up to which everything is published once this and all before it is confirmed
        """
        if not self._sent:
            self._since = time.monotonic()
        self._sent.append((up_to, publishing))
        self._more.set()

    async def settle(self) -> None:
        """Take down what is confirmed, until cancelled; raises what was raised in place of a confirmation."""
        while True:
            while self._sent:
                if not self._sent[0][1].done():
                    await asyncio.wait({self._sent[0][1]})
                self._advance()
            self._more.clear()
            await self._more.wait()

    async def land(self) -> None:
        """Wait a moment for what is in flight. What is not confirmed then comes again with another connection."""
        publishing = [each for _, each in self._sent]
        try:
            if publishing:
                await asyncio.wait(publishing, timeout=_LAND_S)
                with contextlib.suppress(*BROKEN):
                    self._advance()
        finally:
            for each in publishing:
                each.cancel()
            await asyncio.gather(*publishing, return_exceptions=True)

    def _advance(self) -> None:
        while self._sent and self._sent[0][1].done():
            with broker.talking():
                self._sent[0][1].result()
            self.confirmed, _ = self._sent.popleft()
            self._room.release()
            self._since = time.monotonic()
