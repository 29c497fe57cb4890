"""Open uploads in SQLite (see promise.Uploads), beside the log."""

import sqlite3
from collections.abc import Sequence
from dataclasses import astuple, fields
from typing import Any

from tespes.store.connection import Connection
from tespes.store.promise import Upload

SCHEMA = """
CREATE TABLE IF NOT EXISTS upload (
  id TEXT PRIMARY KEY, job_id TEXT NOT NULL, "index" INTEGER NOT NULL, path TEXT NOT NULL, url TEXT NOT NULL,
  owner TEXT NOT NULL, storage_id TEXT NOT NULL, size_bytes INTEGER NOT NULL, part_bytes INTEGER NOT NULL,
  is_complete INTEGER NOT NULL) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS upload_by_job ON upload (job_id);
"""
_NAMES = ", ".join(f'"{field.name}"' for field in fields(Upload))
_SELECT = f"SELECT {_NAMES} FROM upload"  # noqa: S608 - constants


class Uploads:
    """See the module."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def add(self, upload: Upload) -> None:
        """See promise.Uploads.add."""
        places = ", ".join("?" * len(fields(Upload)))
        await self._change(f"INSERT INTO upload ({_NAMES}) VALUES ({places})", astuple(upload))  # noqa: S608 - constants

    async def get(self, upload_id: str) -> Upload | None:
        """See promise.Uploads.get."""
        return _first(await self._rows(f"{_SELECT} WHERE id = ?", upload_id))

    async def find(self, job_id: str, index: int, path: str) -> Upload | None:
        """See promise.Uploads.find."""
        where = 'WHERE job_id = ? AND "index" = ? AND path = ? AND NOT is_complete'
        return _first(await self._rows(f"{_SELECT} {where} LIMIT 1", job_id, index, path))

    async def jobs(self) -> list[str]:
        """See promise.Uploads.jobs."""
        return [row[0] for row in await self._rows("SELECT DISTINCT job_id FROM upload")]

    async def of(self, job_id: str) -> list[Upload]:
        """See promise.Uploads.of."""
        return [_upload(row) for row in await self._rows(f"{_SELECT} WHERE job_id = ?", job_id)]

    async def mark_complete(self, upload_id: str) -> None:
        """See promise.Uploads.mark_complete."""
        await self._change("UPDATE upload SET is_complete = 1 WHERE id = ?", (upload_id,))

    async def remove(self, upload_ids: Sequence[str]) -> None:
        """See promise.Uploads.remove."""
        statement = "DELETE FROM upload WHERE id = ?"
        rows = [(each,) for each in upload_ids]

        def work(database: sqlite3.Connection) -> None:
            database.execute("BEGIN IMMEDIATE")
            database.executemany(statement, rows)
            database.execute("COMMIT")

        await self._connection.run(work)

    async def _change(self, statement: str, values: Sequence[Any]) -> None:
        await self._connection.run(lambda database: database.execute(statement, values))

    async def _rows(self, query: str, *values: Any) -> list[Any]:
        return await self._connection.run(lambda database: database.execute(query, values).fetchall())


def _first(rows: Sequence[Any]) -> Upload | None:
    return _upload(rows[0]) if rows else None


def _upload(row: Sequence[Any]) -> Upload:
    named = dict(zip((field.name for field in fields(Upload)), row, strict=True))
    return Upload(**{**named, "is_complete": bool(named["is_complete"])})
