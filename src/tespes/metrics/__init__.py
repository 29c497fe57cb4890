"""What a monitoring reads of this process, in Prometheus's words. Nothing else in TESPES knows them.

Parts hand out numbers as they are, or call who wants to know; here they get names. A process shows what it does itself,
and what it sees; `docs/operations.md` says which to add up over several.
"""

import platform
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from prometheus_client import CollectorRegistry, Info, ProcessCollector, disable_created_metrics
from prometheus_client.exposition import choose_encoder

from tespes import __version__
from tespes.api.drain import Requests
from tespes.flow import collector, publish, seal
from tespes.flow.dispatch import Dispatch
from tespes.flow.lead import Lease, Work
from tespes.flow.overview import Overlook, Overview, Position
from tespes.metrics.counted import Counted
from tespes.metrics.seen import Seen
from tespes.parts import TALKING, Given, Parts


class Metrics:
    """The metrics of this process."""

    def __init__(self, given: Given, parts: Parts) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]  # else each counter has its birthday beside it
        self._registry = CollectorRegistry()
        self._counted = Counted(self._registry)
        self._seen = Seen(parts, parts.links if given.roles & TALKING else {}, Overview())
        self._overlook = _overlook(given, parts, self._dispatched)
        self._registry.register(self._seen)
        ProcessCollector(registry=self._registry)
        build = Info("tespes_build", "What runs here.", registry=self._registry)
        build.info({"version": __version__, "python": platform.python_version()})
        given.store.log.waited = self._counted.waited
        given.store.log.wrote.append(self._counted.wrote)

    def watch(self, requests: Requests) -> None:
        """Count these requests."""
        self._seen.requests = requests
        requests.answered.append(self._counted.answered)

    def led(self, name: str, work: Work) -> Work:
        """The same work, which one process alone may do; while this process does it, that is seen."""
        leads = self._counted.leads(name)

        async def seen(lease: Lease) -> None:
            with leads.track_inprogress():
                await work(lease)

        return seen

    @contextmanager
    def dispatching(self, dispatch: Dispatch) -> Iterator[None]:
        """While this process dispatches."""
        self._seen.dispatch = dispatch
        try:
            yield
        finally:
            self._seen.dispatch = None

    async def exposition(self, accept: str) -> tuple[bytes, str]:
        """All of it, in the format that the header `Accept` asks for, and the name of the format."""
        self._seen.overview = await self._overlook.look()
        try:
            encode, content_type = choose_encoder(accept)
        except (TypeError, ValueError):  # the library stumbles over a version that is none
            encode, content_type = choose_encoder("")
        return encode(self._registry), content_type

    async def _dispatched(self) -> int | None:
        return self._seen.dispatch.position if self._seen.dispatch else None


def _overlook(given: Given, parts: Parts, dispatched: Position) -> Overlook:
    """Each process looks at what it has a role for, whoever leads: that nobody does it is what somebody should see."""
    opened, roles = given.store, given.roles
    projects, publishes = "project" in roles, "publish" in roles
    followers: dict[str, Position] = {}
    if "api" in roles:
        followers["feed"] = parts.feed.seen
    if "dispatch" in roles:
        followers["dispatch"] = dispatched
    if projects:
        followers |= {model.name: partial(opened.documents.position, model) for model in given.models}
    if publishes:
        followers[seal.NAME] = parts.sealer.position
        told = (collector.NAME,) if parts.teller else ()
        saved = (publish.NAME, *told, *(webhook.stream for webhook in parts.webhooks.all.values()))
        followers |= {name: partial(opened.checkpoints.position, name) for name in saved}
    return Overlook(
        opened.log,
        followers,
        documents=opened.documents if projects else None,
        parked=parts.projections.parked if projects else (),
        webhooks=parts.webhooks if publishes else None,
    )
