"""Totals of a view's lines (see ReadModel): what is asked for, and what is answered. The databases do the sums."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import orjson

from tespes.projections import ReadModel
from tespes.store import layout
from tespes.store.conditions import first_after


@dataclass(frozen=True, slots=True)
class Key:
    """What a mapping of the document has under that key."""

    pairs: str
    key: str

    @property
    def begin(self) -> str:
        """What the terms of all its values begin with, see `layout.terms`."""
        return layout.key_terms(self.key)

    @property
    def end(self) -> str:
        """The first text behind these terms."""
        return first_after(self.begin) or ""


Value = str | float
By = str | Key  # a column, a field of the lines, or a key


@dataclass(frozen=True, slots=True)
class Within:
    """Only documents whose column lies between these texts, both included; None is open."""

    column: str
    first: str | None = None
    last: str | None = None


@dataclass(frozen=True, slots=True)
class Total:
    """What documents that have something in common come to.

    :param of: what they have in common; None if they have nothing there
    :param documents: how many they are; with one line at least if it is a field of the lines
    :param sums: of their lines, by field
    """

    of: Value | None
    documents: int
    sums: Mapping[str, int]


def read(model: ReadModel, by: By, rows: Iterable[tuple[Value | None, int, tuple[int, ...]]]) -> list[Total]:
    """The totals, those that have nothing there first, then numbers, then texts.

    :param rows: for each: column or term, how many documents, the sums in the model's order
    """
    found = [
        Total(_value(by, of), documents, dict(zip(model.sums, map(int, sums), strict=True))) for of, documents, sums in rows
    ]
    return sorted(found, key=lambda each: (each.of is not None, isinstance(each.of, str), each.of))


def _value(by: By, of: Value | None) -> Value | None:
    match by:
        case Key() if isinstance(of, str):
            return str(orjson.loads(of)[1])
        case _:
            return of
