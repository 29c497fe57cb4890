"""What to do next about a task: tables of situation, contact and time. All times are seconds of a steady clock."""

import dataclasses
import math
from typing import Any

import pytest

import given as g
from given import given
from tespes import events
from tespes.events import Outcome, Source
from tespes.task import Contact, Patience, Reach, Step, next_step
from tespes.task.state import ATTEMPTS_MAX, DELAYS_MAX, Attempt, Received, Scheduled
from tespes.task.steps import Ask, Delay, Expire, GiveUp, Kill, Place, Rest, Send, WaitUntil
from tespes.tes.limits import Limits

PATIENCE = Patience()
ENDLESS = Patience(unreceived_s=None, withdraw_s=None, unanswered_s=None, staging_s=None, silence_s=None, abandon_s=None)
ATTEMPT = Attempt(1, f"{g.TASK}-1", "site-a", "sandbox")
SENT = (g.created(), g.scheduled())
AT_PULSAR = (*SENT, g.received())
RUNNING = (*AT_PULSAR, g.claimed(), g.started())
LOST_JOB = g.orphaned()
ASKED = events.TaskCancelRequested()
EXPIRED = g.expired()
TROUBLE = "nobody reads its queue"
STUCK, AWAY = Reach(trouble=TROUBLE), Reach(trouble=TROUBLE, elsewhere=True)
REMOVED = Reach(is_removed=True)
History = tuple[events.Event, ...]
ALL_TOLD: History = tuple(g.delayed(str(number)) for number in range(DELAYS_MAX))


def contact(*, heard_s: float | None = None, **known: Any) -> Contact:
    """Everything began at second 0, unless something else is said."""
    begun = {"created_s": 0.0, "since_s": 0.0, "pulsar_s": 0.0, "runner_s": 0.0}
    heard = {} if heard_s is None else {"pulsar_s": heard_s, "runner_s": heard_s}
    return Contact(**{**begun, **heard, **known})


NEW = contact()


def step(history: History, known: Contact, now_s: float, reach: Reach = Reach(), patience: Patience = PATIENCE) -> Step:  # noqa: B008 - frozen
    """The next step after this history, at that second."""
    state = given(*history).state
    assert state is not None
    return next_step(state, known, now_s, patience, reach)


def attempt_of(history: History) -> Attempt:
    """The attempt under way."""
    state = given(*history).state
    assert isinstance(state, Scheduled)
    return state.attempt


def given_up_of(history: History) -> Attempt:
    """The attempt at its Pulsar."""
    state = given(*history).state
    assert isinstance(state, Received)
    return state.attempt


class TestPlacing:
    """A task that waits."""

    @pytest.mark.parametrize("now_s", [0, -3600, 3600])
    def test_a_new_task_wants_a_place_at_once(self, now_s: float) -> None:
        """Created: find a Pulsar."""
        assert step((g.created(),), contact(since_s=now_s), now_s) == Place()

    @pytest.mark.parametrize(("attempts", "pause_s"), [(1, 2), (2, 4), (3, 8), (4, 16), (5, 30), (9, 30)])
    def test_another_attempt_waits_a_little_longer_each_time(self, attempts: int, pause_s: int) -> None:
        """Between two attempts there is a pause, and it doubles, up to half a minute."""
        history = (g.created(max_attempts=10), *g.tried(attempts))
        assert step(history, contact(since_s=100), 100 + pause_s - 0.001) == WaitUntil(100 + pause_s)
        assert step(history, contact(since_s=100), 100 + pause_s) == Place()

    def test_a_task_with_a_limit_is_looked_at_when_that_has_come(self) -> None:
        """Though no place became free."""
        assert step((g.created(queued_s=60),), contact(), 5) == Place(60)


class TestScheduled:
    """Sent, and not picked up."""

    @pytest.mark.parametrize(
        ("known", "now_s", "expected"),
        [
            (NEW, 1, Send(ATTEMPT)),
            (contact(sent=1, last_s=5), 6, WaitUntil(65)),
            (contact(sent=1, last_s=5), 65, Send(ATTEMPT)),
            (contact(sent=2, last_s=65), 66, WaitUntil(185)),
            (contact(sent=2, last_s=65), 185, Send(ATTEMPT)),
            (contact(sent=50, last_s=5), 604, WaitUntil(605)),
            (contact(sent=50, last_s=5), 605, Send(ATTEMPT)),
        ],
    )
    def test_a_job_is_sent_again_until_pulsar_has_it(self, known: Contact, now_s: float, expected: Step) -> None:
        """At once, after a restart too (nothing was sent by this process); then with back-off, at most ten minutes apart."""
        assert step(SENT, known, now_s, patience=ENDLESS) == expected

    def test_a_job_that_is_not_picked_up_says_so(self) -> None:
        """After `unreceived_s`, once, with what is known. What nobody reads is not sent again, but looked at."""
        known = contact(sent=1, last_s=30)
        assert step(SENT, known, 59) == WaitUntil(60)
        plain = "Pulsar site-a has not picked up the job for 60 s"
        assert step(SENT, known, 60) == Delay(ATTEMPT, plain)
        assert step(SENT, known, 60, STUCK) == Delay(ATTEMPT, f"{plain}: {TROUBLE}")
        told = (*SENT, g.delayed(f"{plain}: {TROUBLE}"))
        assert step(told, known, 61, STUCK) == WaitUntil(661)
        assert step(told, known, 61) == WaitUntil(90)
        assert step(told, known, 90) == Send(attempt_of(told))
        assert step(told, contact(), 61, STUCK) == Send(attempt_of(told)), "once, in any case"

    def test_it_goes_elsewhere_if_there_is_somewhere(self) -> None:
        """After `withdraw_s`; the start gate is shut by that. The only Pulsar keeps it."""
        told = (*SENT, g.delayed("Pulsar site-a has not picked up the job for 60 s: nobody reads its queue"))
        known = contact(sent=1, last_s=290)
        reason = f"Pulsar site-a has not picked up the job for 300 s: {TROUBLE}"
        assert step(told, known, 299, AWAY) == WaitUntil(300)
        assert step(told, known, 300, AWAY) == GiveUp(attempt_of(told), reason)
        assert step(told, known, 300, STUCK) == WaitUntil(900)

    def test_it_goes_elsewhere_only_after_it_was_tried(self) -> None:
        """A process that was away for ten minutes has waited for nobody: it sends first, and its patience begins then."""
        history = (*SENT, *ALL_TOLD)
        assert isinstance(step(history, contact(pulsar_s=600), 600, AWAY), Send)
        assert isinstance(step(history, contact(pulsar_s=600), 900, AWAY), Send), "nothing could be done until now"
        tried = contact(pulsar_s=600, failed=1)
        assert isinstance(step(history, tried, 899, AWAY), Send)
        assert isinstance(step(history, tried, 900, AWAY), GiveUp)
        assert isinstance(step(history, contact(pulsar_s=600, sent=1, last_s=600), 900, AWAY), GiveUp)

    def test_the_last_attempt_stays(self) -> None:
        """Better late than never."""
        last = ATTEMPTS_MAX
        history = (g.created(), *g.tried(last - 1), g.scheduled(last))
        assert isinstance(step(history, contact(sent=1, last_s=290), 300, AWAY), Delay)

    @pytest.mark.parametrize("history", [SENT, AT_PULSAR])
    def test_a_pulsar_that_is_not_in_the_settings_any_more_keeps_nothing(self, history: History) -> None:
        """Nobody claimed it: at once."""
        assert step(history, NEW, 0, REMOVED) == GiveUp(ATTEMPT, "Pulsar site-a is not in the settings any more")


class TestReceived:
    """Pulsar has it, nobody claimed it."""

    def test_staging_has_an_end(self) -> None:
        """TESPES gives Pulsar nothing to stage: `preprocessing` for minutes is a failure that Pulsar did not tell of."""
        known = contact(heard_s=690, status="preprocessing", status_s=100)
        assert step(AT_PULSAR, known, 699) == WaitUntil(700)
        given_up = step(AT_PULSAR, known, 700)
        assert isinstance(given_up, GiveUp)
        assert "staging the job for 600 s" in given_up.reason

    def test_a_batch_system_may_take_days(self) -> None:
        """Also if Pulsar falls silent meanwhile: the job waits there, whoever answers."""
        known = contact(heard_s=10**6, status="queued", status_s=100)
        assert step(AT_PULSAR, known, 10**6 + 1) == WaitUntil(10**6 + 60)
        silent = dataclasses.replace(known, asked=5, last_s=10**6 + 9999)
        assert isinstance(step((*AT_PULSAR, *ALL_TOLD), silent, 10**6 + 10_000, AWAY), WaitUntil)

    @pytest.mark.parametrize("status", ["running", "postprocessing"])
    def test_a_job_that_runs_and_has_no_runner_is_given_up(self, status: str) -> None:
        """Half of the time later the task says so; a runner that is patient itself gets twice its patience."""
        known = contact(heard_s=690, status=status, status_s=100)
        reason = f"Pulsar site-a has said for {{}} s that the job is {status}, but no runner has asked to begin"
        assert step(AT_PULSAR, known, 399) == WaitUntil(400)
        assert step(AT_PULSAR, known, 400) == Delay(ATTEMPT, reason.format(300))
        told = (*AT_PULSAR, *ALL_TOLD)
        assert step(told, known, 699) == WaitUntil(700)
        assert step(told, known, 700) == GiveUp(given_up_of(told), reason.format(600))
        assert not isinstance(step(told, known, 700, patience=Patience(claim_s=1000)), GiveUp)
        assert not isinstance(step(told, known, 10**6, patience=Patience(staging_s=None)), GiveUp)

    def test_questions_without_an_answer_are_told_of(self) -> None:
        """After `unanswered_s`."""
        known = contact(asked=3, last_s=290)
        assert step(AT_PULSAR, known, 299) == WaitUntil(300)
        assert step(AT_PULSAR, known, 300) == Delay(ATTEMPT, "Pulsar site-a has not answered for 300 s")

    def test_a_pulsar_that_went_away_loses_it_to_another(self) -> None:
        """If there is one, and nobody claimed the job: the start gate is shut by that."""
        known = contact(asked=3, last_s=290)
        assert step(AT_PULSAR, known, 300, AWAY) == GiveUp(ATTEMPT, f"Pulsar site-a has not answered for 300 s: {TROUBLE}")


@pytest.mark.parametrize("history", [AT_PULSAR, RUNNING])
@pytest.mark.parametrize(
    ("known", "now_s", "expected"),
    [
        (contact(heard_s=10), 11, WaitUntil(70)),
        (contact(heard_s=10), 70, Ask(ATTEMPT)),
        (contact(heard_s=10, asked=1, last_s=70), 71, WaitUntil(190)),
        (contact(heard_s=10, asked=1, last_s=70), 190, Ask(ATTEMPT)),
        (contact(heard_s=10, asked=9, last_s=70), 669, WaitUntil(670)),
        (contact(heard_s=10, asked=9, last_s=70), 670, Ask(ATTEMPT)),
        (contact(heard_s=100, asked=0, last_s=70), 120, WaitUntil(160)),
        (contact(runner_s=100), 120, WaitUntil(160)),
    ],
)
def test_silence_leads_to_a_question(history: History, known: Contact, now_s: float, expected: Step) -> None:
    """Nothing is ever stuck in silence: Pulsar is asked, less and less often, but for ever."""
    assert step(history, known, now_s, patience=ENDLESS) == expected


class TestClaimed:
    """A runner works on it, or did."""

    def test_an_orphan_is_watched_not_asked_about(self) -> None:
        """Pulsar has lost it: only its runner can say something."""
        orphan = (*RUNNING, LOST_JOB)
        known = contact(runner_s=50)
        assert step(orphan, known, 169) == WaitUntil(170)
        given_up = step(orphan, known, 170)
        assert isinstance(given_up, GiveUp)
        assert given_up.attempt == ATTEMPT
        assert "may still run" in given_up.reason, "the event names the risk"
        assert ATTEMPT.job_id in given_up.reason

    def test_a_silent_runner_is_told_of(self) -> None:
        """At `silence_s`, though Pulsar answers."""
        known = contact(pulsar_s=100)
        assert step(RUNNING, known, 119) == WaitUntil(120)
        assert step(RUNNING, known, 120) == Delay(ATTEMPT, "the runner has not been heard for 120 s")

    def test_silence_from_both_is_the_end(self) -> None:
        """After `abandon_s`; it names the risk."""
        told = (*RUNNING, *ALL_TOLD)
        known = contact(runner_s=10, pulsar_s=50, asked=9, last_s=3600)
        assert step(told, known, 3649) == WaitUntil(3650)
        given_up = step(told, known, 3650)
        assert isinstance(given_up, GiveUp)
        assert "may still run" in given_up.reason

    def test_a_silent_runner_whose_job_runs_is_killed(self) -> None:
        """After `abandon_s` of the runner's silence, as often as it takes; Pulsar's confirmation is the end."""
        told = (*RUNNING, *ALL_TOLD)
        known = contact(pulsar_s=3610)
        assert isinstance(step(told, known, 3610), Kill)
        assert step(told, dataclasses.replace(known, killed=1, last_s=3610), 3610.5) == WaitUntil(3611)
        assert isinstance(step(told, dataclasses.replace(known, killed=1, last_s=3610), 3611), Kill)
        why = step(RUNNING, known, 3610)
        assert isinstance(why, Delay)
        assert "it is killed" in why.reason
        back = dataclasses.replace(known, killed=1, last_s=3610, runner_s=3612)
        assert isinstance(step(told, back, 3613), WaitUntil), "it was heard again"

    def test_a_job_that_no_kill_ends_is_given_up(self) -> None:
        """Pulsar may say `running` for ever of a job that is dead: after `abandon_s` of kills it is believed no more."""
        told = (*RUNNING, *ALL_TOLD)
        killed = contact(pulsar_s=7300, killed=60, last_s=7199)
        assert isinstance(step(told, killed, 7199.9), Kill | WaitUntil)
        given_up = step(told, killed, 7200)
        assert isinstance(given_up, GiveUp)
        assert "may still run" in given_up.reason
        canceled = step((*told, ASKED), contact(pulsar_s=3700, killed=60, last_s=3599), 3600)
        assert isinstance(canceled, GiveUp)
        assert "killed 60 times" in canceled.reason

    def test_a_runner_at_a_pulsar_that_was_removed_goes_on(self) -> None:
        """Its result comes by HTTP; if it falls silent, nobody can kill it, and the event names the risk."""
        told = (*RUNNING, g.delayed("Pulsar site-a is not in the settings any more"))
        assert step(RUNNING, contact(runner_s=5), 6, REMOVED) == Delay(ATTEMPT, "Pulsar site-a is not in the settings any more")
        assert step(told, contact(runner_s=5), 6, REMOVED) == WaitUntil(125)
        given_up = step(told, contact(runner_s=5), 125, REMOVED)
        assert isinstance(given_up, GiveUp)
        assert "may still run" in given_up.reason


@pytest.mark.parametrize("end", [(ASKED,), (EXPIRED,), (LOST_JOB, ASKED), (LOST_JOB, EXPIRED), (EXPIRED, ASKED)])
class TestStopping:
    """A cancel, or a limit that has passed, while the attempt may live."""

    @pytest.mark.parametrize(
        ("known", "now_s", "expected"),
        [
            (contact(since_s=6), 7, Kill(ATTEMPT)),
            (contact(killed=1, last_s=6), 6.5, WaitUntil(7)),
            (contact(killed=1, last_s=6), 7, Kill(ATTEMPT)),
            (contact(killed=4, last_s=9), 10, Kill(ATTEMPT)),
            (contact(killed=5, last_s=10), 11, WaitUntil(12)),
            (contact(killed=10, last_s=20), 23, WaitUntil(24)),
            (contact(killed=1000, last_s=20), 79, WaitUntil(80)),
            (contact(killed=1000, last_s=20), 80, Kill(ATTEMPT)),
            (contact(killed=100_000, last_s=2), 119, Kill(ATTEMPT)),
        ],
    )
    def test_a_kill_is_repeated_until_the_end_is_confirmed(
        self, end: History, known: Contact, now_s: float, expected: Step
    ) -> None:
        """Kill is repeated and asked about, quickly at first, then every minute, for ever."""
        assert step((*RUNNING, *end), known, now_s) == expected

    @pytest.mark.parametrize(("now_s", "expected"), [(5, WaitUntil(6)), (5.9, WaitUntil(6)), (6, Kill(ATTEMPT))])
    def test_a_runner_may_stop_by_itself_before_it_is_killed(self, end: History, now_s: float, expected: Step) -> None:
        """It removes its container and says so; after a second Pulsar is told."""
        assert step((*RUNNING, *end), contact(since_s=5), now_s) == expected

    @pytest.mark.parametrize(("now_s", "expected"), [(7, WaitUntil(20.5)), (20.4, WaitUntil(20.5)), (20.5, Kill(ATTEMPT))])
    def test_a_runner_that_has_heard_gets_the_time_to_remove_what_runs(
        self, end: History, now_s: float, expected: Step
    ) -> None:
        """A kill in the middle of that would leave the container to a reaper: CANCELED could come too early (law 9)."""
        assert step((*RUNNING, *end), contact(since_s=5, told_s=5.5), now_s) == expected

    def test_pulsar_is_asked_after_each_kill(self, end: History) -> None:
        """A moment later, in which the job's container is gone; what nobody reads is not sent again."""
        killed = contact(killed=1, last_s=6, unasked_s=6)
        assert step((*RUNNING, *end), killed, 6.1) == WaitUntil(6.2)
        assert step((*RUNNING, *end), killed, 6.3) == Ask(ATTEMPT)
        docker = (g.created(), dataclasses.replace(g.scheduled(), runtime="docker"), *RUNNING[2:], *end)
        assert step(docker, killed, 7.4) == WaitUntil(7.5), "no other kill before it was asked"
        assert isinstance(step(docker, killed, 7.5), Ask)
        asked = contact(killed=1, asked=1, last_s=6.3)
        assert step((*RUNNING, *end), asked, 6.4) == WaitUntil(7.3)
        assert isinstance(step((*RUNNING, *end), asked, 100, STUCK), WaitUntil | GiveUp)

    def test_a_pulsar_that_confirms_nothing_is_told_of(self, end: History) -> None:
        """The task shows why it is still there."""
        told = step((*RUNNING, *end), contact(killed=50, last_s=299, runner_s=290), 300, STUCK)
        assert isinstance(told, Delay)
        assert told.reason == f"Pulsar site-a has not confirmed for 300 s that the job is dead: {TROUBLE}"

    def test_silence_from_both_is_the_end(self, end: History) -> None:
        """Sooner or later nobody is there to confirm anything; the event names the risk."""
        told = (*RUNNING, *end, *ALL_TOLD)
        given_up = step(told, contact(killed=50, last_s=3599), 3600)
        assert isinstance(given_up, GiveUp)
        assert "may still run" in given_up.reason

    def test_where_nobody_can_kill_the_runners_silence_is_the_end(self, end: History) -> None:
        """The Pulsar was removed; its runner is told to stop all the same."""
        assert step((*RUNNING, *end), contact(runner_s=5), 6, REMOVED) == WaitUntil(125)
        assert isinstance(step((*RUNNING, *end), contact(runner_s=5), 125, REMOVED), GiveUp)


class TestLimits:
    """How long a task may take, by its user's word and by the settings: what is stricter counts."""

    @pytest.mark.parametrize("history", [(), (g.scheduled(),), (g.scheduled(), g.received()), g.tried(2)])
    def test_a_task_may_wait_so_long(self, history: History) -> None:
        """queued_s: from its creation until a runner asks to begin."""
        known = contact(created_s=100, since_s=155, heard_s=155, sent=1, last_s=155)
        expired = step((g.created(queued_s=60), *history), known, 160)
        assert expired == Expire("waited longer than the 60 s that it may (queued_s)", claimed=False)
        assert not isinstance(step((g.created(queued_s=60), *history), known, 159), Expire)

    def test_a_task_that_has_begun_once_has_not_waited(self) -> None:
        """It may wait for its second attempt as long as it takes."""
        history = (g.created(queued_s=60, max_attempts=2), *RUNNING[1:], g.over(Outcome.SYSTEM_FAILED, "gone"))
        assert step(history, contact(since_s=500), 502) == Place()

    def test_an_attempt_may_run_so_long(self) -> None:
        """running_s: from the claim."""
        history = (g.created(running_s=60), *RUNNING[1:])
        known = contact(created_s=0, since_s=100, heard_s=155)
        assert step(history, known, 159) == WaitUntil(160)
        assert step(history, known, 160) == Expire("ran longer than the 60 s that it may (running_s)", claimed=True)
        assert step((*history, ASKED), known, 160) == Kill(ATTEMPT), "a cancel is stronger"

    @pytest.mark.parametrize("begun", [(), RUNNING[1:]])
    def test_a_task_may_take_so_long_in_all(self, begun: History) -> None:
        """total_s: from its creation to its end."""
        expected = Expire("took longer than the 60 s that it may in all (total_s)", claimed=bool(begun))
        assert step((g.created(total_s=60), *begun), contact(since_s=55, heard_s=55), 60) == expected

    @pytest.mark.parametrize(("asked_s", "set_s", "allowed_s"), [(60, 100, 60), (100, 60, 60), (None, 60, 60), (60, None, 60)])
    def test_what_is_stricter_counts(self, asked_s: int | None, set_s: int | None, allowed_s: int) -> None:
        """Nobody takes more than the operator allows."""
        order = g.created(running_s=asked_s) if asked_s else g.created()
        patience = Patience(limits=Limits(running_s=set_s))
        known = contact(heard_s=allowed_s)
        assert isinstance(step((order, *RUNNING[1:]), known, allowed_s, patience=patience), Expire)
        assert not isinstance(step((order, *RUNNING[1:]), known, allowed_s - 1, patience=patience), Expire)


LOST = g.over(Outcome.LOST, "lost: it may still run")


class TestTidying:
    """What Pulsar may still hold."""

    @pytest.mark.parametrize("end", [(ASKED, events.TaskCanceled()), (events.TaskSystemFailed(reason="too late"),)])
    def test_a_job_that_was_canceled_unclaimed_is_killed_once(self, end: History) -> None:
        """Cancel or limit before the claim: a kill is sent for tidiness."""
        assert step((*SENT, *end), NEW, 3) == Kill(ATTEMPT)
        assert step((*SENT, *end), contact(killed=1, last_s=3), 4) == Rest()
        assert step((*SENT, *end), NEW, 3, REMOVED) == Rest()

    @pytest.mark.parametrize("begun", [SENT, AT_PULSAR, RUNNING], ids=["sent", "received", "running"])
    def test_a_lost_job_is_killed_before_the_next_is_sent(self, begun: History) -> None:
        """Law 7: Pulsar may still hold a lost job. One kill, whatever the pause; then the pause, then a place."""
        history = (*begun, LOST)
        assert step(history, contact(since_s=5), 5) == Kill(ATTEMPT)
        assert step(history, contact(since_s=5, killed=1, last_s=5), 6) == WaitUntil(7)
        assert step(history, contact(since_s=5, killed=1, last_s=5), 7) == Place()
        assert step(history, contact(since_s=5), 7, REMOVED) == Place()

    def test_a_pulsar_that_is_away_does_not_keep_the_next_attempt_waiting(self) -> None:
        """Unclaimed, the start gate is enough; a claimed one that may run is killed if that is possible in time."""
        assert step((*SENT, LOST), contact(since_s=5), 7, STUCK) == Place()
        assert step((*RUNNING, LOST), contact(since_s=5), 7, STUCK) == Kill(ATTEMPT)
        assert step((*RUNNING, LOST), contact(since_s=5), 305, STUCK) == Place()

    def test_a_kill_that_cannot_be_sent_does_not_keep_the_next_attempt_waiting(self) -> None:
        """Though nothing is known to be wrong there: one try if nobody claimed it, else as long as another may take."""
        assert step((*SENT, LOST), contact(since_s=5), 7) == Kill(ATTEMPT)
        assert step((*SENT, LOST), contact(since_s=5, failed=1), 7) == Place()
        assert step((*RUNNING, LOST), contact(since_s=5, failed=9), 304) == Kill(ATTEMPT)
        assert step((*RUNNING, LOST), contact(since_s=5, failed=9), 305) == Place()
        assert step((*RUNNING, LOST), contact(since_s=5), 305) == Kill(ATTEMPT), "one try in any case"

    @pytest.mark.parametrize("end", [(events.TaskSystemFailed(reason="lost"),), (ASKED, events.TaskCanceled())])
    def test_a_lost_job_is_killed_when_the_task_is_over(self, end: History) -> None:
        """It may run, and nobody wants it any more: some kills, until Pulsar says that it is over."""
        over = (*RUNNING, LOST, *end)
        assert step(over, NEW, 9) == Kill(ATTEMPT)
        assert step(over, contact(killed=1, last_s=9), 9.5) == WaitUntil(10)
        assert step(over, contact(killed=1, last_s=9), 10) == Kill(ATTEMPT)
        assert step(over, contact(killed=1, last_s=9, unasked_s=9), 9.2) == Ask(ATTEMPT)
        assert step(over, contact(killed=1, last_s=9, status="cancelled"), 10) == Rest()
        assert (
            step(
                (*over, events.LateMessageRecorded(attempt=1, status="failed", source=Source.PULSAR)),
                contact(killed=1, last_s=9),
                10,
            )
            == Rest()
        )
        assert step(over, contact(killed=10, last_s=9), 10**6) == Rest()

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
    def test_what_is_over_rests(self, history: History) -> None:
        """Nothing to do any more."""
        assert step(history, NEW, 1000) == Rest()


@pytest.mark.parametrize("patience", [PATIENCE, ENDLESS], ids=["usual", "endless"])
@pytest.mark.parametrize("reach", [Reach(), STUCK, AWAY, REMOVED], ids=["", "stuck", "elsewhere", "removed"])
@pytest.mark.parametrize(
    "history",
    [
        (g.created(), *g.tried(1)),
        SENT,
        AT_PULSAR,
        RUNNING,
        (*RUNNING, LOST_JOB),
        (*RUNNING, EXPIRED),
        (*RUNNING, ASKED),
        (*RUNNING, LOST_JOB, ASKED),
    ],
)
def test_what_lives_is_never_left_alone(history: History, reach: Reach, patience: Patience) -> None:
    """Law 6: whoever waits knows until when, and then there is something to do, however often that happens."""
    known, now_s = contact(heard_s=5, sent=3, asked=3, killed=3, last_s=5), 5.0
    for _ in range(20):
        do = step(history, known, now_s, reach, patience)
        if not isinstance(do, WaitUntil):
            assert not isinstance(do, Rest)
            break
        only_a_runner_can_help = LOST_JOB in history or reach.is_removed
        if patience is ENDLESS and reach.trouble:
            assert do.at_s <= now_s + patience.ask_at_most_s
            return
        if do.at_s == math.inf and patience is ENDLESS and only_a_runner_can_help:
            return
        assert now_s < do.at_s < math.inf
        now_s = do.at_s
    else:
        pytest.fail("it waits and waits")
