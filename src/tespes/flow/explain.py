"""Why tasks wait: said as soon as they have waited a moment, and again when the reason has changed, but not all the time."""

from collections.abc import Iterable

AGAIN_S = 60.0


class Reasons:
    """What the tasks that wait have been told."""

    def __init__(self) -> None:
        self._told: dict[str, tuple[str | None, float]] = {}

    def untold(self, waiting: Iterable[tuple[str, str]], now_s: float) -> list[tuple[str, str]]:
        """Of the tasks that wait, with their reasons: those to tell. Who is seen for the first time is told the next time."""
        before, self._told = self._told, {}
        untold = []
        for task_id, reason in waiting:
            known = before.get(task_id)
            told, at_s = known or (None, now_s)
            if known and told != reason and (told is None or now_s - at_s >= AGAIN_S):
                untold.append((task_id, reason))
                told, at_s = reason, now_s
            self._told[task_id] = (told, at_s)
        return untold
