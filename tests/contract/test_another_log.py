"""What tells that a position, or a view, is of another log (`flow/follow.py`, `flow/landmark.py`), on both stores."""

import time
from dataclasses import replace
from typing import Any

from histories import write
from stores import Place
from tespes.flow import follow, rebuild, verify
from tespes.flow.project import Projector
from tespes.projections import TASK_VIEW
from tespes.store import Store


async def test_a_position_behind_the_end_is_of_another_log(a_store: Store) -> None:
    """Where other processes write, it has to be so for some seconds."""
    await write(a_store, 1)
    end, begun = (await a_store.log.head()).position, time.monotonic()
    assert not await follow.is_ahead(a_store.log, end)
    assert await follow.is_ahead(a_store.log, end + 1)
    assert not a_store.log.shared or time.monotonic() - begun >= follow._SURE_S


async def test_an_end_that_is_old_for_a_moment_is_not_believed(a_store: Store) -> None:
    """As after a failover; a database in a file has none."""
    before = await a_store.log.head()
    await write(a_store, 1)
    log: Any = a_store.log
    look, old = log.head, [before, before]

    async def head() -> Any:
        return old.pop() if old else await look()

    log.head = head
    assert await follow.is_ahead(a_store.log, (await look()).position) is not a_store.log.shared


async def projected(opened: Store) -> None:
    """The view has seen all of the log, as after a start."""
    projector = Projector(opened.log, opened.documents, TASK_VIEW)
    await projector.prepare()
    while entries := await opened.log.read(await opened.documents.position(TASK_VIEW)):
        await projector.project(entries)


async def test_a_view_of_another_log_that_is_shorter_is_made_anew(place: Place) -> None:
    """The log of before was put in its place and went on otherwise, beyond where the view is: with the same tasks, too."""
    async with place.open() as opened:
        (both,) = await write(opened, 1)
        before = place.stored()
        gone = await write(opened, 2)
        await projected(opened)
        await rebuild.ask(opened.documents, TASK_VIEW)
        new = replace(TASK_VIEW, generation=1)
        await opened.documents.prepare(new)
        await opened.documents.save(new, [], 5)
    place.tamper(before)
    async with place.open() as opened:
        ids = await write(opened, 4)
        await projected(opened)
        assert set(await opened.documents.load(TASK_VIEW, [both, *gone, *ids])) == {both, *ids}
        assert await opened.documents.position(new) == 0
        assert (await verify.verify(opened.log, opened.documents, TASK_VIEW)).different == 0


async def test_a_view_of_the_same_log_stays(a_store: Store) -> None:
    """Whether it was made by this release or an older one, which put no landmark."""
    (task_id,) = await write(a_store, 1)
    await a_store.documents.prepare(TASK_VIEW)
    await a_store.documents.save(TASK_VIEW, [{"id": task_id, "version": 99, "position": 1}], 1)
    for _ in range(2):
        await projected(a_store)
        assert (await a_store.documents.load(TASK_VIEW, [task_id]))[task_id]["version"] == 99
