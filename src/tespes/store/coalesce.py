"""Look-ups that come at the same time go to the database as one."""

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Sequence
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")

_HANGS_S = 1.0


class Coalesced(Generic[Key, Value]):
    """A look-up by key on top of a look-up of many keys.

    While one round trip is under way, the keys that are asked for gather for the next: an answer is never older than
    its question. A round trip that hangs keeps the next one waiting for a moment only. The callers own the round they wait for.
    """

    def __init__(self, look_up: Callable[[Sequence[Key]], Awaitable[dict[Key, Value]]]) -> None:
        self._look_up = look_up
        self._keys: dict[Key, None] = {}
        self._gathering: asyncio.Future[dict[Key, Value]] | None = None
        self._under_way: asyncio.Future[dict[Key, Value]] | None = None

    async def get(self, key: Key) -> Value | None:
        """The value of the key; None if it has none."""
        self._keys[key] = None
        if self._gathering is None:
            self._gathering = asyncio.ensure_future(self._round(self._under_way))
        return (await asyncio.shield(self._gathering)).get(key)

    async def _round(self, before: asyncio.Future[dict[Key, Value]] | None) -> dict[Key, Value]:
        if before is not None and not before.done():
            await asyncio.wait({before}, timeout=_HANGS_S)
        keys, self._keys = list(self._keys), {}
        self._under_way, self._gathering = self._gathering, None
        return await self._look_up(keys)
