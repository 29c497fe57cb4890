"""What processes tell each other beside the log, in MongoDB: leases, what they agree on, what was heard of jobs."""

import contextlib
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, Final

from pymongo import IndexModel, UpdateOne
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import BulkWriteError, DuplicateKeyError
from pymongo.write_concern import WriteConcern

from tespes.store import version
from tespes.store.mongodb_views import Stored
from tespes.store.reading import reading
from tespes.store.shared import Held, Sign

_KEPT: Final = timedelta(days=2)
INDEXES: Final = (IndexModel([("at", 1)], expireAfterSeconds=int(_KEPT.total_seconds())),)
_DUPLICATE_KEY: Final = 11000


class Leases:
    """Leases in MongoDB (see shared.Leases): a document for each, which is never removed."""

    def __init__(self, database: AsyncDatabase[Stored], durable: WriteConcern) -> None:
        self._leases = database.get_collection("lease", write_concern=durable)

    async def look(self, name: str) -> Held | None:
        """See shared.Leases.look."""
        with reading():
            found = await self._leases.find_one({"_id": name})
        return Held(name, found["holder"], found["fence"], found["beat"]) if found else None

    async def put(self, lease: Held, seen: Held | None) -> bool:
        """See shared.Leases.put."""
        if seen is None:
            return await self._insert(lease)
        as_seen = {"_id": lease.name, "holder": seen.holder, "fence": seen.fence, "beat": seen.beat}
        with reading():
            done = await self._leases.update_one(as_seen, {"$set": _lease(lease)})
        return done.matched_count == 1

    async def _insert(self, lease: Held) -> bool:
        with reading():
            try:
                await self._leases.insert_one({"_id": lease.name, **_lease(lease)})
            except DuplicateKeyError:
                return False
        return True


class Agreements:
    """What all processes must agree on, in MongoDB (see shared.Agreements)."""

    def __init__(self, database: AsyncDatabase[Stored], durable: WriteConcern) -> None:
        self._agreed = database.get_collection("agreed", write_concern=durable)

    async def agree(self, name: str, value: str) -> str:
        """See shared.Agreements.agree."""
        with reading():
            with contextlib.suppress(DuplicateKeyError):
                await self._agreed.insert_one({"_id": name, "value": value})
            found = await self._agreed.find_one({"_id": name})
        return str(found["value"]) if found else value

    async def replace(self, name: str, former: str, value: str) -> None:
        """See shared.Agreements.replace."""
        with reading():
            await self._agreed.update_one({"_id": name, "value": former}, {"$set": {"value": value}})


class Mark:
    """The mark on a database (see version.Mark): a document beside what all processes agree on."""

    def __init__(self, database: AsyncDatabase[Stored], durable: WriteConcern) -> None:
        self._agreed = database.get_collection("agreed", write_concern=durable)

    async def look(self) -> str | None:
        """What it says; raises as PyMongo does, for whoever opens the database and says what is wrong with it."""
        found = await self._agreed.find_one({"_id": version.FILE})
        return str(found["value"]) if found else None

    async def begin(self) -> str | None:
        """Make it, unless somebody else did meanwhile; what it says then. Raises as `look` does."""
        with contextlib.suppress(DuplicateKeyError):
            await self._agreed.insert_one({"_id": version.FILE, "value": str(version.VERSION)})
        return await self.look()

    async def read(self) -> str | None:
        """See version.Mark.read."""
        with reading():
            return await self.look()

    async def write(self, value: str) -> None:
        """See version.Mark.write."""
        with reading():
            await self._agreed.update_one({"_id": version.FILE}, {"$set": {"value": value}}, upsert=True)


class Signs:
    """Signs of life in MongoDB (see shared.Signs). Losing some costs a question, so a majority need not have them."""

    def __init__(self, database: AsyncDatabase[Stored]) -> None:
        self._signs = database.get_collection("sign", write_concern=WriteConcern(w=1))

    async def prepare(self) -> None:
        """Have old ones forgotten."""
        await self._signs.create_indexes([*INDEXES])

    async def add(self, signs: Mapping[str, Sign]) -> None:
        """See shared.Signs.add."""
        changes = {job_id: _change(sign) for job_id, sign in signs.items()}
        with reading():
            while changes:
                changes = await self._write(changes)

    async def _write(self, changes: dict[str, Stored]) -> dict[str, Stored]:
        """What is left to write: two processes that hear of a job for the first time may meet."""
        writes = [UpdateOne({"_id": job_id}, change, upsert=True) for job_id, change in changes.items()]
        try:
            await self._signs.bulk_write(writes, ordered=False)
        except BulkWriteError as error:
            failures = error.details.get("writeErrors", [])
            if not failures or any(failure["code"] != _DUPLICATE_KEY for failure in failures):
                raise
            jobs = list(changes)
            return {jobs[failure["index"]]: changes[jobs[failure["index"]]] for failure in failures}
        return {}

    async def get(self, job_ids: Sequence[str]) -> dict[str, Sign]:
        """See shared.Signs.get."""
        with reading():
            cursor = self._signs.find({"_id": {"$in": list(job_ids)}})
            return {found["_id"]: _sign(found) async for found in cursor}


def _lease(lease: Held) -> Stored:
    return {"holder": lease.holder, "fence": lease.fence, "beat": lease.beat}


def _change(sign: Sign) -> Stored:
    said: dict[str, Any] = {name: value for name, value in (("status", sign.status), ("told", sign.told)) if value}
    change: Stored = {"$inc": {"runner": sign.runner, "pulsar": sign.pulsar}, "$currentDate": {"at": True}}
    return change | ({"$set": said} if said else {})


def _sign(found: Stored) -> Sign:
    return Sign(found["runner"], found["pulsar"], found.get("status"), found.get("told", False))
