"""Views in SQLite (see promise.Documents): they can be made anew from the log and are synced less.

For each read model and version: a narrow table of what is searched, keyed by position; the documents as JSON texts; and
for each mapping its terms. A page without documents never reads a page of the disk that has one.
"""

import sqlite3
from collections.abc import Iterator, Sequence
from typing import Any

import orjson

from tespes.projections import Document, ReadModel
from tespes.store import layout
from tespes.store.conditions import Condition
from tespes.store.connection import Connection
from tespes.store.promise import Fence
from tespes.store.sqlite_search import NEWEST, Search

SCHEMA = "CREATE TABLE IF NOT EXISTS checkpoint (name TEXT PRIMARY KEY, position INTEGER NOT NULL) WITHOUT ROWID;"
_TERMS_AT_ONCE = 500


class Documents:
    """See the module."""

    def __init__(self, writer: Connection, reader: Connection) -> None:
        self._writer = writer
        self._reader = reader

    async def prepare(self, model: ReadModel) -> list[str]:
        """See promise.Documents.prepare. There is no other process: nothing is left."""

        def work(database: sqlite3.Connection) -> None:
            _drop_other_versions(database, model)
            for statement in _tables(model):
                database.execute(statement)

        await self._writer.run(work)
        return []

    async def position(self, model: ReadModel) -> int:
        """See promise.Documents.position."""
        query = "SELECT position FROM checkpoint WHERE name = ?"
        found = await self._writer.run(lambda database: database.execute(query, (model.table,)).fetchone())
        return found[0] if found else 0

    async def load(self, model: ReadModel, ids: Sequence[str]) -> dict[str, Document]:
        """See promise.Documents.load."""
        query = (
            f"SELECT '[' || ifnull(group_concat(body, ','), '') || ']' FROM {model.table}"  # noqa: S608 - constant names
            f" JOIN {model.table}_body USING (position) WHERE id IN (SELECT value FROM json_each(?))"
        )
        asked = orjson.dumps(ids).decode()
        found = await self._writer.run(lambda database: database.execute(query, (asked,)).fetchone()[0])
        return {document["id"]: document for document in orjson.loads(found)}

    async def save(
        self,
        model: ReadModel,
        documents: Sequence[Document],
        position: int,
        fence: Fence | None = None,  # noqa: ARG002 - there is no other process
    ) -> None:
        """See promise.Documents.save."""
        statements = list(_insertions(model, documents)) if documents else []
        checkpoint = (
            "INSERT INTO checkpoint VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET position = max(position, excluded.position)"
        )
        statements.append((checkpoint, [model.table, position]))

        def work(database: sqlite3.Connection) -> None:
            database.execute("BEGIN IMMEDIATE")
            for statement, values in statements:
                database.execute(statement, values)
            database.execute("COMMIT")

        await self._writer.run(work)

    async def page(
        self, model: ReadModel, where: Sequence[Condition], *, before: int | None, limit: int, whole: bool
    ) -> list[Document]:
        """See promise.Documents.page, and `sqlite_search`."""
        search = Search(model, where, NEWEST if before is None else before, limit)
        return await self._reader.run(lambda database: search.find(database, whole=whole))

    async def forget(self, model: ReadModel) -> None:
        """See promise.Documents.forget."""
        tables = (model.table, f"{model.table}_body", *(f"{model.table}_{pairs}" for pairs in model.pairs))
        emptied = "".join(f"DELETE FROM {table};" for table in tables)  # noqa: S608 - constant names
        script = f"BEGIN; {emptied} DELETE FROM checkpoint WHERE name = '{model.table}'; COMMIT;"  # noqa: S608 - a constant name
        await self._writer.run(lambda database: database.executescript(script))


def _tables(model: ReadModel) -> Iterator[str]:
    """The key of the narrow table is the position, so every index of it ends in it without being told."""
    columns = "".join(f", {name}" for name in model.columns if name != "position")
    table = f"{model.table} (position INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, version INTEGER NOT NULL{columns})"
    yield f"CREATE TABLE IF NOT EXISTS {table}"
    body = f"{model.table}_body (position INTEGER PRIMARY KEY, version INTEGER NOT NULL, body TEXT NOT NULL)"
    yield f"CREATE TABLE IF NOT EXISTS {body}"
    for pairs in model.pairs:
        terms = f"{model.table}_{pairs} (term TEXT, position INTEGER, PRIMARY KEY (term, position)) WITHOUT ROWID"
        yield f"CREATE TABLE IF NOT EXISTS {terms}"
    for name, *_ in model.indexes:
        if name in model.columns and name != "position":
            index = f"{model.table}_by_{name} ON {model.table} ({name}) WHERE {name} IS NOT NULL"
            yield f"CREATE INDEX IF NOT EXISTS {index}"


def _drop_other_versions(database: sqlite3.Connection, model: ReadModel) -> None:
    """The view is made from the log alone: an upgrade, and the way back, only make it anew."""
    found = database.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
    for (name,) in found:
        version = name.removeprefix(f"{model.name}_").partition("_")[0]
        if name.startswith(f"{model.name}_") and version.isdecimal() and int(version) != model.version:
            database.execute(f"DELETE FROM checkpoint WHERE name = '{model.name}_{version}'")  # noqa: S608 - a name of ours
            database.execute(f"DROP TABLE {name}")


def _insertions(model: ReadModel, documents: Sequence[Document]) -> Iterator[tuple[str, list[Any]]]:
    """What is searched, the documents, and the terms. Terms never change: those that are there stay."""
    names = ("id", "version", *model.columns)
    searched = [document.get(name) for document in documents for name in names]
    yield _upsert(model.table, "id", names, len(documents)), searched
    bodies = [
        value
        for document in documents
        for value in (document["position"], document["version"], orjson.dumps(document).decode())
    ]
    yield _upsert(f"{model.table}_body", "position", ("position", "version", "body"), len(documents)), bodies
    for pairs in model.pairs:
        found = [(term, document["position"]) for document in documents for term in layout.terms(document, pairs)]
        for start in range(0, len(found), _TERMS_AT_ONCE):
            some = found[start : start + _TERMS_AT_ONCE]
            places = ", ".join(["(?, ?)"] * len(some))
            statement = f"INSERT INTO {model.table}_{pairs} VALUES {places} ON CONFLICT DO NOTHING"  # noqa: S608 - constant names
            yield statement, [value for row in some for value in row]


def _upsert(table: str, key: str, names: Sequence[str], rows: int) -> str:
    places = ", ".join([f"({', '.join('?' * len(names))})"] * rows)
    updates = ", ".join(f"{name} = excluded.{name}" for name in names if name not in {key, "position"})
    return (
        f"INSERT INTO {table} ({', '.join(names)}) VALUES {places} ON CONFLICT ({key}) DO UPDATE SET {updates}"  # noqa: S608 - constant names
        f" WHERE excluded.version > {table}.version"
    )
