"""The store of a service: MongoDB 7 or 8 through PyMongo's asynchronous API.

One document for each commit, one ordered `insert_many` for each batch, write concern majority with the journal. No
transactions, no change streams: it works the same on a single server and on a replica set.
"""

import asyncio
import sys
from collections.abc import Awaitable, Mapping, Sequence
from contextlib import AsyncExitStack
from typing import Any

import pymongo.lock
from pymongo import ASCENDING, DESCENDING, AsyncMongoClient, IndexModel
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import (
    AutoReconnect,
    BulkWriteError,
    ExecutionTimeout,
    NetworkTimeout,
    PyMongoError,
    ServerSelectionTimeoutError,
    WriteConcernError,
)
from pymongo.read_concern import ReadConcern
from pymongo.read_preferences import ReadPreference
from pymongo.uri_parser import parse_uri
from pymongo.write_concern import WriteConcern

from tespes import errors
from tespes.events import Encoded, Entry, chain
from tespes.events.chain import Head
from tespes.store import layout, version
from tespes.store.mongodb_checkpoints import Checkpoints
from tespes.store.mongodb_setup import refusal, unreadable
from tespes.store.mongodb_signs import Agreements, Leases, Mark, Signs
from tespes.store.mongodb_tickets import Tickets
from tespes.store.mongodb_uploads import Uploads
from tespes.store.mongodb_views import Documents, Stored
from tespes.store.promise import (
    Conflict,
    OutcomeUnknown,
    PositionTaken,
    SameId,
    Tables,
    VersionTaken,
    Written,
    checked,
)
from tespes.store.reading import reading

Database = AsyncDatabase[Stored]

INDEXES = (
    IndexModel([("position", ASCENDING)], unique=True),
    IndexModel([("stream", ASCENDING), ("version", ASCENDING)], unique=True),
)
_DUPLICATE_KEY = 11000
_DURABLE = WriteConcern(w="majority", j=True, wtimeout=10_000)
_MAJORITY = ReadConcern("majority")
_BLOB_PART_BYTES = 8 * 2**20
_PATIENCE: dict[str, Any] = {
    "serverSelectionTimeoutMS": 5000,
    "socketTimeoutMS": 20_000,
}  # unless the connection string says so
_SOUND: dict[str, Any] = {
    "read_preference": ReadPreference.PRIMARY,
    "read_concern": ReadConcern(),
    "write_concern": WriteConcern(w=1),
}  # whatever the connection string says: who reads from a secondary takes leases that are held, and sees views go back


class LogTable:
    """The log in MongoDB (see promise.LogTable)."""

    def __init__(self, database: Database) -> None:
        self._log = database.get_collection("log", write_concern=_DURABLE, read_concern=_MAJORITY)
        self._newer = database["log"]  # with what no majority has yet, and may be rolled back
        self._reached = 0

    async def prepare(self) -> None:
        """Make the indexes that the promise rests on."""
        await self._log.create_indexes([*INDEXES])

    async def write(self, entries: Sequence[Entry]) -> Written:
        """See promise.LogTable.write. The prefix before the first conflict is written."""
        try:
            await self._log.insert_many([layout.document(entry) for entry in entries], ordered=True)
        except BulkWriteError as error:
            return await self._explain(entries, error)
        except ServerSelectionTimeoutError as error:  # nothing was sent: after a first try, PyMongo raises the first error
            raise errors.StoreUnavailable(f"MongoDB: {error}") from error
        except (AutoReconnect, NetworkTimeout, ExecutionTimeout, WriteConcernError) as error:
            raise OutcomeUnknown(str(error)) from error
        except PyMongoError as error:
            if error.has_error_label("RetryableWriteError"):
                raise OutcomeUnknown(str(error)) from error
            raise errors.StoreUnavailable(f"MongoDB refused a write: {error}") from error
        self._reached = entries[-1].position
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
            if await self._newer.find_one({"_id": commit.id}, {"_id": 1}):
                return await self._same(commit.id)
            taken = await self._newer.find_one({"stream": commit.stream, "version": commit.version}, {"_id": 1})
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
        """See promise.LogTable.head. What a majority has only grows, so the look begins where it ended before."""
        with reading():
            found = await self._last({"position": {"$gte": self._reached}}) or await self._last({})
        if found is None:
            return chain.EMPTY
        self._reached = found["position"]
        return Head(found["position"], found["hash"])

    async def _last(self, among: dict[str, Any]) -> Stored | None:
        return await self._log.find_one(among, {"position": 1, "hash": 1}, sort=[("position", DESCENDING)])

    async def read(self, after: int, limit: int, *, exact: bool = False) -> list[Entry]:
        """See promise.LogTable.read. Positions have no holes, so both ends are known."""
        with reading():
            cursor = self._log.find({"position": {"$gt": after, "$lte": after + limit}}).sort("position", ASCENDING)
            return [layout.from_document(stored, exact=exact) async for stored in cursor]

    async def read_streams(self, after: Mapping[str, int]) -> dict[str, list[Entry]]:
        """See promise.LogTable.read_streams."""
        each = [{"stream": stream, "version": {"$gt": version}} for stream, version in after.items()]
        found: dict[str, list[Entry]] = {}
        with reading():
            async for stored in self._log.find({"$or": each} if len(each) > 1 else each[0]).sort("version", ASCENDING):
                found.setdefault(stored["stream"], []).append(layout.from_document(stored))
        return found

    async def newest(self, streams: Sequence[str], *, certain: bool = False) -> dict[str, int]:
        """See promise.LogTable.newest."""
        last = {"$group": {"_id": "$stream", "newest": {"$max": "$version"}}}
        with reading():
            cursor = await (self._newer if certain else self._log).aggregate(
                [{"$match": {"stream": {"$in": list(streams)}}}, last]
            )
            return {found["_id"]: found["newest"] async for found in cursor}

    async def redact(self, position: int, index: int, was: Encoded, left: Encoded) -> bool:
        """See promise.LogTable.redact."""
        data = f"events.{index}.data"
        changes = {data: left.data, f"events.{index}.sha256": left.sha256}
        with reading():
            found = await self._log.update_one({"position": position, data: was.data}, {"$set": changes})
            return found.matched_count == 1

    async def scrub(self) -> None:
        """See promise.LogTable.scrub. The journal and the oplog overwrite themselves."""


class Blobs:
    """Blobs in MongoDB (see promise.Blobs), in parts, since a document holds 16 MiB at most."""

    def __init__(self, database: Database) -> None:
        self._parts = database.get_collection("blob", write_concern=_DURABLE)

    async def put(self, sha256: str, content: bytes) -> None:
        """See promise.Blobs.put."""
        with reading():
            for part, start in enumerate(range(0, max(len(content), 1), _BLOB_PART_BYTES)):
                piece = {"_id": f"{sha256}:{part}", "of": sha256, "content": content[start : start + _BLOB_PART_BYTES]}
                await self._parts.replace_one({"_id": piece["_id"]}, piece, upsert=True)

    async def get(self, sha256: str) -> bytes:
        """See promise.Blobs.get."""
        content = b""
        with reading():
            part = 0
            while piece := await self._parts.find_one({"_id": f"{sha256}:{part}"}):
                content += piece["content"]
                part += 1
        return checked(sha256, content if part else None)

    async def remove(self, sha256: str) -> None:
        """See promise.Blobs.remove."""
        with reading():
            await self._parts.delete_many({"of": sha256})


async def _wait_for(work: Awaitable[bool], timeout: float | None) -> bool:  # noqa: ASYNC109 - as PyMongo calls it
    """`asyncio.wait_for` as it is from Python 3.12 on.

    Before, it waits in a task of its own. Who is cancelled while PyMongo looks for a server leaves that task behind, with the
    lock of the client, and then nobody ever gets an answer again, not even when the server is back.
    """
    async with asyncio.timeout(timeout):
        return await work


async def open_tables(
    uri: str,
    database: str,
    stack: AsyncExitStack,
    *,
    writable: bool = True,
    restoring: bool = False,
    close_s: float = 1.0,
) -> Tables:
    """The store in that database, until the stack is closed.

    :param uri: MongoDB connection string; a database named in it goes before `database`
    :param restoring: a part of a backup may be in it
    :param close_s: for how long a server that does not answer is waited for at the end
    :raises errors.SetupError: it cannot be reached, or lets nobody in
    """
    client, chosen, hosts = opened(uri, database)
    stack.push_async_callback(close, client, close_s)
    log, uploads, signs, mark = LogTable(chosen), Uploads(chosen, _DURABLE), Signs(chosen), Mark(chosen, _DURABLE)
    try:
        version.check(found := await mark.look(), f"the database {chosen.name}", restoring=restoring)
        if writable:
            for table in (log, uploads, signs):
                await table.prepare()
            if found is None:
                version.check(await mark.begin(), f"the database {chosen.name}", restoring=restoring)
    except PyMongoError as error:
        raise refusal(error, hosts, chosen.name) from error
    description = f"MongoDB at {hosts}, database {chosen.name}"
    leases, tickets, agreements = Leases(chosen, _DURABLE), Tickets(chosen), Agreements(chosen, _DURABLE)
    views, checkpoints, blobs = Documents(chosen), Checkpoints(chosen), Blobs(chosen)
    return Tables(description, log, views, checkpoints, blobs, uploads, signs, leases, tickets, agreements, mark)


def opened(uri: str, database: str) -> tuple[AsyncMongoClient[Stored], Database, str]:
    """A client, which whoever asks closes; the database in it; and where that is, for people. Nobody is asked yet.

    :raises errors.SetupError: the connection string cannot be read
    """
    if sys.version_info < (3, 12):
        pymongo.lock.wait_for = _wait_for  # type: ignore[assignment, attr-defined]
    try:
        named = parse_uri(uri)
        patience = {name: value for name, value in _PATIENCE.items() if name not in named["options"]}
        client: AsyncMongoClient[Stored] = AsyncMongoClient(uri, tz_aware=True, **patience)
    except (PyMongoError, ValueError) as error:
        raise unreadable(error) from error
    hosts = ",".join(f"{host}:{port}" for host, port in named["nodelist"])
    return client, client.get_default_database(database, **_SOUND), hosts


async def close(client: AsyncMongoClient[Stored], within_s: float) -> None:
    """Say goodbye to the server, but do not wait long for one that does not answer."""
    closing = asyncio.ensure_future(client.close())
    await asyncio.wait({closing}, timeout=within_s)
    closing.cancel()
