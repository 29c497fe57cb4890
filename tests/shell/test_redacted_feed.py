"""What was taken out of an event is in no memory of who follows the log, either."""

import asyncio
import uuid

import given as g
from tespes import events
from tespes.events import Meta, redact
from tespes.flow.shown import ALL
from tespes.flow.subscribe import Feed
from tespes.store import Store

META = Meta(at=g.at(0), actor="tests", owner="ada")
SECRET = b"a patient's name"


async def told(store: Store, version: int, event: events.Event) -> None:
    """The task's next event."""
    await store.log.append(events.commit(str(uuid.uuid4()), g.TASK, version, (event,), META))


async def test_who_comes_to_a_live_stream_gets_what_is_left(a_store: Store) -> None:
    """It was sent live before, and kept for the next one who comes."""
    feed = Feed(a_store.log, "urn:tespes:tests", at_most=2)
    following = asyncio.create_task(feed.run())
    async with asyncio.timeout(20), feed.watching():
        await told(a_store, 1, events.TaskDeferred(reason=SECRET.decode()))
        live = feed.stream(ALL, 0, quiet_s=1)
        while SECRET not in (await anext(live)).text:
            pass
        (first,) = await a_store.log.read(0)
        left = redact.without(first.commit.events[0], ["reason"])
        sha256 = redact.sha256(left.encoded)
        order = events.DataRedacted(position=1, index=0, reason="asked for", fields=("reason",), sha256=sha256)
        await told(a_store, 2, order)
        await a_store.log.redact(1, 0, first.commit.events[0], left.encoded)
        while b"DataRedacted" not in (await anext(live)).text:
            pass
        said = await anext(feed.stream(ALL, 0, quiet_s=1))
    following.cancel()
    assert SECRET not in said.text
    assert redact.REDACTED.encode() in said.text
