"""What TESPES asks of MongoDB, whatever its connection string says: nothing that may be rolled back or is old decides."""

import asyncio
import contextlib
from pathlib import Path
from typing import Any

import pytest
from pymongo import AsyncMongoClient, ReadPreference
from pymongo.errors import WTimeoutError
from pymongo.monitoring import CommandFailedEvent, CommandListener, CommandStartedEvent, CommandSucceededEvent

from stores import MongoDB, Place
from tespes import errors
from tespes.events import chain
from tespes.store import Options, mongodb, mongodb_setup
from tespes.store.reading import reading


class Said(CommandListener):
    """The commands that were sent."""

    def __init__(self) -> None:
        self.commands: list[dict[str, Any]] = []

    def started(self, event: CommandStartedEvent) -> None:
        """See CommandListener."""
        self.commands.append(dict(event.command))

    def succeeded(self, event: CommandSucceededEvent) -> None:
        """See CommandListener."""

    def failed(self, event: CommandFailedEvent) -> None:
        """See CommandListener."""


@pytest.mark.parametrize(
    "password", ["never/shown", "never@shown", "never:shown", "never?shown", "never?a=shown", "never%zzshown"]
)
async def test_a_connection_string_that_cannot_be_read_is_not_told_to_everybody(password: str) -> None:
    """Whatever the library takes for what: no part of a password is in what is said."""
    with pytest.raises(errors.SetupError, match=r"mend store\.mongodb_uri") as refused:
        mongodb.opened(f"mongodb://tespes:{password}@db.example.org/tespes", "tespes")
    assert "shown" not in str(refused.value)


def test_a_majority_that_is_away_is_not_a_matter_of_the_connection_string() -> None:
    """As a replica set says it whose other members are down."""
    said = mongodb_setup.refusal(WTimeoutError("waiting for replication timed out", 64), "db:27017", "tespes")
    assert "no majority of its replica set confirms them: see rs.status() there" in str(said)


async def test_the_head_is_what_a_majority_has(mongodb: MongoDB) -> None:
    """Behind an entry that is rolled back there would be a hole for ever; who holds a lease is looked up as new as can be."""
    said = Said()
    async with AsyncMongoClient[dict[str, Any]](mongodb.uri, event_listeners=[said]) as client:
        table = _table(client)
        assert await table.head() == chain.EMPTY
        looks = [each["readConcern"]["level"] for each in said.commands if "find" in each]
        assert looks
        assert set(looks) == {"majority"}
        said.commands.clear()
        await table.newest(["lease:work"], certain=True)
        assert [each.get("readConcern") for each in said.commands if "aggregate" in each] == [None]


@pytest.mark.parametrize("option", ["readPreference=secondaryPreferred", "readConcernLevel=available"])
async def test_the_connection_string_weakens_nothing(mongodb: MongoDB, tmp_path: Path, option: str) -> None:
    """A lease that is read from a secondary stands still although it is held."""
    uri = f"{mongodb.uri}{'&' if '?' in mongodb.uri else '?'}{option}"
    async with Place(Options(uri, "test_options"), tmp_path).open() as opened:
        for part, name in ((opened.leases, "_leases"), (opened.checkpoints, "_checkpoints"), (opened.log._table, "_newer")):
            collection = getattr(part, name)
            assert collection.read_preference == ReadPreference.PRIMARY
            assert collection.write_concern.acknowledged
            assert collection.read_concern.level is None


async def test_a_cancellation_that_the_driver_swallows_is_one_all_the_same() -> None:
    """Whoever is cancelled once must end, although PyMongo sometimes answers as if nothing had been."""
    begun = asyncio.Event()

    async def ask() -> None:
        with reading():
            begun.set()
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.Event().wait()
        raise AssertionError("it went on")

    asking = asyncio.ensure_future(ask())
    await begun.wait()
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking


def _table(client: AsyncMongoClient[dict[str, Any]]) -> mongodb.LogTable:
    return mongodb.LogTable(client.get_database("test_head", read_preference=ReadPreference.PRIMARY))
