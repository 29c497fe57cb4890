"""The queue of those that want to append, in MongoDB (see shared.Tickets): one document with an array."""

from typing import Any

from pymongo import ReturnDocument
from pymongo.asynchronous.database import AsyncDatabase

from tespes.store.mongodb_views import Stored
from tespes.store.reading import reading

_QUEUE = {"_id": "append"}


class Tickets:
    """See shared.Tickets."""

    def __init__(self, database: AsyncDatabase[Stored]) -> None:
        self._queues = database.get_collection("queue")

    async def add(self, ticket: str) -> None:
        """See shared.Tickets.add."""
        with reading():
            await self._queues.update_one(_QUEUE, {"$push": {"tickets": ticket}}, upsert=True)

    async def remove(self, ticket: str) -> list[str]:
        """See shared.Tickets.remove."""
        with reading():
            without = {"$pull": {"tickets": ticket}}
            return _tickets(await self._queues.find_one_and_update(_QUEUE, without, return_document=ReturnDocument.AFTER))

    async def all(self) -> list[str]:
        """See shared.Tickets.all."""
        with reading():
            return _tickets(await self._queues.find_one(_QUEUE))


def _tickets(queue: dict[str, Any] | None) -> list[str]:
    return list(queue["tickets"]) if queue else []
