"""When each task is due: one moment for each, on a steady clock."""

import heapq
import math

_STALE_AT_LEAST = 1000


class Timers:
    """Tasks by the second at which they are due."""

    def __init__(self) -> None:
        self._at: dict[str, float] = {}
        self._heap: list[tuple[float, str]] = []

    def set(self, task_id: str, at_s: float | None) -> None:
        """The task is due then, and at no other moment; None is never."""
        if at_s is None or at_s == math.inf:
            self._at.pop(task_id, None)
            return
        self._at[task_id] = at_s
        if len(self._heap) > 2 * len(self._at) + _STALE_AT_LEAST:
            self._heap = [(at, each) for each, at in self._at.items()]
            heapq.heapify(self._heap)
        else:
            heapq.heappush(self._heap, (at_s, task_id))

    def next_s(self) -> float:
        """When the next task is due, or a little sooner."""
        return self._heap[0][0] if self._heap else math.inf

    def take(self, now_s: float) -> list[str]:
        """The tasks that are due; they have no timer any more."""
        due = []
        while self._heap and self._heap[0][0] <= now_s:
            at_s, task_id = heapq.heappop(self._heap)
            if self._at.get(task_id) == at_s:
                del self._at[task_id]
                due.append(task_id)
        return due
