"""Traces in OTLP, binary: the messages that OpenTelemetry publishes. Pure.

Nobody but `tell` needs it, so that only who tells a collector loads the library.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Final

from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest, ExportTraceServiceResponse
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, InstrumentationScope, KeyValue
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1 import trace_pb2

from tespes import __version__
from tespes.events.brief import Word
from tespes.events.trace import Context
from tespes.projections.spans import Note, Span, Trace

_NS_IN_MS, _NS_AT_MOST = 1_000_000, 2**64 - 1
_FLAGS: Final = trace_pb2.SPAN_FLAGS_CONTEXT_HAS_IS_REMOTE_MASK
_REMOTE: Final = _FLAGS | trace_pb2.SPAN_FLAGS_CONTEXT_IS_REMOTE_MASK
_USUAL_NAMES: Final = {"image": "container.image.name", "host": "host.name", "exit_code": "process.exit.code"}


def encoded(traces: Iterable[Trace], service_id: str) -> bytes:
    """The body of a request.

    :param service_id: which TESPES tells of them
    """
    resource = {"service.name": "tespes", "service.namespace": service_id, "service.version": __version__}
    message = trace_pb2.ResourceSpans(resource=Resource(attributes=_attributes(resource)))
    of_tespes = message.scope_spans.add(scope=InstrumentationScope(name="tespes", version=__version__))
    for told in traces:
        of_tespes.spans.extend(_span(told, each) for each in told.spans)
    return ExportTraceServiceRequest(resource_spans=[message]).SerializeToString()


def _span(told: Trace, span: Span) -> trace_pb2.Span:
    """The task itself answers a request of somebody else; all the rest happens within it."""
    context = told.context
    parent = context.span_id if span.within is None else told.span_id(span.within)
    remote = span.within is None and parent is not None
    link = span.link
    return trace_pb2.Span(
        trace_id=bytes.fromhex(context.trace_id),
        span_id=bytes.fromhex(told.span_id(span.place)),
        parent_span_id=bytes.fromhex(parent or ""),
        flags=(_REMOTE if remote else _FLAGS) | int(context.is_sampled),
        name=span.name,
        kind=trace_pb2.Span.SPAN_KIND_SERVER if span.within is None else trace_pb2.Span.SPAN_KIND_INTERNAL,
        start_time_unix_nano=_ns(span.began),
        end_time_unix_nano=_ns(span.ended),
        attributes=_attributes(_named({"task_id": told.task_id, **span.words})),
        events=[_event(note) for note in span.notes],
        links=[_link(link)] if link is not None and link.span_id is not None and link != context else [],
        status=_status(span.error),
    )


def _event(note: Note) -> trace_pb2.Span.Event:
    return trace_pb2.Span.Event(time_unix_nano=_ns(note.at), name=note.name, attributes=_attributes(_named(note.words)))


def _link(context: Context) -> trace_pb2.Span.Link:
    trace_id, span_id = bytes.fromhex(context.trace_id), bytes.fromhex(context.span_id or "")
    return trace_pb2.Span.Link(trace_id=trace_id, span_id=span_id, flags=_REMOTE | int(context.is_sampled))


def _status(error: str | None) -> trace_pb2.Status:
    if error is None:
        return trace_pb2.Status()
    return trace_pb2.Status(code=trace_pb2.Status.STATUS_CODE_ERROR, message=error)


def _named(words: Mapping[str, Word]) -> dict[str, Word]:
    """In OpenTelemetry's names, where it has any."""
    return {_USUAL_NAMES.get(name, f"tespes.{name}"): value for name, value in words.items()}


def _attributes(words: Mapping[str, Word]) -> list[KeyValue]:
    return [KeyValue(key=name, value=_value(value)) for name, value in words.items()]


def _value(value: Word) -> AnyValue:
    match value:
        case str():
            return AnyValue(string_value=value)
        case int():
            return AnyValue(int_value=value)
        case float():
            return AnyValue(double_value=value)


def _ns(moment: datetime) -> int:
    """Since 1970, in whole milliseconds; a node's clock may be wrong by more centuries than the format has."""
    return min(max(round(moment.timestamp() * 1000) * _NS_IN_MS, 0), _NS_AT_MOST)


def complaint(body: bytes) -> str:
    """What a collector says about spans that it took and threw away; they must not be sent again."""
    try:
        said = ExportTraceServiceResponse.FromString(body).partial_success
    except DecodeError:  # some answer with nothing, or with JSON: they have taken them
        return ""
    return f"{said.rejected_spans} spans rejected: {said.error_message}" if said.rejected_spans else said.error_message
