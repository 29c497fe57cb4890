"""Log, documents, blobs and open uploads: the promise, and the two databases that keep it."""

from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

from tespes.store import conditions, sqlite, version
from tespes.store.generations import Generations
from tespes.store.log import Log
from tespes.store.promise import Blobs, Checkpoints, Documents, Fence, Group, Upload, Uploads
from tespes.store.shared import Agreements, Held, Leases, Sign, Signs
from tespes.store.version import Mark


@dataclass(frozen=True, slots=True)
class Options:
    """Where the store is.

    :param mongodb_uri: a MongoDB connection string; None means SQLite in the state directory
    :param mongodb_database: used if the connection string names none
    :param last_write_s: at the end, for how long a write that was begun may take; :param close_s: the same, of the goodbye
    """

    mongodb_uri: str | None = None
    mongodb_database: str = "tespes"
    last_write_s: float = 2.5
    close_s: float = 1.0


@dataclass(frozen=True, slots=True)
class Store:
    """An open store. `log.run` must be owned by somebody for appends to happen.

    :param leases, agreements: None if no other process can write there
    """

    description: str
    log: Log
    documents: Documents
    checkpoints: Checkpoints
    blobs: Blobs
    uploads: Uploads
    signs: Signs
    leases: Leases | None
    agreements: Agreements | None
    mark: Mark


async def open_store(
    options: Options, state_dir: Path, stack: AsyncExitStack, *, writable: bool = True, restoring: bool = False
) -> Store:
    """The store that the options name, until the stack is closed.

    :param writable: False only reads, beside a TESPES that runs; :param restoring: a part of a backup may be in it
    :raises errors.SetupError: it cannot be used
    """
    if options.mongodb_uri:
        from tespes.store import mongodb  # noqa: PLC0415 - its library is a tenth of the memory of who uses SQLite

        version.check(version.of_directory(state_dir), f"the state directory {state_dir}")  # keys and seals are kept there
        uri, database, close_s = options.mongodb_uri, options.mongodb_database, options.close_s
        tables = await mongodb.open_tables(uri, database, stack, writable=writable, restoring=restoring, close_s=close_s)
    else:
        tables = await sqlite.open_tables(state_dir, stack, writable=writable, restoring=restoring)
    return Store(
        description=tables.description,
        log=Log(tables.log, tables.tickets, options.last_write_s),
        documents=tables.documents,
        checkpoints=tables.checkpoints,
        blobs=tables.blobs,
        uploads=tables.uploads,
        signs=tables.signs,
        leases=tables.leases,
        agreements=tables.agreements,
        mark=tables.mark,
    )


__all__ = [
    "Agreements",
    "Blobs",
    "Checkpoints",
    "Documents",
    "Fence",
    "Generations",
    "Group",
    "Held",
    "Leases",
    "Log",
    "Mark",
    "Options",
    "Sign",
    "Signs",
    "Store",
    "Upload",
    "Uploads",
    "conditions",
    "open_store",
    "version",
]
