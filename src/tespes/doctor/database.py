"""The database: whether it answers; what MongoDB is asked besides is in `mongodb`."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Final

from tespes import settings as configuration
from tespes import store
from tespes.doctor.finding import Finding, ok
from tespes.doctor.given import Given
from tespes.store import version

ABOUT: Final = "database"


async def look(given: Given) -> AsyncIterator[Finding]:
    """SQLite or MongoDB, as the settings have it."""
    settings = given.settings
    version.of_directory(settings.state_dir)  # raises if this user may not look whether there is a log
    if settings.store.mongodb_uri is None and not (settings.state_dir / "log.sqlite3").is_file():
        yield ok(ABOUT, f"SQLite in {settings.state_dir}; there is no log yet")
        return
    options = configuration.store_options(settings)
    async with AsyncExitStack() as stack:
        opened = await store.open_store(options, settings.state_dir, stack, writable=False)
        yield ok(ABOUT, f"{opened.description}, {(await opened.log.head()).position:,} commits")
    if options.mongodb_uri is not None:
        from tespes.doctor import mongodb  # noqa: PLC0415 - its library is loaded where it is used

        async for finding in mongodb.look(given, options.mongodb_uri, options.mongodb_database):
            yield finding
