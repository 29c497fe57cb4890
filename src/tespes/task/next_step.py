"""What to do next about a task: a pure function of its situation, what was sent and heard, and the time.

A process that starts again asks the same question of the same log and goes on where it was.
"""

import math
from collections.abc import Iterable, Iterator

from tespes.task.state import Attempt, Canceling, Claimed, Ended, Expiring, Order, Received, Scheduled, State, Waiting
from tespes.task.steps import Ask, Contact, Delay, Expire, GiveUp, Kill, Patience, Place, Reach, Rest, Send, Step, WaitUntil
from tespes.tes import limits

RETRY_AFTER_S = 2.0
RETRY_AT_MOST_S = 30.0
_AT_ONCE = -math.inf
_IN_REACH = Reach()
Rule = tuple[float, Step]


def next_step(state: State, contact: Contact, now_s: float, patience: Patience, reach: Reach = _IN_REACH) -> Step:
    """What to do about the task now: the first rule that is due; else the wait for the one that is due next."""
    limited = list(_limits(state, contact, patience))
    rules = [*limited, *_rules(state, contact, now_s, patience, reach)]
    for due_s, step in rules:
        if due_s <= now_s:
            return Place(min((due_s for due_s, _ in limited), default=math.inf)) if isinstance(step, Place) else step
    return WaitUntil(min(due_s for due_s, _ in rules)) if rules else Rest()


def _rules(state: State, contact: Contact, now_s: float, patience: Patience, reach: Reach) -> Iterable[Rule]:
    """What is to be done when, in the order of weight."""
    match state:
        case Waiting():
            return _waiting(state, contact, now_s, patience, reach)
        case Scheduled():
            return _scheduled(state, contact, patience, reach)
        case Received():
            return _received(state, contact, patience, reach)
        case Claimed():
            return _claimed(state, contact, patience, reach)
        case Expiring() | Canceling():
            return _stopping(state, contact, patience, reach)
        case Ended():
            return _ended(state, contact, reach)


def _limits(state: State, contact: Contact, patience: Patience) -> Iterator[Rule]:
    """The user's limits and the settings': what is stricter counts."""
    if isinstance(state, Expiring | Canceling | Ended):
        return
    limit = limits.stricter(state.order.limits, patience.limits)
    claimed = isinstance(state, Claimed)
    if limit.queued_s is not None and not state.order.was_claimed:
        reason = f"waited longer than the {limit.queued_s:g} s that it may (queued_s)"
        yield contact.created_s + limit.queued_s, Expire(reason, claimed)
    if limit.running_s is not None and claimed:
        reason = f"ran longer than the {limit.running_s:g} s that it may (running_s)"
        yield contact.since_s + limit.running_s, Expire(reason, claimed)
    if limit.total_s is not None:
        reason = f"took longer than the {limit.total_s:g} s that it may in all (total_s)"
        yield contact.created_s + limit.total_s, Expire(reason, claimed)


def _waiting(state: Waiting, contact: Contact, now_s: float, patience: Patience, reach: Reach) -> Iterator[Rule]:
    """A lost job is killed before the next is sent.

    Where nothing can be sent, one that nobody claimed is left to the start gate, and another one after a while: that it may
    still run is in the log.
    """
    if state.loose and contact.killed == 0 and not reach.is_removed:
        waits = state.order.was_claimed and now_s < _after(contact.since_s, patience.withdraw_s)
        if reach.trouble is None or waits:
            yield _AT_ONCE, Kill(state.loose)
    pause_s = min(RETRY_AFTER_S * 2.0 ** (state.attempts - 1), RETRY_AT_MOST_S) if state.attempts else 0.0
    yield contact.since_s + pause_s, Place()


def _scheduled(state: Scheduled, contact: Contact, patience: Patience, reach: Reach) -> Iterator[Rule]:
    """Sent once; then again with back-off, for the case that somebody purged the queue. No start gate opens after a give-up."""
    attempt = state.attempt
    if reach.is_removed:
        yield _AT_ONCE, GiveUp(attempt, _removed(attempt))
        return
    if reach.elsewhere and _may_move(state.order, attempt):
        yield _after(contact.since_s, patience.withdraw_s), GiveUp(attempt, _unreceived(attempt, patience.withdraw_s, reach))
    reason = _unreceived(attempt, patience.unreceived_s, reach)
    yield from _delayed(attempt, _after(contact.since_s, patience.unreceived_s), reason)
    yield _sent_again(contact, patience), Send(attempt)


def _received(state: Received, contact: Contact, patience: Patience, reach: Reach) -> Iterator[Rule]:
    """A batch system's queue may take days. Staging may not: there is nothing to stage."""
    attempt = state.attempt
    if reach.is_removed:
        yield _AT_ONCE, GiveUp(attempt, _removed(attempt))
        return
    if contact.status == "preprocessing":
        reason = f"Pulsar {attempt.pulsar} has been staging the job for {_time(patience.staging_s)}, with nothing to stage"
        yield _after(contact.status_s, patience.staging_s), GiveUp(attempt, reason)
    if (contact.asked or reach.trouble) and reach.elsewhere and _may_move(state.order, attempt):
        reason = _unanswered(attempt, patience.withdraw_s, reach)
        yield _after(contact.heard_s, patience.withdraw_s), GiveUp(attempt, reason)
    yield from _asked(attempt, contact, patience, reach)


def _claimed(state: Claimed, contact: Contact, patience: Patience, reach: Reach) -> Iterator[Rule]:
    """Only silence from both sides is an end, and it names the risk."""
    attempt = state.attempt
    if state.orphaned or reach.is_removed:
        yield _silent(attempt, contact, patience, reach)
        if reach.is_removed:
            yield from _delayed(attempt, _AT_ONCE, _removed(attempt))
        return
    yield _abandoned(attempt, contact, patience)
    silent_s = _after(contact.runner_s, patience.abandon_s)
    if contact.pulsar_s >= silent_s:
        yield _unkilled(attempt, silent_s, contact, patience)
        reason = f"the runner has not been heard for {_time(patience.abandon_s)}, though its job runs: it is killed"
        yield from _delayed(attempt, silent_s, reason)
        yield max(silent_s, _killed_again(contact, patience)), Kill(attempt)
    reason = f"the runner has not been heard for {_time(patience.silence_s)}"
    yield from _delayed(attempt, _after(contact.runner_s, patience.silence_s), reason)
    yield from _asked(attempt, contact, patience, reach)


def _stopping(state: Expiring | Canceling, contact: Contact, patience: Patience, reach: Reach) -> Iterator[Rule]:
    """The runner hears of it by the request that it holds open, and ends cleanly. One that does not is killed.

    Not sooner: a kill leaves the container to a reaper, and nobody would know when it is gone.
    """
    attempt = state.attempt
    if state.claimed.orphaned or reach.is_removed:
        yield _silent(attempt, contact, patience, reach)
    if reach.is_removed:
        return
    yield _abandoned(attempt, contact, patience)
    reason = f"Pulsar {attempt.pulsar} has not confirmed for {_time(patience.unanswered_s)} that the job is dead{_why(reach)}"
    yield from _delayed(attempt, _after(contact.since_s, patience.unanswered_s), reason)
    if contact.killed:
        yield _unkilled(attempt, max(contact.since_s, contact.runner_s), contact, patience)
        yield _killed_again(contact, patience), Kill(attempt)
    elif contact.told_s is not None:
        yield contact.told_s + patience.runner_stops_s, Kill(attempt)
    else:
        yield contact.since_s + patience.runner_hears_s, Kill(attempt)


def _ended(state: Ended, contact: Contact, reach: Reach) -> Iterator[Rule]:
    """A job that Pulsar may still hold gets a kill: one that nobody claimed for tidiness, a lost one because it may run."""
    if state.loose and contact.killed == 0 and not reach.is_removed:
        yield _AT_ONCE, Kill(state.loose)


def _asked(attempt: Attempt, contact: Contact, patience: Patience, reach: Reach) -> Iterator[Rule]:
    """Silence leads to a question, and silence after that to a line in the log."""
    if contact.asked or reach.trouble:
        reason = _unanswered(attempt, patience.unanswered_s, reach)
        yield from _delayed(attempt, _after(contact.heard_s, patience.unanswered_s), reason)
    since_s = contact.heard_s if contact.asked == 0 or contact.last_s is None else contact.last_s
    yield since_s + _backed_off(contact.asked, patience), Ask(attempt)


def _delayed(attempt: Attempt, due_s: float, reason: str) -> Iterator[Rule]:
    if attempt.is_news(reason):
        yield due_s, Delay(attempt, reason)


def _silent(attempt: Attempt, contact: Contact, patience: Patience, reach: Reach) -> Rule:
    """Pulsar can say nothing of the job; only its runner can."""
    what = _removed(attempt) if reach.is_removed else f"Pulsar {attempt.pulsar} lost the job {attempt.job_id}"
    reason = f"{what} and its runner has been silent for {_time(patience.silence_s)}: it may still run"
    return _after(contact.runner_s, patience.silence_s), GiveUp(attempt, reason)


def _abandoned(attempt: Attempt, contact: Contact, patience: Patience) -> Rule:
    who = f"neither its runner nor Pulsar {attempt.pulsar}"
    reason = f"{who} has said anything of the job {attempt.job_id} for {_time(patience.abandon_s)}: it may still run"
    return _after(contact.heard_s, patience.abandon_s), GiveUp(attempt, reason)


def _unkilled(attempt: Attempt, since_s: float, contact: Contact, patience: Patience) -> Rule:
    """A Pulsar that was restarted may say `running` for ever of a job that is long dead (Pulsar reference: unqueued)."""
    what = f"the job {attempt.job_id} was killed {contact.killed} times in {_time(patience.abandon_s)}"
    reason = f"{what}, but Pulsar {attempt.pulsar} still says that it runs, and its runner is silent: it may still run"
    return _after(since_s, patience.abandon_s), GiveUp(attempt, reason)


def _removed(attempt: Attempt) -> str:
    return f"Pulsar {attempt.pulsar} is not in the settings any more"


def _unreceived(attempt: Attempt, seconds: float | None, reach: Reach) -> str:
    return f"Pulsar {attempt.pulsar} has not picked up the job for {_time(seconds)}{_why(reach)}"


def _unanswered(attempt: Attempt, seconds: float | None, reach: Reach) -> str:
    return f"Pulsar {attempt.pulsar} has not answered for {_time(seconds)}{_why(reach)}"


def _why(reach: Reach) -> str:
    return f": {reach.trouble}" if reach.trouble else ""


def _may_move(order: Order, attempt: Attempt) -> bool:
    """The last attempt stays where it is: better late than never."""
    return attempt.number < order.last_attempt(begun=False)


def _sent_again(contact: Contact, patience: Patience) -> float:
    """When the setup message is due."""
    if contact.sent == 0 or contact.last_s is None:
        return _AT_ONCE
    return contact.last_s + _backed_off(contact.sent - 1, patience)


def _killed_again(contact: Contact, patience: Patience) -> float:
    """When the next kill is due: quickly at first, then less and less often, for ever."""
    if contact.killed == 0 or contact.last_s is None:
        return _AT_ONCE
    return contact.last_s + min(patience.kill_every_s * 2.0 ** min(contact.killed // 5, 10), patience.ask_after_s)


def _backed_off(times: int, patience: Patience) -> float:
    return min(patience.ask_after_s * 2.0 ** min(times, 10), patience.ask_at_most_s)


def _after(since_s: float, seconds: float | None) -> float:
    return math.inf if seconds is None else since_s + seconds


def _time(seconds: float | None) -> str:
    return "ever" if seconds is None else f"{seconds:g} s"
