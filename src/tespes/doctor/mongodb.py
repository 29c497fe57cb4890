"""MongoDB: its clock and version, whether it lets TESPES work, has its indexes, and is that of this TESPES."""

import secrets
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any, Final

from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import PyMongoError
from pymongo.write_concern import WriteConcern

from tespes import settings as configuration
from tespes import surroundings
from tespes.doctor import clocks
from tespes.doctor.finding import Finding, ok, problem, warning
from tespes.doctor.given import Given
from tespes.settings import Settings
from tespes.store import mongodb, mongodb_setup

_OLDEST: Final = 7
_PROBE: Final = "doctor"  # a collection that is gone at once
_GOODBYE_S: Final = 1.0
_MAJORITY: Final = WriteConcern(w="majority", j=True, wtimeout=5000)

Database = AsyncDatabase[dict[str, Any]]


async def look(given: Given, uri: str, name: str) -> AsyncIterator[Finding]:
    """The database of that name there."""
    client, database, hosts = mongodb.opened(uri, name)
    try:
        begun, hello = time.time(), await client.admin.command("hello")
        yield clocks.compared("database", hello["localTime"].timestamp(), begun, time.time())
        yield _server((await client.server_info())["version"], hello.get("setName"))
        await _work(database)
        yield ok("rights in the database", "TESPES may do all that it needs, and a majority confirms it")
        async for finding in _indexes(given, database):
            yield finding
        async for finding in _keys(given, database):
            yield finding
    except PyMongoError as error:
        yield problem("rights in the database", str(mongodb_setup.refusal(error, hosts, database.name)))
    finally:
        await mongodb.close(client, _GOODBYE_S)


def _server(version: str, replica_set: str | None) -> Finding:
    said = f"version {version}, {f'replica set {replica_set}' if replica_set else 'a single server'}"
    if int(version.partition(".")[0]) < _OLDEST:
        return warning("database server", f"{said}: TESPES was made for MongoDB {_OLDEST} and newer")
    return ok("database server", said)


async def _work(database: Database) -> None:
    """What TESPES does, in a collection of its own; another doctor may look at the same time, or have been cut off."""
    own = {"_id": secrets.token_hex(8)}
    probe = database.get_collection(_PROBE, write_concern=_MAJORITY)
    await probe.create_index([("at", 1)])
    await probe.insert_one(own | {"at": 0})
    await probe.update_one(own, {"$set": {"at": 1}})
    await probe.find_one(own)
    await probe.delete_one(own)
    await probe.drop()


async def _indexes(given: Given, database: Database) -> AsyncIterator[Finding]:
    models = configuration.read_models(given.settings)
    sound = True
    async for collection, what in mongodb_setup.wrong_indexes(database, mongodb.INDEXES, models):
        sound = False
        yield problem(
            "indexes", f"in the collection {collection}, {what}: drop what is wrong, and start TESPES, which makes it"
        )
    if sound:
        yield ok("indexes", "those of all collections that are there yet are as TESPES makes them")


async def _keys(given: Given, database: Database) -> AsyncIterator[Finding]:
    """Whether this TESPES has the keys that the database was last used with, or may put its own in their place."""
    used = f"that the database {database.name} was last used with"
    for name, own, former in _prints(given.settings):
        agreed = await database["agreed"].find_one({"_id": name})
        if agreed and agreed["value"] == own:
            yield ok(name, f"it is the one {used}")
        elif agreed and agreed["value"] in former:
            yield ok(name, f"the one {used} is among the old ones: it is changed at the next start")
        elif agreed:
            yield problem(name, f"it is not the one {used}: give all the same")


def _prints(settings: Settings) -> Iterator[tuple[str, str, frozenset[str]]]:
    """What tells its keys from others, and the same of old ones; those that are not made yet are missing."""
    runners, sealing = surroundings.kept_key(settings), surroundings.public_audit_key(settings)
    if runners is not None:
        former = frozenset(map(surroundings.key_print, surroundings.former_keys(settings)))
        yield "runner.key", surroundings.key_print(runners), former
    if sealing is not None:
        yield "audit.key", sealing, surroundings.audit_keys(settings)
