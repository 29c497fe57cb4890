"""The end of what an executor writes, however much that is (TES 1.1, tesExecutorLog: stdout, stderr)."""

from __future__ import annotations

import os
import threading

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

    def _drain(self) -> None:
        while True:
            piece = os.read(self._descriptor, _READ_BYTES)
            if not piece:
                break
            self._kept += piece
            if len(self._kept) > self._limit_bytes + 4 * _READ_BYTES:
                del self._kept[: -self._limit_bytes or None]
        os.close(self._descriptor)


def of_file(descriptor: int, limit_bytes: int) -> str:
    """The tail of an open file."""
    size_bytes = os.fstat(descriptor).st_size
    start = max(0, size_bytes - limit_bytes)
    return text(os.pread(descriptor, size_bytes - start, start))


def text(data: bytes) -> str:
    """Bytes as text that every database and JSON parser takes: what is not UTF-8, and NUL, become U+FFFD."""
    return data.decode("utf-8", errors="replace").replace("\0", "\N{REPLACEMENT CHARACTER}")
