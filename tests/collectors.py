"""An OpenTelemetry collector on loopback, in a thread of its own: it keeps the spans that come, or answers as it is told.

Requests are read with the messages that OpenTelemetry publishes. What a collector refuses to read is refused here too.
"""

import asyncio
import ssl
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiohttp import web
from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest, ExportTraceServiceResponse
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from receivers import Answer
from servers import Loop
from tespes.flow.follow import wait


@dataclass(frozen=True, slots=True)
class Told:
    """A span as the collector has it.

    :param resource: attributes of who told it
    """

    span: Span
    resource: Mapping[str, Any]

    @property
    def trace_id(self) -> str:
        return self.span.trace_id.hex()

    @property
    def id(self) -> str:
        return self.span.span_id.hex()

    @property
    def parent_id(self) -> str:
        return self.span.parent_span_id.hex()

    @property
    def attributes(self) -> dict[str, Any]:
        return attributes(self.span.attributes)


@dataclass
class Collector:
    """A collector.

    `script` has the answers to the next requests; then comes `usual`. `asked` has the headers of every request, `told` the
    spans of those that were answered with 2xx; `complaint` is what it says about them.
    """

    loop: Loop
    tls: ssl.SSLContext | None = None
    script: deque[Answer] = field(default_factory=deque)
    usual: Answer = field(default_factory=lambda: Answer(200))
    complaint: ExportTraceServiceResponse = field(default_factory=ExportTraceServiceResponse)
    asked: list[Mapping[str, str]] = field(default_factory=list)
    told: list[Told] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._closed = asyncio.Event()
        app = web.Application(client_max_size=2**24)
        app.router.add_post("/v1/traces", self._handle)
        app.router.add_post("/elsewhere", self._handle)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=2)
        self._port = self.loop.run(self._start())

    @property
    def url(self) -> str:
        """Where it is."""
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self._port}"

    def of(self, task_id: str) -> dict[str, Told]:
        """The spans of a task, by their ids: a copy counts once, and is what the first one was."""
        found: dict[str, Told] = {}
        for each in self.told:
            if each.attributes["tespes.task_id"] == task_id:
                assert found.setdefault(each.id, each).span == each.span
        return found

    def tasks(self) -> list[str]:
        """The ids of the tasks whose roots came, as they came."""
        return [each.attributes["tespes.task_id"] for each in self.told if each.span.name == "task"]

    def close(self) -> None:
        """End it; who waits for an answer gets it."""
        self.loop.run(self._end())

    async def _start(self) -> int:
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0, ssl_context=self.tls)
        await site.start()
        port: int = self._runner.addresses[0][1]
        return port

    async def _end(self) -> None:
        self._closed.set()
        await self._runner.cleanup()

    async def _handle(self, request: web.Request) -> web.Response:
        self.asked.append({name.lower(): value for name, value in request.headers.items()} | {"path": request.path_qs})
        if request.content_type != "application/x-protobuf":
            return web.Response(status=415)
        try:
            said = ExportTraceServiceRequest.FromString(await request.read())
        except DecodeError:
            return web.Response(status=400)
        answer = self.script.popleft() if self.script else self.usual
        await wait(self._closed, answer.after_s)
        if answer.status not in range(200, 300):
            return web.Response(status=answer.status, headers=answer.headers)
        for each in said.resource_spans:
            resource = attributes(each.resource.attributes)
            self.told += [Told(span, resource) for scope in each.scope_spans for span in scope.spans]
        return web.Response(body=self.complaint.SerializeToString(), content_type="application/x-protobuf")


def attributes(given: Any) -> dict[str, Any]:
    """By name."""
    pairs: list[KeyValue] = list(given)
    assert len({pair.key for pair in pairs}) == len(pairs)
    return {pair.key: _value(pair.value) for pair in pairs}


def _value(value: AnyValue) -> Any:
    kind = value.WhichOneof("value")
    assert kind is not None
    return getattr(value, kind)


Collectors = Callable[..., Collector]


@pytest.fixture
def collectors(loop_thread: Loop) -> Iterator[Collectors]:
    """Makes a collector; all of them end with the test."""
    with ExitStack() as stack:

        def made(**what: Any) -> Collector:
            collector = Collector(loop_thread, **what)
            stack.callback(collector.close)
            return collector

        yield made


@pytest.fixture
def collector(collectors: Collectors) -> Collector:
    """A collector."""
    return collectors()
