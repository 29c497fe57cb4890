"""The SHA-256 of a file while it is moved. That of a large one is computed by a thread of its own, from the file itself."""

from __future__ import annotations

import hashlib
import os
import threading

from . import faults

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Optional

_PIECE_BYTES = 256 * 1024
_LARGE_BYTES = 4 * 1024 * 1024


class Digest:
    """Of the file behind `descriptor`, as far as its bytes are there."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._sum = hashlib.sha256()
        self._at = 0
        self._there = 0
        self._is_wanted = True
        self._news = threading.Condition()
        self._thread: Optional[threading.Thread] = None
        self._failure: Optional[Exception] = None

    def reach(self, there: int) -> None:
        """So many bytes of the file are there now, and stay as they are."""
        if there < _LARGE_BYTES:
            self._there = there
            return
        with self._news:
            self._there = there
            self._news.notify_all()
        if self._thread is None:
            self._thread = threading.Thread(target=self._follow, daemon=True)
            self._thread.start()

    def hexdigest(self) -> str:
        """Of all that is there; raises `SystemFailure` if it cannot be read."""
        if self._thread is None:
            self._advance(self._there)
            return self._sum.hexdigest()
        with self._news:
            while self._at < self._there and self._failure is None:
                self._news.wait()
        if self._failure is not None:
            raise self._failure
        return self._sum.hexdigest()

    def close(self) -> None:
        """Nobody asks any more: the file may be closed."""
        with self._news:
            self._is_wanted = False
            self._news.notify_all()
        if self._thread is not None:
            self._thread.join()

    def _follow(self) -> None:
        try:
            while self._is_wanted:
                with self._news:
                    while self._at >= self._there and self._is_wanted:
                        self._news.wait()
                    there = self._there
                self._advance(there)
                with self._news:
                    self._news.notify_all()
        except Exception as error:  # noqa: BLE001 - the other thread raises it
            with self._news:
                self._failure = error
                self._news.notify_all()

    def _advance(self, there: int) -> None:
        buffer = memoryview(bytearray(min(_PIECE_BYTES, there - self._at)))
        while self._at < there and self._is_wanted:
            with faults.on_the_node():
                count = os.preadv(self._descriptor, [buffer[: there - self._at]], self._at)
            if not count:
                raise faults.SystemFailure("became shorter while it was read")
            self._sum.update(buffer[:count])
            self._at += count
