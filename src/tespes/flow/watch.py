"""What the dispatcher remembers of the live tasks: since when things are as they are, who was heard when, what was sent.

All of it is memory, and its clock is steady: after a restart it is made anew, and at worst something is sent or asked again.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime

from tespes.flow.jobs import job
from tespes.store import Sign
from tespes.task import Contact
from tespes.task.state import Canceling, Claimed, Ended, Expiring, Received, Scheduled, State, Waiting

LISTEN_S = 10.0
_DEAF_S = LISTEN_S + 5.0
_UNCLAIMED = frozenset({None, Scheduled, Received})


@dataclass(slots=True)
class _Memory:
    """Of one task.

    :param situation: of which type; None if it was not looked at yet; :param attempt: which attempt `contact` is about
    :param job_id: its job, if it has one; :param sign: what all processes heard of it, as far as that was seen here
    """

    situation: type[State] | None
    attempt: int
    contact: Contact
    job_id: str | None = None
    sign: Sign = field(default_factory=Sign)


class Watch:
    """The live tasks.

    :param steady: seconds of a clock that never jumps; :param wall: the time of day, which does
    """

    def __init__(self, steady: Callable[[], float], wall: Callable[[], datetime]) -> None:
        self._steady = steady
        self._wall = wall
        self._memories: dict[str, _Memory] = {}
        self._listened_s = steady()
        self._missed = False

    def born(self, task_id: str) -> None:
        """The task was created just now, whatever the clock of whoever created it says."""
        at_s = self._steady()
        self._memories[task_id] = _Memory(None, 0, _contact(at_s, at_s, at_s))

    def look(self, task_id: str, state: State) -> Contact:
        """What was said and heard about the task's attempt.

        How old a task is that was there before: that is by the time of day, which may be wrong, but not before now.
        """
        at_s, attempt = self._steady(), _attempt(state)
        memory = self._memories.get(task_id)
        if memory is None:
            memory = self._memories[task_id] = _Memory(type(state), attempt, self._found(state, at_s))
        elif memory.attempt != attempt:
            memory.contact, memory.sign = _contact(memory.contact.created_s, at_s, at_s), Sign()
        elif memory.situation is not type(state):
            memory.contact = _begun(memory, state, at_s)
        memory.situation, memory.attempt = type(state), attempt
        memory.job_id = None if isinstance(state, Waiting | Ended) else state.attempt.job_id
        return memory.contact

    def said(self, task_id: str, *, sent: int = 0, asked: int = 0, killed: int = 0) -> None:
        """Something was sent about the attempt that was looked at last."""
        memory = self._memories[task_id]
        known = memory.contact
        said = replace(known, sent=known.sent + sent, asked=known.asked + asked, killed=known.killed + killed)
        at_s = self._steady()
        unasked_s = None if asked else at_s if killed else known.unasked_s
        memory.contact = replace(said, last_s=at_s, unasked_s=unasked_s, failed=0)

    def failed(self, task_id: str) -> None:
        """Something about that attempt could not be sent."""
        memory = self._memories[task_id]
        memory.contact = replace(memory.contact, failed=memory.contact.failed + 1)

    def heard(self, job_id: str, sign: Sign) -> None:
        """A sign of life came, of Pulsar or of the runner. Those of older attempts say nothing of the present one."""
        memory = self._of(job_id)
        if memory is None:
            return
        at_s, known = self._steady(), memory.contact
        if sign.runner:
            known = replace(known, runner_s=at_s, asked=0)
        if sign.pulsar:
            known = replace(known, pulsar_s=at_s, asked=0)
        if sign.status and sign.status != known.status:
            known = replace(known, status=sign.status, status_s=at_s)
        if sign.told and known.told_s is None:
            known = replace(known, told_s=at_s)
        memory.contact = known

    def seen(self, job_id: str, sign: Sign) -> None:
        """What all processes together have heard: whatever is new in it is a sign of life."""
        memory = self._of(job_id)
        if memory is None:
            return
        before, memory.sign = memory.sign, sign
        status = sign.status if sign.pulsar != before.pulsar else None
        self.heard(job_id, Sign(sign.runner - before.runner, sign.pulsar - before.pulsar, status, sign.told))

    def missed(self) -> None:
        """The store was away: what runners and Pulsars said may not have arrived."""
        self._missed = True

    def listened(self) -> None:
        """All that there is to hear could be heard just now. If it could not before, the silence was our own."""
        at_s = self._steady()
        if self._missed or at_s - self._listened_s > _DEAF_S:
            self.forgive()
        self._listened_s, self._missed = at_s, False

    def forgive(self) -> None:
        """Nobody could be heard: all silence begins now."""
        at_s = self._steady()
        for memory in self._memories.values():
            memory.contact = replace(memory.contact, runner_s=at_s, pulsar_s=at_s, status_s=at_s)

    def jobs(self) -> list[str]:
        """The jobs of all live attempts."""
        return [memory.job_id for memory in self._memories.values() if memory.job_id is not None]

    def forget(self, task_id: str) -> None:
        """The task needs nothing more."""
        self._memories.pop(task_id, None)

    def _of(self, job_id: str) -> _Memory | None:
        named = job(job_id)
        memory = self._memories.get(named.task_id) if named else None
        return memory if memory and named and memory.attempt == named.attempt else None

    def _found(self, state: State, at_s: float) -> Contact:
        """About a task that was there before."""
        since_s = at_s if isinstance(state, Ended) else at_s - self._age_s(state.since)
        return _contact(at_s - self._age_s(state.order.created_at), since_s, at_s)

    def _age_s(self, at: datetime) -> float:
        return max((self._wall() - at).total_seconds(), 0.0)


def _begun(memory: _Memory, state: State, at_s: float) -> Contact:
    """Another situation of the same attempt: who brought it about is alive."""
    known = replace(memory.contact, since_s=at_s)
    if isinstance(state, Claimed | Expiring | Canceling) and memory.situation in _UNCLAIMED:
        return replace(known, runner_s=at_s, asked=0)
    if isinstance(state, Received):
        return replace(known, pulsar_s=at_s, asked=0)
    return known


def _contact(created_s: float, since_s: float, at_s: float) -> Contact:
    return Contact(created_s=created_s, since_s=since_s, pulsar_s=at_s, runner_s=at_s)


def _attempt(state: State) -> int:
    """The last attempt that there was; 0 before the first."""
    return state.attempts if isinstance(state, Waiting | Ended) else state.attempt.number
