"""Whose turn it is among the tasks that wait: priority, then fair share by owner, then age.

Tasks of one priority and wish are a line: if its first finds no place, nobody in it does. So only the first of each line is
ever looked at, however many wait.
"""

import bisect
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field

from tespes.task.placement import Wish


@dataclass(frozen=True, slots=True)
class Waiter:
    """A task that waits.

    :param turn: greater than that of whoever began to wait before; :param since_s: when it began, on a steady clock
    """

    task_id: str
    owner: str
    priority: int
    wish: Wish
    turn: int
    since_s: float


@dataclass(slots=True)
class _Line:
    """A queue for each owner, and (share, turn, owner) for the head of each, in the order of their turns."""

    queues: dict[str, OrderedDict[str, Waiter]] = field(default_factory=dict)
    heads: list[tuple[int, int, str]] = field(default_factory=list)

    def first(self) -> Waiter:
        return self._head(self.heads[0][2])

    def add(self, waiter: Waiter, share: int) -> None:
        queue = self.queues.setdefault(waiter.owner, OrderedDict())
        queue[waiter.task_id] = waiter
        if len(queue) == 1:
            bisect.insort(self.heads, (share, waiter.turn, waiter.owner))

    def remove(self, waiter: Waiter, share: int) -> None:
        owner, head = waiter.owner, self._head(waiter.owner)
        del self.queues[owner][waiter.task_id]
        if waiter is not head:
            return
        self._strike(share, head)
        if self.queues[owner]:
            bisect.insort(self.heads, (share, self._head(owner).turn, owner))
        else:
            del self.queues[owner]

    def move(self, owner: str, before: int, after: int) -> None:
        """The owner has another share than before."""
        head = self._head(owner)
        self._strike(before, head)
        bisect.insort(self.heads, (after, head.turn, owner))

    def _head(self, owner: str) -> Waiter:
        return next(iter(self.queues[owner].values()))

    def _strike(self, share: int, head: Waiter) -> None:
        del self.heads[bisect.bisect_left(self.heads, (share, head.turn, head.owner))]


class Order:
    """The tasks that wait, and what their owners have in the meantime."""

    def __init__(self) -> None:
        self._waiters: dict[str, Waiter] = {}
        self._lines: dict[int, dict[Wish, _Line]] = {}
        self._shares: dict[str, int] = {}
        self._turn = 0

    def __contains__(self, task_id: str) -> bool:
        return task_id in self._waiters

    def __iter__(self) -> Iterator[Waiter]:
        """Everybody, by age."""
        return iter(self._waiters.values())

    def __len__(self) -> int:
        return len(self._waiters)

    def add(self, task_id: str, owner: str, priority: int, wish: Wish, since_s: float) -> None:
        """One more, who is the youngest."""
        self._turn += 1
        waiter = Waiter(task_id, owner, priority, wish, self._turn, since_s)
        self._waiters[task_id] = waiter
        line = self._lines.setdefault(priority, {}).setdefault(wish, _Line())
        line.add(waiter, self._shares.get(owner, 0))

    def remove(self, task_id: str) -> None:
        """That task waits no more."""
        waiter = self._waiters.pop(task_id, None)
        if waiter is None:
            return
        lines = self._lines[waiter.priority]
        lines[waiter.wish].remove(waiter, self._shares.get(waiter.owner, 0))
        if not lines[waiter.wish].heads:
            del lines[waiter.wish]
        if not lines:
            del self._lines[waiter.priority]

    def share(self, owner: str, more: int) -> None:
        """The owner has so much more than before, or less."""
        before = self._shares.pop(owner, 0)
        if after := before + more:
            self._shares[owner] = after
        for lines in self._lines.values():
            for line in lines.values():
                if owner in line.queues:
                    line.move(owner, before, after)

    def turns(self) -> Iterator[Waiter]:
        """The first of each line, in the order of their turns. Nothing may be added or removed meanwhile."""
        for priority in sorted(self._lines, reverse=True):
            for line in sorted(self._lines[priority].values(), key=lambda line: line.heads[0]):
                yield line.first()
