"""The transfer routes over HTTP: what a living attempt gets, and that an attempt which is over gets 410 from all of them."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pytest
from api_at_work import BY, KEY, Api, api_at_work

import given
from s3_servers import OWNER, Moto
from tespes import tes
from tespes.events import Outcome
from tespes.pulsar import job
from tespes.storage import Options, Storage
from tespes.storage.local import Roots
from tespes.storage.promise import Manners
from tespes.storage.s3 import Access, Key
from tespes.task import commands

BUCKET = "attempts"
PART_BYTES = 5 * 2**20
ROUTES: dict[str, tuple[str, str, Any]] = {
    "list": ("POST", "inputs/0/list", None),
    "ways in": ("POST", "inputs/0/ways", {"names": ["a"]}),
    "fetch": ("GET", "inputs/0?name=a", None),
    "ways out": ("POST", "outputs/0/ways", {"files": [{"path": "/out/x", "size_bytes": 1}]}),
    "ways of large files": ("POST", "outputs/1/ways", {"files": [{"path": "/large", "size_bytes": 3 * PART_BYTES}]}),
    "store": ("PUT", "outputs/0?path=%2Fout%2Fx", b"x"),
    "directories": ("POST", "outputs/0/directories", {"paths": ["/out/empty"]}),
    "parts": ("POST", "uploads/{upload}/parts", {"numbers": [1, 2]}),
    "complete": ("POST", "uploads/{upload}/complete", {"etags": ['"1"', '"2"', '"3"']}),
}
REFUSED = {"complete": 422}  # these are no tags of its parts


@dataclass
class Work:
    """A task whose first attempt is at work, and has begun an upload in parts."""

    api: Api
    directory: Path
    task_id: str
    upload: str = ""

    async def ask(self, route: str, attempt: int) -> tuple[int, Any]:
        """What an attempt's runner gets: the status, and the JSON if it is some."""
        method, path, body = ROUTES[route]
        job_id = f"{self.task_id}-{attempt}"
        headers = {"Authorization": f"Bearer {job.token(KEY, job_id)}", "Tespes-Run": given.RUN}
        content = {"data": body} if isinstance(body, bytes | None) else {"json": body}
        url = f"/transfer/{job_id}/{path.format(upload=self.upload)}"
        async with self.api.client.request(method, url, headers=headers, **content) as answer:
            return answer.status, await answer.json() if answer.content_type == "application/json" else None

    async def begin(self, attempt: int) -> None:
        """An attempt comes as far as its first executor."""
        place = commands.ScheduleAttempt(task_id=self.task_id, pulsar="site", runtime="sandbox")
        for order in (place, given.claim(attempt), given.report_start(attempt=attempt)):
            await self.api.tasks.execute(self.task_id, order, BY)


@pytest.fixture
async def work(tmp_path: Path, moto: Moto) -> AsyncIterator[Work]:
    """See Work."""
    (tmp_path / "in").mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "in" / "a").write_text("a")
    keys = {"aws_access_key_id": OWNER.access_key, "aws_secret_access_key": OWNER.secret_key}
    boto3.client("s3", endpoint_url=moto.url, region_name="us-east-1", **keys).create_bucket(Bucket=BUCKET)
    access = Access(moto.url, "us-east-1", "path", Key(OWNER.access_key, OWNER.secret_key, None), {})
    roots = Roots((tmp_path / "in",), (tmp_path / "out",))
    storage = Storage(Options(file=roots, s3_buckets={BUCKET: access}, manners=Manners(part_bytes=PART_BYTES)))
    submitted = tes.Task(
        executors=(tes.Executor(image="any", command=("true",)),),
        inputs=(tes.Input(url=f"file://{tmp_path}/in", path="/in", type=tes.FileType.DIRECTORY),),
        outputs=(
            tes.Output(url=f"file://{tmp_path}/out", path="/out", type=tes.FileType.DIRECTORY),
            tes.Output(url=f"s3://{BUCKET}/{tmp_path.name}", path="/large"),
        ),
        resources=tes.Resources(preemptible=True),
    )
    async with api_at_work(tmp_path / "store", storage=storage) as api:
        created = await api.tasks.create(commands.CreateTask(task=submitted), "anonymous", BY)
        begun = Work(api, tmp_path, created.id)
        await begun.begin(1)
        _, ways = await begun.ask("ways of large files", 1)
        begun.upload = ways["ways"][0]["upload"]
        yield begun
    await storage.close()


async def test_a_living_attempt_gets_what_it_asks_for(work: Work) -> None:
    """So what the tests below are refused is not refused for another reason."""
    got = {route: (await work.ask(route, 1))[0] for route in ROUTES}
    assert {route: status for route, status in got.items() if status not in {200, 204}} == REFUSED
    assert (work.directory / "out" / "x").read_text() == "x"


async def test_a_canceled_attempt_gets_410_from_every_route(work: Work) -> None:
    """While its runner is being stopped, and after that; nothing of what it sends is stored."""
    await work.api.tasks.execute(work.task_id, given.CANCEL, BY)
    assert {route: (await work.ask(route, 1))[0] for route in ROUTES} == dict.fromkeys(ROUTES, 410)
    await work.api.tasks.execute(work.task_id, given.result(Outcome.KILLED), BY)
    assert {route: (await work.ask(route, 1))[0] for route in ROUTES} == dict.fromkeys(ROUTES, 410)
    assert list((work.directory / "out").iterdir()) == []


async def test_a_superseded_attempt_gets_410_from_every_route(work: Work) -> None:
    """Between two attempts, and while the next one is at work, which gets what it asks for, but not the old one's upload."""
    await work.api.tasks.execute(work.task_id, given.give_up(1), BY)
    assert {route: (await work.ask(route, 1))[0] for route in ROUTES} == dict.fromkeys(ROUTES, 410)
    await work.begin(2)
    assert {route: (await work.ask(route, 1))[0] for route in ROUTES} == dict.fromkeys(ROUTES, 410)
    assert list((work.directory / "out").iterdir()) == []
    got = {route: (await work.ask(route, 2))[0] for route in ROUTES}
    refused = {route: status for route, status in got.items() if status not in {200, 204}}
    assert refused == {"parts": 404, "complete": 404}
    assert (work.directory / "out" / "x").read_text() == "x"


async def test_empty_files_are_stored_one_after_the_other(work: Work) -> None:
    """A body without a byte ends at once, each time."""
    job_id = f"{work.task_id}-1"
    headers = {"Authorization": f"Bearer {job.token(KEY, job_id)}", "Tespes-Run": given.RUN}
    for name in ("x", "y"):
        url = f"/transfer/{job_id}/outputs/0?path=%2Fout%2F{name}"
        async with asyncio.timeout(10), work.api.client.put(url, headers=headers, data=b"") as answer:
            assert answer.status == 204
        assert (work.directory / "out" / name).read_bytes() == b""
