"""A log like the one that real tasks leave: complete histories, eight events in seven commits each, interleaved."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

from tespes import events, store, tes
from tespes.events import Commit, Meta, Outcome
from tespes.flow.execute import now
from tespes.flow.ids import new_id
from tespes.flow.project import Projector
from tespes.projections import TASK_VIEW, ReadModel
from tespes.store import Options, Store

EVENTS_EACH = 8
_AT_A_TIME = 250
_SHA256 = "ed076287532e86365e841e92bfc50d8ced076287532e86365e841e92bfc50d8c"


@asynccontextmanager
async def opened(options: Options, directory: Path) -> AsyncIterator[Store]:
    """A store with its appender at work."""
    async with AsyncExitStack() as stack:
        found = await store.open_store(options, directory, stack)
        appender = asyncio.ensure_future(found.log.run())
        try:
            yield found
        finally:
            appender.cancel()
            await asyncio.wait({appender})


async def write(directory: Path, submitted: dict[str, Any], count: int) -> None:
    """That many tasks, from creation to completion, and the task view of them."""
    task = tes.Task.model_validate(submitted)
    async with opened(Options(), directory) as found:
        for start in range(0, count, _AT_A_TIME):
            histories = [_history(task) for _ in range(min(_AT_A_TIME, count - start))]
            for commits in zip(*histories, strict=True):
                await asyncio.gather(*(found.log.append(commit) for commit in commits))
        await project(found)


async def project(found: Store, model: ReadModel = TASK_VIEW) -> None:
    """Bring a view up to the end of the log."""
    projector = Projector(found.log, found.documents, model)
    await projector.prepare()
    after = await found.documents.position(model)
    while entries := await found.log.read(after):
        await projector.project(entries)
        after = entries[-1].position


def _history(task: tes.Task) -> list[Commit]:
    ids = [new_id() for _ in range(7)]
    task_id = ids[0].replace("-", "")
    job_id = f"{task_id}-1"
    at = now()
    inputs = tuple(_file(each.path, each.url) for each in task.inputs or ())
    outputs = tuple(_file(each.path, each.url) for each in task.outputs or ())
    ended = at + timedelta(milliseconds=2)
    decisions: list[tuple[str, Sequence[events.Event]]] = [
        ("anonymous", [events.TaskCreated(task=task)]),
        (
            "tespes:dispatch",
            [events.AttemptScheduled(attempt=1, job_id=job_id, pulsar="bench", runtime="sandbox")],
        ),
        ("pulsar:bench", [events.AttemptReceived(attempt=1)]),
        (
            f"runner:{job_id}",
            [events.AttemptClaimed(attempt=1, run_id=uuid.uuid4().hex, host="node-1", python="3.11.7")],
        ),
        (f"runner:{job_id}", [events.ExecutorStarted(attempt=1, executor=0, at=at)]),
        (
            f"runner:{job_id}",
            [events.ExecutorEnded(attempt=1, executor=0, exit_code=0, started_at=at, ended_at=ended)],
        ),
        (
            f"runner:{job_id}",
            [
                events.AttemptEnded(attempt=1, outcome=Outcome.SUCCEEDED, inputs=inputs, outputs=outputs),
                events.TaskCompleted(),
            ],
        ),
    ]
    metas = [Meta(at=at, actor=actor, owner="anonymous") for actor, _ in decisions]
    return [
        events.commit(ids[index], task_id, index + 1, decision, meta)
        for index, ((_, decision), meta) in enumerate(zip(decisions, metas, strict=True))
    ]


def _file(path: str, url: str | None) -> events.File:
    return events.File(path=path, url=url, size_bytes=12, sha256=_SHA256)
