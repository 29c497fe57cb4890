"""How far followers are, in MongoDB (see promise.Checkpoints): a document for each, with the newest fence that moved it."""

import contextlib
from typing import Any

from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import DuplicateKeyError

from tespes import errors
from tespes.store.promise import Fence
from tespes.store.reading import reading

Stored = dict[str, Any]


class Checkpoints:
    """See promise.Checkpoints. Views keep theirs here, too."""

    def __init__(self, database: AsyncDatabase[Stored]) -> None:
        self._checkpoints = database["checkpoint"]

    async def position(self, name: str) -> int:
        """See promise.Checkpoints.position."""
        with reading():
            found = await self._checkpoints.find_one({"_id": name})
        return int(found["position"]) if found else 0

    async def all(self) -> dict[str, int]:
        """See promise.Checkpoints.all."""
        with reading():
            return {found["_id"]: int(found["position"]) async for found in self._checkpoints.find()}

    async def begin(self, name: str, position: int) -> int:
        """See promise.Checkpoints.begin."""
        with reading(), contextlib.suppress(DuplicateKeyError):  # somebody else was first
            await self._checkpoints.update_one({"_id": name}, {"$setOnInsert": {"position": position}}, upsert=True)
        return await self.position(name)

    async def move(self, name: str, position: int, fence: Fence | None = None) -> None:
        """See promise.Checkpoints.move."""
        number = fence.number if fence else 0
        unpassed = {"_id": name, "fence": {"$not": {"$gt": number}}}
        with reading():
            try:
                await self._checkpoints.update_one(unpassed, {"$max": {"position": position, "fence": number}}, upsert=True)
            except DuplicateKeyError as error:  # it is there, but its fence is newer
                raise errors.LeaseLost(f"another process saves {name} now") from error

    async def reset(self, name: str, position: int) -> None:
        """See promise.Checkpoints.reset. The fence stays."""
        with reading():
            await self._checkpoints.update_one({"_id": name}, {"$set": {"position": position}}, upsert=True)

    async def remove(self, name: str) -> None:
        """There is no such follower any more."""
        with reading():
            await self._checkpoints.delete_one({"_id": name})
