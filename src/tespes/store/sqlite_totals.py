"""Totals of a view's lines in SQLite (see promise.Documents.totals). The lines stand beside the document as one JSON text."""

import sqlite3
from typing import Any

import orjson

from tespes.projections import ReadModel
from tespes.store import totals
from tespes.store.totals import By, Key, Total, Within


def find(database: sqlite3.Connection, model: ReadModel, by: By, within: Within | None) -> list[Total]:
    """The totals. One row comes back, a JSON array: SQLite lets go of the interpreter for each."""
    joined, values = _terms(model, by)
    holds, limits = _holds(within)
    sums = "".join(f", ifnull(sum(line.value ->> '{name}'), 0)" for name in model.sums)
    grouped = (
        f"SELECT json_array({_of(model, by)}, count(DISTINCT d.position){sums}) AS row FROM {model.table} AS d{joined}"  # noqa: S608 - constant names
        f" LEFT JOIN json_each(d.lines) AS line ON TRUE{holds} GROUP BY {_of(model, by)}"
    )
    query = f"SELECT '[' || ifnull(group_concat(row, ','), '') || ']' FROM ({grouped})"  # noqa: S608 - constant names
    rows: list[list[Any]] = orjson.loads(database.execute(query, [*values, *limits]).fetchone()[0])
    return totals.read(model, by, ((of, documents, tuple(sums)) for of, documents, *sums in rows))


def _of(model: ReadModel, by: By) -> str:
    match by:
        case Key():
            return "t.term"
        case _ if by in model.lines:
            return f"line.value ->> '{by}'"
        case _:
            return f'd."{by}"'


def _terms(model: ReadModel, by: By) -> tuple[str, list[str]]:
    """The term of the key that each document has, or none."""
    match by:
        case Key():
            terms = f"SELECT position, term FROM {model.table}_{by.pairs} WHERE term >= ? AND term < ?"  # noqa: S608 - constant names
            return f" LEFT JOIN ({terms}) AS t ON t.position = d.position", [by.begin, by.end]
        case _:
            return "", []


def _holds(within: Within | None) -> tuple[str, list[str]]:
    if within is None:
        return "", []
    limits = [(sign, text) for sign, text in ((">=", within.first), ("<=", within.last)) if text is not None]
    holds = " AND ".join(f'd."{within.column}" {sign} ?' for sign, _ in limits)
    return f" WHERE {holds}" if holds else "", [text for _, text in limits]
