"""What a task is: one type for each situation. `evolve` leads from one to the next."""

from dataclasses import dataclass
from datetime import datetime

from tespes import events, tes
from tespes.tes import limits

ATTEMPTS_MAX = 3
DELAYS_MAX = 8
_ENGINES = frozenset({"docker", "podman"})


@dataclass(frozen=True, slots=True)
class Order:
    """What is known of a task in every situation.

    :param ignore_errors: for each executor, whether the task goes on after its error
    :param max_attempts: after an executor began, no attempt above this number follows
    :param limits: how long it may take, as its user says
    :param was_claimed: a runner has asked to begin: the task does not wait for its first beginning any more
    """

    ignore_errors: tuple[bool, ...]
    preemptible: bool
    max_attempts: int
    limits: limits.Limits
    created_at: datetime
    was_claimed: bool = False

    def last_attempt(self, *, begun: bool) -> int:
        """The number of the last attempt that there may be: fewer once an executor began, since commands are not idempotent."""
        return self.max_attempts if begun else max(self.max_attempts, ATTEMPTS_MAX)


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try to run the task.

    :param number: from 1; :param job_id: what Pulsar knows it by; :param pulsar: that Pulsar's name
    :param delays: why it does not go on as it should, as far as that was written down
    """

    number: int
    job_id: str
    pulsar: str
    runtime: str
    delays: tuple[str, ...] = ()

    @property
    def containers_outlive_it(self) -> bool:
        """Whether a container of it may run on when its job is dead: an engine's containers are not the job's children."""
        return self.runtime in _ENGINES

    def is_news(self, reason: str) -> bool:
        """Whether it is worth an event that the attempt is delayed for that reason: one of each kind, and few in all."""
        return _kind(reason) not in map(_kind, self.delays) and len(self.delays) < DELAYS_MAX


def _kind(reason: str) -> str:
    """What a reason says, without what may be known of the cause."""
    return reason.partition(": ")[0]


@dataclass(frozen=True, slots=True)
class Waiting:
    """Created, or between two attempts.

    :param attempts: how many have ended; :param outcome: how the last of them ended
    :param since: when this situation began, by the clock of whoever wrote that down; here and below
    :param reason: why no Pulsar can take it, if that was looked for
    :param loose: the last attempt, if it was lost: Pulsar may still hold its job
    """

    order: Order
    attempts: int
    since: datetime
    outcome: events.Outcome | None = None
    reason: str | None = None
    loose: Attempt | None = None


@dataclass(frozen=True, slots=True)
class Scheduled:
    """A job is on its way to a Pulsar that has not picked it up."""

    order: Order
    attempt: Attempt
    since: datetime


@dataclass(frozen=True, slots=True)
class Received:
    """Pulsar has the job; its runner has not asked to begin."""

    order: Order
    attempt: Attempt
    since: datetime


@dataclass(frozen=True, slots=True)
class Claimed:
    """The runner has the plan and works on it.

    :param started: how many executors started; :param ended: how many of them ended
    :param orphaned: Pulsar has lost the job, its runner lives on
    """

    order: Order
    attempt: Attempt
    run_id: str
    since: datetime
    started: int = 0
    ended: int = 0
    orphaned: bool = False

    def is_run(self, attempt: int, run_id: str) -> bool:
        """Whether that run of that attempt is the one that claimed it."""
        return (self.attempt.number, self.run_id) == (attempt, run_id)


@dataclass(frozen=True, slots=True)
class _Stopping:
    claimed: Claimed
    since: datetime

    @property
    def order(self) -> Order:
        """See Claimed."""
        return self.claimed.order

    @property
    def attempt(self) -> Attempt:
        """See Claimed."""
        return self.claimed.attempt


@dataclass(frozen=True, slots=True)
class Expiring(_Stopping):
    """The attempt takes longer than it may, as `reason` says, and is being stopped."""

    reason: str


@dataclass(frozen=True, slots=True)
class Canceling(_Stopping):
    """A cancel was asked for while the attempt may live."""


@dataclass(frozen=True, slots=True)
class Ended:
    """Over.

    :param attempts: how many there were; :param outcome: how the last of them ended, if that was told
    :param loose: an attempt that was lost, or sent and never claimed: Pulsar may still hold its job
    :param late: the (attempt, status) pairs of late messages on record
    """

    order: Order
    state: tes.State
    attempts: int
    outcome: events.Outcome | None = None
    loose: Attempt | None = None
    late: frozenset[tuple[int, str]] = frozenset()


State = Waiting | Scheduled | Received | Claimed | Expiring | Canceling | Ended
Live = Scheduled | Received | Claimed | Expiring | Canceling


def tes_state(state: State) -> tes.State:
    """The situation in the standard's words (design, section 5)."""
    match state:
        case Waiting() | Scheduled():
            return tes.State.QUEUED
        case Received():
            return tes.State.INITIALIZING
        case Claimed():
            return tes.State.RUNNING if state.started else tes.State.INITIALIZING
        case Expiring():
            return tes_state(state.claimed)
        case Canceling():
            return tes.State.CANCELING
        case Ended():
            return state.state
