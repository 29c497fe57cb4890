"""What both stores promise of checkpoints (`store/promise.py`): how far followers are that keep no documents."""

import asyncio
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import stores
from stores import MongoDB, Place
from tespes import errors
from tespes.store import Checkpoints, Fence, Store

NAME = "webhook:a"


def fence(number: int) -> Fence:
    """Of the lease under which the follower works."""
    return Fence(NAME, number)


@pytest.fixture
def checkpoints(a_store: Store) -> Checkpoints:
    """Of an empty store."""
    return a_store.checkpoints


class TestPositions:
    """Where followers are."""

    async def test_it_is_where_it_was_moved_to_and_never_goes_back(self, checkpoints: Checkpoints) -> None:
        """0 if it never began; others are where they are."""
        assert await checkpoints.position(NAME) == 0
        for asked, expected in ((3, 3), (7, 7), (5, 7), (0, 7), (7, 7), (8, 8)):
            await checkpoints.move(NAME, asked)
            assert await checkpoints.position(NAME) == expected
        assert await checkpoints.position("webhook:b") == 0

    async def test_it_outlives_the_process(self, place: Place) -> None:
        """Durable; also that a follower began at 0."""
        async with place.open() as store:
            await store.checkpoints.move(NAME, 12)
            await store.checkpoints.begin("webhook:b", 0)
        async with place.open() as store:
            assert await store.checkpoints.position(NAME) == 12
            assert await store.checkpoints.begin("webhook:b", 9) == 0

    async def test_who_is_new_begins_once(self, checkpoints: Checkpoints) -> None:
        """Whoever begins later is where it is."""
        assert await checkpoints.begin(NAME, 5) == 5
        assert await checkpoints.begin(NAME, 9) == 5
        await checkpoints.move(NAME, 7)
        assert await checkpoints.begin(NAME, 0) == 7
        await checkpoints.move("webhook:b", 3, fence(2))
        assert await checkpoints.begin("webhook:b", 9) == 3

    async def test_of_many_that_begin_at_once_one_is_first(self, checkpoints: Checkpoints) -> None:
        """All of them find the same position."""
        found = await asyncio.gather(*(checkpoints.begin(NAME, number) for number in range(1, 21)))
        assert set(found) == {await checkpoints.position(NAME)}

    async def test_of_many_moves_at_once_the_farthest_counts(self, checkpoints: Checkpoints) -> None:
        """In whatever order they arrive."""
        await checkpoints.begin(NAME, 0)
        await asyncio.gather(*(checkpoints.move(NAME, number, fence(1)) for number in (5, 19, 3, 20, 11, 1)))
        assert await checkpoints.position(NAME) == 20

    async def test_it_is_reset_to_wherever_it_should_be(self, checkpoints: Checkpoints) -> None:
        """Back or forth; from there on it moves as ever. One that never began can be, too."""
        await checkpoints.move(NAME, 50)
        for position in (4, 9):
            await checkpoints.reset(NAME, position)
            assert await checkpoints.position(NAME) == position
        await checkpoints.move(NAME, 6)
        assert await checkpoints.position(NAME) == 9
        await checkpoints.reset("webhook:b", 3)
        assert await checkpoints.position("webhook:b") == 3


class TestFences:
    """MongoDB: who was replaced moves nothing."""

    @pytest.fixture
    def place(self, mongodb: MongoDB, tmp_path: Path) -> Place:
        """A MongoDB, as several processes share it."""
        return stores.in_mongodb(mongodb, tmp_path)

    async def test_an_older_fence_is_refused_and_changes_nothing(self, checkpoints: Checkpoints) -> None:
        """Also once a newer one moved it to where it was already, and over a reset."""
        await checkpoints.begin(NAME, 4)
        await checkpoints.move(NAME, 5, fence(1))
        await checkpoints.move(NAME, 0, fence(2))
        for _ in range(2):
            with pytest.raises(errors.LeaseLost):
                await checkpoints.move(NAME, 9, fence(1))
            assert await checkpoints.position(NAME) == 5
            await checkpoints.reset(NAME, 5)
        await checkpoints.move(NAME, 6, fence(2))
        assert await checkpoints.position(NAME) == 6

    async def test_fences_of_others_count_for_nothing(self, checkpoints: Checkpoints) -> None:
        """Each follower has its own."""
        await checkpoints.move("webhook:b", 3, fence(8))
        await checkpoints.move(NAME, 3, fence(1))
        assert await checkpoints.position(NAME) == 3


MOVES = st.lists(st.tuples(st.integers(0, 30), st.integers(1, 4)), max_size=12)


@settings(max_examples=20, deadline=None)
@given(moves=MOVES)
def test_any_moves_in_any_order_are_the_farthest_of_those_that_were_not_refused(
    mongodb: MongoDB, moves: list[tuple[int, int]]
) -> None:
    """An oracle of four lines."""

    async def check() -> None:
        position = newest = 0
        async with stores.in_mongodb(mongodb, Path()).open() as store:
            for asked, number in moves:
                try:
                    await store.checkpoints.move(NAME, asked, fence(number))
                    assert number >= newest
                    position, newest = max(position, asked), number
                except errors.LeaseLost:
                    assert number < newest
                assert await store.checkpoints.position(NAME) == position

    asyncio.run(check())
