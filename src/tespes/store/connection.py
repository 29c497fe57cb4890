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
_STATEMENTS = 128  # those of many rows, one for each number of rows, are 50 KiB and more each
_NO_UTF8 = "Could not decode to UTF-8"


class Connection:
    """An SQLite connection with a thread of its own.

    :param busy_s: for how long others are waited for that have the file locked
    """

    def __init__(self, path: Path, *, synchronous: str, writable: bool, busy_s: float = _BUSY_S) -> None:
        self.path = path
        self._busy_s = busy_s
        self._synchronous = synchronous
        self._writable = writable
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=path.stem)
        self._database: sqlite3.Connection | None = None

    async def run(self, work: Callable[[sqlite3.Connection], Answer]) -> Answer:
        """Do that in the connection's thread.

        :raises errors.StoreUnavailable: the disk is full, the file is locked, or the like; nothing was changed
        :raises errors.CorruptLog: a text is no UTF-8: somebody else wrote it
        """
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, self._do, work)
        except (sqlite3.OperationalError, sqlite3.DatabaseError) as error:
            if _NO_UTF8 in str(error):  # and all of the text, which is nobody's business
                raise errors.CorruptLog(f"{self.path}: a text in it is no UTF-8: `tespes audit verify` says where") from None
            raise errors.StoreUnavailable(f"{self.path}: {error}") from error

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
            f"file:{self.path}?mode={mode}",
            uri=True,
            timeout=self._busy_s,
            isolation_level=None,
            check_same_thread=False,
            cached_statements=_STATEMENTS,
        )
        if self._writable:
            database.execute("PRAGMA journal_mode = WAL")
            database.execute(f"PRAGMA synchronous = {self._synchronous}")
            database.execute("PRAGMA secure_delete = ON")  # what is taken out must not stay between the rows
        return database
