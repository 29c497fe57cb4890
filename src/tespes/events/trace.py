"""W3C trace context: which trace an event belongs to. Pure.

A task whose client named no trace has one of its own, which has the task's id.
"""

import hashlib
from dataclasses import dataclass
from typing import Final

from tespes.events.record import is_task

_SAMPLED: Final = 1  # of the flags
_SPAN_BYTES: Final = 8


@dataclass(frozen=True, slots=True)
class Context:
    """A place in a trace.

    :param trace_id: 32 hexadecimal digits; :param span_id: 16, of the span there; None if the trace begins here
    :param is_sampled: whether whoever began the trace wants it to be recorded
    """

    trace_id: str
    span_id: str | None = None
    is_sampled: bool = True

    @property
    def traceparent(self) -> str:
        """As it is handed on; only a context with a span is."""
        return f"00-{self.trace_id}-{self.span_id}-{int(self.is_sampled):02x}"


def context(stream: str, traceparent: str | None) -> Context | None:
    """What an event of that stream belongs to; None if it is no task's and nobody named a trace."""
    if traceparent is not None:
        _, trace_id, span_id, flags = traceparent.split("-")
        return Context(trace_id, span_id, bool(int(flags, 16) & _SAMPLED))
    return Context(stream) if is_task(stream) else None


def span_id(task_id: str, place: str) -> str:
    """The id of a task's span: the same whenever, and by whomever, it is told. See `projections.spans` for the places."""
    return hashlib.sha256(f"{task_id}/{place}".encode()).digest()[:_SPAN_BYTES].hex()
