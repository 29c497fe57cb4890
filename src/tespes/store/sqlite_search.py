"""How a page of a view is found in SQLite: which index is walked, and the statement that walks it.

What is searched is one narrow table with the position as its key, so that every index of it ends in the position, and for
each mapping a table of its terms (see `layout.terms`) with the key (term, position). A condition on exact values is walked
newest first until the page is full, and the others are checked on the way. Which one: the one that fewest documents fulfil.
That is counted, but not far: of conditions that are all common, the one is walked whose newest matches reach furthest back.

No index has the documents that begin with something newest first. If they are few, they are taken from the index and
sorted; if they are many, the newest documents of all are walked.
"""

import contextlib
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from tespes.projections import Document, ReadModel
from tespes.store import layout
from tespes.store.conditions import BeginsWith, Condition, HasPair, OneOf, first_after

NEWEST = 2**63 - 1
_COUNTED_PAGES = 16
_COUNTED_MIN = 1000


@dataclass(frozen=True, slots=True)
class _Sql:
    """A text, and what its question marks stand for."""

    text: str
    values: tuple[Any, ...] = ()


@dataclass(frozen=True, slots=True)
class _Index:
    """An index to walk.

    :param table: it, as `w`
    :param part: the part of it that is walked
    """

    table: str
    part: _Sql


def documents(database: sqlite3.Connection, table: str, positions: str, values: Sequence[Any]) -> list[Document]:
    """Those at the positions that a statement selects, in one row. Only if one is spoilt, each is looked at alone."""
    source = f"({positions}) AS found CROSS JOIN {table}_body AS d ON d.position = found.position"
    query = f"SELECT '[' || ifnull(group_concat(d.body, ','), '') || ']' FROM {source}"  # noqa: S608 - constant names
    with contextlib.suppress(orjson.JSONDecodeError):
        found: list[Document] = orjson.loads(database.execute(query, values).fetchone()[0])
        if all(map(layout.is_document, found)):
            return found
    alone = f"SELECT d.body, id, d.position FROM {source} JOIN {table} AS w ON w.position = d.position"  # noqa: S608 - constant names
    return [layout.document_of(*row) for row in database.execute(alone, values)]


@dataclass(frozen=True, slots=True)
class Search:
    """A page that is asked for: see promise.Documents.page.

    :param before: NEWEST for the first page
    """

    model: ReadModel
    where: Sequence[Condition]
    before: int
    limit: int

    def find(self, database: sqlite3.Connection, *, whole: bool) -> list[Document]:
        """The page. One row comes back, a JSON array: SQLite lets go of the interpreter for each."""
        if any(isinstance(condition, OneOf) and not condition.values for condition in self.where):
            return []
        positions = self.positions(self._walked(database))
        table = self.model.table
        if whole:
            return documents(database, table, positions.text, positions.values)
        columns = ", ".join(f"'{name}', d.\"{name}\"" for name in ("id", *self.model.columns))
        what = f"json_group_array(json_object({columns}))"
        query = f"SELECT {what} FROM ({positions.text}) AS found CROSS JOIN {table} AS d ON d.position = found.position"  # noqa: S608 - constant names
        page: list[Document] = orjson.loads(database.execute(query, positions.values).fetchone()[0])
        return page

    def positions(self, walked: Condition | None) -> _Sql:
        """The positions of the page, newest first."""
        if isinstance(walked, OneOf):  # the documents of each value are in order: they are merged
            alone = (OneOf(walked.column, frozenset({value})) for value in walked.values)
            each = [self._matching(walked, _index(self.model, one)) for one in alone]
        else:
            each = [self._matching(walked, _index(self.model, walked))]
        text = " UNION ALL ".join(part.text for part in each)
        values = [value for part in each for value in part.values]
        return _Sql(f"{text} ORDER BY 1 DESC LIMIT ?", (*values, self.limit))

    def _walked(self, database: sqlite3.Connection) -> Condition | None:
        """The condition whose index is walked; None if it is that of the positions."""
        usable = [condition for condition in self.where if _is_indexed(self.model, condition)]
        exact = [condition for condition in usable if not isinstance(condition, BeginsWith)]
        if len(usable) == len(exact) <= 1:
            return exact[0] if exact else None
        most = max(_COUNTED_PAGES * self.limit, _COUNTED_MIN)
        counts = [self._count(condition, most) for condition in usable]
        query = f"SELECT {', '.join(f'({count.text})' for count in counts)}"
        row = database.execute(query, [value for count in counts for value in count.values]).fetchone()
        counted: list[tuple[int, int]] = [orjson.loads(each) for each in row]
        rarest = min(range(len(usable)), key=lambda place: counted[place][0])
        if counted[rarest][0] < most:
            return usable[rarest]
        reach = {place: counted[place][1] for place, condition in enumerate(usable) if condition in exact}
        return usable[min(reach, key=reach.__getitem__)] if reach else None

    def _count(self, condition: Condition, most: int) -> _Sql:
        """How many documents fulfil it, up to so many of the newest; and how far back these reach."""
        if isinstance(condition, BeginsWith):
            index = _index(self.model, condition)
            some = f"SELECT 0 AS position FROM {index.table} WHERE {index.part.text} LIMIT ?"  # noqa: S608 - constant names
            alone = _Sql(some, (*index.part.values, most))
        else:
            alone = Search(self.model, (condition,), self.before, most).positions(condition)
        return _Sql(f"SELECT json_array(count(*), min(position)) FROM ({alone.text})", alone.values)  # noqa: S608 - constant names

    def _matching(self, walked: Condition | None, index: _Index) -> _Sql:
        """The positions in that index for which the other conditions hold, too."""
        others = [condition for condition in self.where if condition is not walked]
        document, join = "w", ""
        if isinstance(walked, HasPair) and not all(isinstance(condition, HasPair) for condition in others):
            document, join = "d", f" CROSS JOIN {self.model.table} AS d ON d.position = w.position"
        checks = [_check(self.model, condition, document) for condition in others]
        holds = [index.part, _Sql("w.position < ?", (self.before,)), *checks]
        text = f"SELECT w.position FROM {index.table}{join} WHERE {' AND '.join(part.text for part in holds)}"  # noqa: S608 - constant names
        return _Sql(text, tuple(value for part in holds for value in part.values))


def _is_indexed(model: ReadModel, condition: Condition) -> bool:
    name = condition.pairs if isinstance(condition, HasPair) else condition.column
    return any(index[0] == name for index in model.indexes)


def _index(model: ReadModel, condition: Condition | None) -> _Index:
    match condition:
        case None:
            return _Index(f"{model.table} AS w NOT INDEXED", _Sql("TRUE"))
        case OneOf() | BeginsWith():
            return _Index(f"{model.table} AS w INDEXED BY {model.table}_by_{condition.column}", _holds(condition, "w."))
        case HasPair():
            return _Index(f"{model.table}_{condition.pairs} AS w", _Sql("w.term = ?", (layout.term(condition),)))


def _check(model: ReadModel, condition: Condition, document: str) -> _Sql:
    """The condition on one document; `+` keeps SQLite from using another index for it."""
    match condition:
        case OneOf() | BeginsWith():
            return _holds(condition, f"+{document}.")
        case HasPair():
            table = f"{model.table}_{condition.pairs}"
            return _Sql(
                f"EXISTS (SELECT 1 FROM {table} AS t WHERE t.term = ? AND t.position = w.position)",  # noqa: S608 - constant names
                (layout.term(condition),),
            )


def _holds(condition: OneOf | BeginsWith, of: str) -> _Sql:
    column = f'{of}"{condition.column}"'
    match condition:
        case OneOf():
            return _Sql(f"{column} IN ({', '.join('?' * len(condition.values))})", tuple(condition.values))
        case BeginsWith():
            behind = first_after(condition.prefix)
            if behind is None:
                return _Sql(f"{column} >= ?", (condition.prefix,))
            return _Sql(f"{column} >= ? AND {column} < ?", (condition.prefix, behind))
