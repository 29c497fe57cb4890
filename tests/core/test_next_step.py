"""What to do next about a task: tables of situation, contact and time."""

import dataclasses

import pytest

import given as g
from given import at, given
from tespes import events
from tespes.events import Outcome
from tespes.task.next_step import (
    Ask,
    Contact,
    GiveUp,
    Kill,
    Patience,
    Place,
    Rest,
    Send,
    Step,
    WaitUntil,
    next_step,
)
from tespes.task.state import Attempt

PATIENCE = Patience(ask_after_s=60, ask_at_most_s=600, kill_every_s=1, silence_s=120)
ATTEMPT = Attempt(1, f"{g.TASK}-1", "site-a", "sandbox", at(1))
UNHEARD = Contact(at(1), at(1))
SENT = (g.created(), g.scheduled())
AT_PULSAR = (*SENT, g.received())
RUNNING = (*AT_PULSAR, g.claimed(), g.started())
LOST_JOB = events.AttemptOrphaned(attempt=1, reason="lost")
ASKED = events.TaskCancelRequested()


def step(history: tuple[events.Event, ...], contact: Contact, now_s: float) -> Step:
    """The next step after this history, at that second."""
    state = given(*history).state
    assert state is not None
    return next_step(state, contact, at(now_s), PATIENCE)


def contact(
    *, heard_s: float = 1, runner_s: float = 1, sent: int = 0, asked: int = 0, killed: int = 0, last_s: float | None = None
) -> Contact:
    last_at = None if last_s is None else at(last_s)
    return Contact(at(heard_s), at(runner_s), sent=sent, asked=asked, killed=killed, last_at=last_at)


def test_a_new_task_wants_a_place_at_once() -> None:
    """Created: find a Pulsar."""
    assert step((g.created(),), UNHEARD, 0) == Place()


@pytest.mark.parametrize(("attempts", "pause_s"), [(1, 2), (2, 4)])
def test_another_attempt_waits_a_little_longer_each_time(attempts: int, pause_s: int) -> None:
    """Between two attempts there is a pause, and it doubles."""
    history = (g.created(), *g.tried(attempts))
    ended_s = len(history) - 1
    assert step(history, UNHEARD, ended_s + pause_s - 0.001) == WaitUntil(at(ended_s + pause_s))
    assert step(history, UNHEARD, ended_s + pause_s) == Place()


@pytest.mark.parametrize(
    ("known", "now_s", "expected"),
    [
        (UNHEARD, 1, Send(ATTEMPT)),
        (contact(sent=1, last_s=5), 6, WaitUntil(at(65))),
        (contact(sent=1, last_s=5), 65, Send(ATTEMPT)),
        (contact(sent=2, last_s=65), 66, WaitUntil(at(185))),
        (contact(sent=2, last_s=65), 185, Send(ATTEMPT)),
        (contact(sent=50, last_s=5), 604, WaitUntil(at(605))),
        (contact(sent=50, last_s=5), 605, Send(ATTEMPT)),
    ],
)
def test_a_job_is_sent_again_until_pulsar_has_it(known: Contact, now_s: float, expected: Step) -> None:
    """At once, after a restart too (nothing was sent by this process); then with back-off, at most ten minutes apart."""
    assert step(SENT, known, now_s) == expected


@pytest.mark.parametrize("history", [AT_PULSAR, RUNNING])
@pytest.mark.parametrize(
    ("known", "now_s", "expected"),
    [
        (contact(heard_s=10), 11, WaitUntil(at(70))),
        (contact(heard_s=10), 70, Ask(ATTEMPT)),
        (contact(heard_s=10, asked=1, last_s=70), 71, WaitUntil(at(190))),
        (contact(heard_s=10, asked=1, last_s=70), 190, Ask(ATTEMPT)),
        (contact(heard_s=10, asked=9, last_s=70), 669, WaitUntil(at(670))),
        (contact(heard_s=10, asked=9, last_s=70), 670, Ask(ATTEMPT)),
        (contact(heard_s=100, asked=0, last_s=70), 120, WaitUntil(at(160))),
    ],
)
def test_silence_leads_to_a_question(history: tuple[events.Event, ...], known: Contact, now_s: float, expected: Step) -> None:
    """Nothing is ever stuck in silence: Pulsar is asked, less and less often, but for ever."""
    assert step(history, known, now_s) == expected


def test_an_orphan_is_watched_not_asked_about() -> None:
    """Pulsar has lost it: only its runner can say something."""
    orphan = (*RUNNING, LOST_JOB)
    assert step(orphan, contact(heard_s=1, runner_s=50), 169) == WaitUntil(at(170))
    given_up = step(orphan, contact(heard_s=1, runner_s=50), 170)
    assert isinstance(given_up, GiveUp)
    assert given_up.attempt == ATTEMPT
    assert "may still run" in given_up.reason, "the event names the risk"
    assert ATTEMPT.job_id in given_up.reason


@pytest.mark.parametrize(
    ("known", "now_s", "expected"),
    [
        (UNHEARD, 7, Kill(ATTEMPT)),
        (contact(killed=1, last_s=6), 6.5, WaitUntil(at(7))),
        (contact(killed=1, last_s=6), 7, Kill(ATTEMPT)),
        (contact(killed=4, last_s=9), 10, Kill(ATTEMPT)),
        (contact(killed=5, last_s=10), 11, WaitUntil(at(12))),
        (contact(killed=10, last_s=20), 23, WaitUntil(at(24))),
        (contact(killed=1000, last_s=20), 79, WaitUntil(at(80))),
        (contact(killed=1000, last_s=20), 80, Kill(ATTEMPT)),
    ],
)
@pytest.mark.parametrize("orphaned", [(), (LOST_JOB,)], ids=["", "orphaned"])
def test_a_kill_is_repeated_until_the_end_is_confirmed(
    orphaned: tuple[events.Event, ...], known: Contact, now_s: float, expected: Step
) -> None:
    """Kill is repeated and asked about, quickly at first, then every minute, for ever."""
    assert step((*RUNNING, *orphaned, ASKED), known, now_s) == expected


@pytest.mark.parametrize(
    ("now_s", "expected"), [(5, WaitUntil(at(6))), (5.9, WaitUntil(at(6))), (6, Kill(ATTEMPT)), (3.9, Kill(ATTEMPT))]
)
def test_a_runner_may_stop_by_itself_before_it_is_killed(now_s: float, expected: Step) -> None:
    """It removes its container and says so; after a second Pulsar is told. A clock set back makes that no longer."""
    assert step((*RUNNING, ASKED), UNHEARD, now_s) == expected


@pytest.mark.parametrize(("now_s", "expected"), [(7, WaitUntil(at(20.5))), (20.4, WaitUntil(at(20.5))), (20.5, Kill(ATTEMPT))])
def test_a_runner_that_has_heard_gets_the_time_to_remove_what_runs(now_s: float, expected: Step) -> None:
    """A kill in the middle of that would leave the container to a reaper: CANCELED could come too early (law 9)."""
    assert step((*RUNNING, ASKED), dataclasses.replace(UNHEARD, told_at=at(5.5)), now_s) == expected


def test_a_job_that_was_canceled_unclaimed_is_killed_once() -> None:
    """Cancel before the claim: a kill is sent for tidiness."""
    canceled = (*SENT, ASKED, events.TaskCanceled())
    assert step(canceled, UNHEARD, 3) == Kill(ATTEMPT)
    assert step(canceled, contact(killed=1, last_s=3), 4) == Rest()


LOST = g.over(Outcome.LOST, "lost: it may still run")


@pytest.mark.parametrize("begun", [SENT, AT_PULSAR, RUNNING], ids=["sent", "received", "running"])
def test_a_lost_job_is_killed_before_the_next_is_sent(begun: tuple[events.Event, ...]) -> None:
    """Law 7: Pulsar may still hold a lost job. One kill, whatever the pause; then the pause, then a place."""
    history = (*begun, LOST)
    lost_s = len(history) - 1
    assert step(history, UNHEARD, lost_s) == Kill(ATTEMPT)
    assert step(history, contact(killed=1, last_s=lost_s), lost_s + 1) == WaitUntil(at(lost_s + 2))
    assert step(history, contact(killed=1, last_s=lost_s), lost_s + 2) == Place()


def test_a_lost_job_is_killed_once_when_the_task_is_over() -> None:
    """It may run, and nobody wants it any more."""
    over = (*RUNNING, LOST, events.TaskSystemFailed(reason="lost"))
    assert step(over, UNHEARD, 9) == Kill(ATTEMPT)
    assert step(over, contact(killed=1, last_s=9), 10) == Rest()


@pytest.mark.parametrize("set_back_s", [0, 60, 3600, 10**6])
def test_a_clock_that_was_set_back_keeps_no_task_waiting(set_back_s: int) -> None:
    """A new task is placed at once; a pause is never longer than a minute."""
    assert step((g.created(),), UNHEARD, -set_back_s) == Place()
    between = step((g.created(), *g.tried(1)), UNHEARD, 3 - set_back_s)
    assert between == Place() if set_back_s >= 60 else between == WaitUntil(at(4))


@pytest.mark.parametrize(
    "history",
    [
        (g.created(), ASKED, events.TaskCanceled()),
        (*RUNNING, g.ended(), g.over(Outcome.SUCCEEDED), events.TaskCompleted()),
        (*RUNNING, ASKED, g.over(Outcome.KILLED, "killed"), events.TaskCanceled()),
        (g.created(), *g.tried(1), ASKED, events.TaskCanceled()),
    ],
    ids=["never sent", "complete", "killed", "between two attempts"],
)
def test_what_is_over_rests(history: tuple[events.Event, ...]) -> None:
    """Nothing to do any more."""
    assert step(history, UNHEARD, 1000) == Rest()


@pytest.mark.parametrize(
    "history", [(g.created(), *g.tried(1)), SENT, AT_PULSAR, RUNNING, (*RUNNING, LOST_JOB), (*RUNNING, ASKED)]
)
def test_what_lives_is_never_left_alone(history: tuple[events.Event, ...]) -> None:
    """Law 6: whoever waits knows until when, and then there is something to do."""
    known = contact(heard_s=5, runner_s=5, sent=3, asked=3, killed=3, last_s=5)
    first = step(history, known, 5)
    if isinstance(first, WaitUntil):
        assert first.at > at(5)
        then = step(history, known, (first.at - at(0)).total_seconds())
        assert not isinstance(then, WaitUntil | Rest)
    else:
        assert not isinstance(first, Rest)


def test_a_kill_is_repeated_for_ever() -> None:
    """Its pause has an end: a Pulsar that was down for a month is still asked to kill."""
    contact = Contact(at(1), at(1), killed=100_000, last_at=at(2))
    assert isinstance(step((*RUNNING, ASKED), contact, 4000), Kill)


def test_a_clock_that_is_set_back_keeps_no_task_waiting() -> None:
    """A new task waits for nothing; a back-off is never longer than it can be."""
    assert step((g.created(),), UNHEARD, -3600) == Place()
    assert step((*RUNNING, g.over(Outcome.SYSTEM_FAILED, "why")), UNHEARD, -3600) == Place()
