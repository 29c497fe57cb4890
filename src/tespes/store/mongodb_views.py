"""Views in MongoDB (see promise.Documents): one collection for each read model and version.

What is searched stands beside the document, which is one JSON text: '.' and '$' in names cannot break it. A mapping is an
array of its terms (see `layout.terms`), so that one multikey index serves keys and pairs. Which index answers a page is
for the server's planner to find out.
"""

import asyncio
import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import orjson
from pymongo import ASCENDING, DESCENDING, IndexModel, ReplaceOne
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import BulkWriteError, DuplicateKeyError, PyMongoError

from tespes import errors
from tespes.projections import Document, ReadModel
from tespes.store import layout
from tespes.store.conditions import BeginsWith, Condition, HasPair, OneOf, first_after
from tespes.store.promise import Fence

Stored = dict[str, Any]

_DUPLICATE_KEY = 11000


class Documents:
    """See the module."""

    def __init__(self, database: AsyncDatabase[Stored]) -> None:
        self._database = database
        self._checkpoints = database["checkpoint"]

    async def prepare(self, model: ReadModel) -> list[str]:
        """See promise.Documents.prepare. Processes of another release may be at work on what it left."""
        indexes = [IndexModel([(name, ASCENDING) for name in index]) for index in model.indexes]
        with reading():
            await self._database[model.table].create_indexes(indexes)
            names = await self._database.list_collection_names(filter={"name": {"$regex": f"^{model.name}_[0-9]+$"}})
        return sorted(set(names) - {model.table})

    async def position(self, model: ReadModel) -> int:
        """See promise.Documents.position."""
        with reading():
            found = await self._checkpoints.find_one({"_id": model.table})
        return int(found["position"]) if found else 0

    async def load(self, model: ReadModel, ids: Sequence[str]) -> dict[str, Document]:
        """See promise.Documents.load."""
        with reading():
            cursor = self._database[model.table].find({"_id": {"$in": list(ids)}})
            return {found["_id"]: _unpacked(found) async for found in cursor}

    async def save(self, model: ReadModel, documents: Sequence[Document], position: int, fence: Fence | None = None) -> None:
        """See promise.Documents.save. The documents first: a crash between the two only means applying events twice."""
        writes = [
            ReplaceOne({"_id": each["id"], "version": {"$lt": each["version"]}}, _packed(model, each), upsert=True)
            for each in documents
        ]
        with reading():
            if writes:
                await self._replace(model, writes)
            await self._move(model, position, fence)

    async def _move(self, model: ReadModel, position: int, fence: Fence | None) -> None:
        number = fence.number if fence else 0
        unpassed = {"_id": model.table, "fence": {"$not": {"$gt": number}}}
        try:
            await self._checkpoints.update_one(unpassed, {"$max": {"position": position, "fence": number}}, upsert=True)
        except DuplicateKeyError as error:  # it is there, but its fence is newer
            raise errors.LeaseLost(f"another process saves {model.table} now") from error

    async def _replace(self, model: ReadModel, writes: list[ReplaceOne[Stored]]) -> None:
        try:
            await self._database[model.table].bulk_write(writes, ordered=False)
        except BulkWriteError as error:
            # An upsert that meets a newer version collides with its id: the newer one stays, as promised.
            if any(failure["code"] != _DUPLICATE_KEY for failure in error.details.get("writeErrors", [])):
                raise

    async def page(
        self, model: ReadModel, where: Sequence[Condition], *, before: int | None, limit: int, whole: bool
    ) -> list[Document]:
        """See promise.Documents.page."""
        query = asked(where, before)
        fields = {"body": 1} if whole else dict.fromkeys(model.columns, 1)
        with reading():
            cursor = self._database[model.table].find(query, fields).sort("position", DESCENDING).limit(limit)
            return [_unpacked(found) if whole else _short(model, found) async for found in cursor]

    async def forget(self, model: ReadModel) -> None:
        """See promise.Documents.forget. The position first: a crash between the two leads to a rebuild. The fence stays."""
        with reading():
            await self._checkpoints.update_one({"_id": model.table}, {"$set": {"position": 0}})
            await self._database[model.table].delete_many({})


@contextlib.contextmanager
def reading() -> Iterator[None]:
    """Turn the driver's errors into ours; those that were a cancellation, back into one."""
    try:
        yield
    except PyMongoError as error:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise asyncio.CancelledError from error
        raise errors.StoreUnavailable(f"MongoDB: {error}") from error


def asked(where: Sequence[Condition], before: int | None) -> Stored:
    """The conditions as MongoDB's query; the second condition on a field goes under $and."""
    query: Stored = {} if before is None else {"position": {"$lt": before}}
    terms: dict[str, list[str]] = {}
    more: list[Stored] = []
    for condition in where:
        match condition:
            case HasPair():
                terms.setdefault(condition.pairs, []).append(layout.term(condition))
            case OneOf() | BeginsWith() if condition.column in query:
                more.append({condition.column: _operators(condition)})
            case OneOf() | BeginsWith():
                query[condition.column] = _operators(condition)
    for pairs, wanted in terms.items():
        query[pairs] = wanted[0] if len(wanted) == 1 else {"$all": wanted}
    return {**query, "$and": more} if more else query


def _operators(condition: OneOf | BeginsWith) -> Any:
    match condition:
        case OneOf():
            values = sorted(condition.values)
            return values[0] if len(values) == 1 else {"$in": values}
        case BeginsWith():
            behind = first_after(condition.prefix)
            return {"$gte": condition.prefix} if behind is None else {"$gte": condition.prefix, "$lt": behind}


def _packed(model: ReadModel, document: Document) -> Stored:
    columns = {name: document[name] for name in model.columns if name in document}
    terms = {pairs: layout.terms(document, pairs) for pairs in model.pairs if document.get(pairs)}
    body = orjson.dumps(document).decode()
    return {"_id": document["id"], "version": document["version"], **columns, **terms, "body": body}


def _short(model: ReadModel, stored: Stored) -> Document:
    return {"id": stored["_id"], **{name: stored.get(name) for name in model.columns}}


def _unpacked(stored: Stored) -> Document:
    document: Document = orjson.loads(stored["body"])
    return document
