"""Tasks from their creation to their end, written into a log as fast as it takes them: something for views to be made of."""

import asyncio
import uuid
from collections.abc import Iterator, Sequence

import given as g
from tespes import events
from tespes.events import Commit, Meta, Outcome
from tespes.store import Store


def history(task_id: str, attempts: int = 1, tags: dict[str, str] | None = None, owner: str = "anonymous") -> Iterator[Commit]:
    """A task's commits: so many attempts that ran for half a second each, of which the last succeeded."""
    task = g.created().task.model_copy(update={"tags": tags} if tags else {})
    happened: list[Sequence[events.Event]] = [[events.TaskCreated(task=task)]]
    for attempt in range(1, attempts + 1):
        outcome = Outcome.SUCCEEDED if attempt == attempts else Outcome.LOST
        over = g.over(outcome, None if attempt == attempts else "the node is gone", attempt)
        happened += [
            [g.scheduled(attempt)],
            [g.claimed(attempt), g.started(0, attempt)],
            [g.ended(0, 0, attempt), over, *([events.TaskCompleted()] if attempt == attempts else [])],
        ]
    version = 1
    for decision in happened:
        meta = Meta(at=g.at(version), actor="tests", owner=owner)
        yield events.commit(str(uuid.uuid4()), task_id, version, decision, meta)
        version += len(decision)


async def write(store: Store, count: int, attempts: int = 1) -> list[str]:
    """So many tasks, in step with each other; their ids."""
    ids = [uuid.uuid4().hex for _ in range(count)]
    for commits in zip(*(history(task_id, attempts) for task_id in ids), strict=True):
        await asyncio.gather(*map(store.log.append, commits))
    return ids
