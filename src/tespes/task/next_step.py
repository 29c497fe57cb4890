"""What to do next about a task: a pure function of its situation, what was sent and heard, and the time.

A process that starts again asks the same question of the same log and goes on where it was.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from tespes.task.state import Attempt, Canceling, Claimed, Ended, Received, Scheduled, State, Waiting

_PAUSE_MAX = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Contact:
    """What this process has said and heard about the present attempt. Kept in memory: after a restart it is anew.

    :param heard_at: the last sign of life, or the start of the watch
    :param runner_at: the last sign of life of the runner itself, or the start of the watch
    :param sent: how often the setup message was sent; :param asked: how often since the last sign of life
    :param told_at: when the runner was told to stop, if it was
    :param killed: how often a kill was sent; :param last_at: when any of these was done last
    """

    heard_at: datetime
    runner_at: datetime
    sent: int = 0
    asked: int = 0
    killed: int = 0
    last_at: datetime | None = None
    told_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Patience:
    """How long is waited, in seconds.

    :param ask_after_s: silence before Pulsar is asked; doubles with every question up to `ask_at_most_s`
    :param runner_hears_s: for a runner to hear of a cancel; then Pulsar is told to kill it
    :param runner_stops_s: for one that has heard of it to remove what runs
    :param kill_every_s: between two kills of a job whose end is not confirmed
    :param silence_s: silence of an orphaned runner before it is given up
    """

    ask_after_s: float = 60.0
    ask_at_most_s: float = 600.0
    runner_hears_s: float = 1.0
    runner_stops_s: float = 15.0
    kill_every_s: float = 1.0
    silence_s: float = 120.0


@dataclass(frozen=True, slots=True)
class Place:
    """Find a Pulsar for it and schedule an attempt."""


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
    """Send a kill and ask for the status, which confirms it (Pulsar never says `cancelled` unasked)."""

    attempt: Attempt


@dataclass(frozen=True, slots=True)
class GiveUp:
    """End the attempt: nobody was heard for too long."""

    attempt: Attempt
    reason: str


@dataclass(frozen=True, slots=True)
class WaitUntil:
    """Nothing to do before that moment, unless an event comes."""

    at: datetime


@dataclass(frozen=True, slots=True)
class Rest:
    """Nothing to do any more."""


Step = Place | Send | Ask | Kill | GiveUp | WaitUntil | Rest


def next_step(state: State, contact: Contact, now: datetime, patience: Patience) -> Step:
    """What to do about the task now."""
    match state:
        case Waiting():
            return _place(state, contact, now)
        case Scheduled():
            return _send(state.attempt, contact, now, patience)
        case Received():
            return _ask(state.attempt, contact, now, patience)
        case Claimed():
            return _watch(state, contact, now, patience)
        case Canceling():
            return _stop(state, contact, now, patience)
        case Ended():
            return _tidy(state, contact)


def _place(state: Waiting, contact: Contact, now: datetime) -> Step:
    """A lost job is killed before the next is sent. A clock that was set back does not make a task wait longer."""
    if state.loose and contact.killed == 0:
        return Kill(state.loose)
    pause = state.not_before - now
    if state.attempts == 0 or not timedelta(0) < pause <= _PAUSE_MAX:
        return Place()
    return WaitUntil(state.not_before)


def _send(attempt: Attempt, contact: Contact, now: datetime, patience: Patience) -> Step:
    """Once; then again with back-off, for the case that somebody purged the queue."""
    if contact.sent == 0 or contact.last_at is None:
        return Send(attempt)
    due = contact.last_at + _backed_off(contact.sent - 1, patience)
    return Send(attempt) if now >= due else WaitUntil(due)


def _ask(attempt: Attempt, contact: Contact, now: datetime, patience: Patience) -> Step:
    since = contact.heard_at if contact.asked == 0 or contact.last_at is None else contact.last_at
    due = since + _backed_off(contact.asked, patience)
    return Ask(attempt) if now >= due else WaitUntil(due)


def _watch(state: Claimed, contact: Contact, now: datetime, patience: Patience) -> Step:
    if not state.orphaned:
        return _ask(state.attempt, contact, now, patience)
    due = contact.runner_at + timedelta(seconds=patience.silence_s)
    if now < due:
        return WaitUntil(due)
    reason = (
        f"Pulsar {state.attempt.pulsar} lost the job {state.attempt.job_id} and its runner has been silent for "
        f"{patience.silence_s:g} s: it may still run"
    )
    return GiveUp(state.attempt, reason)


def _stop(state: Canceling, contact: Contact, now: datetime, patience: Patience) -> Step:
    """The runner hears of it by the request that it holds open, and ends cleanly. One that does not is killed.

    Not sooner: a kill leaves the container to a reaper, and nobody would know when it is gone.
    """
    if contact.killed == 0 or contact.last_at is None:
        since, pause_s = (
            (contact.told_at, patience.runner_stops_s) if contact.told_at else (state.asked_at, patience.runner_hears_s)
        )
        due = since + timedelta(seconds=pause_s)
        is_sane = due - now <= timedelta(seconds=pause_s)  # or the clock was set back
        return WaitUntil(due) if now < due and is_sane else Kill(state.attempt)
    pause_s = min(patience.kill_every_s * 2 ** min(contact.killed // 5, 10), patience.ask_after_s)
    due = contact.last_at + timedelta(seconds=pause_s)
    return Kill(state.attempt) if now >= due else WaitUntil(due)


def _tidy(state: Ended, contact: Contact) -> Step:
    """A job that Pulsar may still hold gets a kill: one that nobody claimed for tidiness, a lost one because it may run."""
    return Kill(state.loose) if state.loose and contact.killed == 0 else Rest()


def _backed_off(times: int, patience: Patience) -> timedelta:
    return timedelta(seconds=min(patience.ask_after_s * 2 ** min(times, 10), patience.ask_at_most_s))
