"""What the dispatcher remembers: clocks that jump, signs of life, timers, and what waiting tasks are told."""

from datetime import datetime, timedelta

import pytest

import given as g
from given import given
from tespes import events, task
from tespes.events import Outcome
from tespes.flow.explain import Reasons
from tespes.flow.lanes import Lanes
from tespes.flow.timers import Timers
from tespes.flow.watch import Watch
from tespes.store import Sign
from tespes.task import Contact, Patience, Step, next_step
from tespes.task.steps import Ask, Expire, GiveUp, Place, Send, WaitUntil

JOB = f"{g.TASK}-1"
HOUR_S = 3600.0
SENT = (g.created(), g.scheduled())
RUNNING = (*SENT, g.received(), g.claimed(), g.started())
ASKED = events.TaskCancelRequested()


class Clocks:
    """A steady clock, and a time of day that somebody can set."""

    def __init__(self) -> None:
        self.steady_s = 1000.0
        self.ahead_s = 0.0

    def steady(self) -> float:
        return self.steady_s

    def wall(self) -> datetime:
        return g.at(self.steady_s - 1000 + self.ahead_s)


class Remembering:
    """A watch over one task."""

    def __init__(self) -> None:
        self.clocks = Clocks()
        self.watch = Watch(self.clocks.steady, self.clocks.wall)

    def look(self, *history: events.Event) -> Contact:
        return self.watch.look(g.TASK, _state(history))

    def step(self, *history: events.Event) -> Step:
        return next_step(_state(history), self.look(*history), self.clocks.steady_s, Patience())


def _state(history: tuple[events.Event, ...]) -> task.State:
    state = given(*history).state
    assert state is not None
    return state


@pytest.fixture
def remembering() -> Remembering:
    return Remembering()


class TestClocks:
    """The time of day jumps; nothing else does."""

    @pytest.mark.parametrize("jump_s", [-HOUR_S, 0, HOUR_S])
    def test_a_clock_that_is_set_while_tespes_runs_changes_nothing(self, remembering: Remembering, jump_s: float) -> None:
        """Neither for a task that is known, nor for one that is created later."""
        order = g.created(queued_s=60)
        remembering.watch.born(g.TASK)
        assert remembering.step(order) == Place(1060)
        remembering.clocks.ahead_s += jump_s
        remembering.clocks.steady_s += 59
        assert remembering.step(order) == Place(1060)
        remembering.clocks.steady_s += 1
        assert isinstance(remembering.step(order), Expire)
        remembering.watch.forget(g.TASK)
        remembering.watch.born(g.TASK)
        assert remembering.step(order) == Place(1120)

    @pytest.mark.parametrize("jump_s", [-HOUR_S, 0, HOUR_S])
    def test_a_pause_is_a_pause(self, remembering: Remembering, jump_s: float) -> None:
        """Two seconds between two attempts, whatever the time of day does meanwhile."""
        remembering.look(*SENT)
        remembering.clocks.ahead_s += jump_s
        over = g.over(Outcome.SYSTEM_FAILED, "gone")
        assert remembering.step(*SENT, over) == WaitUntil(1002)
        remembering.clocks.steady_s += 2
        assert remembering.step(*SENT, over) == Place()

    @pytest.mark.parametrize(("behind_s", "age_s"), [(0, 30), (HOUR_S, 0)])
    def test_a_task_that_was_there_before_is_as_old_as_the_time_of_day_says(
        self, remembering: Remembering, behind_s: float, age_s: float
    ) -> None:
        """But never younger than new: whoever wrote it down may have a clock that is ahead."""
        remembering.clocks.steady_s += 30
        remembering.clocks.ahead_s -= behind_s
        known = remembering.look(g.created())
        assert (known.created_s, known.since_s) == (1030 - age_s, 1030 - age_s)
        assert known.runner_s == 1030, "silence is only what was listened to"

    def test_a_situation_begins_when_it_is_seen(self, remembering: Remembering) -> None:
        """And the creation stays where it was."""
        remembering.watch.born(g.TASK)
        began = []
        for number in range(1, len(RUNNING) + 1):
            remembering.clocks.steady_s += 10
            known = remembering.look(*RUNNING[:number])
            began.append(known.since_s)
            assert known.created_s == 1000
        assert began == [1010, 1020, 1030, 1040, 1040], "an executor's start is no new situation"


class TestSigns:
    """Signs of life: heard here, or seen where all processes keep them."""

    def test_a_sign_of_life_ends_the_silence(self, remembering: Remembering) -> None:
        """Pulsar's and the runner's are told apart, and questions begin anew."""
        remembering.look(*RUNNING)
        remembering.clocks.steady_s += 60
        assert isinstance(remembering.step(*RUNNING), Ask)
        remembering.watch.said(g.TASK, asked=1)
        remembering.clocks.steady_s += 1
        remembering.watch.heard(JOB, Sign(pulsar=1, status="running"))
        known = remembering.look(*RUNNING)
        assert (known.runner_s, known.pulsar_s, known.asked, known.status, known.status_s) == (1000, 1061, 0, "running", 1061)
        remembering.watch.heard(JOB, Sign(runner=1))
        assert remembering.look(*RUNNING).runner_s == 1061

    def test_what_others_heard_counts_when_it_changes(self, remembering: Remembering) -> None:
        """No clock of another process is needed: a number that grew is a sign of life now."""
        remembering.look(*RUNNING)
        for later_s, runner, heard_s in ((10, 3, 1010), (20, 3, 1010), (30, 4, 1030)):
            remembering.clocks.steady_s = 1000 + later_s
            remembering.watch.seen(JOB, Sign(runner=runner))
            assert remembering.look(*RUNNING).runner_s == heard_s

    def test_a_status_is_as_old_as_its_first_mention(self, remembering: Remembering) -> None:
        """`preprocessing` for ten minutes is ten minutes."""
        remembering.look(*SENT)
        for number in range(1, 4):
            remembering.clocks.steady_s += 60
            remembering.watch.seen(JOB, Sign(pulsar=number, status="preprocessing"))
        assert remembering.look(*SENT).status_s == 1060
        remembering.watch.seen(JOB, Sign(pulsar=4, status="queued"))
        assert remembering.look(*SENT).status_s == 1180

    def test_a_runner_is_told_to_stop_once(self, remembering: Remembering) -> None:
        """The first time counts, and it stays when a cancel follows the end of its time."""
        remembering.look(*RUNNING, g.expired())
        remembering.watch.heard(JOB, Sign(runner=1, told=True))
        remembering.clocks.steady_s += 1
        remembering.watch.seen(JOB, Sign(runner=1, told=True))
        assert remembering.look(*RUNNING, g.expired(), ASKED).told_s == 1000

    def test_an_older_attempt_says_nothing_of_the_present_one(self, remembering: Remembering) -> None:
        """Nor do jobs that are not known, or no jobs at all."""
        history = (g.created(), *g.tried(1), g.scheduled(2))
        before = remembering.look(*history)
        remembering.clocks.steady_s += 10
        for job_id in (JOB, f"{g.TASK}-3", "f" * 32 + "-1", "nonsense"):
            remembering.watch.heard(job_id, Sign(runner=1, pulsar=1, status="running", told=True))
            remembering.watch.seen(job_id, Sign(runner=1, pulsar=1, status="running", told=True))
        assert remembering.look(*history) == before

    def test_silence_begins_with_the_attempt(self, remembering: Remembering) -> None:
        """A task that has waited for hours is not a job that has been silent for hours."""
        remembering.look(g.created())
        remembering.clocks.steady_s += 2 * HOUR_S
        known = remembering.look(*SENT)
        assert (known.pulsar_s, known.runner_s, known.since_s) == (8200, 8200, 8200)

    def test_what_was_sent_belongs_to_its_attempt(self, remembering: Remembering) -> None:
        """The next one has its own."""
        remembering.look(*SENT)
        remembering.watch.said(g.TASK, sent=1)
        assert remembering.look(*SENT, g.received()).sent == 1
        assert isinstance(remembering.step(g.created(), *g.tried(1), g.scheduled(2)), Send)

    def test_only_live_attempts_are_asked_about(self, remembering: Remembering) -> None:
        """What waits or is over has no job; what is forgotten is."""
        remembering.look(g.created())
        assert remembering.watch.jobs() == []
        remembering.look(*SENT)
        remembering.look(*RUNNING)
        assert remembering.watch.jobs() == [JOB]
        remembering.look(*RUNNING, g.over(Outcome.SUCCEEDED), events.TaskCompleted())
        assert remembering.watch.jobs() == []


class TestSilence:
    """Whose it is."""

    @pytest.mark.parametrize("end", [(), (g.orphaned(),), (ASKED,), (g.expired(),)])
    def test_a_claim_is_a_sign_of_life(self, remembering: Remembering, end: tuple[events.Event, ...]) -> None:
        """A job that waited for an hour in a batch system is not one whose runner was silent for an hour."""
        remembering.look(*SENT, g.received())
        remembering.clocks.steady_s += 4000
        remembering.watch.heard(JOB, Sign(pulsar=1, status="queued"))
        claimed = (*SENT, g.received(), g.claimed(), *end)
        assert remembering.look(*claimed).runner_s == 5000
        assert isinstance(remembering.step(*claimed), WaitUntil)
        remembering.clocks.steady_s += 10
        assert remembering.look(*claimed, g.started()).runner_s == 5000, "once"

    def test_a_receipt_is_a_sign_of_life(self, remembering: Remembering) -> None:
        """Of Pulsar, which is not asked at once."""
        remembering.look(*SENT)
        remembering.clocks.steady_s += 4000
        assert remembering.look(*SENT, g.received()).pulsar_s == 5000
        assert remembering.step(*SENT, g.received()) == WaitUntil(5060)

    def test_our_own_deafness_is_nobodys_silence(self, remembering: Remembering) -> None:
        """The store was away, or this process slept: everybody's silence begins anew when it can hear again."""
        orphan = (*RUNNING, g.orphaned())
        remembering.look(*orphan)
        for _ in range(12):
            remembering.clocks.steady_s += 10
            remembering.watch.listened()
        assert isinstance(remembering.step(*orphan), GiveUp)
        remembering.watch.missed()
        assert isinstance(remembering.step(*orphan), GiveUp)
        remembering.watch.listened()
        assert remembering.step(*orphan) == WaitUntil(1120 + 120)
        remembering.clocks.steady_s += 120
        remembering.watch.listened()
        assert remembering.step(*orphan) == WaitUntil(1240 + 120), "it slept for two minutes"

    def test_what_could_not_be_sent_is_remembered_until_something_could(self, remembering: Remembering) -> None:
        """A kill is to be asked about; the question is that."""
        remembering.look(*RUNNING, ASKED)
        remembering.watch.failed(g.TASK)
        remembering.watch.failed(g.TASK)
        assert (remembering.look(*RUNNING, ASKED).failed, remembering.look(*RUNNING, ASKED).killed) == (2, 0)
        remembering.watch.said(g.TASK, killed=1)
        known = remembering.look(*RUNNING, ASKED)
        assert (known.failed, known.killed, known.unasked_s) == (0, 1, 1000)
        remembering.watch.said(g.TASK, asked=1)
        assert remembering.look(*RUNNING, ASKED).unasked_s is None


class TestLanes:
    """No Pulsar keeps the others waiting."""

    def test_who_is_too_many_at_one_pulsar_waits_for_it_alone(self) -> None:
        """In turn; others go on, and whoever did not come when it was his turn keeps nobody waiting."""
        lanes = Lanes(2)
        assert [lanes.enter("slow", name) for name in "abcde"] == [True, True, False, False, False]
        assert lanes.enter("fast", "f")
        assert lanes.leave("slow") == ["c"]
        assert lanes.leave("slow") == ["d", "e"], "c did not come"
        assert lanes.enter("slow", "d")
        assert lanes.leave("slow") == []
        assert lanes.leave("fast") == []


class TestTimers:
    """One moment for each task."""

    def test_the_last_word_counts(self) -> None:
        """A timer that is set again is due once, then; one that is unset is not due at all."""
        timers = Timers()
        for at_s in (5.0, 1.0, 3.0):
            timers.set("a", at_s)
        timers.set("b", 2.0)
        timers.set("c", 2.0)
        timers.set("c", None)
        timers.set("d", float("inf"))
        assert timers.next_s() <= 2.0
        assert timers.take(2.5) == ["b"]
        assert timers.take(3.0) == ["a"]
        assert timers.take(10**9) == []
        assert timers.next_s() == float("inf")

    def test_timers_that_were_set_again_and_again_cost_nothing(self) -> None:
        """However often tasks are looked at, what is kept is of the order of their number."""
        timers = Timers()
        for number in range(50_000):
            timers.set(f"task {number % 10}", 1000.0 + number)
        assert len(timers._heap) <= 2 * 10 + 1001
        assert sorted(timers.take(10**9)) == [f"task {number}" for number in range(10)]


class TestReasons:
    """Why tasks wait, without a flood."""

    def test_a_task_is_told_when_it_has_waited_a_moment(self) -> None:
        """Not at first sight, and once."""
        reasons = Reasons()
        assert reasons.untold([("a", "full")], 0) == []
        assert reasons.untold([("a", "full"), ("b", "full")], 2) == [("a", "full")]
        assert reasons.untold([("a", "full"), ("b", "full")], 4) == [("b", "full")]
        assert reasons.untold([("a", "full"), ("b", "full")], 10**6) == []

    def test_another_reason_waits_its_turn(self) -> None:
        """After a minute, then after two, and so on up to an hour; a task that went and came back begins anew."""
        reasons = Reasons()
        reasons.untold([("a", "full")], 0)
        at_s, said = 2.0, ["full", "away"]
        assert reasons.untold([("a", "full")], at_s) == [("a", "full")]
        for pause_s in (60, 120, 240, 480, 960, 1920, 3600, 3600):
            said.reverse()
            assert reasons.untold([("a", said[0])], at_s + pause_s - 1) == []
            at_s += pause_s
            assert reasons.untold([("a", said[0])], at_s) == [("a", said[0])]
        assert reasons.untold([], at_s + 1) == []
        assert reasons.untold([("a", said[1])], at_s + 2) == []
        assert reasons.untold([("a", said[1])], at_s + 4) == [("a", said[1])]


def test_a_day_is_a_day() -> None:
    """The tests' two clocks agree while nobody sets them."""
    clocks = Clocks()
    before = clocks.wall()
    clocks.steady_s += 86_400
    assert clocks.wall() - before == timedelta(days=1)
