"""What readers get: one task from its stream, pages of tasks from the view."""

from collections.abc import Sequence
from datetime import datetime
from itertools import takewhile
from typing import Any

import orjson

from tespes import errors, events, tes
from tespes.events import Entry, moment
from tespes.flow.streams import Folds
from tespes.projections import TASK_VIEW, Document, TaskView
from tespes.projections.task_view import output_log
from tespes.store import Blobs, Documents, Log
from tespes.store.conditions import BeginsWith, Condition, HasPair, OneOf
from tespes.tes.filters import Filters

_SLICE = 128
_PAGE_BYTES = 16 * 2**20
_MOMENTS = 1000
_DIGITS = 18

Point = int | datetime  # a position of the log, or a moment


class TaskReader:
    """Tasks in the standard's shape."""

    def __init__(self, log: Log, documents: Documents, blobs: Blobs, showing: tes.Showing = tes.Showing()) -> None:  # noqa: B008 - frozen
        self._log = log
        self._documents = documents
        self._blobs = blobs
        self.showing = showing
        self._is_made = False
        self._folds: Folds[TaskView] = Folds(log, TASK_VIEW.apply)

    async def get(self, task_id: str, view: tes.View, when: Point | None = None) -> Document:
        """A task as it is at this moment, or as it was known then: the fold of its stream.

        :raises errors.NotFound: there is no such task, or was none then; errors.BadRequest: see `as_of`
        """
        found = await self._document(task_id) if when is None else await as_of(self._log, task_id, when)
        return await self._shown(found, view)

    async def is_running(self, task_id: str) -> bool:
        """Whether an executor of it runs, whatever state the settings let clients see; raises as `get` does."""
        return (await self._document(task_id))["state"] == tes.State.RUNNING

    async def page(
        self, view: tes.View, filters: Filters, *, before: int | None, limit: int
    ) -> tuple[list[Document], int | None]:
        """A page of tasks, newest first, and the position below which the next one starts; may be moments behind.

        It has fewer than `limit` tasks, and others follow, where they are very large.

        :raises errors.Unavailable: the view is being made anew: a part of the tasks would look like all of them
        """
        await self._check_that_the_view_is_made()
        where = _conditions(filters)
        if self.showing.is_whole(view):
            return await self._whole_page(view, where, before, limit)
        found = await self._documents.page(TASK_VIEW, where, before=before, limit=limit + 1, whole=False)
        more = found[limit - 1]["position"] if len(found) > limit else None
        return [self.showing.show(each, view) for each in found[:limit]], more

    async def _document(self, task_id: str) -> TaskView:
        fold = await self._folds.load(task_id)
        if fold is None:
            raise errors.NotFound(f"there is no task {task_id}")
        return fold.value

    async def _whole_page(
        self, view: tes.View, where: Sequence[Condition], before: int | None, limit: int
    ) -> tuple[list[Document], int | None]:
        """A slice at a time, so that what is in memory is bounded whatever the tasks hold."""
        page: list[Document] = []
        size_bytes = 0
        while len(page) < limit:
            count = min(limit - len(page), _SLICE)
            found = await self._documents.page(TASK_VIEW, where, before=before, limit=count + 1, whole=True)
            for place, document in enumerate(found[:count], start=1):
                whole = document if document["version"] else await self._document(document["id"])
                page.append(await self._shown(whole, view))
                before = document["position"]
                size_bytes += len(orjson.dumps(page[-1]))
                if size_bytes > _PAGE_BYTES and place < len(found):
                    return page, before
            if len(found) <= count:
                return page, None
        return page, before

    async def _check_that_the_view_is_made(self) -> None:
        """Another version of the view, after an upgrade, is made from the whole log."""
        if self._is_made:
            return
        at, head = await self._documents.position(TASK_VIEW), (await self._log.head()).position
        if at < head - _MOMENTS:
            raise errors.Unavailable(f"the list of tasks is being made anew: {at:,} of {head:,} commits are in it; try again")
        self._is_made = True

    async def _shown(self, document: TaskView | Document, view: tes.View) -> Document:
        """The view, with what it shows of the texts and lists that live in blobs."""
        shown = self.showing.show(document["task"], view)
        for kept in document["kept"]:
            is_list = kept["place"].endswith(".outputs")
            if view is tes.View.FULL or (is_list and view is tes.View.BASIC):
                content = await self._blobs.get(kept["sha256"])
                found = _output_logs(content) if is_list else content.decode()
                shown = _with(shown, kept["place"].split("."), found)
        return shown


def point(text: str) -> Point:
    """A position of the log, or a moment.

    :raises ValueError: it is neither
    """
    if text.isascii() and text.isdecimal() and len(text) <= _DIGITS:
        return int(text)
    at = moment.read(text[:11] + text[11:].replace(" ", "+"))  # a + that was not encoded in a query has become a space
    if at.tzinfo is None:
        raise ValueError("a moment has a time zone")
    return at


async def as_of(log: Log, task_id: str, when: Point) -> TaskView:
    """A task as it was known then: the fold of what its stream had up to that position, or moment.

    :raises errors.NotFound: there is no such task, or it did not exist then
    :raises errors.BadRequest: the log has not come to that position yet
    """
    head = (await log.head()).position
    if isinstance(when, int) and when > head:
        raise errors.BadRequest("as_of", str(when), f"a position of this log, up to {head}, is expected")
    entries = await log.read_stream(task_id) if events.is_task(task_id) else []
    if not entries:
        raise errors.NotFound(f"there is no task {task_id}")
    view: TaskView | None = None
    for entry in takewhile(lambda entry: _is_known(entry, when), entries):
        for recorded in events.recorded(entry):
            view = TASK_VIEW.apply(view, recorded)
    if view is None:
        born = f"position {entries[0].position}, {moment.text(entries[0].commit.meta.at)}"
        raise errors.NotFound(f"there was no task {task_id} then: it was created at {born}")
    return view


def _is_known(entry: Entry, when: Point) -> bool:
    return entry.position <= when if isinstance(when, int) else entry.commit.meta.at <= when


def _conditions(filters: Filters) -> list[Condition]:
    """The filters in the words of the view."""
    found: list[Condition] = []
    if filters.states is not None:
        found.append(OneOf("state", frozenset(state.value for state in filters.states)))
    if filters.name_prefix is not None:
        found.append(BeginsWith("name", filters.name_prefix))
    return found + [HasPair("tags", key, value) for key, value in filters.tags]


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
