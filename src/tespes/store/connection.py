"""An SQLite connection with a thread of its own, so that the event loop never waits for a disk."""

import asyncio
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from tespes import errors

Answer = TypeVar("Answer")

_BUSY_S = 30.0
EMPTY_THE_WAL = "PRAGMA wal_checkpoint(TRUNCATE)"


class Connection:
    """An SQLite connection with a thread of its own."""

    def __init__(self, path: Path, *, synchronous: str, writable: bool) -> None:
        self._path = path
        self._synchronous = synchronous
        self._writable = writable
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=path.stem)
        self._database: sqlite3.Connection | None = None

    async def run(self, work: Callable[[sqlite3.Connection], Answer]) -> Answer:
        """Do that in the connection's thread.

        :raises errors.StoreUnavailable: the disk is full, the file is locked, or the like; nothing was changed
        """
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, self._do, work)
        except (sqlite3.OperationalError, sqlite3.DatabaseError) as error:
            raise errors.StoreUnavailable(f"{self._path}: {error}") from error

    async def close(self) -> None:
        """Finish what is under way, then close."""
        if self._database is not None:
            await asyncio.get_running_loop().run_in_executor(self._thread, self._database.close)
        self._thread.shutdown()

    def _do(self, work: Callable[[sqlite3.Connection], Answer]) -> Answer:
        if self._database is None:
            self._database = self._open()
        try:
            return work(self._database)
        except sqlite3.Error:
            if self._database.in_transaction:
                self._database.rollback()
            raise

    def _open(self) -> sqlite3.Connection:
        mode = "rwc" if self._writable else "ro"
        database = sqlite3.connect(
            f"file:{self._path}?mode={mode}",
            uri=True,
            timeout=_BUSY_S,
            isolation_level=None,
            check_same_thread=False,
            cached_statements=1024,
        )
        if self._writable:
            database.execute("PRAGMA journal_mode = WAL")
            database.execute(f"PRAGMA synchronous = {self._synchronous}")
            database.execute("PRAGMA secure_delete = ON")  # what is taken out must not stay between the rows
        return database
