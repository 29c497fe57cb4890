"""Keep a stored view up to date: fold what is new into its documents, and store them with the position they are at."""

import asyncio
from collections.abc import Sequence

import structlog

from tespes import events
from tespes.events import Entry
from tespes.flow.follow import follow
from tespes.projections import Document, ReadModel
from tespes.store import Documents, Log

_AT_A_STRETCH = 50
_REST_S = 0.005

_log = structlog.get_logger(__name__)


class Projector:
    """The follower of one read model."""

    def __init__(self, log: Log, documents: Documents, model: ReadModel) -> None:
        self._log = log
        self._documents = documents
        self._model = model

    async def prepare(self) -> None:
        """Make the view ready; a view that is ahead of its log belongs to another one and is made anew.

        A view of a new version is empty, and made from the whole log by `run`.
        """
        for left in await self._documents.prepare(self._model):
            _log.warning("a view of another release is still stored: drop it when no such TESPES runs any more", view=left)
        position = await self._documents.position(self._model)
        head = await self._log.head()
        if position > head.position:
            _log.warning("a view is ahead of the log and is rebuilt", view=self._model.table, position=position)
            await self._documents.forget(self._model)

    async def run(self) -> None:
        """Follow until cancelled."""
        position = await self._documents.position(self._model)
        await follow(self._model.name, self._log, position, self.project)

    async def project(self, entries: Sequence[Entry]) -> None:
        """Fold these entries into the view."""
        older = {entry.commit.stream for entry in entries if entry.commit.version > 1}
        known = await self._documents.load(self._model, sorted(older)) if older else {}
        changed: dict[str, Document] = {}
        for index, entry in enumerate(entries):
            if index % _AT_A_STRETCH == _AT_A_STRETCH - 1:
                await asyncio.sleep(0)  # catching up must not keep requests waiting
            stream = entry.commit.stream
            document = changed.get(stream) or known.get(stream)
            for recorded in events.recorded(entry):
                document = self._model.apply(document, recorded)
            if document is not None:
                changed[stream] = document
        await self._documents.save(self._model, list(changed.values()), entries[-1].position)
        await asyncio.sleep(_REST_S)  # what comes meanwhile is saved as one
