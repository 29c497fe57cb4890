"""Commands on tasks: load, decide, append; when somebody else was first, again."""

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from weakref import WeakValueDictionary

from tespes import errors, events, task, tes
from tespes.events import Meta, Recorded, moment
from tespes.flow.ids import new_id
from tespes.flow.streams import Fold, Folds
from tespes.store import Fence, Log
from tespes.task import commands

_TRIES = 50
_PAUSE_S, _PAUSE_AT_MOST_S = 0.002, 0.05


@dataclass(frozen=True, slots=True)
class KnownTask:
    """What the write side knows of a task.

    :param submitted: the task as the client sent it; :param kept: its contents that live in blobs
    :param correlation, traceparent: of the request that created it: whatever happens to it belongs to that
    """

    id: str
    owner: str
    submitted: tes.Task
    kept: tuple[events.Kept, ...]
    state: task.State
    request_sha256: str | None = None
    correlation: str | None = None
    traceparent: str | None = None

    def kept_content(self, index: int) -> str | None:
        """The SHA-256 of the blob that holds an input's content, if it was too long for an event."""
        place = f"inputs.{index}.content"
        return next((kept.sha256 for kept in self.kept if kept.place == place), None)

    def has_content(self, index: int) -> bool:
        """Whether an input's bytes are in the task itself, and at no URL."""
        inputs = self.submitted.inputs or ()
        return self.kept_content(index) is not None or (index < len(inputs) and inputs[index].literal is not None)


@dataclass(frozen=True, slots=True)
class By:
    """Who gives a command, and what it belongs to: if that is not said, to what its task does.

    :param fence: of the lease under which it is given, if one process alone may give it
    """

    actor: str
    correlation: str | None = None
    traceparent: str | None = None
    fence: Fence | None = None


def now() -> datetime:
    """The present, UTC, whole milliseconds."""
    return moment.whole(datetime.now(UTC))


class Tasks:
    """All tasks, to command.

    :param clock: the present
    """

    def __init__(self, log: Log, clock: Callable[[], datetime] = now) -> None:
        self._log = log
        self._clock = clock
        self._folds: Folds[KnownTask] = Folds(log, _step)
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def load(self, task_id: str) -> KnownTask | None:
        """The task as it is now; None if there is none."""
        fold = await self._folds.load(task_id)
        return fold.value if fold else None

    async def recall(self, task_id: str) -> KnownTask | None:
        """The task, perhaps not as it is now: for what never changes about it, or once it has ended."""
        fold = self._folds.kept(task_id)
        return fold.value if fold else await self.load(task_id)

    async def create(self, command: commands.CreateTask, owner: str, by: By) -> KnownTask:
        """A new task; its id is that of its first commit.

        :raises errors.StoreUnavailable: it was not created
        """
        return await self._create(command, new_id(), owner, by)

    async def create_once(self, command: commands.CreateTask, commit_id: str, owner: str, by: By) -> KnownTask:
        """A new task, or the one that this commit created before, from a request with the same digest.

        :raises errors.IdempotencyConflict: it created one from another request
        :raises errors.StoreUnavailable: nobody knows whether it is created; asking again is safe
        """
        try:
            return await self._create(command, commit_id, owner, by)
        except errors.IdempotencyConflict:  # somebody else was first: what it was created from is compared, not all of it
            if (known := await self.created(commit_id, command.request_sha256)) is not None:
                return known
            raise
        except errors.WriteUnconfirmed as error:
            said = "the database does not say whether the task was created: send it again with the same key"
            raise errors.StoreUnavailable(said) from error

    async def created(self, commit_id: str, request_sha256: str | None) -> KnownTask | None:
        """The task that this commit created from a request with that digest; None if it has created none.

        :raises errors.IdempotencyConflict: it created one from another request
        """
        known = await self.load(_task_id(commit_id))
        if known is not None and known.request_sha256 != request_sha256:
            raise errors.IdempotencyConflict(f"the key belongs to task {known.id}, which was asked for differently")
        return known

    async def _create(self, command: commands.CreateTask, commit_id: str, owner: str, by: By) -> KnownTask:
        stream = _Stream(_task_id(commit_id), owner, None)
        return await self._append(stream, commit_id, task.decide(None, command), by)

    async def execute(self, task_id: str, command: task.Command, by: By) -> KnownTask:
        """Do what the command says; the task as it is then. Doing it twice is safe.

        :raises errors.NotFound: there is no such task
        :raises errors.AttemptGone: see `task.decide`
        :raises errors.StoreUnavailable: nothing was done
        """
        async with self._turns.setdefault(task_id, asyncio.Lock()):
            if (done := await self._at_once(task_id, command, by)) is not None:
                return done
            return await self._in_turn(task_id, command, by)

    async def _in_turn(self, task_id: str, command: task.Command, by: By) -> KnownTask:
        for tries in range(_TRIES):
            fold = await self._folds.load(task_id)
            if fold is None:
                raise errors.NotFound(f"there is no task {task_id}")
            decision = task.decide(fold.value.state, command)
            if not decision:
                return fold.value
            try:
                return await self._append(_Stream(task_id, fold.value.owner, fold), new_id(), decision, by)
            except errors.VersionConflict:
                await asyncio.sleep(random.uniform(0, min(tries * _PAUSE_S, _PAUSE_AT_MOST_S)))  # noqa: S311 - jitter
        raise errors.StoreUnavailable(f"task {task_id} changes too fast: {_TRIES} commands came first")

    async def _at_once(self, task_id: str, command: task.Command, by: By) -> KnownTask | None:
        """Decide on what is remembered, without looking: if it is not what is, the append finds out."""
        fold = self._folds.kept(task_id)
        if fold is None:
            return None
        try:
            decision = task.decide(fold.value.state, command)
            if decision:
                return await self._append(_Stream(task_id, fold.value.owner, fold), new_id(), decision, by)
        except (errors.VersionConflict, errors.AttemptGone):
            return None
        return None

    async def _append(self, stream: "_Stream", commit_id: str, decision: task.Decision, by: By) -> KnownTask:
        meta = self._meta(stream, by)
        version = stream.fold.version + 1 if stream.fold else 1
        entry = await self._log.append(events.commit(commit_id, stream.id, version, decision, meta), by.fence)
        return self._folds.advance(stream.fold, entry).value

    def _meta(self, stream: "_Stream", by: By) -> Meta:
        """A task that was not told what it belongs to belongs to itself."""
        known = stream.fold.value if stream.fold else None
        return Meta(
            at=self._clock(),
            actor=by.actor,
            owner=stream.owner,
            correlation=by.correlation or (known.correlation if known else None) or stream.id,
            causation=stream.fold.event_id if stream.fold else None,
            traceparent=by.traceparent or (known.traceparent if known else None),
        )


@dataclass(frozen=True, slots=True)
class _Stream:
    """What is appended to: a task's stream, and its fold if there is one."""

    id: str
    owner: str
    fold: Fold[KnownTask] | None


def _task_id(commit_id: str) -> str:
    """The id of the task that this commit creates."""
    return commit_id.replace("-", "")


def _step(known: KnownTask | None, recorded: Recorded) -> KnownTask | None:
    event = recorded.event
    state = task.evolve(known.state if known else None, event, recorded.at)
    if known is not None and state is not None:
        return known if state is known.state else replace(known, state=state)
    if isinstance(event, events.TaskCreated) and state is not None:
        meta = recorded.meta
        return KnownTask(
            id=recorded.stream,
            owner=meta.owner,
            submitted=event.task,
            kept=event.kept,
            state=state,
            request_sha256=event.request_sha256,
            correlation=meta.correlation,
            traceparent=meta.traceparent,
        )
    return known
