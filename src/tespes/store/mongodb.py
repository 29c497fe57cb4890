"""The store of a service: MongoDB 7 or 8 through PyMongo's asynchronous API.

One document for each commit, one ordered `insert_many` for each batch, write concern majority with the journal. No
transactions, no change streams: it works the same on a single server and on a replica set.
"""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AsyncExitStack
from typing import Any

import orjson
from pymongo import ASCENDING, DESCENDING, AsyncMongoClient, IndexModel, ReplaceOne
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import (
    AutoReconnect,
    BulkWriteError,
    ConfigurationError,
    ExecutionTimeout,
    NetworkTimeout,
    OperationFailure,
    PyMongoError,
    ServerSelectionTimeoutError,
    WriteConcernError,
)
from pymongo.read_concern import ReadConcern
from pymongo.read_preferences import ReadPreference
from pymongo.uri_parser import parse_uri
from pymongo.write_concern import WriteConcern

from tespes import errors
from tespes.events import Entry, chain
from tespes.events.chain import Head
from tespes.projections import Document, ReadModel
from tespes.store import layout
from tespes.store.promise import Conflict, OutcomeUnknown, PositionTaken, SameId, Tables, VersionTaken, Written, checked

Stored = dict[str, Any]
Database = AsyncDatabase[Stored]

_DUPLICATE_KEY = 11000
_DURABLE = WriteConcern(w="majority", j=True, wtimeout=10_000)
_MAJORITY = ReadConcern("majority")
_BLOB_PART_BYTES = 8 * 2**20


class LogTable:
    """The log in MongoDB (see promise.LogTable)."""

    def __init__(self, database: Database) -> None:
        self._log = database.get_collection("log", write_concern=_DURABLE, read_concern=_MAJORITY)
        self._primary = database.get_collection("log", read_preference=ReadPreference.PRIMARY)

    async def prepare(self) -> None:
        """Make the indexes that the promise rests on."""
        unique_position = IndexModel([("position", ASCENDING)], unique=True)
        unique_version = IndexModel([("stream", ASCENDING), ("version", ASCENDING)], unique=True)
        await self._log.create_indexes([unique_position, unique_version])

    async def write(self, entries: Sequence[Entry]) -> Written:
        """See promise.LogTable.write. The prefix before the first conflict is written."""
        try:
            await self._log.insert_many([layout.document(entry) for entry in entries], ordered=True)
        except BulkWriteError as error:
            return await self._explain(entries, error)
        except (AutoReconnect, NetworkTimeout, ExecutionTimeout, WriteConcernError) as error:
            raise OutcomeUnknown(str(error)) from error
        except PyMongoError as error:
            raise errors.StoreUnavailable(f"MongoDB refused a write: {error}") from error
        return Written(len(entries), {})

    async def _explain(self, entries: Sequence[Entry], error: BulkWriteError) -> Written:
        failures = error.details.get("writeErrors", [])
        if error.details.get("writeConcernErrors") or not failures:
            raise OutcomeUnknown("the majority did not confirm in time") from error
        index, code = failures[0]["index"], failures[0]["code"]
        if code == _DUPLICATE_KEY:
            return Written(index, {index: await self._conflict(entries[index])})
        if before := min(index, error.details.get("nInserted", 0)):  # these are in the log; the others are tried again
            return Written(before, {})
        raise errors.StoreUnavailable(f"MongoDB refused a write: {failures[0].get('errmsg')}") from error

    async def _conflict(self, entry: Entry) -> Conflict:
        """What is in the way, by looking, whatever the message says; the id first."""
        commit = entry.commit
        try:
            if await self._primary.find_one({"_id": commit.id}, {"_id": 1}):
                return await self._same(commit.id)
            taken = await self._primary.find_one({"stream": commit.stream, "version": commit.version}, {"_id": 1})
            if taken is not None:  # by this very commit, if somebody else appended it between the two questions
                return await self._same(commit.id) if taken["_id"] == commit.id else VersionTaken()
        except PyMongoError as error:
            raise OutcomeUnknown(str(error)) from error
        return PositionTaken()

    async def _same(self, commit_id: str) -> Conflict:
        """The commit is answered for only once a majority has it."""
        same = await self._log.find_one({"_id": commit_id})
        if same is None:
            raise OutcomeUnknown(f"commit {commit_id} is not at a majority yet")
        return SameId(layout.from_document(same))

    async def head(self) -> Head:
        """See promise.LogTable.head."""
        with _reading():
            found = await self._primary.find_one({}, {"position": 1, "hash": 1}, sort=[("position", DESCENDING)])
        return Head(found["position"], found["hash"]) if found else chain.EMPTY

    async def read(self, after: int, limit: int) -> list[Entry]:
        """See promise.LogTable.read. Positions have no holes, so both ends are known."""
        with _reading():
            cursor = self._log.find({"position": {"$gt": after, "$lte": after + limit}}).sort("position", ASCENDING)
            return [layout.from_document(stored) async for stored in cursor]

    async def read_streams(self, after: Mapping[str, int]) -> dict[str, list[Entry]]:
        """See promise.LogTable.read_streams."""
        each = [{"stream": stream, "version": {"$gt": version}} for stream, version in after.items()]
        found: dict[str, list[Entry]] = {}
        with _reading():
            async for stored in self._log.find({"$or": each} if len(each) > 1 else each[0]).sort("version", ASCENDING):
                found.setdefault(stored["stream"], []).append(layout.from_document(stored))
        return found

    async def newest(self, streams: Sequence[str]) -> dict[str, int]:
        """See promise.LogTable.newest."""
        last = {"$group": {"_id": "$stream", "newest": {"$max": "$version"}}}
        with _reading():
            cursor = await self._log.aggregate([{"$match": {"stream": {"$in": list(streams)}}}, last])
            return {found["_id"]: found["newest"] async for found in cursor}


class Documents:
    """Views in MongoDB (see promise.Documents): one collection for each read model and version."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._checkpoints = database["checkpoint"]

    async def prepare(self, model: ReadModel) -> None:
        """See promise.Documents.prepare."""
        indexes = [IndexModel([(name, ASCENDING) for name in index]) for index in model.indexes]
        await self._database[model.table].create_indexes(indexes)

    async def position(self, model: ReadModel) -> int:
        """See promise.Documents.position."""
        with _reading():
            found = await self._checkpoints.find_one({"_id": model.table})
        return int(found["position"]) if found else 0

    async def load(self, model: ReadModel, ids: Sequence[str]) -> dict[str, Document]:
        """See promise.Documents.load."""
        with _reading():
            cursor = self._database[model.table].find({"_id": {"$in": list(ids)}})
            return {found["_id"]: _unpacked(found) async for found in cursor}

    async def save(self, model: ReadModel, documents: Sequence[Document], position: int) -> None:
        """See promise.Documents.save. The documents first: a crash between the two only means applying events twice."""
        writes = [
            ReplaceOne({"_id": each["id"], "version": {"$lt": each["version"]}}, _packed(model, each), upsert=True)
            for each in documents
        ]
        with _reading():
            if writes:
                await self._replace(model, writes)
            await self._checkpoints.update_one({"_id": model.table}, {"$max": {"position": position}}, upsert=True)

    async def _replace(self, model: ReadModel, writes: list[ReplaceOne[Stored]]) -> None:
        try:
            await self._database[model.table].bulk_write(writes, ordered=False)
        except BulkWriteError as error:
            # An upsert that meets a newer version collides with its id: the newer one stays, as promised.
            if any(failure["code"] != _DUPLICATE_KEY for failure in error.details.get("writeErrors", [])):
                raise

    async def page(
        self, model: ReadModel, where: Mapping[str, Any], *, before: int | None, limit: int, whole: bool
    ) -> list[Document]:
        """See promise.Documents.page."""
        query = {**where, **({"position": {"$lt": before}} if before is not None else {})}
        fields = None if whole else dict.fromkeys(model.columns, 1)
        with _reading():
            cursor = self._database[model.table].find(query, fields).sort("position", DESCENDING).limit(limit)
            return [_unpacked(found) if whole else _short(model, found) async for found in cursor]

    async def forget(self, model: ReadModel) -> None:
        """See promise.Documents.forget. The position first: a crash between the two leads to a rebuild."""
        with _reading():
            await self._checkpoints.delete_one({"_id": model.table})
            await self._database[model.table].delete_many({})


class Blobs:
    """Blobs in MongoDB (see promise.Blobs), in parts, since a document holds 16 MiB at most."""

    def __init__(self, database: Database) -> None:
        self._parts = database.get_collection("blob", write_concern=_DURABLE)

    async def put(self, sha256: str, content: bytes) -> None:
        """See promise.Blobs.put."""
        with _reading():
            for part, start in enumerate(range(0, max(len(content), 1), _BLOB_PART_BYTES)):
                piece = {"_id": f"{sha256}:{part}", "of": sha256, "content": content[start : start + _BLOB_PART_BYTES]}
                await self._parts.replace_one({"_id": piece["_id"]}, piece, upsert=True)

    async def get(self, sha256: str) -> bytes:
        """See promise.Blobs.get."""
        content = b""
        with _reading():
            part = 0
            while piece := await self._parts.find_one({"_id": f"{sha256}:{part}"}):
                content += piece["content"]
                part += 1
        return checked(sha256, content if part else None)


async def open_tables(uri: str, database: str, stack: AsyncExitStack, *, writable: bool = True) -> Tables:
    """The store in that database, until the stack is closed.

    :param uri: MongoDB connection string; a database named in it goes before `database`
    :raises errors.SetupError: it cannot be reached, or lets nobody in
    """
    try:
        named = parse_uri(uri)
        hosts = ",".join(f"{host}:{port}" for host, port in named["nodelist"])
        patience: dict[str, Any] = {} if "serverSelectionTimeoutMS" in named["options"] else {"serverSelectionTimeoutMS": 5000}
        client: AsyncMongoClient[Stored] = AsyncMongoClient(uri, tz_aware=True, **patience)
        stack.push_async_callback(client.close)
        chosen = client.get_default_database(database)
        log = LogTable(chosen)
        if writable:
            await log.prepare()
    except ServerSelectionTimeoutError as error:
        raise errors.SetupError(f"MongoDB does not answer at {hosts}: start it, or mend store.mongodb_uri") from error
    except (OperationFailure, ConfigurationError, PyMongoError, ValueError) as error:
        raise errors.SetupError(f"MongoDB cannot be used: {error}: mend store.mongodb_uri") from error
    return Tables(f"MongoDB at {hosts}, database {chosen.name}", log, Documents(chosen), Blobs(chosen))


@contextlib.contextmanager
def _reading() -> Iterator[None]:
    """Turn the driver's errors into ours."""
    try:
        yield
    except PyMongoError as error:
        raise errors.StoreUnavailable(f"MongoDB: {error}") from error


def _packed(model: ReadModel, document: Document) -> Stored:
    """What is searched stands beside the body, which is one JSON text: '.' and '$' in names cannot break it."""
    columns = {name: document[name] for name in model.columns if name in document}
    return {"_id": document["id"], "version": document["version"], **columns, "body": orjson.dumps(document).decode()}


def _short(model: ReadModel, stored: Stored) -> Document:
    return {"id": stored["_id"], **{name: stored.get(name) for name in model.columns}}


def _unpacked(stored: Stored) -> Document:
    document: Document = orjson.loads(stored["body"])
    return document
