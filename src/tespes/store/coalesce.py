"""Look-ups that come at the same time go to the database as one."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

Value = TypeVar("Value")


class Coalesced(Generic[Value]):
    """A look-up by key on top of a look-up of many keys.

    While one round trip is under way, the keys that are asked for gather for the next: an answer is never older than
    its question. The callers own the round they wait for.
    """

    def __init__(self, look_up: Callable[[Sequence[str]], Awaitable[dict[str, Value]]]) -> None:
        self._look_up = look_up
        self._keys: dict[str, None] = {}
        self._gathering: asyncio.Future[dict[str, Value]] | None = None
        self._under_way: asyncio.Future[dict[str, Value]] | None = None

    async def get(self, key: str) -> Value | None:
        """The value of the key; None if it has none."""
        self._keys[key] = None
        if self._gathering is None:
            self._gathering = asyncio.ensure_future(self._round(self._under_way))
        return (await asyncio.shield(self._gathering)).get(key)

    async def _round(self, before: asyncio.Future[dict[str, Value]] | None) -> dict[str, Value]:
        if before is not None and not before.done():
            with contextlib.suppress(Exception):
                await asyncio.shield(before)
        keys, self._keys = list(self._keys), {}
        self._under_way, self._gathering = self._gathering, None
        return await self._look_up(keys)
