"""Uploads in parts under way, on record and at the store: however their attempt ends, none is left."""

import asyncio
import contextlib
import io
import time
import uuid
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import Any

import aiohttp
import boto3
import pytest
from yarl import URL

import s3_servers
import stores
from s3_servers import Moto, S3Server, SeaweedFS
from tespes import errors, tes
from tespes.flow.execute import By, Tasks
from tespes.flow.jobs import Job
from tespes.flow.uploads import Uploads
from tespes.storage import At, Manners, Options, Storage
from tespes.storage.s3 import Access, Key
from tespes.store import Store
from tespes.task import commands

MIB = 2**20
BY = By("test")
OWNER = Key(*s3_servers.OWNER)


class Buckets:
    """A bucket of the test's own in each of some stores."""

    def __init__(self, **servers: S3Server) -> None:
        self._id = uuid.uuid4().hex[:12]
        self._clients: dict[str, Any] = {}
        self.options = Options(
            s3_buckets={self.name(store): Access(server.url, key=OWNER) for store, server in servers.items()},
            manners=Manners(silence_s=0.5),
        )
        for store, server in servers.items():
            names = {"aws_access_key_id": OWNER.access_key, "aws_secret_access_key": OWNER.secret_key}
            self._clients[store] = boto3.client("s3", "us-east-1", endpoint_url=server.url, **names)
            self._clients[store].create_bucket(Bucket=self.name(store))

    def name(self, store: str) -> str:
        """Of the bucket."""
        return f"{store}-{self._id}"

    def at(self, store: str, name: str = "x") -> At:
        """An object."""
        return At(f"s3://{self.name(store)}/{name}", "somebody")

    def open(self, store: str) -> list[str]:
        """What is being uploaded there, as the store says."""
        found = self._clients[store].list_multipart_uploads(Bucket=self.name(store)).get("Uploads", ())
        return sorted(each["Key"] for each in found)

    def close(self) -> None:
        """Let go of every connection."""
        for client in self._clients.values():
            client.close()

    async def until(self, store: str, wanted: list[str]) -> None:
        """Until that is what is being uploaded there."""
        deadline = time.monotonic() + 15
        while (found := await asyncio.to_thread(self.open, store)) != wanted:
            assert time.monotonic() < deadline, f"{found} instead of {wanted}"
            await asyncio.sleep(0.05)


class Tespes:
    """Tasks, and their uploads."""

    def __init__(self, store: Store, storage: Storage, every_s: float) -> None:
        self.store = store
        self.tasks = Tasks(store.log)
        self.uploads = Uploads(store.uploads, storage, self.tasks, store.log, every_s)

    async def job(self, task_id: str | None = None, attempt: int = 1) -> Job:
        """An attempt that is at work."""
        if task_id is None:
            submitted = tes.Task(executors=(tes.Executor(image="any", command=("true",)),))
            task_id = (await self.tasks.create(commands.CreateTask(task=submitted), "somebody", BY)).id
        await self.tasks.execute(task_id, commands.ScheduleAttempt(task_id=task_id, pulsar="site", runtime="sandbox"), BY)
        claim = commands.ClaimAttempt(attempt=attempt, run_id="run", host="node", python="3.11")
        await self.tasks.execute(task_id, claim, BY)
        return Job(task_id, attempt)

    async def lose(self, job: Job) -> None:
        """The attempt is given up; another one may follow."""
        await self.tasks.execute(job.task_id, commands.GiveUpAttempt(attempt=job.attempt, reason="gone"), BY)

    async def open(self, job: Job, at: At) -> str:
        """An upload in parts of that job."""
        return await self.uploads.open(job, 0, "/out/x", at, 10 * MIB, 5 * MIB)

    @contextlib.asynccontextmanager
    async def sweeping(self) -> AsyncIterator[None]:
        """Uploads are looked after meanwhile."""
        async with asyncio.TaskGroup() as group:
            sweeper = group.create_task(self.uploads.run())
            yield
            sweeper.cancel()


@contextlib.asynccontextmanager
async def running(directory: Path, options: Options, every_s: float = 60.0) -> AsyncIterator[Tespes]:
    """TESPES on the store in that directory; again, after a restart."""
    async with contextlib.AsyncExitStack() as stack:
        storage = Storage(options)
        stack.push_async_callback(storage.close)
        store = await stack.enter_async_context(stores.in_sqlite(directory).open())
        yield Tespes(store, storage, every_s)


@pytest.fixture
def buckets(seaweedfs: SeaweedFS, moto: Moto) -> Iterator[Buckets]:
    """In both stores."""
    buckets = Buckets(seaweedfs=seaweedfs, moto=moto)
    yield buckets
    buckets.close()


async def test_asking_again_is_the_same_upload(tmp_path: Path, buckets: Buckets) -> None:
    """While it is open, also at the same time; a file of another size, or that was stored, has another one."""
    async with running(tmp_path, buckets.options) as tespes:
        job, at = await tespes.job(), buckets.at("moto")
        first, again = await asyncio.gather(tespes.open(job, at), tespes.open(job, at))
        assert first == again
        assert buckets.open("moto") == ["x"]
        assert await tespes.uploads.open(job, 0, "/out/x", at, 11 * MIB, 5 * MIB) != first
        etags = await stored(await tespes.uploads.part_urls(job, first, [1, 2]))
        for _ in range(2):
            await tespes.uploads.complete(job, first, etags)
        assert buckets.open("moto") == ["x"]
        assert await tespes.open(job, at) != first


async def test_nobody_uses_the_upload_of_another_job(tmp_path: Path, buckets: Buckets) -> None:
    """Not even another attempt of the same task; nor is an upload used that there never was."""
    async with running(tmp_path, buckets.options) as tespes:
        job = await tespes.job()
        upload_id = await tespes.open(job, buckets.at("moto"))
        for other, named in [(Job(job.task_id, 2), upload_id), (job, "guessed"), (Job("other", 1), upload_id)]:
            with pytest.raises(errors.NotFound, match="the job has no such upload"):
                await tespes.uploads.part_urls(other, named, [1])
            with pytest.raises(errors.NotFound, match="the job has no such upload"):
                await tespes.uploads.complete(other, named, [])


async def test_an_attempts_end_ends_its_uploads(tmp_path: Path, buckets: Buckets) -> None:
    """At once, with those that are complete; another attempt's go on."""
    async with running(tmp_path, buckets.options) as tespes, tespes.sweeping():
        lost, other = await tespes.job(), await tespes.job()
        done = await tespes.open(lost, buckets.at("seaweedfs", "done"))
        await tespes.uploads.complete(lost, done, await stored(await tespes.uploads.part_urls(lost, done, [1, 2])))
        await tespes.open(lost, buckets.at("seaweedfs", "lost"))
        await tespes.open(other, buckets.at("seaweedfs", "other"))
        await tespes.lose(lost)
        following = await tespes.job(lost.task_id, 2)
        await tespes.open(following, buckets.at("seaweedfs", "second try"))
        await buckets.until("seaweedfs", ["other", "second try"])
        assert await tespes.store.uploads.of(lost.id) == []
        assert sorted(await tespes.store.uploads.jobs()) == sorted([following.id, other.id])


async def test_an_upload_is_complete_with_all_of_its_parts_only(tmp_path: Path, buckets: Buckets) -> None:
    """A store would make a shorter object of fewer."""
    async with running(tmp_path, buckets.options) as tespes:
        job = await tespes.job()
        named = await tespes.open(job, buckets.at("seaweedfs", "short"))
        etags = await stored(await tespes.uploads.part_urls(job, named, [1]))
        with pytest.raises(errors.BadRequest, match="those of 2 parts are expected"):
            await tespes.uploads.complete(job, named, etags)
        assert buckets.open("seaweedfs") == ["short"]


async def test_a_cancel_ends_uploads(tmp_path: Path, buckets: Buckets) -> None:
    """As soon as the attempt is over: a runner that stops may have a part on its way."""
    async with running(tmp_path, buckets.options, every_s=0.05) as tespes, tespes.sweeping():
        job = await tespes.job()
        await tespes.open(job, buckets.at("seaweedfs"))
        await tespes.tasks.execute(job.task_id, commands.CancelTask(), BY)
        await asyncio.sleep(0.2)
        assert buckets.open("seaweedfs") == ["x"]
        await tespes.lose(job)
        await buckets.until("seaweedfs", [])


async def test_what_ended_meanwhile_is_found_after_a_restart(tmp_path: Path, buckets: Buckets) -> None:
    """At the start everything on record is looked at: attempts that are still at work keep theirs, and no others."""
    async with running(tmp_path, buckets.options) as before:
        lost, working = await before.job(), await before.job()
        await before.open(lost, buckets.at("seaweedfs", "lost"))
        kept = await before.open(working, buckets.at("seaweedfs", "working"))
        await before.lose(lost)
        await before.job(lost.task_id, 2)
    async with running(tmp_path, buckets.options) as after, after.sweeping():
        await buckets.until("seaweedfs", ["working"])
        await asyncio.sleep(0.2)
        etags = await stored(await after.uploads.part_urls(working, kept, [1, 2]))
        await after.uploads.complete(working, kept, etags)
        assert buckets.open("seaweedfs") == []


async def test_a_store_that_is_away_is_asked_again(tmp_path: Path, buckets: Buckets, moto: Moto) -> None:
    """Later; until then it keeps no other store waiting."""
    async with running(tmp_path, buckets.options, every_s=0.3) as tespes, tespes.sweeping():
        job = await tespes.job()
        for store in ("moto", "seaweedfs"):
            await tespes.uploads.open(job, 0, f"/out/{store}", buckets.at(store), 10 * MIB, 5 * MIB)
        moto.stop()
        try:
            await tespes.lose(job)
            await buckets.until("seaweedfs", [])
            assert [upload.path for upload in await tespes.store.uploads.of(job.id)] == ["/out/moto"]
        finally:
            moto.start()
        await buckets.until("moto", [])
        await gone(tespes, job)


async def test_a_store_that_refuses_is_no_obstacle(tmp_path: Path, buckets: Buckets) -> None:
    """The settings lost a bucket: its upload stays on record, the others are given up."""
    async with running(tmp_path, buckets.options) as tespes:
        job = await tespes.job()
        for store in ("moto", "seaweedfs"):
            await tespes.uploads.open(job, 0, f"/out/{store}", buckets.at(store), 10 * MIB, 5 * MIB)
        await tespes.lose(job)
    known = {name: access for name, access in buckets.options.s3_buckets.items() if name.startswith("seaweedfs")}
    async with running(tmp_path, Options(s3_buckets=known), every_s=0.1) as tespes, tespes.sweeping():
        await buckets.until("seaweedfs", [])
        await asyncio.sleep(0.3)
        assert [upload.path for upload in await tespes.store.uploads.of(job.id)] == ["/out/moto"]
        assert buckets.open("moto") == ["x"]


async def gone(tespes: Tespes, job: Job) -> None:
    """Until nothing of the job is on record."""
    async with asyncio.timeout(5):
        while await tespes.store.uploads.of(job.id):  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.02)


async def stored(urls: Sequence[str]) -> list[str]:
    """The ETags of the parts that were put there."""
    etags = []
    async with aiohttp.ClientSession() as session:
        for url in urls:
            content = b"x" * (5 * MIB if url is not urls[-1] else 1)
            async with session.put(URL(url, encoded=True), data=io.BytesIO(content)) as answer:
                assert answer.ok
                etags.append(answer.headers["ETag"])
    return etags
