"""Traces in OpenTelemetry's messages, read back with them."""

from dataclasses import replace
from datetime import UTC, datetime

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTracePartialSuccess,
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.trace.v1.trace_pb2 import Span

import given as g
from tespes import events
from tespes.events import Meta, Outcome, Recorded
from tespes.events.trace import Context
from tespes.flow.otlp import complaint, encoded
from tespes.projections import spans
from tespes.projections.spans import Trace

PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
CANCELER = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
REMOTE = 0x300  # of the flags: that it is known whether the parent is elsewhere, and that it is


def trace(*happened: events.Event, traceparents: tuple[str | None, ...] = ()) -> Trace:
    """Of a task to which that happened."""
    named = dict(enumerate(traceparents))
    found = spans.told(
        Recorded(event, g.TASK, n + 1, n + 1, Meta(at=g.at(n), actor="tests", owner="ada", traceparent=named.get(n)))
        for n, event in enumerate((g.created(), *happened))
    )
    assert found is not None
    return found


def read(*traces: Trace) -> list[Span]:
    """The spans, as whoever gets them reads them."""
    request = ExportTraceServiceRequest.FromString(encoded(traces, "org.example.tes"))
    return [span for each in request.resource_spans for scope in each.scope_spans for span in scope.spans]


def test_the_root_is_a_request_of_somebody_else_and_the_rest_within() -> None:
    """So collectors draw who called whom. A root without a client has no parent, and is no less a root."""
    ended = (g.scheduled(), events.TaskSystemFailed(reason="gone"))
    roots = {}
    for named in (PARENT, None):
        found = read(trace(*ended, traceparents=(named,)))
        [root] = [span for span in found if span.kind == Span.SPAN_KIND_SERVER]
        assert {span.kind for span in found} == {Span.SPAN_KIND_SERVER, Span.SPAN_KIND_INTERNAL}
        roots[named] = (root.trace_id.hex(), root.parent_span_id.hex(), root.flags & REMOTE == REMOTE)
    assert roots == {PARENT: ("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7", True), None: (g.TASK, "", False)}


def test_a_cancel_links_to_whoever_wanted_it() -> None:
    """Unless it is the trace itself, or nobody said."""
    canceled = (events.TaskCancelRequested(), events.TaskCanceled())
    links = {}
    for named in (CANCELER, PARENT, None):
        found = read(trace(*canceled, traceparents=(PARENT, named or PARENT)))
        links[named] = [(link.trace_id.hex(), link.span_id.hex()) for span in found for link in span.links]
    assert links == {CANCELER: [("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331")], PARENT: [], None: []}


def test_a_clock_that_is_wrong_by_ages_fits_all_the_same() -> None:
    """A node's clock may say anything up to the year 9000; the format begins in 1970 and ends in 2554."""
    for year, told in ((1969, 0), (8999, 2**64 - 1)):
        at = datetime(year, 12, 31, tzinfo=UTC)
        started, ended = replace(g.started(), at=at), replace(g.ended(), started_at=at, ended_at=at)
        history = (g.scheduled(), g.claimed(), started, ended, g.over(Outcome.SUCCEEDED), events.TaskCompleted())
        [span] = [each for each in read(trace(*history)) if each.name == "executor"]
        assert span.start_time_unix_nano == span.end_time_unix_nano == told


def test_several_tasks_go_in_one_message() -> None:
    """Each with its own trace."""
    first = trace(events.TaskCancelRequested(), events.TaskCanceled())
    second = replace(first, task_id="f" * 32, context=Context("f" * 32))
    found = read(first, second)
    assert {span.trace_id.hex() for span in found} == {g.TASK, "f" * 32}
    assert len({span.span_id for span in found}) == len(found)


def test_what_a_collector_says_is_understood_or_nothing() -> None:
    """Some answer a success with no body, some with JSON."""
    rejected = ExportTracePartialSuccess(rejected_spans=2, error_message="too old")
    assert complaint(ExportTraceServiceResponse(partial_success=rejected).SerializeToString()) == "2 spans rejected: too old"
    warning = ExportTracePartialSuccess(error_message="soon to be refused")
    assert complaint(ExportTraceServiceResponse(partial_success=warning).SerializeToString()) == "soon to be refused"
    assert complaint(b"") == complaint(b'{"partialSuccess":{}}') == ""
