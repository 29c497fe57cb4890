"""A task that is submitted twice with one key is there once: on both stores, after restarts, from two processes at once."""

import asyncio
from contextlib import AsyncExitStack

import pytest

from stores import Place
from tespes import errors, tes
from tespes.api import idempotency
from tespes.flow.execute import By, Tasks
from tespes.task import commands
from tespes.task.state import Ended

BY = By("somebody")
DIGEST, OTHER_DIGEST = "a" * 64, "b" * 64
EXECUTOR = tes.Executor(image="alpine", command=("true",))


def order(digest: str = DIGEST, *, notes: tuple[str, ...] = ()) -> commands.CreateTask:
    """A command that a request with that digest led to."""
    return commands.CreateTask(task=tes.Task(executors=(EXECUTOR,)), notes=notes, request_sha256=digest)


async def test_the_same_request_is_the_same_task_after_a_restart_and_after_its_end(place: Place) -> None:
    """Whatever this release says of it in its notes: only the digest counts."""
    commit_id = idempotency.commit_id("somebody", "key")
    async with place.open() as opened:
        tasks = Tasks(opened.log)
        created = await tasks.create_once(order(), commit_id, "somebody", BY)
        assert (await tasks.create_once(order(), commit_id, "somebody", BY)).id == created.id
        await tasks.execute(created.id, commands.CancelTask(), BY)
    async with place.open() as opened:
        again = await Tasks(opened.log).create_once(order(notes=("of a newer release",)), commit_id, "somebody", BY)
        assert again.id == created.id
        assert isinstance(again.state, Ended)
        assert (await opened.log.head()).position == 2


async def test_another_request_with_the_key_is_refused_with_the_tasks_id(place: Place) -> None:
    """Nothing is created."""
    commit_id = idempotency.commit_id("somebody", "key")
    async with place.open() as opened:
        created = await Tasks(opened.log).create_once(order(), commit_id, "somebody", BY)
        for tasks in (Tasks(opened.log), Tasks(opened.log)):
            with pytest.raises(errors.IdempotencyConflict, match=created.id):
                await tasks.create_once(order(OTHER_DIGEST), commit_id, "somebody", BY)
        assert (await opened.log.head()).position == 1


async def test_many_first_requests_at_once_make_one_task(place: Place) -> None:
    """From as many processes as the store allows; their notes differ, so that the log alone would call it a conflict."""
    commit_id = idempotency.commit_id("somebody", "key")
    async with AsyncExitStack() as stack:
        processes = 2 if place.options.mongodb_uri else 1
        logs = [(await stack.enter_async_context(place.open())).log for _ in range(processes)]
        posts = [
            Tasks(logs[number % processes]).create_once(order(notes=(str(number),)), commit_id, "somebody", BY)
            for number in range(20)
        ]
        created = await asyncio.gather(*posts)
        assert len({each.id for each in created}) == 1
        assert (await logs[0].head()).position == 1


async def test_many_first_requests_of_which_some_differ_have_one_winner(place: Place) -> None:
    """The others are told so; nobody is told that his task is there when it is not."""
    commit_id = idempotency.commit_id("somebody", "key")
    async with place.open() as opened:
        digests = [DIGEST, OTHER_DIGEST] * 5
        posts = [Tasks(opened.log).create_once(order(digest), commit_id, "somebody", BY) for digest in digests]
        answers = await asyncio.gather(*posts, return_exceptions=True)
        assert [isinstance(each, errors.IdempotencyConflict) for each in answers].count(True) == 5
        assert (await opened.log.head()).position == 1
