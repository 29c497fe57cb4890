"""What can be done next about a task, and all that the choice depends on besides its situation.

Times are seconds of this process's steady clock: a wall clock that jumps changes nothing.
"""

import math
from dataclasses import dataclass, field

from tespes.task.state import Attempt
from tespes.tes.limits import Limits


@dataclass(frozen=True, slots=True, kw_only=True)
class Contact:
    """What this process has said and heard about the present attempt. Kept in memory: after a restart it is anew.

    :param created_s: when the task was created; :param since_s: when its present situation began
    :param pulsar_s: the last sign of life of Pulsar about the job, or the start of the watch; :param runner_s: of the runner
    :param status: what Pulsar said last, in its words; :param status_s: since when it says so
    :param sent: how often the setup message was sent; :param asked: how often since the last sign of life
    :param told_s: when the runner heard that it should stop, if it did
    :param killed: how often a kill was sent; :param last_s: when any of these was done last
    :param unasked_s: when the last kill was sent, if Pulsar was not asked since what came of it
    :param failed: how often, since then, something could not be sent
    """

    created_s: float
    since_s: float
    pulsar_s: float
    runner_s: float
    status: str | None = None
    status_s: float = 0.0
    sent: int = 0
    asked: int = 0
    killed: int = 0
    last_s: float | None = None
    told_s: float | None = None
    unasked_s: float | None = None
    failed: int = 0

    @property
    def heard_s(self) -> float:
        """The last sign of life of either."""
        return max(self.pulsar_s, self.runner_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """How the Pulsar of the attempt stands now.

    :param trouble: why nothing reaches it, or nobody reads there, if that is known
    :param is_removed: it is not in the settings any more; :param elsewhere: another one that is usable could take the task
    """

    trouble: str | None = None
    is_removed: bool = False
    elsewhere: bool = False


@dataclass(frozen=True, slots=True)
class Patience:
    """How long is waited, in seconds. None is for ever.

    :param ask_after_s: silence before Pulsar is asked; doubles with every question up to `ask_at_most_s`
    :param runner_hears_s: for a runner to hear of a cancel; then Pulsar is told to kill it
    :param runner_stops_s: for one that has heard of it to remove what runs
    :param kill_every_s: between two kills of a job whose end is not confirmed
    :param unreceived_s: for a Pulsar to pick a job up before that is a line in the task's log
    :param withdraw_s: the same, or for an answer about a job that nobody claimed, before another Pulsar gets the task
    :param unanswered_s: for an answer before that is a line in the task's log
    :param staging_s: for a Pulsar that says `preprocessing`, which has nothing to stage, or for one that says `running` and no
        runner asks to begin: then the attempt is given up
    :param claim_s: for how long runners try to reach TESPES; they get twice that at least
    :param silence_s: for a runner: then that is a line in the task's log, and one whose job Pulsar has lost is given up
    :param abandon_s: for a runner and its Pulsar, both silent: then it is given up. If Pulsar says that it runs, it is killed
    :param limits: how long any task may take
    """

    ask_after_s: float = 60.0
    ask_at_most_s: float = 600.0
    runner_hears_s: float = 1.0
    runner_stops_s: float = 15.0
    kill_every_s: float = 1.0
    unreceived_s: float | None = 60.0
    withdraw_s: float | None = 300.0
    unanswered_s: float | None = 300.0
    staging_s: float | None = 600.0
    silence_s: float | None = 120.0
    abandon_s: float | None = 3600.0
    claim_s: float = 60.0
    limits: Limits = field(default_factory=Limits)


@dataclass(frozen=True, slots=True)
class Place:
    """Find a Pulsar for it and schedule an attempt; ask again at `again_s` if there is no place until then."""

    again_s: float = math.inf


@dataclass(frozen=True, slots=True)
class Send:
    """Send the setup message; Pulsar ignores a second one for the same job."""

    attempt: Attempt


@dataclass(frozen=True, slots=True)
class Ask:
    """Ask Pulsar for the job's status."""

    attempt: Attempt


@dataclass(frozen=True, slots=True)
class Kill:
    """Send a kill. A question for the status follows, since Pulsar never says `cancelled` unasked."""

    attempt: Attempt


@dataclass(frozen=True, slots=True)
class Delay:
    """Write down why the attempt does not go on."""

    attempt: Attempt
    reason: str


@dataclass(frozen=True, slots=True)
class GiveUp:
    """End the attempt: nobody was heard for too long."""

    attempt: Attempt
    reason: str


@dataclass(frozen=True, slots=True)
class Expire:
    """The task takes longer than it may. `claimed`: its attempt may have effects and has to be stopped."""

    reason: str
    claimed: bool


@dataclass(frozen=True, slots=True)
class WaitUntil:
    """Nothing to do before that second, unless an event comes."""

    at_s: float


@dataclass(frozen=True, slots=True)
class Rest:
    """Nothing to do any more."""


Step = Place | Send | Ask | Kill | Delay | GiveUp | Expire | WaitUntil | Rest
