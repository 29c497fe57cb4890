"""Why tasks wait: said as soon as they have waited a moment, and again when the reason has changed, but not all the time."""

from collections.abc import Iterable
from dataclasses import dataclass

AGAIN_S = (60.0, 3600.0)


@dataclass(frozen=True, slots=True)
class _Told:
    """What a task was told last, when, and how long it is told nothing else; each time that is twice as long."""

    reason: str | None
    at_s: float
    pause_s: float


class Reasons:
    """What the tasks that wait have been told."""

    def __init__(self) -> None:
        self._told: dict[str, _Told] = {}

    def untold(self, waiting: Iterable[tuple[str, str]], now_s: float) -> list[tuple[str, str]]:
        """Of the tasks that wait, with their reasons: those to tell. Who is seen for the first time is told the next time."""
        before, self._told = self._told, {}
        untold = []
        for task_id, reason in waiting:
            told = before.get(task_id)
            if told is None:
                told = _Told(None, now_s, 0.0)
            elif told.reason != reason and now_s - told.at_s >= told.pause_s:
                untold.append((task_id, reason))
                told = _Told(reason, now_s, min(max(told.pause_s * 2, AGAIN_S[0]), AGAIN_S[1]))
            self._told[task_id] = told
        return untold
