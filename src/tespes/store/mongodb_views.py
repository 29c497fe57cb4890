"""Views in MongoDB (see promise.Documents): one collection for each read model, version and generation.

What is searched stands beside the document, which is one JSON text: '.' and '$' in names cannot break it. A mapping is an
array of its terms (see `layout.terms`), so that one multikey index serves keys and pairs. Which index answers a page is
for the server's planner to find out.
"""

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any

import orjson
from pymongo import ASCENDING, DESCENDING, IndexModel, ReplaceOne
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import BulkWriteError

from tespes.projections import Document, ReadModel
from tespes.store import layout, mongodb_totals
from tespes.store.conditions import BeginsWith, Condition, HasPair, OneOf, first_after
from tespes.store.generations import Generations, Shown
from tespes.store.mongodb_checkpoints import Checkpoints
from tespes.store.mongodb_generations import Records
from tespes.store.promise import Fence, Group
from tespes.store.reading import reading
from tespes.store.totals import By, Total, Within

Stored = dict[str, Any]

_DUPLICATE_KEY = 11000


class Documents:
    """See the module."""

    def __init__(self, database: AsyncDatabase[Stored]) -> None:
        self._database = database
        self._checkpoints = Checkpoints(database)
        self._records = Records(database)
        self._shown = Shown(self._records.look)

    async def prepare(self, model: ReadModel) -> list[str]:
        """See promise.Documents.prepare. Processes of another release may be at work on what it left."""
        shown = await self._shown.of(model)
        with reading():
            await self._database[shown.table].create_indexes(indexes(model))
        names = await self._tables(f"^{model.name}_[0-9]+(_g[0-9]+)?$")
        return [name for name in names if name != model.stem and not name.startswith(f"{model.stem}_g")]

    async def _tables(self, pattern: str) -> list[str]:
        with reading():
            return sorted(await self._database.list_collection_names(filter={"name": {"$regex": pattern}}))

    async def position(self, model: ReadModel) -> int:
        """See promise.Documents.position."""
        return await self._shown.read(model, lambda shown: self._checkpoints.position(shown.table))

    async def load(self, model: ReadModel, ids: Sequence[str]) -> dict[str, Document]:
        """See promise.Documents.load."""

        async def load(shown: ReadModel) -> dict[str, Document]:
            with reading():
                cursor = self._database[shown.table].find({"_id": {"$in": list(ids)}})
                return {found["_id"]: _unpacked(found) async for found in cursor}

        return await self._shown.read(model, load)

    async def save(self, model: ReadModel, documents: Sequence[Document], position: int, fence: Fence | None = None) -> None:
        """See promise.Documents.save. The documents first: a crash between the two only means applying events twice."""
        shown = await self._shown.of(model)
        writes = [
            ReplaceOne({"_id": each["id"], "version": {"$lt": each["version"]}}, _packed(model, each), upsert=True)
            for each in documents
        ]
        if writes:
            with reading():
                await self._replace(shown, writes)
        await self._checkpoints.move(shown.table, position, fence)

    async def unlist(self, model: ReadModel, document: Document) -> None:
        """See promise.Documents.unlist. The terms stand in the document, and are replaced with it."""

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
        fields = {"body": 1, "position": 1} if whole else dict.fromkeys(model.columns, 1)

        async def page(shown: ReadModel) -> list[Document]:
            with reading():
                cursor = self._database[shown.table].find(query, fields).sort("position", DESCENDING).limit(limit)
                return [_unpacked(found) if whole else _short(model, found) async for found in cursor]

        return await self._shown.read(model, page)

    async def forget(self, model: ReadModel) -> None:
        """See promise.Documents.forget. The position first: a crash between the two leads to a rebuild. The fence stays."""
        shown = await self._shown.of(model)
        await self._checkpoints.reset(shown.table, 0)
        with reading():
            await self._database[shown.table].delete_many({})

    async def count(self, model: ReadModel) -> int:
        """See promise.Documents.count."""

        async def count(shown: ReadModel) -> int:
            with reading():
                return await self._database[shown.table].estimated_document_count()

        return await self._shown.read(model, count)

    async def groups(self, model: ReadModel, column: str, values: Collection[str]) -> dict[str, Group]:
        """See promise.Documents.groups."""
        grouped: Stored = {"_id": f"${column}", "documents": {"$sum": 1}, "first": {"$min": "$position"}}
        pipeline: list[Stored] = [{"$match": {column: {"$in": [*values]}}}, {"$group": grouped}]

        async def groups(shown: ReadModel) -> dict[str, Group]:
            with reading():
                found = await (await self._database[shown.table].aggregate(pipeline)).to_list()
                return {each["_id"]: Group(each["documents"], each["first"]) for each in found}

        return await self._shown.read(model, groups)

    async def totals(self, model: ReadModel, by: By, within: Within | None = None) -> list[Total]:
        """See promise.Documents.totals."""

        async def find(shown: ReadModel) -> list[Total]:
            with reading():
                return await mongodb_totals.find(self._database[shown.table], model, by, within)

        return await self._shown.read(model, find)

    async def generations(self, model: ReadModel) -> Generations:
        """See promise.Documents.generations."""
        return await self._records.look(model.stem)

    async def turn(self, model: ReadModel, seen: Generations, then: Generations, fence: Fence | None = None) -> bool:
        """See promise.Documents.turn."""
        turned = await self._records.turn(model.stem, seen, then, fence)
        self._shown.forget(model)
        return turned

    async def unread(self, model: ReadModel) -> list[ReadModel]:
        """See promise.Documents.unread. What there is, is listed before it is looked up what is needed."""
        names = await self._tables(f"^{model.stem}(_g[0-9]+)?$")
        there = [int(name.removeprefix(model.stem).removeprefix("_g") or 0) for name in names]
        known = await self.generations(model)
        return [replace(model, generation=generation) for generation in there if not known.needs(generation)]

    async def drop(self, model: ReadModel) -> None:
        """See promise.Documents.drop. The position first: what has none is filled from the beginning."""
        await self._checkpoints.remove(model.table)
        with reading():
            await self._database[model.table].drop()


def indexes(model: ReadModel) -> list[IndexModel]:
    """What the view is searched by."""
    return [IndexModel([(name, ASCENDING) for name in index]) for index in model.indexes]


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
    lines = {"lines": layout.lines(model, document)} if model.sums else {}
    body = orjson.dumps(document).decode()
    return {"_id": document["id"], "version": document["version"], **columns, **terms, **lines, "body": body}


def _short(model: ReadModel, stored: Stored) -> Document:
    return {"id": stored["_id"], **{name: stored.get(name) for name in model.columns}}


def _unpacked(stored: Stored) -> Document:
    return layout.document_of(stored.get("body"), stored["_id"], stored["position"])
