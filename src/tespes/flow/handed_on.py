"""What executors are told of the trace that they belong to: programs that trace themselves add to it."""

from dataclasses import replace
from typing import Final

from tespes import tes
from tespes.events import trace
from tespes.events.trace import Context
from tespes.flow.execute import KnownTask
from tespes.projections import spans

_TRACEPARENT: Final = "TRACEPARENT"  # what OpenTelemetry's programs look for


def with_traceparents(known: KnownTask, attempt: int) -> tes.Task:
    """The task as it was submitted, each executor with a variable that names its own span; unless it has one of that name."""
    executors = enumerate(known.submitted.executors)
    return known.submitted.model_copy(
        update={"executors": tuple(_told(known, attempt, number, executor) for number, executor in executors)}
    )


def _told(known: KnownTask, attempt: int, number: int, executor: tes.Executor) -> tes.Executor:
    context = trace.context(known.id, known.traceparent) or Context(known.id)
    own = replace(context, span_id=trace.span_id(known.id, spans.executor_place(attempt, number)))
    return executor.model_copy(update={"env": {_TRACEPARENT: own.traceparent, **(executor.env or {})}})
