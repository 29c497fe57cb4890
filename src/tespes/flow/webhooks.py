"""Webhooks: who gets events by HTTP, how far each is, and which are parked.

That a webhook is parked is an event in a stream of its own, `webhook:<name>`, and so is that an operator resumed it: every
process finds it there, a restart forgets nothing. `deliver` brings the events.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Literal, get_args

import structlog

from tespes import errors, events
from tespes.events import Meta, codec
from tespes.flow.execute import By, now
from tespes.flow.ids import new_id
from tespes.store import Checkpoints, Fence, Log
from tespes.tes import urls

TASK_EVENTS: Final = frozenset(codec.VERSIONS) - {kind.__name__ for kind in get_args(events.ServiceEvent)}
STREAM: Final = "webhook:"
_TRIES: Final = 10
_ACTOR: Final = "tespes"

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Webhook:
    """Somebody who gets events by HTTP.

    :param url: where, perhaps with a login; :param key: what is signed with
    :param types: the names of the events that it gets; :param owner: of whose tasks; None is everybody's
    :param begin: with what it begins when it is new: what happens from `now` on, or the `beginning` of the log
    :param timeout_s: in which it has to answer; :param give_up_after_s: of one event refused; None is never
    :param ca_file: certificates that are trusted beside the system's
    """

    name: str
    url: str = field(repr=False)
    key: bytes = field(repr=False)
    types: frozenset[str] = TASK_EVENTS
    owner: str | None = None
    begin: Literal["now", "beginning"] = "now"
    timeout_s: float = 15.0
    give_up_after_s: float | None = 86_400.0
    ca_file: str | None = None

    @property
    def stream(self) -> str:
        """Where it is written down whether it is parked; its lease and its checkpoint have that name, too."""
        return STREAM + self.name

    @property
    def shown(self) -> str:
        """Where it is, for people: scheme, host and port. A path may be a secret, as that of many a chat is."""
        return urls.origin(self.url)


@dataclass(frozen=True, slots=True)
class Active:
    """It gets its events."""


@dataclass(frozen=True, slots=True)
class Parked:
    """It gets none since then, for it refused the event at that position."""

    since: datetime
    position: int
    reason: str


State = Active | Parked


@dataclass(frozen=True, slots=True)
class Standing:
    """How a webhook is doing.

    :param position: up to which it has its events; :param lag: how many commits of the log come after that
    :param trouble: why its next event is not delivered yet, as far as this process knows
    :param skipped: how many events this process left out, for it cannot read them
    """

    webhook: Webhook
    state: State
    position: int
    lag: int
    trouble: str | None
    skipped: int


class Webhooks:
    """The webhooks of the settings.

    `taken` and `refused` count by name how often this process was answered so, and `skipped` what it could not read.
    """

    def __init__(self, log: Log, checkpoints: Checkpoints, webhooks: Iterable[Webhook]) -> None:
        self.all: Mapping[str, Webhook] = {each.name: each for each in webhooks}
        self._log = log
        self._checkpoints = checkpoints
        self._troubles: dict[str, str] = {}
        self.taken = Counter[str]()
        self.refused = Counter[str]()
        self.skipped = Counter[str]()

    async def prepare(self) -> None:
        """Let those that are new begin: they get whatever happens from now on, if they do not want it all."""
        for webhook in self.all.values():
            first = (await self._log.head()).position if webhook.begin == "now" else 0
            await self._checkpoints.begin(webhook.stream, first)

    def tell(self, name: str, trouble: str | None) -> None:
        """Why its next event is not delivered; None once one was."""
        (self.taken if trouble is None else self.refused)[name] += 1
        if trouble is not None:
            self._troubles[name] = trouble
        elif self._troubles.pop(name, None) is not None:
            _log.info("a webhook takes its events again", webhook=name)

    def skip(self, name: str, position: int, reason: str) -> None:
        """An event is left out, for this release cannot read it."""
        self.skipped[name] += 1
        _log.warning("a webhook does not get an event", webhook=name, position=position, reason=reason)

    async def look(self) -> list[Standing]:
        """How all of them are doing."""
        return [await self._standing(each) for each in self.all.values()]

    async def state(self, name: str) -> State:
        """Whether it is parked, as the log has it now.

        :raises errors.NotFound: there is no such webhook
        """
        return (await self._read(name))[0]

    async def park(self, name: str, position: int, reason: str, fence: Fence | None) -> None:
        """Let it have no further event until it is resumed; if it is parked already, nothing happens.

        :param position: of the event that it refused; :param fence: of the lease under which it was offered
        """
        happened = events.WebhookParked(webhook=name, position=position, reason=reason)
        await self._append(name, happened, By(_ACTOR, fence=fence))

    async def resume(self, name: str, by: By) -> None:
        """Let it have its events again, from the one on that it refused; if it is not parked, nothing happens.

        :raises errors.NotFound: there is no such webhook
        """
        await self._append(name, events.WebhookResumed(webhook=name), by)

    async def _standing(self, webhook: Webhook) -> Standing:
        position = await self._checkpoints.position(webhook.stream)
        lag = max((await self._log.head()).position - position, 0)
        name = webhook.name
        return Standing(webhook, await self.state(name), position, lag, self._troubles.get(name), self.skipped[name])

    async def _append(self, name: str, event: events.WebhookParked | events.WebhookResumed, by: By) -> None:
        """Write it down, if it is not so already."""
        for _ in range(_TRIES):
            state, version = await self._read(name)
            if isinstance(state, Parked) == isinstance(event, events.WebhookParked):
                return
            meta = Meta(at=now(), actor=by.actor, owner=by.actor, correlation=by.correlation)
            commit = events.commit(new_id(), self.all[name].stream, version + 1, (event,), meta)
            try:
                await self._log.append(commit, by.fence)
            except errors.VersionConflict:
                continue
            return
        raise errors.StoreUnavailable(f"webhook {name} changes too fast: {_TRIES} orders came first")

    async def _read(self, name: str) -> tuple[State, int]:
        """Whether it is parked, and the version of its stream."""
        if name not in self.all:
            raise errors.NotFound(f"there is no webhook {name} in the settings; there are: {', '.join(self.all) or 'none'}")
        state: State = Active()
        version = 0
        for entry in await self._log.read_stream(self.all[name].stream):
            version = entry.last_version
            for recorded in events.recorded(entry):
                state = _after(state, recorded.event, recorded.at)
        return state, version


def _after(state: State, event: events.Event, at: datetime) -> State:
    if isinstance(event, events.WebhookParked):
        return Parked(at, event.position, event.reason)
    return Active() if isinstance(event, events.WebhookResumed) else state
