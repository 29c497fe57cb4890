"""Uploads in parts that are under way: whatever becomes of the node, none is left at its storage for good.

Each is on record from its beginning. One whose attempt is over is given up: right after the attempt's end by the process
that opened it, and by any process at its start and every minute.
"""

import asyncio
import secrets
from collections.abc import Iterable, Sequence
from weakref import WeakValueDictionary

import structlog

from tespes import errors, events
from tespes.events import Entry
from tespes.flow.execute import Tasks
from tespes.flow.follow import follow, patiently
from tespes.flow.jobs import Job, job
from tespes.storage import At, Storage, shown
from tespes.store import Log, Upload
from tespes.store import Uploads as Table
from tespes.task.state import Canceling, Claimed, Expiring

_EVERY_S = 60.0
_REFUSED_S = 3600.0
_ENDS = frozenset({events.AttemptEnded.__name__, events.TaskCanceled.__name__})

_log = structlog.get_logger(__name__)


class Uploads:
    """All uploads in parts.

    :param every_s: after how long everything that is on record is looked at again
    """

    def __init__(self, table: Table, storage: Storage, tasks: Tasks, log: Log, every_s: float = _EVERY_S) -> None:
        self._table = table
        self._storage = storage
        self._tasks = tasks
        self._log = log
        self._every_s = every_s
        self._turns: WeakValueDictionary[tuple[str, int, str], asyncio.Lock] = WeakValueDictionary()
        self._ours: set[Job] = set()
        self._queues: dict[str, dict[str, Upload]] = {}
        self._not_before: dict[str, float] = {}

    async def open(  # noqa: PLR0917 - a file, where it goes, and how
        self, named: Job, index: int, path: str, at: At, size_bytes: int, part_bytes: int
    ) -> str:
        """The id of an upload of that file; the same one again, while it is not complete.

        A crash between storage and record leaves an upload at the storage that nobody knows: it has no part, no bytes.

        :raises errors.TransferError: the storage opens none
        """
        async with self._turns.setdefault((named.id, index, path), asyncio.Lock()):
            self._ours.add(named)
            known = await self._table.find(named.id, index, path)
            if known is not None and (known.size_bytes, known.part_bytes) == (size_bytes, part_bytes):
                return known.id
            upload = Upload(
                id=secrets.token_urlsafe(16),
                job_id=named.id,
                index=index,
                path=path,
                url=at.url,
                owner=at.owner,
                storage_id=await self._storage.open_upload(at),
                size_bytes=size_bytes,
                part_bytes=part_bytes,
            )
            await self._table.add(upload)
            return upload.id

    async def part_urls(self, named: Job, upload_id: str, numbers: Sequence[int]) -> Sequence[str]:
        """A signed URL for each of these parts, counted from 1.

        :raises errors.NotFound: the job has no such upload
        """
        upload = await self._of(named, upload_id)
        return await self._storage.part_urls(_at(upload), upload.storage_id, numbers)

    async def complete(self, named: Job, upload_id: str, etags: Sequence[str]) -> None:
        """Make the file of its parts; again is fine.

        :raises errors.NotFound: the job has no such upload; errors.BadRequest: these are not all of its parts
        :raises errors.TransferError: the storage does not do it
        """
        upload = await self._of(named, upload_id)
        parts = -(-upload.size_bytes // upload.part_bytes)
        if len(etags) != parts:
            raise errors.BadRequest("etags", f"{len(etags):,}", f"those of {parts:,} parts are expected")
        if not upload.is_complete:
            await self._storage.complete_upload(_at(upload), upload.storage_id, etags)
            await self._table.mark_complete(upload.id)

    async def run(self) -> None:
        """Give up what nobody needs any more, until cancelled."""
        head = await patiently("uploads", self._log.head)
        async with asyncio.TaskGroup() as group:
            group.create_task(follow("uploads", self._log, head.position, lambda entries: self._see(group, entries)))
            while True:
                try:
                    recorded = [job(job_id) for job_id in await self._table.jobs()]
                    await self._sweep(group, [named for named in recorded if named is not None])
                except errors.Unavailable as error:
                    _log.warning("open uploads are looked at later", reason=str(error))
                await asyncio.sleep(self._every_s)

    async def _see(self, group: asyncio.TaskGroup, entries: Sequence[Entry]) -> None:
        """Of the attempts that are over, look at those that opened an upload here."""
        if self._ours:
            over = {entry.commit.stream for entry in entries if any(event.type in _ENDS for event in entry.commit.events)}
            await self._sweep(group, [named for named in self._ours if named.task_id in over])

    async def _sweep(self, group: asyncio.TaskGroup, jobs: Iterable[Job]) -> None:
        """Have the uploads of those that are over given up, by one worker for each store: none waits for another."""
        for named in jobs:
            if await self._lives(named):
                continue
            uploads = await self._table.of(named.id)
            if complete := [upload.id for upload in uploads if upload.is_complete]:
                await self._table.remove(complete)
            for upload in uploads:
                if not upload.is_complete:
                    self._line_up(group, upload)
            self._ours.discard(named)

    async def _lives(self, named: Job) -> bool:
        """Whether its runner may be at work; while one is told to stop, a part of its may be on its way."""
        try:
            known = await self._tasks.load(named.task_id)
        except (errors.CorruptLog, errors.UnknownEvent):  # nobody knows (see `parked`), so nothing is given up
            return True
        state = known.state if known else None
        return isinstance(state, Claimed | Expiring | Canceling) and state.attempt.number == named.attempt

    def _line_up(self, group: asyncio.TaskGroup, upload: Upload) -> None:
        if self._not_before.get(upload.id, 0.0) > asyncio.get_running_loop().time():
            return
        store = "/".join(upload.url.split("/")[:3])
        if store not in self._queues:
            self._queues[store] = {}
            group.create_task(self._work(store))
        self._queues[store][upload.id] = upload

    async def _work(self, store: str) -> None:
        """Give up what waits for that store; if it is away, the rest is for another time."""
        queue = self._queues[store]
        try:
            while queue:
                await self._give_up(queue.pop(next(iter(queue))))
        except (errors.TransferInterrupted, errors.Unavailable) as error:
            _log.warning("uploads are given up later", store=store, reason=str(error))
        except Exception:  # noqa: BLE001 - the workers of other stores go on
            _log.exception("uploads could not be given up", store=store)
        finally:
            del self._queues[store]

    async def _give_up(self, upload: Upload) -> None:
        told = {"task_id": upload.job_id.rpartition("-")[0], "url": shown(upload.url)}
        try:
            await self._storage.abort_upload(_at(upload), upload.storage_id)
        except errors.TransferRefused as error:
            self._not_before[upload.id] = asyncio.get_running_loop().time() + _REFUSED_S
            _log.warning("an upload cannot be given up", **told, reason=str(error))
            return
        self._not_before.pop(upload.id, None)
        await self._table.remove([upload.id])
        _log.info("an upload was given up", **told)

    async def _of(self, named: Job, upload_id: str) -> Upload:
        upload = await self._table.get(upload_id)
        if upload is None or upload.job_id != named.id:
            raise errors.NotFound("the job has no such upload")
        return upload


def _at(upload: Upload) -> At:
    return At(upload.url, upload.owner)
