"""What a person who sets up a MongoDB has to know: why it cannot be used, and which indexes are not as TESPES makes them."""

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from typing import Any, Final

from pymongo import IndexModel
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import OperationFailure, ServerSelectionTimeoutError

from tespes import errors
from tespes.projections import ReadModel
from tespes.store import mongodb_signs, mongodb_uploads, mongodb_views
from tespes.store.generations import Shown
from tespes.store.mongodb_generations import Records

Stored = dict[str, Any]

_REFUSES_THE_LOGIN: Final = 18
_REFUSES_THE_RIGHT: Final = 13
_HAS_ANOTHER_INDEX: Final = frozenset({85, 86})
_HAS_IT_TWICE: Final = 11000
_HAS_NO_MAJORITY: Final = frozenset({64, 100})
_MEND: Final = "mend store.mongodb_uri"


def refusal(error: Exception, hosts: str, database: str) -> errors.SetupError:
    """Why it cannot be used, and what to do.

    :param hosts: where it is, for people; :param database: the name of the one that TESPES wants to use
    """
    code = error.code if isinstance(error, OperationFailure) else None
    if code == _REFUSES_THE_LOGIN or "authentication failed" in str(error).lower():
        said = f"MongoDB at {hosts} refuses the login: mend user, password and authSource in store.mongodb_uri"
    elif code == _REFUSES_THE_RIGHT:
        said = f"MongoDB at {hosts} does not let this user work: give it the role readWrite on the database {database}"
    elif isinstance(error, ServerSelectionTimeoutError):
        said = f"MongoDB does not answer at {hosts}: start it, or {_MEND}"
    elif code in _HAS_ANOTHER_INDEX:
        said = f"an index in the database {database} is another than TESPES makes: drop the one that `tespes doctor` names"
    elif code == _HAS_IT_TWICE:
        said = f"an entry is in the database {database} twice, which TESPES never wrote: `tespes audit verify` says where"
    elif code in _HAS_NO_MAJORITY:
        said = f"MongoDB at {hosts} takes writes and no majority of its replica set confirms them: see rs.status() there"
    else:
        said = f"MongoDB cannot be used: {error}: {_MEND}"
    return errors.SetupError(said)


def unreadable(error: Exception) -> errors.SetupError:
    """Why a connection string cannot be read. Words of the library that go on to the host begin in the password."""
    said = "write / : ? # [ ] @ in user or password as %2F and the like" if "@" in str(error) else str(error)
    return errors.SetupError(f"MongoDB cannot be used: {said}: {_MEND}")


async def wrong_indexes(
    database: AsyncDatabase[Stored], log: Sequence[IndexModel], models: Iterable[ReadModel]
) -> AsyncIterator[tuple[str, str]]:
    """The collection and name of each index that is missing, and why, or is another than TESPES makes.

    Collections that are not there yet lack nothing: TESPES makes them.

    :param log: the indexes of the log
    """
    existing = set(await database.list_collection_names())
    for collection, indexes in (await _expected(database, log, models)).items():
        if collection in existing:
            found = {each["name"]: dict(each) async for each in await database[collection].list_indexes()}
            for index in indexes:
                wanted = index.document
                if wanted["name"] not in found:
                    yield collection, f"{wanted['name']} is missing"
                elif not _is_same(wanted, found[wanted["name"]]):
                    yield collection, f"{wanted['name']} is another than TESPES makes"


async def _expected(
    database: AsyncDatabase[Stored], log: Sequence[IndexModel], models: Iterable[ReadModel]
) -> Mapping[str, Sequence[IndexModel]]:
    shown = Shown(Records(database).look)
    views = {(await shown.of(model)).table: mongodb_views.indexes(model) for model in models}
    return {"log": log, "uploads": mongodb_uploads.INDEXES, "sign": mongodb_signs.INDEXES, **views}


def _is_same(wanted: Mapping[str, Any], found: Mapping[str, Any]) -> bool:
    options = ("unique", "expireAfterSeconds")
    return dict(wanted["key"]) == dict(found["key"]) and all(
        (wanted.get(option) or False) == (found.get(option) or False) for option in options
    )
