"""How all is going, for those who watch a service: who is behind the log, what lives and since when, what is parked.

It is read from the database when somebody asks, by look-ups in indexes, and kept for a moment: however many ask, the
database hears little of it. What cannot be had in time is left out, and named.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, TypeVar

import structlog

from tespes import tes
from tespes.flow.execute import now
from tespes.flow.parked import Parked
from tespes.flow.webhooks import Parked as ParkedWebhook
from tespes.flow.webhooks import Webhooks
from tespes.projections import TASK_VIEW
from tespes.store import Documents, Log

LIVING: Final = (tes.State.QUEUED, tes.State.INITIALIZING, tes.State.RUNNING, tes.State.CANCELING)
_FRESH_S: Final = 1.0
_AT_MOST_S: Final = 2.0

_Found = TypeVar("_Found")
Position = Callable[[], Awaitable[int | None]]

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Lag:
    """How far a follower is behind the log: by how many commits, and for how long the first of them has been there."""

    commits: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Living:
    """The tasks in a state: how many they are, and how long ago the oldest of them was created."""

    tasks: int
    oldest_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Overview:
    """See the module.

    :param head: the last position of the log; None if it is not known
    :param lags: by follower; :param living: by state; :param parked: how many tasks, by view
    :param webhooks: whether it is parked, by name
    :param missing: for each of these, and for the head as `log`, whether it could not be had
    """

    head: int | None = None
    lags: Mapping[str, Lag] = field(default_factory=dict)
    living: Mapping[str, Living] = field(default_factory=dict)
    parked: Mapping[str, int] = field(default_factory=dict)
    webhooks: Mapping[str, bool] = field(default_factory=dict)
    missing: Mapping[str, bool] = field(default_factory=dict)


class Overlook:
    """What looks.

    :param followers: how far each is, by name; None if that is another process's to say
    :param documents: of the task view, if this process is to count tasks; else None
    :param parked: of each view, and :param webhooks: if it is to count these; :param clock: the present
    """

    def __init__(
        self,
        log: Log,
        followers: Mapping[str, Position],
        *,
        documents: Documents | None,
        parked: Sequence[Parked],
        webhooks: Webhooks | None,
        clock: Callable[[], datetime] = now,
    ) -> None:
        self._log = log
        self._followers = followers
        self._documents = documents
        self._parked = parked
        self._webhooks = webhooks
        self._clock = clock
        self._turn = asyncio.Lock()
        self._last = Overview()
        self._looked_at = float("-inf")
        self._missing: dict[str, bool] = {}

    async def look(self) -> Overview:
        """All of it, as it is now or was a moment ago. It never takes longer than a few seconds, and never raises."""
        async with self._turn:
            if time.monotonic() - self._looked_at > _FRESH_S:
                self._last = await self._look()
                self._looked_at = time.monotonic()
            return self._last

    async def _look(self) -> Overview:
        head, lags, living, parked, webhooks = await asyncio.gather(
            self._tried("log", self._head()),
            self._tried("lags", self._lags()),
            self._tried("tasks", self._living()),
            self._tried("parked", self._parked_tasks()),
            self._tried("webhooks", self._parked_webhooks()),
        )
        return Overview(
            head=head,
            lags=lags or {},
            living=living or {},
            parked=parked or {},
            webhooks=webhooks or {},
            missing=dict(self._missing),
        )

    async def _tried(self, what: str, look: Awaitable[_Found]) -> _Found | None:
        """What was found; None if it could not be, which is told once."""
        try:
            async with asyncio.timeout(_AT_MOST_S):
                found = await look
        except Exception as error:  # noqa: BLE001 - the rim: whatever is the matter, all else can still be seen
            if not self._missing.get(what):
                _log.warning("something cannot be watched", what=what, reason=str(error) or type(error).__name__)
            self._missing[what] = True
            return None
        self._missing[what] = False
        return found

    async def _head(self) -> int:
        return (await self._log.head()).position

    async def _lags(self) -> dict[str, Lag]:
        """Who moves meanwhile is not behind: the head is looked at first."""
        head = await self._head()
        positions = {name: await position() for name, position in self._followers.items()}
        return {name: await self._lag(position, head) for name, position in positions.items() if position is not None}

    async def _lag(self, position: int, head: int) -> Lag:
        if position >= head:
            return Lag(0, 0.0)
        return Lag(head - position, await self._age_s(position + 1))

    async def _living(self) -> dict[str, Living]:
        """Of all states, so that none is missing where there are no tasks."""
        if self._documents is None:
            return {}
        found = await self._documents.groups(TASK_VIEW, "state", [state.value for state in LIVING])
        ages = {state: await self._age_s(group.first) for state, group in found.items()}
        return {state: Living(found[state].documents, ages[state]) if state in found else Living(0, 0.0) for state in LIVING}

    async def _parked_tasks(self) -> dict[str, int]:
        return {each.view: await each.count() for each in self._parked}

    async def _parked_webhooks(self) -> dict[str, bool]:
        those = self._webhooks
        return {name: isinstance(await those.state(name), ParkedWebhook) for name in those.all} if those else {}

    async def _age_s(self, position: int) -> float:
        """How long ago the commit at that position was made; clocks of several machines may differ."""
        entries = await self._log.read(position - 1, 1)
        return max((self._clock() - entries[0].commit.meta.at).total_seconds(), 0.0) if entries else 0.0
