"""Tasks whose events cannot be folded are parked: their view stays as it was, that of all other tasks goes on.

What is parked is kept beside the views, so that a restart knows of it. A task is folded anew from its whole stream at the
start of a projector, when an operator asks for that, and with each further event of it: it is free as soon as that works.
"""

import contextlib
from dataclasses import dataclass

import structlog

from tespes import errors
from tespes.events import Entry, moment
from tespes.flow.execute import now
from tespes.flow.folding import fold_anew
from tespes.projections import Document, ReadModel
from tespes.store import Documents, Log
from tespes.store.conditions import OneOf

_PARKED, _FREE = "parked", "free"
_PAGE = 500
_REASON_CHARACTERS = 500
_ARE_PARKED = (OneOf("state", frozenset({_PARKED})),)

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class ParkedTask:
    """A task whose view is behind its events.

    :param view: whose; :param at: since when, RFC 3339; :param position: of the commit that could not be folded
    """

    view: str
    id: str
    at: str
    position: int
    reason: str


class Parked:
    """The parked tasks of one view, whose name is `view`."""

    def __init__(self, log: Log, documents: Documents, model: ReadModel) -> None:
        self._log = log
        self._documents = documents
        self._model = model
        self.view = model.name
        self._kept = ReadModel(
            name=f"parked_{model.name}",
            version=1,
            apply=lambda document, _: document,
            columns=("position", "state"),
            pairs=(),
            indexes=(("state", "position"),),
            generation=0,  # what is parked cannot be made anew
        )

    async def prepare(self) -> None:
        """Make the table ready."""
        await self._documents.prepare(self._kept)

    async def tasks(self) -> list[ParkedTask]:
        """All that are parked, newest first."""
        found: list[ParkedTask] = []
        before = None
        while page := await self._documents.page(self._kept, _ARE_PARKED, before=before, limit=_PAGE, whole=True):
            before = page[-1]["position"]
            found += [ParkedTask(self._model.name, each["id"], each["at"], each["failed_at"], each["reason"]) for each in page]
        return found

    async def count(self) -> int:
        """How many are parked."""
        found = await self._documents.groups(self._kept, "state", (_PARKED,))
        return found[_PARKED].documents if found else 0

    async def park(self, entry: Entry, error: Exception) -> None:
        """Keep on record that this entry cannot be folded."""
        task_id = entry.commit.stream
        reason = f"{type(error).__name__}: {error}"[:_REASON_CHARACTERS]
        _log.error(
            "a task is parked: its events cannot be folded",
            view=self._model.name,
            task_id=task_id,
            position=entry.position,
            reason=reason,
        )
        why = {"at": moment.text(now()), "failed_at": entry.position, "reason": reason, "state": _PARKED}
        kept = False
        while not kept:
            known = await self._known(task_id) or {"id": task_id, "position": entry.position, "version": 0}
            kept = await self._keep({**known, **why})

    async def retry(self, task_id: str | None = None) -> list[str]:
        """Fold that task, or all that are parked, anew; the ids of those that are free now.

        :raises errors.NotFound: that task is not parked
        """
        wanted = [each for each in await self.tasks() if task_id in {None, each.id}]
        if task_id is not None and not wanted:
            raise errors.NotFound(f"the task {task_id} is not parked")
        return [each.id for each in wanted if await self._retry(each)]

    async def free(self, task_id: str) -> None:
        """Its view is as it should be."""
        await self._free(await self._known(task_id))

    async def _free(self, known: Document | None) -> bool:
        """Whether that is what is known of it at present, and it is free now."""
        if known is None or known["state"] != _PARKED or not await self._keep({**known, "state": _FREE}):
            return False
        _log.info("a task is not parked any more", task_id=known["id"])
        return True

    async def _retry(self, parked: ParkedTask) -> bool:
        """Whether it works now. It stays parked if whoever projects has parked it for another event meanwhile."""
        known = await self._known(parked.id)
        try:
            before = (await self._documents.load(self._model, [parked.id])).get(parked.id)
            view = await fold_anew(self._log, self._documents, self._model, parked.id, before)
        except errors.Unavailable:
            raise
        except Exception as error:  # noqa: BLE001 - whatever is wrong with a stream, it is parked for it
            _log.warning("a task stays parked", task_id=parked.id, position=parked.position, reason=str(error))
            return False
        if view is not None:
            with contextlib.suppress(errors.LeaseLost):  # the view is saved; its position is the projector's alone
                await self._documents.save(self._model, [view], 0)
        return await self._free(known)

    async def _known(self, task_id: str) -> Document | None:
        return (await self._documents.load(self._kept, [task_id])).get(task_id)

    async def _keep(self, document: Document) -> bool:
        """Whether it is the next version now: another process may have been first, and is not overwritten."""
        following = {**document, "version": document["version"] + 1}
        await self._documents.save(self._kept, [following], 0)
        return await self._known(document["id"]) == following
