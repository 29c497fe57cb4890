"""What is counted as it happens: appends and requests. It is counted in memory, and costs microseconds."""

from collections import Counter as Tally
from collections.abc import Sequence
from typing import Final

import orjson
from aiohttp import hdrs, web
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from tespes.events import AttemptEnded, Entry, Outcome, codec

_APPEND_S: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 15)
_COMMITS: Final = (1, 2, 4, 8, 16, 32, 64, 128, 256)  # of the largest batch
_REQUEST_S: Final = (0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_NO_ROUTE: Final = "none"
_METHODS: Final = hdrs.METH_ALL  # a client may call a method whatever it likes
_ENDED: Final = AttemptEnded.__name__


class Counted:
    """The instruments, and what plays them."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._append = Histogram(
            "tespes_append_duration_seconds",
            "How long an append took whoever asked for it.",
            buckets=_APPEND_S,
            registry=registry,
        )
        self._batch = Histogram(
            "tespes_append_batch_commits", "Commits written in one round trip.", buckets=_COMMITS, registry=registry
        )
        self._events = Counter("tespes_events", "Events that this process wrote to the log.", ["type"], registry=registry)
        self._attempts = Counter(
            "tespes_attempts_ended", "Attempts whose end this process wrote to the log.", ["outcome"], registry=registry
        )
        self._requests = Histogram(
            "tespes_http_request_duration_seconds",
            "Requests, from their header to the end of their answer.",
            ["method", "route", "status"],
            buckets=_REQUEST_S,
            registry=registry,
        )
        self._leads = Gauge("tespes_leads", "1 while this process does what one alone may do.", ["work"], registry=registry)
        for kind in codec.VERSIONS:  # what was never counted is 0: the first one is a change, too
            self._events.labels(kind)
        for outcome in Outcome:
            self._attempts.labels(outcome.value)
        self._known: dict[tuple[str, str, int], Histogram] = {}
        self.waited = self._append.observe

    def wrote(self, entries: Sequence[Entry]) -> None:
        """A batch is in the log."""
        self._batch.observe(len(entries))
        happened = [event for entry in entries for event in entry.commit.events]
        for kind, count in Tally(event.type for event in happened).items():
            self._events.labels(kind).inc(count)
        for event in happened:
            if event.type == _ENDED:
                self._attempts.labels(orjson.loads(event.data)["outcome"]).inc()

    def answered(self, request: web.Request, status: int, took_s: float) -> None:
        """A request is answered. Routes are few; what clients ask for besides is not told apart."""
        resource = request.match_info.route.resource
        route = _NO_ROUTE if resource is None else resource.canonical
        method = request.method if request.method in _METHODS else _NO_ROUTE
        key = (method, route, status // 100)
        if (known := self._known.get(key)) is None:
            known = self._known[key] = self._requests.labels(method, route, f"{status // 100}xx")
        known.observe(took_s)

    def leads(self, work: str) -> Gauge:
        """Whether this process does that, which one alone may do."""
        return self._leads.labels(work)
