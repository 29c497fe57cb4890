"""What is sent at a time: so much to one Pulsar that a broker which does not answer does not keep the others waiting."""

from collections import Counter
from itertools import islice


class Lanes:
    """One for each Pulsar.

    :param width: how many tasks may be in one at a time
    """

    def __init__(self, width: int) -> None:
        self._width = width
        self._used: Counter[str] = Counter()
        self._waiting: dict[str, dict[str, None]] = {}

    def enter(self, pulsar: str, task_id: str) -> bool:
        """Whether the task may go; else it waits until a `leave` names it."""
        waiting = self._waiting.setdefault(pulsar, {})
        if self._used[pulsar] >= self._width:
            waiting[task_id] = None
            return False
        waiting.pop(task_id, None)
        self._used[pulsar] += 1
        return True

    def leave(self, pulsar: str) -> list[str]:
        """One is through: those for which there is room now, who wait no more."""
        self._used[pulsar] -= 1
        waiting = self._waiting[pulsar]
        turns = list(islice(waiting, self._width - self._used[pulsar]))
        for task_id in turns:
            del waiting[task_id]
        return turns
