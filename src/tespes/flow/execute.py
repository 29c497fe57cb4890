"""Commands on tasks: load, decide, append; when somebody else was first, again."""

import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import structlog

from tespes import errors, events, task, tes
from tespes.events import Meta, Recorded, moment
from tespes.flow.streams import Fold, Folds
from tespes.store import Log
from tespes.task import commands

_TRIES = 50
_NAMESPACE = uuid.UUID("6f1f0f44-9d0c-5c3e-8a55-7d3b1b9a5f10")

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class KnownTask:
    """What the write side knows of a task.

    :param submitted: the task as the client sent it; :param kept: its contents that live in blobs
    """

    id: str
    owner: str
    submitted: tes.Task
    kept: tuple[events.Kept, ...]
    state: task.State


@dataclass(frozen=True, slots=True)
class By:
    """Who gives a command, and what it belongs to."""

    actor: str
    correlation: str | None = None


def now() -> datetime:
    """The present, UTC, whole milliseconds."""
    return moment.whole(datetime.now(UTC))


def commit_id(*words: str) -> str:
    """The commit id of something that must be stored once, however often it is tried."""
    return str(uuid.uuid5(_NAMESPACE, "\n".join(words)))


class Tasks:
    """All tasks, to command.

    :param clock: the present
    """

    def __init__(self, log: Log, clock: Callable[[], datetime] = now) -> None:
        self._log = log
        self._clock = clock
        self._folds: Folds[KnownTask] = Folds(log, _step)

    async def load(self, task_id: str) -> KnownTask | None:
        """The task as it is now; None if there is none."""
        fold = await self._folds.load(task_id)
        return fold.value if fold else None

    async def create(self, task_id: str, command: commands.CreateTask, owner: str, by: By) -> KnownTask:
        """A new task.

        :raises errors.StoreUnavailable: it was not created
        """
        return await self._append(task_id, None, task.decide(None, command), owner, by)

    async def execute(self, task_id: str, command: task.Command, by: By) -> KnownTask:
        """Do what the command says; the task as it is then. Doing it twice is safe.

        :raises errors.NotFound: there is no such task
        :raises errors.AttemptGone: see `task.decide`
        :raises errors.StoreUnavailable: nothing was done
        """
        for _ in range(_TRIES):
            fold = await self._folds.load(task_id)
            if fold is None:
                raise errors.NotFound(f"there is no task {task_id}")
            decision = task.decide(fold.value.state, command)
            if not decision:
                return fold.value
            try:
                return await self._append(task_id, fold, decision, fold.value.owner, by)
            except errors.VersionConflict:
                continue
        raise errors.StoreUnavailable(f"task {task_id} changes too fast: {_TRIES} commands came first")

    async def _append(
        self, task_id: str, fold: Fold[KnownTask] | None, decision: task.Decision, owner: str, by: By
    ) -> KnownTask:
        meta = Meta(at=self._clock(), actor=by.actor, owner=owner, correlation=by.correlation)
        version = fold.version + 1 if fold else 1
        commit = events.commit(str(uuid.uuid4()), task_id, version, decision, meta)
        entry = await self._log.append(commit)
        after = self._folds.advance(task_id, [entry], fold)
        if after is None:
            raise errors.CorruptLog(f"the stream {task_id} does not begin with TaskCreated")
        _tell(task_id, entry.position, decision)
        return after.value


def _step(known: KnownTask | None, recorded: Recorded) -> KnownTask | None:
    event = recorded.event
    state = task.evolve(known.state if known else None, event, recorded.at)
    if known is not None and state is not None:
        return known if state is known.state else replace(known, state=state)
    if isinstance(event, events.TaskCreated) and state is not None:
        return KnownTask(recorded.stream, recorded.meta.owner, event.task, event.kept, state)
    return known


def _tell(task_id: str, position: int, decision: task.Decision) -> None:
    for event in decision:
        _log.info("event", type=type(event).__name__, task_id=task_id, position=position)
