"""What one process remembers of the live tasks: who was heard when, what was sent, who waits, which places are taken.

All of it is memory: after a restart it is made anew from the log, and at worst something is sent or asked again.
"""

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime

from tespes.task import Contact
from tespes.task.state import Canceling, Claimed, Ended, Received, Scheduled, State, Waiting


class Watch:
    """The live tasks.

    :param places: how many attempts each Pulsar takes at a time
    """

    def __init__(self, places: dict[str, int], began: datetime) -> None:
        self._places = places
        self._began = began
        self._contacts: dict[str, tuple[int, Contact]] = {}
        self._taken: dict[str, set[str]] = {pulsar: set() for pulsar in places}
        self.waiting: dict[str, datetime] = {}

    def contact(self, task_id: str, attempt: int, since: datetime) -> Contact:
        """What was said and heard about the attempt; nothing yet, if it is new."""
        number, contact = self._contacts.get(task_id, (0, None))
        begin = max(since, self._began)
        return contact if contact and number == attempt else Contact(heard_at=begin, runner_at=begin)

    def note(self, task_id: str, attempt: int, contact: Contact) -> None:
        """Remember that."""
        self._contacts[task_id] = (attempt, contact)

    def heard(self, task_id: str, attempt: int, at: datetime, *, runner: bool) -> None:
        """A sign of life: of Pulsar, or of the runner itself."""
        if self._contacts.get(task_id, (attempt, None))[0] > attempt:
            return  # an older attempt says nothing of the present one
        known = self.contact(task_id, attempt, at)
        runner_at = at if runner else known.runner_at
        self.note(task_id, attempt, replace(known, heard_at=at, runner_at=runner_at, asked=0))

    def stops(self, task_id: str, attempt: int, at: datetime) -> None:
        """The runner was told that the task is canceled; the first time counts."""
        known = self.contact(task_id, attempt, at)
        if known.told_at is None:
            self.note(task_id, attempt, replace(known, told_at=at))

    def runner_at(self, task_id: str, attempt: int, since: datetime) -> datetime:
        """When the runner was heard last; when the watch began, if it was not."""
        return self.contact(task_id, attempt, since).runner_at

    def see(self, task_id: str, state: State, now: datetime) -> None:
        """Take note of the task's situation: its place, its waiting, or its end."""
        match state:
            case Scheduled() | Received() | Claimed() | Canceling():
                self.waiting.pop(task_id, None)
                self._only(task_id, state.attempt.pulsar)
            case Waiting() if state.not_before <= now:
                self.waiting.setdefault(task_id, now)
                self._only(task_id, None)
            case Waiting() | Ended():
                self.waiting.pop(task_id, None)
                self._only(task_id, None)

    def forget(self, task_id: str) -> None:
        """The task needs nothing more."""
        self._contacts.pop(task_id, None)

    def free(self, usable: Iterable[str]) -> str | None:
        """The one of these Pulsars with the most free places; None if there is no place."""
        best = max(usable, key=self._free_places, default=None)
        return best if best is not None and self._free_places(best) > 0 else None

    def take(self, task_id: str, pulsar: str) -> None:
        """The task is about to go there."""
        self._only(task_id, pulsar)
        self.waiting.pop(task_id, None)

    def _free_places(self, pulsar: str) -> int:
        return self._places[pulsar] - len(self._taken[pulsar])

    def _only(self, task_id: str, pulsar: str | None) -> None:
        for name, tasks in self._taken.items():
            if name != pulsar:
                tasks.discard(task_id)
        if pulsar is not None:
            self._taken.setdefault(pulsar, set()).add(task_id)
