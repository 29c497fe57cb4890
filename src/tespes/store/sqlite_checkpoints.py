"""How far followers are, in SQLite (see promise.Checkpoints), beside the log: as durable as it."""

from tespes.store.connection import Connection
from tespes.store.promise import Fence

SCHEMA = "CREATE TABLE IF NOT EXISTS follower (name TEXT PRIMARY KEY, position INTEGER NOT NULL) WITHOUT ROWID;"


class Checkpoints:
    """See promise.Checkpoints."""

    def __init__(self, writer: Connection) -> None:
        self._writer = writer

    async def position(self, name: str) -> int:
        """See promise.Checkpoints.position."""
        query = "SELECT position FROM follower WHERE name = ?"
        found = await self._writer.run(lambda database: database.execute(query, (name,)).fetchone())
        return found[0] if found else 0

    async def all(self) -> dict[str, int]:
        """See promise.Checkpoints.all."""
        return await self._writer.run(lambda database: dict(database.execute("SELECT name, position FROM follower")))

    async def begin(self, name: str, position: int) -> int:
        """See promise.Checkpoints.begin."""
        await self._set(name, position, "position")
        return await self.position(name)

    async def move(self, name: str, position: int, fence: Fence | None = None) -> None:  # noqa: ARG002 - there is no other process
        """See promise.Checkpoints.move."""
        await self._set(name, position, "max(position, excluded.position)")

    async def reset(self, name: str, position: int) -> None:
        """See promise.Checkpoints.reset."""
        await self._set(name, position, "excluded.position")

    async def _set(self, name: str, position: int, wanted: str) -> None:
        statement = f"INSERT INTO follower VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET position = {wanted}"  # noqa: S608 - ours
        await self._writer.run(lambda database: database.execute(statement, (name, position)))
