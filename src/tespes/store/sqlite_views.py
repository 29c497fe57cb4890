"""Views in SQLite (see promise.Documents): they can be made anew from the log and are synced less.

For each read model, version and generation: a narrow table of what is searched, keyed by position; the documents as JSON
texts; and for each mapping its terms. A page without documents never reads a page of the disk that has one.
"""

import re
import sqlite3
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from typing import Any

import orjson

from tespes.projections import Document, ReadModel
from tespes.store import layout, sqlite_totals
from tespes.store.conditions import Condition
from tespes.store.connection import Connection
from tespes.store.generations import Generations, Shown
from tespes.store.promise import Fence, Group
from tespes.store.sqlite_search import NEWEST, Search, documents
from tespes.store.totals import By, Total, Within

SCHEMA = """
CREATE TABLE IF NOT EXISTS checkpoint (name TEXT PRIMARY KEY, position INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS generation (
  name TEXT PRIMARY KEY, shown INTEGER NOT NULL, newest INTEGER NOT NULL, outcome TEXT) WITHOUT ROWID;
"""
_TERMS_AT_ONCE = 500
_LINES = "lines"


class Documents:
    """See the module.

    :param counter: what takes long has a connection of its own, and keeps no page waiting
    """

    def __init__(self, writer: Connection, reader: Connection, counter: Connection) -> None:
        self._writer = writer
        self._reader = reader
        self._counter = counter
        self._shown = Shown(self._look)

    async def prepare(self, model: ReadModel) -> list[str]:
        """See promise.Documents.prepare. There is no other process: nothing is left."""
        shown = await self._shown.of(model)

        def work(database: sqlite3.Connection) -> None:
            _drop_other_versions(database, shown)
            for statement in _tables(shown):
                database.execute(statement)

        await self._writer.run(work)
        return []

    async def position(self, model: ReadModel) -> int:
        """See promise.Documents.position."""
        query = "SELECT position FROM checkpoint WHERE name = ?"

        async def position(shown: ReadModel) -> int:
            found = await self._writer.run(lambda database: database.execute(query, (shown.table,)).fetchone())
            return found[0] if found else 0

        return await self._shown.read(model, position)

    async def load(self, model: ReadModel, ids: Sequence[str]) -> dict[str, Document]:
        """See promise.Documents.load."""
        asked = orjson.dumps(ids).decode()

        async def load(shown: ReadModel) -> dict[str, Document]:
            positions = f"SELECT position FROM {shown.table} WHERE id IN (SELECT value FROM json_each(?))"  # noqa: S608 - constant names
            found = await self._writer.run(lambda database: documents(database, shown.table, positions, (asked,)))
            return {document["id"]: document for document in found}

        return await self._shown.read(model, load)

    async def save(
        self,
        model: ReadModel,
        documents: Sequence[Document],
        position: int,
        fence: Fence | None = None,  # noqa: ARG002 - there is no other process
    ) -> None:
        """See promise.Documents.save."""
        shown = await self._shown.of(model)
        statements = list(_insertions(shown, documents)) if documents else []
        checkpoint = (
            "INSERT INTO checkpoint VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET position = max(position, excluded.position)"
        )
        statements.append((checkpoint, [shown.table, position]))

        def work(database: sqlite3.Connection) -> None:
            database.execute("BEGIN IMMEDIATE")
            for statement, values in statements:
                database.execute(statement, values)
            database.execute("COMMIT")

        await self._writer.run(work)

    async def unlist(self, model: ReadModel, document: Document) -> None:
        """See promise.Documents.unlist. Terms are found by themselves, not by their document."""
        shown = await self._shown.of(model)
        terms = [(pairs, term) for pairs in model.pairs for term in layout.terms(document, pairs)]

        def work(database: sqlite3.Connection) -> None:
            for pairs, term in terms:
                statement = f"DELETE FROM {shown.table}_{pairs} WHERE term = ? AND position = ?"  # noqa: S608 - constant names
                database.execute(statement, (term, document["position"]))

        await self._writer.run(work)

    async def page(
        self, model: ReadModel, where: Sequence[Condition], *, before: int | None, limit: int, whole: bool
    ) -> list[Document]:
        """See promise.Documents.page, and `sqlite_search`."""
        newest = NEWEST if before is None else before

        async def page(shown: ReadModel) -> list[Document]:
            search = Search(shown, where, newest, limit)
            return await self._reader.run(lambda database: search.find(database, whole=whole))

        return await self._shown.read(model, page)

    async def forget(self, model: ReadModel) -> None:
        """See promise.Documents.forget."""
        shown = await self._shown.of(model)
        emptied = "".join(f"DELETE FROM {table};" for table in _names(shown))  # noqa: S608 - constant names
        script = f"BEGIN; {emptied} DELETE FROM checkpoint WHERE name = '{shown.table}'; COMMIT;"  # noqa: S608 - a constant name
        await self._writer.run(lambda database: database.executescript(script))

    async def count(self, model: ReadModel) -> int:
        """See promise.Documents.count."""

        async def count(shown: ReadModel) -> int:
            query = f"SELECT count(*) FROM {shown.table}"  # noqa: S608 - a constant name
            return int(await self._counter.run(lambda database: database.execute(query).fetchone()[0]))

        return await self._shown.read(model, count)

    async def groups(self, model: ReadModel, column: str, values: Collection[str]) -> dict[str, Group]:
        """See promise.Documents.groups."""
        places = ", ".join("?" * len(values))

        async def groups(shown: ReadModel) -> dict[str, Group]:
            counted = f'SELECT "{column}", count(*), min(position) FROM {shown.table}'  # noqa: S608 - constant names
            query = f'{counted} WHERE "{column}" IN ({places}) GROUP BY "{column}"'
            found = await self._counter.run(lambda database: database.execute(query, [*values]).fetchall())
            return {value: Group(documents, first) for value, documents, first in found}

        return await self._shown.read(model, groups)

    async def totals(self, model: ReadModel, by: By, within: Within | None = None) -> list[Total]:
        """See promise.Documents.totals."""

        async def find(shown: ReadModel) -> list[Total]:
            return await self._counter.run(lambda database: sqlite_totals.find(database, shown, by, within))

        return await self._shown.read(model, find)

    async def generations(self, model: ReadModel) -> Generations:
        """See promise.Documents.generations."""
        return await self._look(model.stem)

    async def _look(self, stem: str) -> Generations:
        return await self._writer.run(lambda database: _generations(database, stem))

    async def turn(
        self,
        model: ReadModel,
        seen: Generations,
        then: Generations,
        fence: Fence | None = None,  # noqa: ARG002 - there is no other process
    ) -> bool:
        """See promise.Documents.turn."""
        first = "INSERT INTO generation VALUES (?, 0, 0, NULL) ON CONFLICT DO NOTHING"
        change = "UPDATE generation SET shown = ?, newest = ?, outcome = ? WHERE name = ? AND shown = ? AND newest = ?"
        values = (then.shown, then.newest, then.outcome, model.stem, seen.shown, seen.newest)

        def work(database: sqlite3.Connection) -> bool:
            database.execute(first, (model.stem,))
            return database.execute(change, values).rowcount == 1

        turned = await self._writer.run(work)
        self._shown.forget(model)
        return turned

    async def unread(self, model: ReadModel) -> list[ReadModel]:
        """See promise.Documents.unread. What there is, is listed before it is looked up what is needed."""

        def work(database: sqlite3.Connection) -> list[int]:
            names = database.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
            found = (re.fullmatch(f"{model.stem}(?:_g([0-9]+))?", name) for (name,) in names)
            there = [int(each[1] or 0) for each in found if each]
            known = _generations(database, model.stem)
            return [generation for generation in there if not known.needs(generation)]

        return [replace(model, generation=generation) for generation in await self._writer.run(work)]

    async def drop(self, model: ReadModel) -> None:
        """See promise.Documents.drop."""
        dropped = "".join(f"DROP TABLE IF EXISTS {table};" for table in _names(model))
        script = f"BEGIN; {dropped} DELETE FROM checkpoint WHERE name = '{model.table}'; COMMIT;"  # noqa: S608 - a constant name
        await self._writer.run(lambda database: database.executescript(script))


def _generations(database: sqlite3.Connection, stem: str) -> Generations:
    """Before a first start of this release, nothing is written down."""
    if not database.execute("SELECT 1 FROM sqlite_master WHERE name = 'generation'").fetchone():
        return Generations()
    query = "SELECT shown, newest, outcome FROM generation WHERE name = ?"
    found = database.execute(query, (stem,)).fetchone()
    return Generations(*found) if found else Generations()


def _names(model: ReadModel) -> Sequence[str]:
    """All its tables."""
    return (model.table, f"{model.table}_body", *(f"{model.table}_{pairs}" for pairs in model.pairs))


def _tables(model: ReadModel) -> Iterator[str]:
    """The key of the narrow table is the position, so every index of it ends in it without being told."""
    columns = "".join(f', "{name}"' for name in (*model.columns, *_lines(model)) if name != "position")
    table = f"{model.table} (position INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, version INTEGER NOT NULL{columns})"
    yield f"CREATE TABLE IF NOT EXISTS {table}"
    body = f"{model.table}_body (position INTEGER PRIMARY KEY, version INTEGER NOT NULL, body TEXT NOT NULL)"
    yield f"CREATE TABLE IF NOT EXISTS {body}"
    for pairs in model.pairs:
        terms = f"{model.table}_{pairs} (term TEXT, position INTEGER, PRIMARY KEY (term, position)) WITHOUT ROWID"
        yield f"CREATE TABLE IF NOT EXISTS {terms}"
    for name, *_ in model.indexes:
        if name in model.columns and name != "position":
            index = f'{model.table}_by_{name} ON {model.table} ("{name}") WHERE "{name}" IS NOT NULL'
            yield f"CREATE INDEX IF NOT EXISTS {index}"


def _drop_other_versions(database: sqlite3.Connection, model: ReadModel) -> None:
    """The view is made from the log alone: an upgrade, and the way back, only make it anew."""
    found = database.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
    for (name,) in found:
        version = name.removeprefix(f"{model.name}_").partition("_")[0]
        if name.startswith(f"{model.name}_") and version.isdecimal() and int(version) != model.version:
            database.execute(f"DELETE FROM checkpoint WHERE name = '{name}'")  # noqa: S608 - a name of ours
            database.execute(f"DELETE FROM generation WHERE name = '{name}'")  # noqa: S608 - a name of ours
            database.execute(f"DROP TABLE {name}")


def _insertions(model: ReadModel, documents: Sequence[Document]) -> Iterator[tuple[str, list[Any]]]:
    """What is searched, the documents, and the terms. Those that are there stay, see `unlist`."""
    names = ("id", "version", *model.columns, *_lines(model))
    searched = [_beside(model, document, name) for document in documents for name in names]
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


def _lines(model: ReadModel) -> Sequence[str]:
    """The column of the lines, if there are totals of them."""
    return (_LINES,) if model.sums else ()


def _beside(model: ReadModel, document: Document, name: str) -> Any:
    """What stands beside the document."""
    return orjson.dumps(layout.lines(model, document)).decode() if name == _LINES else document.get(name)


def _upsert(table: str, key: str, names: Sequence[str], rows: int) -> str:
    places = ", ".join([f"({', '.join('?' * len(names))})"] * rows)
    columns = ", ".join(f'"{name}"' for name in names)
    updates = ", ".join(f'"{name}" = excluded."{name}"' for name in names if name not in {key, "position"})
    return (
        f"INSERT INTO {table} ({columns}) VALUES {places} ON CONFLICT ({key}) DO UPDATE SET {updates}"  # noqa: S608 - constant names
        f" WHERE excluded.version > {table}.version"
    )
