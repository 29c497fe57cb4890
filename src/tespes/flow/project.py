"""Keep a stored view up to date: fold what is new into its documents, and store them with the position they are at."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace

import structlog

from tespes import errors
from tespes.events import Entry, redact
from tespes.flow.folding import fold_anew, fold_entry, folded
from tespes.flow.follow import follow, is_ahead
from tespes.flow.landmark import Landmark
from tespes.flow.lead import Lease
from tespes.flow.parked import Parked
from tespes.flow.rebuild import Rebuilder
from tespes.projections import TASK_VIEW, Document, ReadModel
from tespes.store import Documents, Fence, Generations, Log

_REST_S = 0.005  # lists are asked for right after a task was created
_LONG_REST_S = 0.1  # nobody waits for the others

_log = structlog.get_logger(__name__)


class Projector:
    """The follower of one read model."""

    def __init__(self, log: Log, documents: Documents, model: ReadModel) -> None:
        self._log = log
        self._documents = documents
        self._model = model
        self._rest_s = _REST_S if model.name == TASK_VIEW.name else _LONG_REST_S
        self._shown = model
        self._batch = asyncio.Lock()
        self._parked = Parked(log, documents, model)
        self._landmark = Landmark(log, documents, model)
        self._fence: Fence | None = None

    async def prepare(self) -> None:
        """Make the view ready; one that was made of another log is made anew.

        A view of a new version is empty, and made from the whole log by `run`.
        """
        for left in await self._documents.prepare(self._model):
            _log.warning("a view of another release is still stored: drop it when no such TESPES runs any more", view=left)
        await self._parked.prepare()
        await self._landmark.prepare()
        position = await self._documents.position(self._model)
        if await is_ahead(self._log, position) or not await self._landmark.is_in_log():
            _log.warning("a view is of another log and is rebuilt", view=self._model.table, position=position)
            await self._forget()

    async def _forget(self) -> None:
        """Empty the view, and the one that is made beside it. The landmark last: a crash leads here again."""
        known = await self._documents.generations(self._model)
        if known.is_building:
            new = replace(self._model, generation=known.newest)
            await self._documents.prepare(new)
            await self._documents.forget(new)
        await self._documents.forget(self._model)
        await self._landmark.forget()

    async def run(self, lease: Lease) -> None:
        """Follow until cancelled, and make the view anew beside it when that is wanted. Whoever did it before is kept out.

        :raises errors.LeaseLost: another process does it now
        """
        self._fence = lease.fence
        known = await self._fenced(self._fence)
        self._shown = replace(self._model, generation=known.shown)
        await self._documents.save(self._shown, [], 0, self._fence)
        await self._parked.retry()
        position = await self._documents.position(self._shown)
        rebuilder = Rebuilder(
            log=self._log,
            documents=self._documents,
            model=self._model,
            parked=self._parked,
            fence=self._fence,
            batch=self._batch,
            show=self._show,
        )
        async with asyncio.TaskGroup() as group:
            group.create_task(rebuilder.run())
            await follow(self._model.name, self._log, position, self.project)

    async def _fenced(self, fence: Fence | None) -> Generations:
        """What there is of the view, which nobody who made it before can change any more.

        :raises errors.LeaseLost: another process makes it now
        """
        known = await self._documents.generations(self._model)
        while not await self._documents.turn(self._model, known, known, fence):
            seen, known = known, await self._documents.generations(self._model)
            if seen == known:
                raise errors.LeaseLost(f"another process makes {self._model.name} now")
        return known

    async def project(self, entries: Sequence[Entry]) -> None:
        """Fold these entries into the view; raises as `run` does."""
        async with self._batch:
            changed = await folded(self._documents, self._shown, entries, self._after)
            await self._landmark.put(entries[-1])
            await self._documents.save(self._shown, changed, entries[-1].position, self._fence)
        await asyncio.sleep(self._rest_s)  # what comes meanwhile is saved as one

    def _show(self, generation: ReadModel) -> None:
        """Go on with that one; it is where the one before it was."""
        self._shown = generation

    async def _after(self, entry: Entry, document: Document | None) -> Document | None:
        """The document after an entry. A task whose events cannot be folded is parked: the rest goes on."""
        try:
            if redact.gives_orders(entry) or entry.commit.version > (document["version"] if document else 0) + 1:
                return await self._anew(entry.commit.stream, document)
            return fold_entry(self._model, entry, document)
        except errors.Unavailable:
            raise
        except Exception as error:  # noqa: BLE001 - whatever is wrong with it, it is wrong with this task alone
            await self._parked.park(entry, error)
            return None

    async def _anew(self, stream: str, document: Document | None) -> Document | None:
        """The document of a task whose events are others now, or could not be folded before, if they can be now."""
        anew = await fold_anew(self._log, self._documents, self._shown, stream, document)
        await self._parked.free(stream)
        return anew


async def project_all(projectors: Sequence[Projector], lease: Lease) -> None:
    """Run all of them until cancelled; raises what one of them raises, in a group."""
    async with asyncio.TaskGroup() as group:
        for projector in projectors:
            group.create_task(projector.run(lease))
