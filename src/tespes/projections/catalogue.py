"""The read models there are: their names, versions, and what of their documents is searched."""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final

import orjson

from tespes.events import Recorded
from tespes.projections import task_view, usage

Document = dict[str, Any]

_NAME = re.compile(r"[a-z]+(_[a-z]+)*")
_FIELD = re.compile(r"[a-z][a-z0-9_]*")
_OURS: Final = frozenset({"id", "version", "body", "lines", "documents"})  # stand beside documents and totals
_MOST: Final = 2**63 - 1  # what databases take


@dataclass(frozen=True, slots=True)
class ReadModel:
    """A stored view: one document for each task, made from the task's events alone.

    A document is a mapping that JSON can carry. Besides what `apply` puts there it has an `id` (the task's), a `version`
    (of the last event applied) and a `position` (of its first event in the log: newest first is by it).

    :param version: of the documents' shape and how they are searched; another version is another table or collection
    :param apply: `(document, recorded) -> document`; the first event of a task meets None. It changes nothing in place,
        and sees each event once, in order
    :param columns: fields of the document that stand beside it for searching
    :param pairs: fields that are mappings of texts whose keys and pairs are searched; they change only where the
        log does, by a redaction
    :param indexes: which of them are searched, newest first: each ends in `position`
    :param lines: fields of the mappings in the document's list `lines` that totals can be grouped by, like columns
    :param sums: fields of these mappings that are summed, whole numbers; with none there are no totals
    :param generation: of its table; None is the one that readers get at present, see `store.generations`
    :raises ValueError: a name is none that a database takes, or stands twice
    """

    name: str
    version: int
    apply: Callable[[Any, Recorded], Any]
    columns: tuple[str, ...] = ("position",)
    pairs: tuple[str, ...] = ()
    indexes: tuple[tuple[str, ...], ...] = (("position",),)
    lines: tuple[str, ...] = ()
    sums: tuple[str, ...] = ()
    generation: int | None = None

    def __post_init__(self) -> None:
        """Its names are part of what databases are told."""
        if not _NAME.fullmatch(self.name):
            raise ValueError(f"the name {self.name!r} is none of small letters and single '_'")
        if self.version < 1:
            raise ValueError(f"the version {self.version} of {self.name} is below 1")
        for field in (*self.columns, *self.pairs, *self.lines, *self.sums):
            if field in _OURS:
                raise ValueError(f"the field {field!r} of {self.name} has a name that TESPES keeps for itself")
            if not _FIELD.fullmatch(field):
                raise ValueError(f"the field {field!r} of {self.name} is none of small letters, digits and '_'")
        for fields in ((*self.columns, *self.pairs), (*self.lines, *self.sums)):
            if len(set(fields)) < len(fields):
                raise ValueError(f"a field of {self.name} is named twice: {', '.join(fields)}")
        if "position" not in self.columns:
            raise ValueError(f"the columns of {self.name} are without 'position'")
        if any(index[-1] != "position" for index in self.indexes):
            raise ValueError(f"an index of {self.name} does not end in 'position'")

    @property
    def stem(self) -> str:
        """What the names of the tables of all its generations begin with."""
        return f"{self.name}_{self.version}"

    @property
    def table(self) -> str:
        """The name of its table or collection."""
        return f"{self.stem}_g{self.generation}" if self.generation else self.stem


TASK_VIEW = ReadModel(
    name=task_view.NAME,
    version=task_view.VERSION,
    apply=task_view.apply,
    columns=("position", "state", "owner", "name"),
    pairs=("tags",),
    indexes=(("position",), ("state", "position"), ("name", "position"), ("tags", "position")),
)

USAGE = ReadModel(
    name=usage.NAME,
    version=usage.VERSION,
    apply=usage.apply,
    columns=("position", "owner", "day", "state"),
    pairs=("tags",),
    indexes=(("position",), ("day", "position"), ("tags", "position")),
    lines=("pulsar",),
    sums=("attempts", "cpu_ms", "bytes_in", "bytes_out", "uncounted"),
)

READ_MODELS = (TASK_VIEW, USAGE)


def step(model: ReadModel, document: Document | None, recorded: Recorded) -> Document | None:
    """The document after the event; the same one if the event was applied before."""
    if document is not None and recorded.version <= document["version"]:
        return document
    after: Document | None = model.apply(document, recorded)
    if after is None:
        return None
    position = document["position"] if document else recorded.position
    known = {"id": recorded.stream, "version": recorded.version, "position": position}
    return {**known, **after, **known}


def fold(model: ReadModel, recorded: Iterable[Recorded], document: Any = None) -> Any:
    """The document after all these events of one stream."""
    for each in recorded:
        document = step(model, document, each)
    return document


def kept(model: ReadModel, document: Document) -> Document:
    """The document as a database gives it back: whoever made it meets it like that again.

    :raises TypeError: JSON cannot carry it; also ValueError: what is searched or summed is none of that kind
    """
    for name in model.columns:
        _check(name, document.get(name), str, float, int)
    for name in model.pairs:
        for value in (document.get(name) or {}).values():
            _check(name, value, str)
    if model.sums:
        for line in document.get("lines") or []:
            for name in model.lines:
                _check(name, line.get(name), str, float, int)
            for name in model.sums:
                _check(name, line.get(name), int)
    again: Document = orjson.loads(orjson.dumps(document))
    return again


def _check(name: str, value: Any, *kinds: type) -> None:
    """It is of one of these kinds, or not there."""
    if not (value is None or isinstance(value, kinds)) or (isinstance(value, int) and not -_MOST <= value <= _MOST):
        raise ValueError(f"{name} is {value!r:.100}: one of {', '.join(kind.__name__ for kind in kinds)} is expected")
