"""Who waits for a place at a Pulsar, what is taken there, and who goes where next.

All of it is memory of the process that dispatches, told from the log: nothing of it is stored.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from tespes.flow.execute import KnownTask
from tespes.flow.order import Order, Waiter
from tespes.pulsar import Site
from tespes.task import placement
from tespes.task.placement import Defaults, Used, Wish
from tespes.tes import parameters


@dataclass(frozen=True, slots=True)
class _Holder:
    """A task that has a place."""

    owner: str
    pulsar: str
    wish: Wish


class Room:
    """The places of all Pulsars.

    A task that has no place does not keep those behind it from one, until it has waited for `patience_s`: from then on one
    Pulsar that suits it takes nobody who is behind it, so that the place it needs becomes free in the end.

    :param pulsars: by name; :param defaults: what a task counts for that does not say
    :param clock: seconds that never go back

    Wherever `troubles` are asked for: for each Pulsar None if it is usable, else why it is not.
    """

    def __init__(
        self,
        pulsars: Mapping[str, Site],
        defaults: Defaults = Defaults(),  # noqa: B008 - frozen
        patience_s: float = 300.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._offers = {name: site.offer for name, site in pulsars.items()}
        self._used = {name: Used(offer) for name, offer in self._offers.items()}
        self._defaults = defaults
        self._patience_s = patience_s
        self._clock = clock
        self._order = Order()
        self._holders: dict[str, _Holder] = {}
        self._reserved: dict[str, str] = {}
        self._usable: frozenset[str] = frozenset()
        self._without_room: set[Wish] = set()  # at any usable Pulsar, until one has more or another is usable

    @property
    def waiting(self) -> int:
        """How many tasks wait."""
        return len(self._order)

    def wait(self, known: KnownTask) -> None:
        """The task waits for a place; if it does already, it keeps its turn."""
        if known.id in self._order:
            return
        self.leave(known.id)
        wish = placement.wish(known.submitted, self._defaults)
        self._order.add(known.id, known.owner, parameters.priority(known.submitted.resources), wish, self._clock())

    def hold(self, known: KnownTask, pulsar: str) -> None:
        """The task has a place there: its attempt says so in the log."""
        holder = self._holders.get(known.id)
        if holder is not None and holder.pulsar == pulsar:
            return
        self.leave(known.id)
        self._take(known.id, known.owner, placement.wish(known.submitted, self._defaults), pulsar)

    def leave(self, task_id: str) -> None:
        """The task neither waits nor has a place."""
        self._order.remove(task_id)
        self._reserved.pop(task_id, None)
        holder = self._holders.pop(task_id, None)
        if holder is None:
            return
        self._without_room.clear()
        self._order.share(holder.owner, -holder.wish.cpus)
        if holder.pulsar in self._used:
            self._used[holder.pulsar] = self._used[holder.pulsar].minus(holder.wish)

    def next(self, troubles: Mapping[str, str | None]) -> tuple[str, str] | None:
        """The task that goes next, and its Pulsar; its place is taken at once. None: nobody can go now."""
        usable = {name: used for name, used in self._used.items() if troubles.get(name, "") is None}
        if self._usable != usable.keys():
            self._usable = frozenset(usable)
            self._without_room.clear()
        if not any(used.places_free != 0 for used in usable.values()):
            return None
        found = self._find(usable)
        if found is None:
            return None
        waiter, pulsar = found
        self.leave(waiter.task_id)
        self._take(waiter.task_id, waiter.owner, waiter.wish, pulsar)
        return waiter.task_id, pulsar

    def reasons(self, troubles: Mapping[str, str | None]) -> Iterator[tuple[str, str]]:
        """Why each of the tasks waits that do."""
        said: dict[Wish, str] = {}
        for waiter in self._order:
            if waiter.wish not in said:
                said[waiter.wish] = placement.why(waiter.wish, self._offers, troubles)
            yield waiter.task_id, said[waiter.wish]

    def elsewhere(self, known: KnownTask, pulsar: str, troubles: Mapping[str, str | None]) -> bool:
        """Whether another Pulsar than that one is usable and suits the task."""
        wish = placement.wish(known.submitted, self._defaults)
        return any(
            name != pulsar and troubles.get(name, "") is None and placement.suits(name, offer, wish)
            for name, offer in self._offers.items()
        )

    def used(self) -> Mapping[str, Used]:
        """What is taken and free, of each Pulsar."""
        return dict(self._used)

    def _find(self, usable: dict[str, Used]) -> tuple[Waiter, str] | None:
        """The first in turn that has room, at a Pulsar that is not kept free for somebody before it."""
        left, now_s = dict(usable), self._clock()
        for waiter in self._order.turns():
            if waiter.wish not in self._without_room:
                pulsar = placement.choose(waiter.wish, left)
                if pulsar is not None:
                    return waiter, pulsar
                if len(left) == len(usable):
                    self._without_room.add(waiter.wish)
            if now_s - waiter.since_s >= self._patience_s:
                self._keep_free(waiter, left)
                if not left:
                    return None
        return None

    def _keep_free(self, waiter: Waiter, left: dict[str, Used]) -> None:
        """Take one Pulsar from what is left for those behind: the same as before, so that it does become free."""
        kept = self._reserved.get(waiter.task_id)
        if kept not in left:
            kept = placement.reserve(waiter.wish, left)
        if kept is not None:
            self._reserved[waiter.task_id] = kept
            del left[kept]

    def _take(self, task_id: str, owner: str, wish: Wish, pulsar: str) -> None:
        self._holders[task_id] = _Holder(owner, pulsar, wish)
        self._order.share(owner, wish.cpus)
        if pulsar in self._used:  # else it is not in the settings any more
            self._used[pulsar] = self._used[pulsar].plus(wish)
