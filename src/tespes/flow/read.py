"""What readers get: one task from its stream, pages of tasks from the view."""

from collections.abc import Mapping
from typing import Any

import orjson

from tespes import errors, tes
from tespes.flow.streams import Folds
from tespes.projections import TASK_VIEW, Document, TaskView
from tespes.projections.task_view import output_log
from tespes.store import Blobs, Documents, Log


class TaskReader:
    """Tasks in the standard's shape."""

    def __init__(self, log: Log, documents: Documents, blobs: Blobs) -> None:
        self._documents = documents
        self._blobs = blobs
        self._folds: Folds[TaskView] = Folds(log, TASK_VIEW.apply)

    async def get(self, task_id: str, view: tes.View) -> Document:
        """A task as it is at this moment: the fold of its stream.

        :raises errors.NotFound: there is no such task
        """
        fold = await self._folds.load(task_id)
        if fold is None:
            raise errors.NotFound(f"there is no task {task_id}")
        return await self._shown(fold.value, view)

    async def page(
        self, view: tes.View, where: Mapping[str, Any], *, before: int | None, limit: int
    ) -> tuple[list[Document], int | None]:
        """A page of tasks, newest first, and the position below which the next one starts; may be moments behind."""
        whole = view is not tes.View.MINIMAL
        found = await self._documents.page(TASK_VIEW, where, before=before, limit=limit + 1, whole=whole)
        more = found[limit - 1]["position"] if len(found) > limit else None
        if not whole:
            return [{"id": each["id"], "state": each["state"]} for each in found[:limit]], more
        return [await self._shown(each, view) for each in found[:limit]], more

    async def _shown(self, document: TaskView | Document, view: tes.View) -> Document:
        """The view, with what it shows of the texts and lists that live in blobs."""
        shown = tes.show(document["task"], view)
        for kept in document["kept"]:
            is_list = kept["place"].endswith(".outputs")
            if view is tes.View.FULL or (is_list and view is tes.View.BASIC):
                content = await self._blobs.get(kept["sha256"])
                found = _output_logs(content) if is_list else content.decode()
                shown = _with(shown, kept["place"].split("."), found)
        return shown


def _output_logs(content: bytes) -> list[dict[str, str]]:
    return [output_log(file["path"], file["url"], file["size_bytes"]) for file in orjson.loads(content)]


def _with(value: Any, place: list[str], found: Any) -> Any:
    """The value with what was found at that place; nothing is changed in the original."""
    if not place:
        return found
    name, rest = place[0], place[1:]
    if isinstance(value, list):
        index = int(name)
        return [*value[:index], _with(value[index], rest, found), *value[index + 1 :]]
    return {**value, name: _with(value.get(name), rest, found)}
