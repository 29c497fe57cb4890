"""A landmark in the log: by its hash a start tells whether a view was made of this log, or of another one.

The hash of an entry covers all that came before it (see `events.chain`). It is written down beside the view before the view
is: whatever the view has seen lies before the landmark, and is in the log as it was if the landmark is.
"""

from tespes.events import Entry
from tespes.flow.follow import is_ahead
from tespes.projections import ReadModel
from tespes.store import Documents, Log

_ID = "log"


class Landmark:
    """The landmark of one view."""

    def __init__(self, log: Log, documents: Documents, model: ReadModel) -> None:
        self._log = log
        self._documents = documents
        self._kept = ReadModel(f"landmark_{model.name}", 1, lambda document, _: document, generation=0)
        self._position = 0

    async def prepare(self) -> None:
        """Make the table ready."""
        await self._documents.prepare(self._kept)

    async def put(self, entry: Entry) -> None:
        """The view is about to see this entry; one that it has seen before changes nothing."""
        if entry.position > self._position:
            document = {"id": _ID, "version": entry.position, "position": 1, "hash": entry.hash}
            await self._documents.save(self._kept, [document], 0)
            self._position = entry.position

    async def is_in_log(self) -> bool:
        """Whether the log has it, or none was ever put."""
        found = (await self._documents.load(self._kept, [_ID])).get(_ID)
        if found is None:
            return True
        if await is_ahead(self._log, found["version"]):
            return False
        return any(entry.hash == found["hash"] for entry in await self._log.read(found["version"] - 1, 1))

    async def forget(self) -> None:
        """The view has seen nothing."""
        await self._documents.forget(self._kept)
        self._position = 0
