"""Keep a stored view up to date: fold what is new into its documents, and store them with the position they are at."""

import asyncio
from collections.abc import Sequence

import structlog

from tespes import errors, events
from tespes.events import Entry
from tespes.flow.follow import follow
from tespes.flow.lead import Lease
from tespes.flow.parked import Parked
from tespes.projections import Document, ReadModel
from tespes.store import Documents, Fence, Log

_AT_A_STRETCH = 50
_REST_S = 0.005

_log = structlog.get_logger(__name__)


class Projector:
    """The follower of one read model."""

    def __init__(self, log: Log, documents: Documents, model: ReadModel) -> None:
        self._log = log
        self._documents = documents
        self._model = model
        self._parked = Parked(log, documents, model)
        self._fence: Fence | None = None

    async def prepare(self) -> None:
        """Make the view ready; a view that is ahead of its log belongs to another one and is made anew.

        A view of a new version is empty, and made from the whole log by `run`.
        """
        for left in await self._documents.prepare(self._model):
            _log.warning("a view of another release is still stored: drop it when no such TESPES runs any more", view=left)
        await self._parked.prepare()
        position = await self._documents.position(self._model)
        head = await self._log.head()
        if position > head.position:
            _log.warning("a view is ahead of the log and is rebuilt", view=self._model.table, position=position)
            await self._documents.forget(self._model)

    async def run(self, lease: Lease) -> None:
        """Follow until cancelled. Whoever did it before is kept out first.

        :raises errors.LeaseLost: another process does it now
        """
        self._fence = lease.fence
        await self._documents.save(self._model, [], 0, self._fence)
        await self._parked.retry()
        position = await self._documents.position(self._model)
        await follow(self._model.name, self._log, position, self.project)

    async def project(self, entries: Sequence[Entry]) -> None:
        """Fold these entries into the view; raises as `run` does."""
        older = {entry.commit.stream for entry in entries if entry.commit.version > 1}
        known = await self._documents.load(self._model, sorted(older)) if older else {}
        changed: dict[str, Document] = {}
        for index, entry in enumerate(entries):
            if index % _AT_A_STRETCH == _AT_A_STRETCH - 1:
                await asyncio.sleep(0)  # catching up must not keep requests waiting
            stream = entry.commit.stream
            if not events.is_task(stream):
                continue
            document = await self._after(entry, changed.get(stream) or known.get(stream))
            if document is not None:
                changed[stream] = document
        await self._documents.save(self._model, list(changed.values()), entries[-1].position, self._fence)
        await asyncio.sleep(_REST_S)  # what comes meanwhile is saved as one

    async def _after(self, entry: Entry, document: Document | None) -> Document | None:
        """The document after an entry. A task whose events cannot be folded is parked: the rest goes on."""
        try:
            if entry.commit.version > (document["version"] if document else 0) + 1:
                return await self._anew(entry.commit.stream)
            for recorded in events.recorded(entry):
                document = self._model.apply(document, recorded)
        except errors.Unavailable:
            raise
        except Exception as error:  # noqa: BLE001 - whatever is wrong with it, it is wrong with this task alone
            await self._parked.park(entry, error)
            return None
        return document

    async def _anew(self, stream: str) -> Document | None:
        """The document of a task whose events could not be folded before, if they can be now."""
        document = await self._parked.fold(stream)
        await self._parked.free(stream)
        return document
