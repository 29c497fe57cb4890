"""What runs in the background: the end of one part is the end of all, and is never silent."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from tespes.background import Background


async def _for_ever() -> None:
    await asyncio.Event().wait()


async def _ended(run: Callable[[], Coroutine[Any, Any, None]]) -> list[str]:
    """What is said when that ends, beside something that goes on."""

    async def both() -> None:
        async with Background(again_s=0.5) as background:
            background.start("long", _for_ever)
            background.start("brief", run)
            await asyncio.sleep(5)

    with pytest.raises(ExceptionGroup) as failed:
        await both()
    return [str(each) for each in failed.value.exceptions]


async def test_who_is_told_to_end_ends_quietly() -> None:
    """Leaving the block is no failure, whoever of them was let go before."""
    async with Background(again_s=0.5) as background:
        background.start("first", _for_ever)
        background.start("second", _for_ever)
        await asyncio.sleep(0)
        background.let_go()


async def test_a_part_that_ends_by_itself_ends_all() -> None:
    """Even without an error; the others say nothing about it."""

    async def brief() -> None:
        await asyncio.sleep(0)

    assert await _ended(brief) == ["brief ended by itself"]


async def test_a_cancellation_that_nobody_wanted_is_no_excuse() -> None:
    """A library cancels whoever waits for it when its connection breaks."""

    async def broken() -> None:
        raise asyncio.CancelledError

    assert await _ended(broken) == ["brief ended by itself"]


async def test_a_failure_that_it_survived_does_not_hide_its_end() -> None:
    """Below Python 3.13 a task counts as being cancelled for ever after a group that it waited for has failed."""

    async def fails() -> None:
        await asyncio.sleep(0)
        raise OSError("away")

    async def again() -> None:
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(fails())
        except* OSError:
            await asyncio.sleep(0)

    assert await _ended(again) == ["brief ended by itself"]
