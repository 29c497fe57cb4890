"""The story of each task in TESPES's own log: one line for each event, from the process that wrote it, once it is durable.

It says who caused the event, and what it belongs to: its trace, and the request that began it. `brief` has the rest.
"""

from collections.abc import Sequence

import structlog

from tespes import events
from tespes.events import Entry, Recorded, brief, trace

_log = structlog.get_logger(__name__)


def wrote(entries: Sequence[Entry]) -> None:
    """Tell of a batch. What went wrong by nobody's command is a warning."""
    for entry in entries:
        for recorded in events.recorded(entry):
            say = _log.warning if brief.is_trouble(recorded.event) else _log.info
            say("appended", type=type(recorded.event).__name__, **_where(recorded), **brief.words(recorded.event))


def _where(recorded: Recorded) -> dict[str, brief.Word | None]:
    """What the event is about, and what it belongs to."""
    meta = recorded.meta
    context = trace.context(recorded.stream, meta.traceparent)
    return {
        "task_id" if events.is_task(recorded.stream) else "stream": recorded.stream,
        "position": recorded.position,
        "actor": meta.actor,
        "trace_id": context.trace_id if context else None,
        "request_id": meta.correlation,
    }
