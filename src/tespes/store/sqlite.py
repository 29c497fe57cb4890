"""The embedded store: two SQLite files in the state directory, one writer process.

`log.sqlite3` (the log, blobs, open uploads) is in WAL mode with synchronous=FULL: a commit is on disk when acknowledged.
`views.sqlite3` (see `sqlite_views`) can be made anew from it and is synced less. Every statement that matters writes or
reads a whole batch: SQLite lets go of the interpreter for each statement step, and taking it back costs more than the step.
"""

import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import orjson

from tespes import errors
from tespes.events import Encoded, Entry, chain
from tespes.events.chain import Head
from tespes.store import layout, memory, sqlite_checkpoints, sqlite_uploads, sqlite_views, version
from tespes.store.connection import Connection
from tespes.store.lock import lock
from tespes.store.promise import Conflict, PositionTaken, SameId, Tables, VersionTaken, Written, checked

_NAMES = ", ".join(layout.COLUMNS)
_COLUMNS = ", ".join(f"log.{name}" for name in layout.COLUMNS)
_LOG_SCHEMA = """
CREATE TABLE IF NOT EXISTS log (
  position INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, stream TEXT NOT NULL, version INTEGER NOT NULL,
  events TEXT NOT NULL, meta TEXT NOT NULL, data_hash TEXT NOT NULL, prev_hash TEXT NOT NULL, hash TEXT NOT NULL,
  UNIQUE (stream, version));
CREATE TABLE IF NOT EXISTS blob (sha256 TEXT PRIMARY KEY, content BLOB NOT NULL) WITHOUT ROWID;
"""


_SCRUB_BUSY_S = 1.0  # nobody writes meanwhile
_SCHEMA = _LOG_SCHEMA + sqlite_uploads.SCHEMA + sqlite_checkpoints.SCHEMA


class LogTable:
    """The log in SQLite (see promise.LogTable).

    :param scrubber: one that waits for readers has a connection of its own, and not for long
    """

    def __init__(self, writer: Connection, reader: Connection, scrubber: Connection) -> None:
        self._writer = writer
        self._reader = reader
        self._scrubber = scrubber

    async def write(self, entries: Sequence[Entry]) -> Written:
        """See promise.LogTable.write. One statement, which is a transaction: all of them, or none and the reasons."""
        rows = [value for entry in entries for value in layout.row(entry)]
        return await self._writer.run(lambda database: _insert(database, entries, rows))

    async def head(self) -> Head:
        """See promise.LogTable.head."""
        found = await self._writer.run(
            lambda database: database.execute("SELECT position, hash FROM log ORDER BY position DESC LIMIT 1").fetchone()
        )
        return Head(*found) if found else chain.EMPTY

    async def read(self, after: int, limit: int, *, exact: bool = False) -> list[Entry]:
        """See promise.LogTable.read."""
        query = f"SELECT {_COLUMNS} FROM log WHERE position > ? ORDER BY position LIMIT ?"  # noqa: S608 - constants
        rows = await self._reader.run(lambda database: database.execute(query, (after, limit)).fetchall())
        return [layout.from_row(row, exact=exact) for row in rows]

    async def read_streams(self, after: Mapping[str, int]) -> dict[str, list[Entry]]:
        """See promise.LogTable.read_streams."""
        query = (
            f"SELECT json_group_array(json_array({_COLUMNS})) FROM json_each(?), log"  # noqa: S608 - constants
            " WHERE stream = key AND version > value"
        )
        asked = orjson.dumps(after).decode()
        rows = await self._reader.run(lambda database: database.execute(query, (asked,)).fetchone()[0])
        found: dict[str, list[Entry]] = {}
        for entry in sorted(map(layout.from_row, orjson.loads(rows)), key=lambda entry: entry.position):
            found.setdefault(entry.commit.stream, []).append(entry)
        return found

    async def newest(self, streams: Sequence[str], *, certain: bool = False) -> dict[str, int]:  # noqa: ARG002 - always is
        """See promise.LogTable.newest."""
        query = (
            "SELECT json_group_object(stream, newest) FROM (SELECT stream, max(version) AS newest FROM log"
            " WHERE stream IN (SELECT value FROM json_each(?)) GROUP BY stream)"
        )
        asked = orjson.dumps(streams).decode()
        found = await self._reader.run(lambda database: database.execute(query, (asked,)).fetchone()[0])
        answer: dict[str, int] = orjson.loads(found)
        return answer

    async def redact(self, position: int, index: int, was: Encoded, left: Encoded) -> bool:
        """See promise.LogTable.redact. What was there is overwritten with zeros (see `Connection`)."""
        statement = "UPDATE log SET events = json_set(events, ?, ?, ?, ?) WHERE position = ? AND json_extract(events, ?) = ?"
        data = f"$[{index}].data"
        values = (data, left.data, f"$[{index}].sha256", left.sha256, position, data, was.data)
        return await self._writer.run(lambda database: database.execute(statement, values).rowcount == 1)

    async def scrub(self) -> None:
        """See promise.LogTable.scrub. It goes from the write-ahead log into the file, which then is emptied."""
        busy, _, _ = await self._scrubber.run(lambda database: database.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone())
        if busy:
            said = "is being read, so what was taken out of it is still in the file: ask again later"
            raise errors.StoreUnavailable(f"{self._scrubber.path} {said}")


class Blobs:
    """Blobs in SQLite (see promise.Blobs), beside the log."""

    def __init__(self, writer: Connection, reader: Connection) -> None:
        self._writer = writer
        self._reader = reader

    async def put(self, sha256: str, content: bytes) -> None:
        """See promise.Blobs.put."""
        statement = "INSERT INTO blob VALUES (?, ?) ON CONFLICT DO NOTHING"
        await self._writer.run(lambda database: database.execute(statement, (sha256, content)))

    async def get(self, sha256: str) -> bytes:
        """See promise.Blobs.get."""
        query = "SELECT content FROM blob WHERE sha256 = ?"
        found = await self._reader.run(lambda database: database.execute(query, (sha256,)).fetchone())
        return checked(sha256, None if found is None else bytes(found[0]))

    async def remove(self, sha256: str) -> None:
        """See promise.Blobs.remove. What was there is overwritten with zeros, as in the log."""
        statement = "DELETE FROM blob WHERE sha256 = ?"
        await self._writer.run(lambda database: database.execute(statement, (sha256,)))


async def open_tables(directory: Path, stack: AsyncExitStack, *, writable: bool = True, restoring: bool = False) -> Tables:
    """The store in that directory, until the stack is closed.

    :param writable: False opens it for reading beside a running TESPES; :param restoring: a part of a backup may be in it
    :raises errors.SetupError: another process writes there, or the directory cannot be used
    """
    mark = version.DirectoryMark(directory)
    where = f"the state directory {directory}"
    version.check(await mark.read(), where, restoring=restoring)
    if not writable and not (directory / "log.sqlite3").is_file():
        raise errors.SetupError(f"there is no log in {directory}: name the state directory with --state-dir")
    try:
        if writable:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)  # noqa: ASYNC240 - once, at the start
            lock(directory, stack)
            version.check(found := await mark.read(), where, restoring=restoring)  # a restore may have begun, and been cut off
            if found is None:
                await mark.write(str(version.VERSION))
        log_writer = await _connect(stack, directory / "log.sqlite3", "FULL", _SCHEMA if writable else None)
        views_writer = await _connect(stack, directory / "views.sqlite3", "NORMAL", sqlite_views.SCHEMA if writable else None)
    except (OSError, errors.StoreUnavailable) as error:
        raise errors.SetupError(f"{where} cannot be used: {error}") from error
    scrubber = Connection(directory / "log.sqlite3", synchronous="FULL", writable=writable, busy_s=_SCRUB_BUSY_S)
    stack.push_async_callback(scrubber.close)
    log_reader = await _connect(stack, directory / "log.sqlite3", "FULL", None)
    views_reader = await _connect(stack, directory / "views.sqlite3", "NORMAL", None)
    views_counter = await _connect(stack, directory / "views.sqlite3", "NORMAL", None)
    return Tables(
        f"SQLite in {directory}",
        LogTable(log_writer, log_reader, scrubber),
        sqlite_views.Documents(views_writer, views_reader, views_counter),
        sqlite_checkpoints.Checkpoints(log_writer),
        Blobs(log_writer, log_reader),
        sqlite_uploads.Uploads(log_writer),
        memory.Signs(),
        leases=None,
        tickets=None,
        agreements=None,
        mark=mark,
    )


async def _connect(stack: AsyncExitStack, path: Path, synchronous: str, schema: str | None) -> Connection:
    connection = Connection(path, synchronous=synchronous, writable=schema is not None)
    stack.push_async_callback(connection.close)
    if schema is not None:
        script = schema
        await connection.run(lambda database: database.executescript(script))
    return connection


def _insert(database: sqlite3.Connection, entries: Sequence[Entry], rows: list[Any]) -> Written:
    places = ", ".join(["(?, ?, ?, ?, ?, ?, ?, ?, ?)"] * len(entries))
    try:
        database.execute(f"INSERT INTO log ({_NAMES}) VALUES {places}", rows)  # noqa: S608 - constants
    except sqlite3.IntegrityError:
        return Written(0, _conflicts(database, entries))
    return Written(len(entries), {})


def _conflicts(database: sqlite3.Connection, entries: Sequence[Entry]) -> dict[int, Conflict]:
    found = {index: _conflict(database, entry) for index, entry in enumerate(entries)}
    return {index: conflict for index, conflict in found.items() if conflict is not None}


def _conflict(database: sqlite3.Connection, entry: Entry) -> Conflict | None:
    """The id is looked up first: a commit that is there already has taken its own version."""
    commit = entry.commit
    same = database.execute(f"SELECT {_COLUMNS} FROM log WHERE id = ?", (commit.id,)).fetchone()  # noqa: S608 - constants
    if same is not None:
        return SameId(layout.from_row(same))
    query = "SELECT 1 FROM log WHERE stream = ? AND version = ?"
    if database.execute(query, (commit.stream, commit.version)).fetchone():
        return VersionTaken()
    taken = database.execute("SELECT 1 FROM log WHERE position = ?", (entry.position,)).fetchone()
    return PositionTaken() if taken else None
