"""What a runner gets for an input that has a content, a URL, or both."""

from typing import Any

import pytest
from test_flows import BY, RUN, Site
from test_transfers import storage_at

from submissions import read, task
from tespes.api.submission import Submitted
from tespes.flow import texts
from tespes.flow.jobs import Caller, Job
from tespes.local.ftp import LocalFTP
from tespes.store import Store
from tespes.task import commands

LONG = "é" * 5000


async def fetched(site: Site, submitted: Submitted) -> list[bytes]:
    """The bytes of each input of a task, as its runner gets them."""
    shortened, kept = await texts.keep_contents(site.store.blobs, submitted.task)
    created = await site.tasks.create(commands.CreateTask(task=shortened, kept=kept), "somebody", BY)
    await site.begin(created.id, 1, RUN)
    contents = []
    for index in range(len(submitted.task.inputs or ())):
        async with site.transfers.fetch(Caller(Job(created.id, 1), RUN), index, "", None) as fetched:
            contents.append(b"".join([piece async for piece in fetched.pieces]))
    return contents


@pytest.mark.servers
async def test_content_comes_before_the_url_unless_it_is_empty(a_store: Store, ftp: LocalFTP) -> None:
    """TES 1.1, tesInput.content: if it is not empty, `url` is ignored. Short and long, which is kept as a blob."""
    (ftp.directory / "stored").write_bytes(b"from storage")
    stored, nowhere = {"url": f"{ftp.url}/stored"}, {"url": "ftp://127.0.0.1:1/nowhere"}
    inputs: list[dict[str, Any]] = [
        stored,
        {**stored, "content": ""},
        {**nowhere, "content": "short"},
        {**nowhere, "content": LONG},
        {"content": ""},
        {"content": LONG},
    ]
    named = [{"path": f"/in/{index}", **each} for index, each in enumerate(inputs)]
    storage = storage_at(ftp)
    found = await fetched(Site(a_store, storage), read(task(inputs=named)))
    await storage.close()
    assert found == [b"from storage", b"from storage", b"short", LONG.encode(), b"", LONG.encode()]
