"""What to do next about a task: a pure function of its situation, what was sent and heard, and the time.

A process that starts again asks the same question of the same log and goes on where it was.
"""

import math
from collections.abc import Iterable, Iterator

from tespes.task.commands import PulsarStatus
from tespes.task.state import Attempt, Canceling, Claimed, Ended, Expiring, Order, Received, Scheduled, State, Waiting
from tespes.task.steps import Ask, Contact, Delay, Expire, GiveUp, Kill, Patience, Place, Reach, Rest, Send, Step, WaitUntil
from tespes.tes import limits

RETRY_AFTER_S = 2.0
RETRY_AT_MOST_S = 30.0
_CONFIRM_KILL_S = 0.2
_CONTAINER_GONE_S = 1.5  # what the reaper of a killed runner needs to remove a container, with some to spare
_KILLS_AT_THE_END = 10
_QUEUED = "queued"  # in a batch system, where it may wait for days
_RUNNING = frozenset({"running", "postprocessing"})
_OVER = frozenset(PulsarStatus)
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
    if not rules:
        return Rest()
    again_s = now_s + patience.ask_at_most_s if reach.trouble else math.inf  # what waits for the end of a trouble
    return WaitUntil(min(again_s, *(due_s for due_s, _ in rules)))


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
            return _ended(state, contact, patience, reach)


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
        if waits or (reach.trouble is None and contact.failed == 0):
            yield _AT_ONCE, Kill(state.loose)
    if state.loose:
        yield from _asked_after_kill(state.loose, contact)
    pause_s = min(RETRY_AFTER_S * 2.0 ** (state.attempts - 1), RETRY_AT_MOST_S) if state.attempts else 0.0
    yield contact.since_s + pause_s, Place()


def _scheduled(state: Scheduled, contact: Contact, patience: Patience, reach: Reach) -> Iterator[Rule]:
    """Sent once; then again with back-off, for the case that somebody purged the queue. No start gate opens after a give-up."""
    attempt = state.attempt
    if reach.is_removed:
        yield _AT_ONCE, GiveUp(attempt, _removed(attempt))
        return
    was_tried = contact.sent > 0 or contact.failed > 0
    since_s = max(contact.since_s, contact.pulsar_s)
    if was_tried and reach.elsewhere and _may_move(state.order, attempt):
        yield _after(since_s, patience.withdraw_s), GiveUp(attempt, _unreceived(attempt, patience.withdraw_s, reach))
    reason = _unreceived(attempt, patience.unreceived_s, reach)
    yield from _delayed(attempt, _after(since_s, patience.unreceived_s), reason)
    yield _sent_again(contact, patience, reach), Send(attempt)


def _received(state: Received, contact: Contact, patience: Patience, reach: Reach) -> Iterator[Rule]:
    """A batch system's queue may take days. Staging may not, there is nothing to stage; nor a runner's first word."""
    attempt = state.attempt
    if reach.is_removed:
        yield _AT_ONCE, GiveUp(attempt, _removed(attempt))
        return
    if contact.status == "preprocessing":
        reason = f"Pulsar {attempt.pulsar} has been staging the job for {_time(patience.staging_s)}, with nothing to stage"
        yield _after(contact.status_s, patience.staging_s), GiveUp(attempt, reason)
    if contact.status in _RUNNING:
        yield from _unclaimed(attempt, contact, patience)
    is_silent = contact.asked or reach.trouble
    if is_silent and contact.status != _QUEUED and reach.elsewhere and _may_move(state.order, attempt):
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
        yield max(silent_s, _killed_again(contact, patience, reach)), Kill(attempt)
        yield from _asked_after_kill(attempt, contact)
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
        yield _killed_again(contact, patience, reach), Kill(attempt)
        yield from _asked_after_kill(attempt, contact)
    elif contact.told_s is not None:
        yield contact.told_s + patience.runner_stops_s, Kill(attempt)
    else:
        yield contact.since_s + patience.runner_hears_s, Kill(attempt)


def _ended(state: Ended, contact: Contact, patience: Patience, reach: Reach) -> Iterator[Rule]:
    """A job that Pulsar may still hold gets a kill: one that nobody claimed for tidiness, a lost one because it may run.

    The latter gets some more until Pulsar says that it is over.
    """
    if state.loose is None or reach.is_removed or any(number == state.loose.number for number, _ in state.late):
        return
    is_over = contact.killed > 0 and contact.status in _OVER
    if not is_over and contact.killed < (_KILLS_AT_THE_END if state.order.was_claimed else 1):
        yield _killed_again(contact, patience, reach), Kill(state.loose)
    if not is_over:
        yield from _asked_after_kill(state.loose, contact)


def _asked(attempt: Attempt, contact: Contact, patience: Patience, reach: Reach) -> Iterator[Rule]:
    """Silence leads to a question, and silence after that to a line in the log."""
    if contact.asked or reach.trouble:
        reason = _unanswered(attempt, patience.unanswered_s, reach)
        yield from _delayed(attempt, _after(contact.heard_s, patience.unanswered_s), reason)
    since_s = contact.heard_s if contact.asked == 0 or contact.last_s is None else contact.last_s
    due_s = since_s + _backed_off(contact.asked, patience)
    yield math.inf if reach.trouble and contact.asked else due_s, Ask(attempt)


def _asked_after_kill(attempt: Attempt, contact: Contact) -> Iterator[Rule]:
    """What Pulsar confirms is the end of the job alone: it is given the time to be that of its container, too."""
    if contact.unasked_s is not None:
        pause_s = _CONTAINER_GONE_S if attempt.containers_outlive_it else _CONFIRM_KILL_S
        yield contact.unasked_s + pause_s, Ask(attempt)


def _unclaimed(attempt: Attempt, contact: Contact, patience: Patience) -> Iterator[Rule]:
    """Pulsar says that the job runs, and no runner has asked to begin: the start gate is shut by giving it up."""
    if patience.staging_s is None:
        return
    most_s = max(patience.staging_s, 2 * patience.claim_s)
    reason = f"Pulsar {attempt.pulsar} has said for {{}} that the job is {contact.status}, but no runner has asked to begin"
    yield contact.status_s + most_s, GiveUp(attempt, reason.format(_time(most_s)))
    yield from _delayed(attempt, contact.status_s + most_s / 2, reason.format(_time(most_s / 2)))


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


def _sent_again(contact: Contact, patience: Patience, reach: Reach) -> float:
    """When the setup message is due; what nobody reads is not sent twice."""
    if contact.sent == 0 or contact.last_s is None:
        return _AT_ONCE
    if reach.trouble:
        return math.inf
    return contact.last_s + _backed_off(contact.sent - 1, patience)


def _killed_again(contact: Contact, patience: Patience, reach: Reach) -> float:
    """When the next kill is due: quickly at first, then less and less often, for ever; what nobody reads is not sent twice.

    First Pulsar is asked about the one before.
    """
    if contact.killed == 0 or contact.last_s is None:
        return _AT_ONCE
    if reach.trouble or contact.unasked_s is not None:
        return math.inf
    return contact.last_s + min(patience.kill_every_s * 2.0 ** min(contact.killed // 5, 10), patience.ask_after_s)


def _backed_off(times: int, patience: Patience) -> float:
    return min(patience.ask_after_s * 2.0 ** min(times, 10), patience.ask_at_most_s)


def _after(since_s: float, seconds: float | None) -> float:
    return math.inf if seconds is None else since_s + seconds


def _time(seconds: float | None) -> str:
    return "ever" if seconds is None else f"{seconds:g} s"
