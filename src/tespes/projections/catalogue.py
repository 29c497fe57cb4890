"""The read models there are: their names, versions, and what of their documents is searched."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from tespes.events import Recorded
from tespes.projections import task_view

Document = dict[str, Any]


@dataclass(frozen=True, slots=True)
class ReadModel:
    """A stored view: one document for each stream, made from the stream's events alone.

    A document has an `id`, a `version` (of the last event applied) and a `position` of its own (of its creation).

    :param version: of the documents' shape and how they are searched; another version is another table or collection
    :param columns: fields of the document that stand beside it for searching
    :param pairs: fields that are mappings of texts whose keys and pairs are searched; they never change
    :param indexes: which of them are searched, newest first: each ends in `position`
    """

    name: str
    version: int
    apply: Callable[[Any, Recorded], Any]
    columns: tuple[str, ...]
    pairs: tuple[str, ...]
    indexes: tuple[tuple[str, ...], ...]

    @property
    def table(self) -> str:
        """The name of its table or collection."""
        return f"{self.name}_{self.version}"


TASK_VIEW = ReadModel(
    name=task_view.NAME,
    version=task_view.VERSION,
    apply=task_view.apply,
    columns=("position", "state", "owner", "name"),
    pairs=("tags",),
    indexes=(("position",), ("state", "position"), ("name", "position"), ("tags", "position")),
)

READ_MODELS = (TASK_VIEW,)


def fold(model: ReadModel, recorded: Iterable[Recorded], document: Any = None) -> Any:
    """The document after all these events of one stream."""
    for each in recorded:
        document = model.apply(document, each)
    return document
