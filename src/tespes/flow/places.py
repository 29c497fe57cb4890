"""Where tasks go: whose turn it is by `room`, at Pulsars that are open by `pulsars` and did not just let a job lie."""

from collections.abc import Callable, Iterator, Mapping

from tespes.flow.execute import KnownTask
from tespes.flow.pulsars import Pulsars
from tespes.flow.room import Room
from tespes.task import Reach
from tespes.task.state import Attempt, Ended, State, Waiting

_SHUN_S = 300.0


class Places:
    """The places at all Pulsars, as the dispatcher gives them.

    :param steady: seconds of a clock that never jumps
    """

    def __init__(self, room: Room, pulsars: Pulsars, steady: Callable[[], float]) -> None:
        self._room = room
        self._pulsars = pulsars
        self._steady = steady
        self._chosen: dict[str, str] = {}
        self._held: dict[str, str] = {}
        self._shunned: dict[str, float] = {}

    def seat(self, known: KnownTask) -> None:
        """Take note of what the task's situation means for the places."""
        match known.state:
            case Waiting():
                if known.id in self._held:
                    self._leave(known.id)
            case Ended():
                self._leave(known.id)
            case _:
                self._chosen.pop(known.id, None)
                self._held[known.id] = known.state.attempt.pulsar
                self._room.hold(known, known.state.attempt.pulsar)

    def wait(self, known: KnownTask) -> None:
        """The task waits for a place, unless it was given one."""
        if known.id not in self._chosen:
            self._room.wait(known)

    def chosen(self, task_id: str) -> str | None:
        """The Pulsar at which the task was given a place; it is kept until the task's attempt is seen there."""
        return self._chosen.get(task_id)

    def choose(self) -> list[str]:
        """Give the places that are free to those whose turn it is."""
        if not self._room.waiting:
            return []
        given, opened = [], self._open()
        while (found := self._room.next(opened)) is not None:
            self._chosen[found[0]] = found[1]
            given.append(found[0])
        return given

    def reasons(self) -> Iterator[tuple[str, str]]:
        """The tasks that wait, and why. That others are preferred for a while is none: it comes and goes."""
        return self._room.reasons(self._pulsars.open())

    def at(self, pulsar: str) -> list[str]:
        """The tasks that have an attempt there."""
        return [task_id for task_id, its in self._held.items() if its == pulsar]

    def reach(self, known: KnownTask) -> Reach:
        """How the Pulsar of the task's attempt stands."""
        attempt = _attempt(known.state)
        if attempt is None:
            return Reach()
        troubles = self._pulsars.troubles()
        if attempt.pulsar not in troubles:
            return Reach(is_removed=True)
        elsewhere = self._room.elsewhere(known, attempt.pulsar, self._open())
        return Reach(trouble=troubles[attempt.pulsar], elsewhere=elsewhere)

    def shun(self, pulsar: str) -> None:
        """It let a job lie that another could have had: others get the tasks for a while."""
        self._shunned[pulsar] = self._steady() + _SHUN_S

    def _leave(self, task_id: str) -> None:
        self._room.leave(task_id)
        self._chosen.pop(task_id, None)
        self._held.pop(task_id, None)

    def _open(self) -> Mapping[str, str | None]:
        """For each Pulsar None if a task can go there, else why not."""
        now_s = self._steady()
        self._shunned = {name: until_s for name, until_s in self._shunned.items() if until_s > now_s}
        shunned = dict.fromkeys(self._shunned, "it let a job lie, and others are preferred for a while")
        return {name: trouble or shunned.get(name) for name, trouble in self._pulsars.open().items()}


def _attempt(state: State) -> Attempt | None:
    """The attempt that something may have to be sent about."""
    match state:
        case Waiting() | Ended():
            return state.loose
        case _:
            return state.attempt
