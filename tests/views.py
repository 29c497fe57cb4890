"""Documents of a task view for the tests of the stores, and a second opinion of what matches: one document at a time."""

from collections.abc import Iterable, Sequence
from typing import Any

from tespes.projections import TASK_VIEW, Document
from tespes.store import Store
from tespes.store.conditions import BeginsWith, Condition, HasPair, OneOf


def document(task_id: str, version: int, position: int, **fields: Any) -> Document:
    """A task view, as far as the store looks into it."""
    return {"id": task_id, "version": version, "position": position, "state": "QUEUED", "owner": "anonymous"} | fields


def state_is(*states: str) -> OneOf:
    """The condition on the state."""
    return OneOf("state", frozenset(states))


def name_begins(prefix: str) -> BeginsWith:
    """The condition on the name."""
    return BeginsWith("name", prefix)


def tagged(key: str, value: str | None = None) -> HasPair:
    """The condition on a tag."""
    return HasPair("tags", key, value)


async def page(store: Store, *where: Condition, before: int | None = None, limit: int = 99) -> list[Document]:
    """A page of whole documents."""
    return await store.documents.page(TASK_VIEW, where, before=before, limit=limit, whole=True)


def matching(documents: Iterable[Document], where: Sequence[Condition]) -> list[Document]:
    """Those for which everything holds, newest first."""
    found = [each for each in documents if all(_holds(each, condition) for condition in where)]
    return sorted(found, key=lambda each: -each["position"])


def _holds(each: Document, condition: Condition) -> bool:
    match condition:
        case OneOf():
            return each.get(condition.column) in condition.values
        case BeginsWith():
            return (each.get(condition.column) or "\0").startswith(condition.prefix)
        case HasPair():
            tags = each.get(condition.pairs) or {}
            return condition.key in tags and condition.value in {None, tags[condition.key]}
