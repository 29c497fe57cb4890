"""Which generations of views there are, in MongoDB: a document for each view (see promise.Documents.generations)."""

from typing import Any

from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import DuplicateKeyError

from tespes.store.generations import Generations
from tespes.store.promise import Fence
from tespes.store.reading import reading

Stored = dict[str, Any]


class Records:
    """See the module."""

    def __init__(self, database: AsyncDatabase[Stored]) -> None:
        self._generations = database["generation"]

    async def look(self, stem: str) -> Generations:
        """See promise.Documents.generations."""
        with reading():
            found = await self._generations.find_one({"_id": stem})
        return Generations(found["shown"], found["newest"], found["outcome"]) if found else Generations()

    async def turn(self, stem: str, seen: Generations, then: Generations, fence: Fence | None) -> bool:
        """See promise.Documents.turn. Without a fence, the newest one that was seen stays."""
        as_seen: Stored = {"_id": stem, "shown": seen.shown, "newest": seen.newest}
        if fence is not None:
            as_seen["fence"] = {"$not": {"$gt": fence.number}}
        change: Stored = {"shown": then.shown, "newest": then.newest, "outcome": then.outcome}
        newest: Stored = {"$max": {"fence": fence.number}} if fence else {}
        with reading():
            try:
                done = await self._generations.update_one(as_seen, {"$set": change, **newest}, upsert=seen == Generations())
            except DuplicateKeyError:  # it is there, and is another
                return False
        return done.matched_count == 1 or done.upserted_id is not None
