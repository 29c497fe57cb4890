"""What belongs together is found in the whole log."""

import uuid
from dataclasses import replace

import given as g
import sealed
from tespes import events
from tespes.flow import audit
from tespes.store import Store

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


async def test_what_belongs_to_a_request_a_trace_an_event_or_a_task_is_found(a_store: Store) -> None:
    """By its id, in the order of the log."""
    first, _ = await sealed.write(a_store)
    meta = replace(sealed.META, correlation=None, causation="event-1", traceparent=f"00-{TRACE}-00f067aa0ba902b7-01")
    await a_store.log.append(events.commit(str(uuid.uuid4()), first, 6, [g.started()], meta))

    async def positions(name: str) -> list[int]:
        return [entry.position async for entry in audit.traced(a_store.log, name)]

    assert await positions("request-1") == list(range(1, 9))
    assert await positions(TRACE) == await positions("event-1") == [9]
    assert await positions(first) == [1, 3, 5, 7, 9]
    assert await positions("request-2") == []
