"""Lists of tasks as clients see them, on both stores: from the log through the view to the page."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson
import pytest

from tespes import errors, events, tes
from tespes.events import Meta
from tespes.flow import read
from tespes.flow.execute import now
from tespes.flow.project import Projector
from tespes.flow.read import TaskReader
from tespes.projections import TASK_VIEW
from tespes.store import Store
from tespes.tes.filters import Filters, tag_filters

ALL = Filters()


@dataclass
class Tasks:
    """Tasks in a store, and their list."""

    store: Store
    reader: TaskReader
    projector: Projector
    ids: list[str] = field(default_factory=list)
    projected: int = 0

    async def add(self, **submitted: Any) -> str:
        """A task; the list knows it."""
        task = tes.Task(executors=(tes.Executor(image="any", command=("true",)),), **submitted)
        await self.append(uuid.uuid4().hex, 1, events.TaskCreated(task=task))
        return self.ids[-1]

    async def append(self, task_id: str, version: int, *happened: events.Event) -> None:
        """Something happens to a task; the list knows it."""
        meta = Meta(at=now(), actor="tests", owner="anonymous")
        await self.store.log.append(events.commit(str(uuid.uuid4()), task_id, version, happened, meta))
        if version == 1:
            self.ids.append(task_id)
        await self.project()

    async def project(self) -> None:
        """The list knows everything."""
        while entries := await self.store.log.read(self.projected):
            await self.projector.project(entries)
            self.projected = entries[-1].position

    async def listed(self, filters: Filters = ALL, view: tes.View = tes.View.MINIMAL, limit: int = 99) -> list[list[Any]]:
        """All pages."""
        pages, before = [], None
        while True:
            page, before = await self.reader.page(view, filters, before=before, limit=limit)
            pages.append(page)
            if before is None:
                return pages


@pytest.fixture
async def tasks(a_store: Store) -> Tasks:
    """None yet."""
    projector = Projector(a_store.log, a_store.documents, TASK_VIEW)
    await projector.prepare()
    return Tasks(a_store, TaskReader(a_store.log, a_store.documents, a_store.blobs), projector)


TRUTH_TABLE = [
    ({"foo": "bar"}, {"foo": "bar"}, True),
    ({"foo": "bar"}, {"foo": "bat"}, False),
    ({"foo": ""}, {"foo": ""}, True),
    ({"foo": "bar", "baz": "bat"}, {"foo": "bar", "baz": "bat"}, True),
    ({"foo": "bar"}, {"foo": "bar", "baz": "bat"}, True),
    ({"foo": "bar", "baz": "bat"}, {"foo": "bar"}, False),
    ({"foo": ""}, {"foo": "bar"}, True),
    ({"foo": ""}, {}, False),
]


@pytest.mark.parametrize(("asked", "tags", "matches"), TRUTH_TABLE)
async def test_tags_match_as_the_standard_says(
    tasks: Tasks,
    asked: dict[str, str],
    tags: dict[str, str],
    matches: bool,  # noqa: FBT001 - a row of the table
) -> None:
    """The truth table of TES 1.1, ListTasks; other tasks are not found in its stead."""
    await tasks.add(tags={"foo2": "bar", "baz2": "bat"})
    task_id = await tasks.add(tags=tags)
    await tasks.add()
    filters = Filters(tags=tag_filters(list(asked), list(asked.values())))
    assert [[task["id"] for task in page] for page in await tasks.listed(filters)] == [[task_id] if matches else []]


async def test_filters_hold_together(tasks: Tasks) -> None:
    """State, name and tags of what the task is now."""
    first = await tasks.add(name="sample-1", tags={"project": "x", "kind": "a"})
    other = await tasks.add(name="Sample-1", tags={"project": "x", "kind": "a"})
    await tasks.add(name="sample-2", tags={"project": "y", "kind": "a"})
    for task_id in (first, other):
        await tasks.append(task_id, 2, events.TaskCancelRequested(), events.TaskCanceled())
    canceled = Filters(frozenset({tes.State.CANCELED}), "sample-", (("kind", None), ("project", "x")))
    for view in tes.View:
        ((found,),) = await tasks.listed(canceled, view)
        assert (found["id"], found["state"]) == (first, "CANCELED")
    queued = Filters(frozenset({tes.State.QUEUED}), "sample-", (("kind", "a"), ("project", "x")))
    assert await tasks.listed(queued) == [[]]


@pytest.mark.parametrize("view", tes.View)
@pytest.mark.parametrize("limit", [1, 2, 3, 5, 6, 7])
async def test_the_last_page_is_known_to_be_the_last(tasks: Tasks, view: tes.View, limit: int) -> None:
    """Also if it is full: nobody is sent on to an empty page."""
    for number in range(6):
        await tasks.add(name=f"n{number % 2}")
    found = await tasks.listed(ALL, view, limit)
    assert [len(page) for page in found] == [limit] * (6 // limit) + ([6 % limit] if 6 % limit else [])
    assert [task["id"] for page in found for task in page] == tasks.ids[::-1]
    assert [len(page) for page in await tasks.listed(Filters(name_prefix="n0"), view, 3)] == [3]


async def test_no_page_is_without_bounds(tasks: Tasks, monkeypatch: pytest.MonkeyPatch) -> None:
    """Large tasks make a page end early, never without a task, and all of them are on one page or another."""
    for size in (0, 3000, 5000, 100, 9000, 9000, 100):
        await tasks.add(description="x" * size)
    monkeypatch.setattr(read, "_SLICE", 3)
    monkeypatch.setattr(read, "_PAGE_BYTES", 6000)
    found = await tasks.listed(ALL, tes.View.FULL)
    assert [task["id"] for page in found for task in page] == tasks.ids[::-1]
    assert [len(page) for page in found] == [2, 1, 3, 1]
    assert all(len(orjson.dumps(page)) < 6000 + 9500 for page in found)
    assert [len(page) for page in await tasks.listed(ALL)] == [7]


async def test_a_view_that_is_being_made_is_not_shown(tasks: Tasks, monkeypatch: pytest.MonkeyPatch) -> None:
    """A part of the tasks would look like all of them: Unavailable, until the view has come to where the log is."""
    monkeypatch.setattr(read, "_MOMENTS", 5)
    for _ in range(10):
        await tasks.add()
    await tasks.store.documents.forget(TASK_VIEW)
    with pytest.raises(errors.Unavailable, match="0 of 10 commits"):
        await tasks.listed()
    tasks.projected = 0
    await tasks.project()
    assert [len(page) for page in await tasks.listed()] == [10]


def ids_of(pages: Sequence[Sequence[Any]]) -> list[str]:
    """The tasks on them."""
    return [task["id"] for page in pages for task in page]


async def test_a_filtered_list_is_the_same_after_a_rebuild(tasks: Tasks) -> None:
    """Law 4 for what is searched: made anew from the log, also with commits that come twice, the list is what it was."""
    for number in range(30):
        task_id = await tasks.add(name=f"n{number % 3}", tags={"kind": str(number % 4)} if number % 5 else None)
        if number % 2:
            await tasks.append(task_id, 2, events.TaskCancelRequested(), events.TaskCanceled())
    canceled = frozenset({tes.State.CANCELED})
    asked = [
        ALL,
        Filters(canceled),
        Filters(None, "n1"),
        Filters(None, "n", (("kind", None),)),
        Filters(canceled, "n", (("kind", "3"),)),
    ]
    live = [ids_of(await tasks.listed(filters)) for filters in asked]
    assert [len(found) for found in live] == [30, 15, 10, 24, 6]
    await tasks.store.documents.forget(TASK_VIEW)
    for start in (0, 0, 20, 7):
        tasks.projected = start
        await tasks.project()
        assert [ids_of(await tasks.listed(filters)) for filters in asked] == live
