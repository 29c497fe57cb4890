"""Log, documents, blobs and open uploads: the promise, and the two databases that keep it."""

from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

from tespes.store import conditions, mongodb, sqlite
from tespes.store.log import Log
from tespes.store.promise import Blobs, Documents, Fence, Held, Leases, Sign, Signs, Upload, Uploads


@dataclass(frozen=True, slots=True)
class Options:
    """Where the store is.

    :param mongodb_uri: a MongoDB connection string; None means SQLite in the state directory
    :param mongodb_database: used if the connection string names none
    """

    mongodb_uri: str | None = None
    mongodb_database: str = "tespes"


@dataclass(frozen=True, slots=True)
class Store:
    """An open store. `log.run` must be owned by somebody for appends to happen.

    :param leases: None if no other process can write there
    """

    description: str
    log: Log
    documents: Documents
    blobs: Blobs
    uploads: Uploads
    signs: Signs
    leases: Leases | None


async def open_store(options: Options, state_dir: Path, stack: AsyncExitStack, *, writable: bool = True) -> Store:
    """The store that the options name, until the stack is closed.

    :raises errors.SetupError: it cannot be used
    """
    if options.mongodb_uri:
        tables = await mongodb.open_tables(options.mongodb_uri, options.mongodb_database, stack, writable=writable)
    else:
        tables = await sqlite.open_tables(state_dir, stack, writable=writable)
    log = Log(tables.log, tables.tickets)
    return Store(tables.description, log, tables.documents, tables.blobs, tables.uploads, tables.signs, tables.leases)


__all__ = [
    "Blobs",
    "Documents",
    "Fence",
    "Held",
    "Leases",
    "Log",
    "Options",
    "Sign",
    "Signs",
    "Store",
    "Upload",
    "Uploads",
    "conditions",
    "open_store",
]
