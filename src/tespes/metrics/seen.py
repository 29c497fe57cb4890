"""What is looked at when somebody asks: the parts, which are in memory, and the overview, which was read just before."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final, TypeVar

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from tespes.api.drain import Requests
from tespes.flow.dispatch import Dispatch
from tespes.flow.health import Level
from tespes.flow.overview import Overview
from tespes.parts import Parts
from tespes.pulsar import Link

Of = TypeVar("Of", bound=str | tuple[str, ...])

_CHECK: Final = ("check",)
_FOLLOWER: Final = ("follower",)
_PART: Final = ("part",)
_PULSAR: Final = ("pulsar",)
_QUEUE: Final = ("pulsar", "queue")
_STATE: Final = ("state",)
_VIEW: Final = ("view",)
_WAY: Final = ("direction", "scheme")
_WEBHOOK: Final = ("webhook",)


@dataclass(slots=True, eq=False)
class Seen(Collector):
    """See the module.

    :param links: the Pulsars that this process talks to
    :param requests: those of its own; None before it serves
    :param dispatch: None while another process dispatches
    """

    parts: Parts
    links: Mapping[str, Link]
    overview: Overview
    requests: Requests | None = None
    dispatch: Dispatch | None = None

    def collect(self) -> Iterator[Metric]:
        """All of it. What there is nothing to say of is named all the same."""
        yield from self._process()
        yield from self._pulsars()
        yield from _places(self.dispatch)
        yield from self._doors()
        yield from _tasks(self.overview)
        yield from _log(self.overview)

    def _process(self) -> Iterator[Metric]:
        checks = {name: found.level is Level.READY for name, found in self.parts.health.report.items()}
        requests = {(): self.requests.count} if self.requests else {}
        moved = self.parts.storage.moved_bytes
        yield _gauge("tespes_check_ready", "1 if all is well with this, see /readyz.", _CHECK, checks)
        yield _gauge("tespes_http_requests_in_progress", "Requests that are being answered.", (), requests)
        yield _gauge("tespes_stream_clients", "Clients of GET /events/stream.", (), {(): self.parts.feed.clients})
        yield _counter("tespes_transfer_bytes", "Bytes of files that passed through this process.", _WAY, moved)

    def _pulsars(self) -> Iterator[Metric]:
        troubles, drained = self.parts.pulsars.troubles(), self.parts.pulsars.drained()
        queues = {(name, queue): found for name, link in self.links.items() for queue, found in link.queues.items()}
        heeds = {name: troubles[name] is None for name in self.links}
        wanted = {name: drained[name] for name in self.links}
        messages = {of: queue.messages for of, queue in queues.items()}
        consumers = {of: queue.consumers for of, queue in queues.items()}
        yield _gauge("tespes_pulsar_up", "1 if the Pulsar heeds what is sent to it.", _PULSAR, heeds)
        yield _gauge("tespes_pulsar_drained", "1 if the Pulsar is to get no further attempt.", _PULSAR, wanted)
        yield _gauge("tespes_pulsar_queue_messages", "Messages that wait in a queue.", _QUEUE, messages)
        yield _gauge("tespes_pulsar_queue_consumers", "How many read a queue.", _QUEUE, consumers)

    def _doors(self) -> Iterator[Metric]:
        hooks, feed, publisher = self.parts.webhooks, self.parts.feed, self.parts.publisher
        answers = {"taken": hooks.taken, "refused": hooks.refused}
        offered = {(name, answer): count[name] for name in hooks.all for answer, count in answers.items()}
        skipped = {webhook.stream: hooks.skipped[name] for name, webhook in hooks.all.items()}
        skipped |= {"feed": feed.skipped, "publish": publisher.skipped}
        what = "Events that webhooks were offered, by what they answered."
        yield _counter("tespes_webhook_deliveries", what, ("webhook", "answer"), offered)
        what = "1 if the webhook gets nothing until an operator resumes it."
        yield _gauge("tespes_webhook_parked", what, _WEBHOOK, self.overview.webhooks)
        what = "Events that were left out, for this release cannot read them."
        yield _counter("tespes_events_skipped", what, _FOLLOWER, skipped)


def _places(dispatch: Dispatch | None) -> Iterator[Metric]:
    used = dispatch.room.used() if dispatch else {}
    places = {name: each.offer.places for name, each in used.items() if each.offer.places is not None}
    taken = {name: each.places for name, each in used.items()}
    waiting = {(): dispatch.room.waiting} if dispatch else {}
    yield _gauge("tespes_pulsar_places", "How many attempts may be at the Pulsar at a time.", _PULSAR, places)
    yield _gauge("tespes_pulsar_places_taken", "How many attempts are at the Pulsar, or on their way.", _PULSAR, taken)
    yield _gauge("tespes_tasks_without_place", "Tasks that wait for a place.", (), waiting)


def _tasks(found: Overview) -> Iterator[Metric]:
    tasks = {state: each.tasks for state, each in found.living.items()}
    oldest = {state: each.oldest_s for state, each in found.living.items()}
    yield _gauge("tespes_tasks", "Tasks that have not ended.", _STATE, tasks)
    yield _gauge("tespes_tasks_oldest_seconds", "How long ago the oldest of these tasks was created.", _STATE, oldest)
    yield _gauge("tespes_tasks_parked", "Tasks whose events cannot be folded into a view.", _VIEW, found.parked)


def _log(found: Overview) -> Iterator[Metric]:
    head = {} if found.head is None else {(): found.head}
    commits = {name: lag.commits for name, lag in found.lags.items()}
    seconds = {name: lag.seconds for name, lag in found.lags.items()}
    yield _gauge("tespes_log_position", "The last position of the log.", (), head)
    yield _gauge("tespes_follower_lag_commits", "Commits that the follower has yet to see.", _FOLLOWER, commits)
    yield _gauge("tespes_follower_lag_seconds", "For how long the first of these has been there.", _FOLLOWER, seconds)
    yield _gauge("tespes_scrape_problem", "1 if this could not be had in time, and is missing.", _PART, found.missing)


def _gauge(name: str, what: str, labels: tuple[str, ...], values: Mapping[Of, float]) -> Metric:
    family = GaugeMetricFamily(name, what, labels=labels)
    for of, value in values.items():
        family.add_metric((of,) if isinstance(of, str) else of, value)
    return family


def _counter(name: str, what: str, labels: tuple[str, ...], values: Mapping[Of, float]) -> Metric:
    family = CounterMetricFamily(name, what, labels=labels)
    for of, value in values.items():
        family.add_metric((of,) if isinstance(of, str) else of, value)
    return family
