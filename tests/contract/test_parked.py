"""A task whose events cannot be folded is parked: visibly, alone, over restarts, and until it can be folded again."""

from collections.abc import Callable
from typing import Any, cast

import pytest

import given as g
from stores import Place, Stored
from tespes import errors, tes
from tespes.flow.execute import By, Tasks
from tespes.flow.parked import Parked
from tespes.flow.project import Projector
from tespes.flow.read import TaskReader
from tespes.projections import TASK_VIEW, ReadModel
from tespes.store import Store
from tespes.task import commands

BY = By("somebody")
CREATE = commands.CreateTask(task=tes.Task(executors=(tes.Executor(image="alpine", command=("true",)),)))


def of_tomorrow(event: dict[str, Any]) -> dict[str, Any]:
    """An event of a release to come."""
    return event | {"type": "TaskFrozen"}


def damaged(event: dict[str, Any]) -> dict[str, Any]:
    """An event with other data."""
    return event | {"data": '{"nothing": "of that kind"}'}


def no_json(event: dict[str, Any]) -> dict[str, Any]:
    """An event that is none."""
    return event | {"data": "?"}


async def history(place: Place) -> tuple[str, str]:
    """Two tasks that were canceled, one after the other in the log: their ids."""
    async with place.open() as opened:
        tasks = Tasks(opened.log)
        first = (await tasks.create(CREATE, "somebody", BY)).id
        second = (await tasks.create(CREATE, "somebody", BY)).id
        for task_id in (first, second):
            await tasks.execute(task_id, commands.DeferTask(reason="no place"), BY)
        for task_id in (first, second):
            await tasks.execute(task_id, g.CANCEL, BY)
    return first, second


def change(place: Place, position: int, how: Callable[[dict[str, Any]], dict[str, Any]]) -> list[Stored]:
    """Change the events at that position behind TESPES's back; what was there before."""
    before = place.stored()
    entries = [dict(entry) for entry in before]
    entries[position - 1]["events"] = [how(event) for event in entries[position - 1]["events"]]
    place.tamper(entries)
    return before


async def projected(opened: Store) -> Projector:
    """A projector that has seen the whole log, as after a start."""
    projector = Projector(opened.log, opened.documents, TASK_VIEW)
    await projector.prepare()
    while entries := await opened.log.read(await opened.documents.position(TASK_VIEW)):
        await projector.project(entries)
    return projector


async def states(opened: Store) -> dict[str, str]:
    """What lists show."""
    page = await opened.documents.page(TASK_VIEW, (), before=None, limit=10, whole=True)
    return {each["id"]: each["state"] for each in page}


@pytest.mark.parametrize("how", [of_tomorrow, damaged, no_json])
async def test_an_event_that_cannot_be_read_parks_its_task_alone(
    place: Place, how: Callable[[dict[str, Any]], dict[str, Any]]
) -> None:
    """Its view stays as it was, also when further events of it can be read; the task next to it goes on."""
    bad, good = await history(place)
    change(place, 3, how)
    async with place.open() as opened:
        await projected(opened)
        assert await states(opened) == {bad: "QUEUED", good: "CANCELED"}
        (parked,) = await Parked(opened.log, opened.documents, TASK_VIEW).tasks()
        assert parked.id == bad
        assert "position 3" in parked.reason
        reader = TaskReader(opened.log, opened.documents, opened.blobs)
        assert (await reader.get(good, tes.View.MINIMAL))["state"] == "CANCELED"
        with pytest.raises((errors.UnknownEvent, errors.CorruptLog), match="position 3"):
            await reader.get(bad, tes.View.MINIMAL)


async def test_a_task_whose_first_event_cannot_be_read_is_in_no_list_and_parked(place: Place) -> None:
    """Nobody makes up a task."""
    bad, good = await history(place)
    change(place, 1, of_tomorrow)
    async with place.open() as opened:
        await projected(opened)
        assert await states(opened) == {good: "CANCELED"}
        assert [each.id for each in await Parked(opened.log, opened.documents, TASK_VIEW).tasks()] == [bad]


async def test_a_parked_task_is_free_when_its_events_can_be_read(place: Place) -> None:
    """After a retry, which also a process that does not project may do; until then a retry leaves it parked, over restarts."""
    bad, good = await history(place)
    before = change(place, 3, of_tomorrow)
    for _ in range(2):
        async with place.open() as opened:
            await projected(opened)
            assert await Parked(opened.log, opened.documents, TASK_VIEW).retry() == []
    place.tamper(before)
    async with place.open() as opened:
        parked = Parked(opened.log, opened.documents, TASK_VIEW)
        assert [each.id for each in await parked.tasks()] == [bad]
        assert await parked.retry(bad) == [bad]
        assert await parked.tasks() == []
        assert await states(opened) == {bad: "CANCELED", good: "CANCELED"}
        with pytest.raises(errors.NotFound):
            await parked.retry(bad)


async def test_a_further_event_frees_a_task_that_can_be_read_again(place: Place) -> None:
    """The projector folds it anew from its beginning: no event is left out."""
    bad, _ = await history(place)
    change(place, 3, of_tomorrow)
    async with place.open() as opened:
        await projected(opened)
    before = place.stored()
    place.tamper([entry | {"events": [_as_it_was(event) for event in entry["events"]]} for entry in before])
    async with place.open() as opened:
        projector = Projector(opened.log, opened.documents, TASK_VIEW)
        entries = await opened.log.read(4)
        await projector.project([entry for entry in entries if entry.commit.stream == bad])
        assert (await states(opened))[bad] == "CANCELED"
        assert await Parked(opened.log, opened.documents, TASK_VIEW).tasks() == []


async def test_a_task_is_parked_until_its_view_is_mended(place: Place) -> None:
    """Also if the database goes away in the middle of a retry."""
    bad, _ = await history(place)
    before = change(place, 3, of_tomorrow)
    async with place.open() as opened:
        await projected(opened)
    place.tamper(before)
    async with place.open() as opened:
        parked, documents = Parked(opened.log, opened.documents, TASK_VIEW), cast("Any", opened.documents)
        save = documents.save

        async def away(model: ReadModel, *of_it: Any) -> None:
            if model == TASK_VIEW:
                raise errors.StoreUnavailable("away for a moment")
            await save(model, *of_it)

        documents.save = away
        with pytest.raises(errors.StoreUnavailable):
            await parked.retry(bad)
        documents.save = save
        assert (await states(opened))[bad] == "QUEUED"
        assert await parked.retry(bad) == [bad]
        assert (await states(opened))[bad] == "CANCELED"


async def test_a_task_that_is_parked_anew_during_a_retry_stays_parked(place: Place) -> None:
    """A further event came meanwhile that whoever projects cannot fold: the retry has not seen it."""
    bad, _ = await history(place)
    before = change(place, 3, of_tomorrow)
    async with place.open() as opened:
        await projected(opened)
    place.tamper(before)
    async with place.open() as opened:
        parked, documents = Parked(opened.log, opened.documents, TASK_VIEW), cast("Any", opened.documents)
        save = documents.save

        async def meanwhile(model: ReadModel, *of_it: Any) -> None:
            await save(model, *of_it)
            if model == TASK_VIEW:
                await parked.park((await opened.log.read(4, 1))[0], ValueError("a further one"))

        documents.save = meanwhile
        assert await parked.retry() == []
        assert [(each.id, each.reason) for each in await parked.tasks()] == [(bad, "ValueError: a further one")]


def _as_it_was(event: dict[str, Any]) -> dict[str, Any]:
    return event | {"type": "TaskDeferred"} if event["type"] == "TaskFrozen" else event
