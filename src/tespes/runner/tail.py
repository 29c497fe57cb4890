"""The end of what an executor writes, however much that is (TES 1.1, tesExecutorLog: stdout, stderr)."""

from __future__ import annotations

import os
import threading
from contextlib import contextmanager

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable, Iterator, List, Optional

    from . import protocol

_READ_BYTES = 64 * 1024


class PipeTail:
    """Reads a pipe to its end in a thread and keeps the last `limit_bytes`."""

    def __init__(self, descriptor: int, limit_bytes: int) -> None:
        self._descriptor = descriptor
        self._limit_bytes = limit_bytes
        self._kept = bytearray()
        self._thread = threading.Thread(target=self._drain, daemon=True)
        self._thread.start()

    def text(self) -> str:
        """The tail, once every writer has closed the pipe."""
        self._thread.join()
        return text(bytes(self._kept[-self._limit_bytes :]) if self._limit_bytes else b"")

    def so_far(self) -> str:
        """The tail of what was written up to now; the thread that drains may go on meanwhile."""
        return text(bytes(self._kept)[-self._limit_bytes :] if self._limit_bytes else b"")

    def _drain(self) -> None:
        while True:
            piece = os.read(self._descriptor, _READ_BYTES)
            if not piece:
                break
            self._kept += piece
            if len(self._kept) > self._limit_bytes + 4 * _READ_BYTES:
                del self._kept[: -self._limit_bytes or None]
        os.close(self._descriptor)


class Live:
    """What the running executor has written so far, for those who look while it runs."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._executor = 0
        self._read: Optional[Callable[[], List[str]]] = None

    @contextmanager
    def showing(self, executor: int, read: Callable[[], List[str]]) -> Iterator[None]:
        """While inside, `read` gives both tails of that executor; nobody reads any more when it is left."""
        with self._lock:
            self._executor, self._read = executor, read
        try:
            yield
        finally:
            with self._lock:
                self._read = None

    def tails(self) -> Optional[protocol.JsonObject]:
        """Both tails, if an executor runs."""
        with self._lock:
            if self._read is None:
                return None
            try:
                stdout, stderr = self._read()
            except OSError:  # a file on a failing disk: the executor's end will say so
                return None
            return {"executor": self._executor, "stdout": stdout, "stderr": stderr}


class FileTail:
    """The end of an open file."""

    def __init__(self, descriptor: int, limit_bytes: int) -> None:
        self._descriptor = descriptor
        self._limit_bytes = limit_bytes

    def text(self) -> str:
        """The last `limit_bytes` as they are now."""
        size_bytes = os.fstat(self._descriptor).st_size
        start = max(0, size_bytes - self._limit_bytes)
        return text(os.pread(self._descriptor, size_bytes - start, start))

    so_far = text


def text(data: bytes) -> str:
    """Bytes as text that every database and JSON parser takes: what is not UTF-8, and NUL, become U+FFFD."""
    return data.decode("utf-8", errors="replace").replace("\0", "\N{REPLACEMENT CHARACTER}")
