"""Open uploads in MongoDB (see promise.Uploads): a document for each, in the collection `uploads`."""

from collections.abc import Sequence
from dataclasses import asdict

from pymongo import ASCENDING, IndexModel
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.write_concern import WriteConcern

from tespes.store.mongodb_views import Stored
from tespes.store.promise import Upload
from tespes.store.reading import reading

INDEXES = (IndexModel([("job_id", ASCENDING)]),)


class Uploads:
    """See the module."""

    def __init__(self, database: AsyncDatabase[Stored], durable: WriteConcern) -> None:
        self._uploads = database.get_collection("uploads", write_concern=durable)

    async def prepare(self) -> None:
        """Make the index by which a job's are found."""
        await self._uploads.create_indexes([*INDEXES])

    async def add(self, upload: Upload) -> None:
        """See promise.Uploads.add."""
        document = asdict(upload)
        with reading():
            await self._uploads.insert_one({"_id": document.pop("id"), **document})

    async def get(self, upload_id: str) -> Upload | None:
        """See promise.Uploads.get."""
        with reading():
            return _upload(await self._uploads.find_one({"_id": upload_id}))

    async def find(self, job_id: str, index: int, path: str) -> Upload | None:
        """See promise.Uploads.find."""
        wanted = {"job_id": job_id, "index": index, "path": path, "is_complete": False}
        with reading():
            return _upload(await self._uploads.find_one(wanted))

    async def jobs(self) -> list[str]:
        """See promise.Uploads.jobs."""
        with reading():
            found: list[str] = await self._uploads.distinct("job_id")
        return found

    async def of(self, job_id: str) -> list[Upload]:
        """See promise.Uploads.of."""
        with reading():
            return [upload async for stored in self._uploads.find({"job_id": job_id}) if (upload := _upload(stored))]

    async def mark_complete(self, upload_id: str) -> None:
        """See promise.Uploads.mark_complete."""
        with reading():
            await self._uploads.update_one({"_id": upload_id}, {"$set": {"is_complete": True}})

    async def remove(self, upload_ids: Sequence[str]) -> None:
        """See promise.Uploads.remove."""
        with reading():
            await self._uploads.delete_many({"_id": {"$in": list(upload_ids)}})


def _upload(stored: Stored | None) -> Upload | None:
    if stored is None:
        return None
    named = dict(stored)
    return Upload(id=named.pop("_id"), **named)
