"""What a database must promise to carry what processes tell each other beside the log. None of it is history.

Where one process alone may write (SQLite), there is nothing to tell but signs of life.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Held:
    """A lease as its document has it.

    :param fence: grows by one whenever another holder takes it: the version of its stream in the log
    :param beat: grows with every renewal: whoever sees it stand still for long enough, by its own clock, may take the lease
    """

    name: str
    holder: str
    fence: int
    beat: int


class Leases(Protocol):
    """Who does what one process alone may do. No clock is compared with another: only whether the beat goes on."""

    async def look(self, name: str) -> Held | None:
        """The lease as it is now; None if nobody ever took it."""

    async def put(self, lease: Held, seen: Held | None) -> bool:
        """Write it if it still is as it was seen (None: if it was never there); whether it was."""


class Agreements(Protocol):
    """What must be the same in all processes."""

    async def agree(self, name: str, value: str) -> str:
        """The value of that name: this one, unless there was another before."""

    async def replace(self, name: str, former: str, value: str) -> None:
        """Have them agree on that value from now on, if they agree on the former one."""


class Tickets(Protocol):
    """The queue of the processes that want to append, for them to be fair (see `turns`). Nothing rests on it."""

    async def add(self, ticket: str) -> None:
        """Line up, behind all others."""

    async def remove(self, ticket: str) -> list[str]:
        """Leave the queue, or take somebody out of it; who is left in it."""

    async def all(self) -> list[str]:
        """Who is in it, the first first."""


@dataclass(frozen=True, slots=True)
class Sign:
    """What was heard of a job, by any process. The numbers only ever grow: whoever sees one change has a sign of life.

    :param runner: signs of life of the runner; :param pulsar: of its Pulsar
    :param status: what Pulsar said last, in its words; :param told: the runner has heard that it should stop
    """

    runner: int = 0
    pulsar: int = 0
    status: str | None = None
    told: bool = False


class Signs(Protocol):
    """Signs of life, shared by all processes of a store. No history: what is old is forgotten by itself."""

    async def add(self, signs: Mapping[str, Sign]) -> None:
        """Add to what is known of these jobs: the numbers are summed, a status replaces the one before, `told` stays."""

    async def get(self, job_ids: Sequence[str]) -> dict[str, Sign]:
        """What is known of those of the jobs that were ever heard of."""
