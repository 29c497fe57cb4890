"""The table of races (design, section 5), row by row, and the other rules that `decide` carries."""

import dataclasses

import pytest

import given as g
from given import given
from tespes import errors, events, task, tes
from tespes.events import Outcome, Source
from tespes.task import commands
from tespes.task.commands import PulsarStatus
from tespes.task.state import ATTEMPTS_MAX, DELAYS_MAX

CREATED, SCHEDULED, RECEIVED, CLAIMED = g.created(), g.scheduled(), g.received(), g.claimed()
SENT = (CREATED, SCHEDULED)
AT_PULSAR = (*SENT, RECEIVED)
BEGUN = (*AT_PULSAR, CLAIMED)
RUNNING = (*BEGUN, g.started())
ASKED = events.TaskCancelRequested()
CANCELED, COMPLETED = events.TaskCanceled(), events.TaskCompleted()
CANCELING = (*RUNNING, ASKED)
FINISHED = (*RUNNING, g.ended(), g.over(Outcome.SUCCEEDED), COMPLETED)
LOST = "Pulsar site-a lost the job"
SIGNAL = "signal 9, while executor 0 ran"
TOO_LONG = "it took too long"
EXPIRING = (*RUNNING, g.expired(TOO_LONG))


def failed(reason: str) -> events.TaskSystemFailed:
    return events.TaskSystemFailed(reason=reason)


class TestStates:
    """The table of states: what happened, and what TES clients are shown."""

    @pytest.mark.parametrize(
        ("history", "state"),
        [
            ((CREATED,), tes.State.QUEUED),
            ((CREATED, events.TaskDeferred(reason="no place")), tes.State.QUEUED),
            (SENT, tes.State.QUEUED),
            (AT_PULSAR, tes.State.INITIALIZING),
            ((*SENT, CLAIMED), tes.State.INITIALIZING),
            (BEGUN, tes.State.INITIALIZING),
            (RUNNING, tes.State.RUNNING),
            ((*RUNNING, g.ended()), tes.State.RUNNING),
            ((*RUNNING, events.AttemptOrphaned(attempt=1, reason=LOST)), tes.State.RUNNING),
            ((*BEGUN, g.expired()), tes.State.INITIALIZING),
            (EXPIRING, tes.State.RUNNING),
            ((*EXPIRING, ASKED), tes.State.CANCELING),
            (FINISHED, tes.State.COMPLETE),
            (
                (*RUNNING, g.over(Outcome.EXECUTOR_FAILED), events.TaskExecutorFailed(executor=0, exit_code=1)),
                tes.State.EXECUTOR_ERROR,
            ),
            ((*BEGUN, g.over(Outcome.SYSTEM_FAILED, "no"), failed("no")), tes.State.SYSTEM_ERROR),
            ((*BEGUN, ASKED), tes.State.CANCELING),
            (CANCELING, tes.State.CANCELING),
            ((*CANCELING, g.over(Outcome.KILLED, "killed"), CANCELED), tes.State.CANCELED),
            ((CREATED, ASKED, CANCELED), tes.State.CANCELED),
            ((*RUNNING, g.over(Outcome.LOST, LOST), events.TaskPreempted(reason=LOST)), tes.State.PREEMPTED),
            ((CREATED, *g.tried(1)), tes.State.QUEUED),
            ((CREATED, *g.tried(1), g.scheduled(2), g.received(2)), tes.State.INITIALIZING),
        ],
        ids=lambda value: "+".join(type(event).__name__ for event in value[1:]) if isinstance(value, tuple) else value,
    )
    def test_the_state_follows_from_the_events(self, history: tuple[events.Event, ...], state: tes.State) -> None:
        """States follow from events, never the other way round."""
        given(*history).then_shows(state)


class TestCreating:
    """CreateTask, DeferTask, ScheduleAttempt, RecordReceipt."""

    def test_a_task_begins_with_its_creation(self) -> None:
        """TaskCreated is the first event of every task; a second creation is no news."""
        given().when(commands.CreateTask(task=CREATED.task)).then(CREATED)

    @pytest.mark.parametrize("command", [g.CANCEL, g.PLACE, g.receipt(), g.claim(), g.result(), g.give_up()])
    def test_what_was_never_created_is_not_found(self, command: task.Command) -> None:
        """Any other command on an unknown task is refused."""
        given().when(command).then_refused(errors.NotFound)

    def test_a_waiting_task_says_why_once_for_each_reason(self) -> None:
        """TaskDeferred is repeated only when the reason changes."""
        full, away = commands.DeferTask(reason="full"), commands.DeferTask(reason="RabbitMQ is away")
        given(CREATED).when(full).then(events.TaskDeferred(reason="full"))
        given(CREATED, events.TaskDeferred(reason="full")).when(full).then_nothing()
        given(CREATED, events.TaskDeferred(reason="full")).when(away).then(events.TaskDeferred(reason="RabbitMQ is away"))

    @pytest.mark.parametrize("history", [SENT, AT_PULSAR, BEGUN, RUNNING, CANCELING, FINISHED])
    def test_what_has_a_place_is_neither_placed_nor_deferred(self, history: tuple[events.Event, ...]) -> None:
        """One attempt at a time."""
        given(*history).when(g.PLACE).then_nothing()
        given(*history).when(commands.DeferTask(reason="full")).then_nothing()

    def test_an_attempt_has_its_own_job(self) -> None:
        """The job id is `<task>-<n>`."""
        given(CREATED).when(g.PLACE).then(SCHEDULED)
        given(CREATED, *g.tried(1)).when(g.PLACE).then(g.scheduled(2))

    def test_a_receipt_counts_once_and_for_its_attempt(self) -> None:
        """Pulsar repeats receipts until they are acknowledged; `running` counts as one."""
        given(*SENT).when(g.receipt()).then(RECEIVED)
        given(*AT_PULSAR).when(g.receipt()).then_nothing()
        given(*BEGUN).when(g.receipt()).then_nothing()
        given(CREATED, *g.tried(1), g.scheduled(2)).when(g.receipt(1)).then_nothing()


class TestClaiming:
    """The start gate."""

    @pytest.mark.parametrize("history", [SENT, AT_PULSAR])
    def test_the_first_run_gets_the_attempt(self, history: tuple[events.Event, ...]) -> None:
        """First run id: AttemptClaimed and the plan; whether or not Pulsar said that it has the job."""
        given(*history).when(g.claim()).then(CLAIMED)

    @pytest.mark.parametrize("history", [BEGUN, RUNNING])
    def test_the_same_run_gets_the_same_answer(self, history: tuple[events.Event, ...]) -> None:
        """Same run id: the same answer, no event."""
        given(*history).when(g.claim()).then_nothing()

    @pytest.mark.parametrize("history", [BEGUN, RUNNING])
    def test_another_run_is_turned_away(self, history: tuple[events.Event, ...]) -> None:
        """Another run id: 410."""
        g.refused_claim(*history, run_id=g.OTHER_RUN)

    @pytest.mark.parametrize(
        "history",
        [
            (CREATED,),
            (*SENT, ASKED, CANCELED),
            CANCELING,
            FINISHED,
            (CREATED, *g.tried(1)),
            (CREATED, *g.tried(1), g.scheduled(2)),
            (CREATED, *g.tried(1), g.scheduled(2), g.claimed(2)),
        ],
        ids=["never sent", "canceled", "canceling", "ended", "given up", "superseded", "superseded and claimed"],
    )
    def test_an_attempt_that_is_not_wanted_any_more_is_refused(self, history: tuple[events.Event, ...]) -> None:
        """An attempt that was canceled, ended or superseded: 410, and the runner exits at once."""
        g.refused_claim(*history)

    def test_an_attempt_that_was_never_scheduled_is_refused(self) -> None:
        """A number from the future opens nothing."""
        g.refused_claim(*SENT, attempt=2)


class TestReporting:
    """Starts and ends of executors, in order or not at all."""

    def test_reports_are_recorded_in_order(self) -> None:
        """Start and end of each executor, once."""
        two = (g.created(2), SCHEDULED, CLAIMED)
        given(*two).when(g.report_start(0)).then(g.started(0))
        given(*two, g.started(0)).when(g.report_end(0)).then(g.ended(0))
        given(*two, g.started(0), g.ended(0)).when(g.report_start(1)).then(g.started(1))

    def test_an_end_brings_the_start_that_was_lost(self) -> None:
        """A lost report costs nothing: the end carries the start's time."""
        given(*BEGUN).when(g.report_end(0)).then(g.started(0), g.ended(0))

    @pytest.mark.parametrize("command", [g.report_start(1), g.report_end(1), g.report_start(7), g.report_end(7)])
    def test_a_report_that_is_early_is_left_to_the_result(self, command: task.Command) -> None:
        """Out of order: no event; the result brings it."""
        given(g.created(2), SCHEDULED, CLAIMED).when(command).then_nothing()

    @pytest.mark.parametrize("command", [g.report_start(0), g.report_end(0)])
    def test_a_report_that_comes_again_is_no_news(self, command: task.Command) -> None:
        """Exact repeat: nothing."""
        given(g.created(2), SCHEDULED, CLAIMED, g.started(0), g.ended(0)).when(command).then_nothing()

    @pytest.mark.parametrize("command", [g.report_start(1), g.report_end(1)])
    def test_a_task_has_no_more_executors_than_it_was_created_with(self, command: task.Command) -> None:
        """The events of an attempt are bounded, whatever a runner says."""
        given(*RUNNING, g.ended()).when(command).then_nothing()

    @pytest.mark.parametrize("report", [g.report_start(), g.report_end()])
    @pytest.mark.parametrize(
        "history",
        [CANCELING, FINISHED, (*SENT, ASKED, CANCELED), AT_PULSAR, (CREATED, *g.tried(1), g.scheduled(2))],
        ids=["canceling", "ended", "canceled", "not claimed", "superseded"],
    )
    def test_a_runner_that_should_stop_is_told_so(self, history: tuple[events.Event, ...], report: task.Command) -> None:
        """410 to whoever is not the runner that should work."""
        given(*history).when(report).then_refused(errors.AttemptGone)

    def test_another_run_reports_nothing(self) -> None:
        """A second runner of the same job is turned away, at its reports too."""
        given(*BEGUN).when(g.report_start(run_id=g.OTHER_RUN)).then_refused(errors.AttemptGone)
        given(*RUNNING).when(g.report_end(run_id=g.OTHER_RUN)).then_refused(errors.AttemptGone)


class TestResults:
    """What a runner says at its end."""

    def test_success_completes_the_task(self) -> None:
        """Executors succeeded, outputs are stored: COMPLETE, with the outputs on record."""
        file = events.File(path="/data/out", url="ftp://files.example.org/out", size_bytes=36, sha256="0" * 64)
        given(*RUNNING, g.ended()).when(g.result(Outcome.SUCCEEDED, g.ended(), outputs=(file,), notes=("no disk limit",))).then(
            events.AttemptEnded(attempt=1, outcome=Outcome.SUCCEEDED, outputs=(file,), notes=("no disk limit",)),
            COMPLETED,
        )

    def test_the_result_brings_what_the_reports_left_out(self) -> None:
        """Missing ExecutorStarted and ExecutorEnded are filled in, in order."""
        both = (g.ended(0), g.ended(1))
        given(g.created(2), SCHEDULED, CLAIMED).when(g.result(Outcome.SUCCEEDED, *both)).then(
            g.started(0), g.ended(0), g.started(1), g.ended(1), g.over(Outcome.SUCCEEDED), COMPLETED
        )
        given(g.created(2), SCHEDULED, CLAIMED, g.started(0)).when(g.result(Outcome.SUCCEEDED, *both)).then(
            g.ended(0), g.started(1), g.ended(1), g.over(Outcome.SUCCEEDED), COMPLETED
        )
        given(g.created(2), SCHEDULED, CLAIMED, g.started(0), g.ended(0)).when(g.result(Outcome.SUCCEEDED, *both)).then(
            g.started(1), g.ended(1), g.over(Outcome.SUCCEEDED), COMPLETED
        )

    @pytest.mark.parametrize("said", [(0, 0), (0, 5), (1, 0), (0, 1)])
    def test_an_executor_is_told_of_once_and_in_order(self, said: tuple[int, ...]) -> None:
        """A result that repeats itself, or names executors that the task has not, brings no more events than there are."""
        given(*BEGUN).when(g.result(Outcome.SUCCEEDED, *(g.ended(number) for number in said))).then(
            g.started(0), g.ended(0), g.over(Outcome.SUCCEEDED), COMPLETED
        )

    def test_an_executors_error_ends_the_task(self) -> None:
        """An executor failed: EXECUTOR_ERROR, with its number and exit code."""
        given(g.created(3), SCHEDULED, CLAIMED).when(
            g.result(Outcome.EXECUTOR_FAILED, g.ended(0), g.ended(1, 3), reason="executor 1 ended with 3")
        ).then(
            g.started(0),
            g.ended(0),
            g.started(1),
            g.ended(1, 3),
            g.over(Outcome.EXECUTOR_FAILED, "executor 1 ended with 3"),
            events.TaskExecutorFailed(executor=1, exit_code=3),
        )

    def test_an_ignored_error_completes_the_task(self) -> None:
        """ignore_error: the task goes on and is COMPLETE; the exit code is on record."""
        order = g.created(2, ignoring=[0])
        given(order, SCHEDULED, CLAIMED).when(g.result(Outcome.SUCCEEDED, g.ended(0, 3), g.ended(1))).then(
            g.started(0), g.ended(0, 3), g.started(1), g.ended(1), g.over(Outcome.SUCCEEDED), COMPLETED
        )

    def test_a_failure_that_is_no_executors_is_a_system_error(self) -> None:
        """Anything else: SYSTEM_ERROR with the reason."""
        given(*RUNNING).when(g.result(Outcome.SYSTEM_FAILED, reason="output /data/out: 550")).then(
            g.over(Outcome.SYSTEM_FAILED, "output /data/out: 550"), failed("output /data/out: 550")
        )

    @pytest.mark.parametrize("outcome", [Outcome.SYSTEM_FAILED, Outcome.KILLED])
    def test_there_is_always_a_reason(self, outcome: Outcome) -> None:
        """A runner that gives no reason is quoted with its phase: only a success needs no reason."""
        reason = "the runner stopped in phase inputs"
        given(*RUNNING).when(g.result(outcome)).then(g.over(outcome, reason), failed(reason))

    def test_no_python_ends_the_task_without_a_claim(self) -> None:
        """The shell's line where Python is absent: it has no run id that anybody knows, and another try would not help."""
        reason = "no Python 3.8 or newer on the node"
        given(*AT_PULSAR).when(g.result(Outcome.SYSTEM_FAILED, reason=reason, run_id="")).then(
            g.over(Outcome.SYSTEM_FAILED, reason), failed(reason)
        )

    def test_a_runner_that_cannot_reach_tespes_is_followed_by_another_attempt(self) -> None:
        """Never claimed, and a retry may help: tried again by itself."""
        reason = "cannot reach TESPES"
        given(*AT_PULSAR).when(g.result(Outcome.SYSTEM_FAILED, reason=reason, retryable=True)).then(
            g.over(Outcome.SYSTEM_FAILED, reason)
        )

    @pytest.mark.parametrize("outcome", [Outcome.SUCCEEDED, Outcome.EXECUTOR_FAILED, Outcome.KILLED])
    def test_nobody_succeeds_without_a_claim(self, outcome: Outcome) -> None:
        """A result that no claim came before can only be that it could not begin."""
        given(*AT_PULSAR).when(g.result(outcome, g.ended(0, 1))).then_nothing()

    @pytest.mark.parametrize("history", [BEGUN, RUNNING, CANCELING])
    def test_another_runs_result_counts_for_nothing(self, history: tuple[events.Event, ...]) -> None:
        """Only the run that claimed the attempt has a say in it."""
        given(*history).when(g.result(run_id=g.OTHER_RUN)).then_nothing()

    def test_the_result_that_comes_twice_counts_once(self) -> None:
        """By HTTP and in the job's output: whichever is appended first decides."""
        given(*FINISHED).when(g.result(Outcome.SUCCEEDED, g.ended())).then_nothing()


class TestCanceling:
    """A cancel against everything else."""

    @pytest.mark.parametrize("history", [(CREATED,), SENT, AT_PULSAR, (CREATED, *g.tried(1))])
    def test_a_cancel_before_the_claim_is_at_once(self, history: tuple[events.Event, ...]) -> None:
        """Cancel before the claim: CANCELED at once."""
        given(*history).when(g.CANCEL).then(ASKED, CANCELED)
        given(*history, ASKED, CANCELED).then_shows(tes.State.CANCELED)

    @pytest.mark.parametrize("history", [BEGUN, RUNNING])
    def test_a_cancel_after_the_claim_waits_for_the_end(self, history: tuple[events.Event, ...]) -> None:
        """A claimed attempt may live: CANCELING until it is confirmed dead."""
        given(*history).when(g.CANCEL).then(ASKED)

    @pytest.mark.parametrize("history", [CANCELING, FINISHED, (*SENT, ASKED, CANCELED)])
    def test_a_cancel_that_comes_again_or_too_late_is_no_news(self, history: tuple[events.Event, ...]) -> None:
        """Cancel of a finished task: 200, no event."""
        given(*history).when(g.CANCEL).then_nothing()

    def test_success_that_arrives_in_canceling_is_canceled(self) -> None:
        """Success arrives in CANCELING: CANCELED; logs and outputs are kept."""
        file = events.File(path="/data/out", url="ftp://files.example.org/out", size_bytes=36, sha256="0" * 64)
        given(*CANCELING).when(g.result(Outcome.SUCCEEDED, g.ended(), outputs=(file,))).then(
            g.ended(), events.AttemptEnded(attempt=1, outcome=Outcome.SUCCEEDED, outputs=(file,)), CANCELED
        )

    @pytest.mark.parametrize("outcome", [Outcome.KILLED, Outcome.SYSTEM_FAILED, Outcome.EXECUTOR_FAILED])
    def test_any_result_in_canceling_is_canceled(self, outcome: Outcome) -> None:
        """Whatever the runner says, it is dead now; its second copy is an exact repeat."""
        given(*CANCELING, g.ended(0, 1)).when(g.result(outcome, g.ended(0, 1), reason="why")).then(
            g.over(outcome, "stopped, since the task was canceled" if outcome is Outcome.KILLED else "why"), CANCELED
        )

    @pytest.mark.parametrize(
        ("said", "outcome"),
        [
            (PulsarStatus.CANCELLED, Outcome.KILLED),
            (PulsarStatus.COMPLETE, Outcome.KILLED),
            (PulsarStatus.FAILED, Outcome.KILLED),
        ],
    )
    @pytest.mark.parametrize("lost", [(), (g.orphaned(LOST),)], ids=["", "lost before"])
    def test_a_job_that_is_over_confirms_the_cancel(
        self, lost: tuple[events.Event, ...], said: PulsarStatus, outcome: Outcome
    ) -> None:
        """Confirmed dead: CANCELED. Condor says `complete` after a kill; a Pulsar that lost the job can still kill it."""
        reason = "Pulsar said so, while it was being canceled"
        given(*CANCELING, *lost).when(g.status(said)).then(g.over(outcome, reason), CANCELED)

    def test_a_lost_job_is_not_a_dead_one(self) -> None:
        """After CANCELED nothing of the task runs, and `lost` does not say that: it is on record, once."""
        given(*CANCELING).when(g.status(PulsarStatus.LOST, LOST)).then(g.orphaned(LOST))
        given(*CANCELING, g.orphaned(LOST)).when(g.status(PulsarStatus.LOST, LOST)).then_nothing()

    def test_a_cancel_while_an_attempt_expires_is_a_cancel(self) -> None:
        """The user's last word counts."""
        given(*EXPIRING).when(g.CANCEL).then(ASKED)
        given(*EXPIRING, ASKED).when(g.result(Outcome.KILLED)).then(
            g.over(Outcome.KILLED, "stopped, since the task was canceled"), CANCELED
        )

    def test_a_canceled_attempt_may_be_given_up(self) -> None:
        """Only silence from both: the event names the risk, then CANCELED."""
        reason = "nobody was heard: it may still run"
        given(*CANCELING).when(g.give_up()).then(g.over(Outcome.LOST, reason), CANCELED)


class TestDying:
    """Jobs that end without a result."""

    @pytest.mark.parametrize("said", [PulsarStatus.COMPLETE, PulsarStatus.FAILED])
    def test_a_runner_that_died_in_an_engine_names_the_risk(self, said: PulsarStatus) -> None:
        """Law 7: what Pulsar says of a job says nothing of its container, if whoever removes it was killed as well."""
        scheduled = dataclasses.replace(g.scheduled(), runtime="podman")
        reason = "signal 9, while executor 0 ran: its container may still run, if its reaper was killed too"
        given(g.created(), scheduled, *RUNNING[2:]).when(g.status(said, "signal 9")).then(
            g.over(Outcome.SYSTEM_FAILED, reason), failed(reason)
        )

    @pytest.mark.parametrize("said", [PulsarStatus.COMPLETE, PulsarStatus.FAILED])
    @pytest.mark.parametrize(
        ("history", "phase"),
        [
            ((), "while executor 0 ran"),
            ((g.ended(),), "after executor 0 ended"),
            ((g.ended(), g.started(1)), "while executor 1 ran"),
        ],
        ids=["in the first", "between two", "in the second"],
    )
    def test_a_runner_that_died_is_a_system_error(
        self, history: tuple[events.Event, ...], phase: str, said: PulsarStatus
    ) -> None:
        """Runner dead without a result: SYSTEM_ERROR that names signal or code and the last phase."""
        reason = f"signal 9, {phase}"
        given(g.created(2), *RUNNING[1:], *history).when(g.status(said, "signal 9")).then(
            g.over(Outcome.SYSTEM_FAILED, reason), failed(reason)
        )

    @pytest.mark.parametrize(
        ("history", "phase"),
        [
            (SENT, "before its runner asked to begin"),
            (AT_PULSAR, "before its runner asked to begin"),
            (BEGUN, "while it fetched inputs"),
        ],
        ids=["sent", "received", "claimed"],
    )
    def test_the_last_phase_is_named_before_the_first_executor_too(self, history: tuple[events.Event, ...], phase: str) -> None:
        """The reason is in the end of the attempt, which is tried again."""
        given(*history).when(g.status(PulsarStatus.FAILED, "signal 9")).then(
            g.over(Outcome.SYSTEM_FAILED, f"signal 9, {phase}")
        )

    def test_a_job_that_somebody_else_killed_is_a_system_error(self) -> None:
        """`cancelled` without a cancel of ours."""
        reason = "killed, while executor 0 ran"
        given(*RUNNING).when(g.status(PulsarStatus.CANCELLED, "killed")).then(g.over(Outcome.KILLED, reason), failed(reason))

    def test_a_lost_job_that_was_claimed_is_orphaned_once(self) -> None:
        """`lost` says nothing of a runner that has begun: AttemptOrphaned, once; the attempt lives on."""
        given(*RUNNING).when(g.status(PulsarStatus.LOST, LOST)).then(g.orphaned(LOST))
        given(*RUNNING, g.orphaned(LOST)).when(g.status(PulsarStatus.LOST, "lost again")).then_nothing()

    def test_an_orphans_own_result_counts(self) -> None:
        """The attempt lives on and its HTTP result counts."""
        orphaned = (*RUNNING, events.AttemptOrphaned(attempt=1, reason=LOST))
        given(*orphaned).when(g.report_end()).then(g.ended())
        given(*orphaned).when(g.result(Outcome.SUCCEEDED, g.ended())).then(g.ended(), g.over(Outcome.SUCCEEDED), COMPLETED)

    @pytest.mark.parametrize("said", [PulsarStatus.CANCELLED, PulsarStatus.COMPLETE, PulsarStatus.FAILED])
    def test_an_orphan_that_pulsar_finds_dead_is_over(self, said: PulsarStatus) -> None:
        """A second message that confirms the end is the end."""
        answer = given(*RUNNING, g.orphaned(LOST)).when(g.status(said, "over"))
        assert [type(event) for event in answer.decision] == [events.AttemptEnded, events.TaskSystemFailed]

    def test_an_orphan_that_falls_silent_is_given_up(self) -> None:
        """The event names the risk."""
        reason = "lost by Pulsar, and silent: it may still run"
        given(*RUNNING, events.AttemptOrphaned(attempt=1, reason=LOST)).when(g.give_up(1, reason)).then(
            g.over(Outcome.LOST, reason), failed(reason)
        )


class TestDelays:
    """Why an attempt does not go on: a line in its log."""

    @pytest.mark.parametrize("history", [SENT, AT_PULSAR, BEGUN, RUNNING, CANCELING, EXPIRING])
    def test_each_reason_is_told_once(self, history: tuple[events.Event, ...]) -> None:
        """Whatever the attempt does meanwhile."""
        given(*history).when(g.delay("slow")).then(g.delayed("slow"))
        given(*history, g.delayed("slow")).when(g.delay("slower")).then(g.delayed("slower"))
        given(*SENT, g.delayed("slow"), *history[2:]).when(g.delay("slow")).then_nothing()
        given(*history, g.delayed("slow: away")).when(g.delay("slow: back, but slow")).then_nothing()

    def test_a_few_reasons_are_enough(self) -> None:
        """The events of an attempt are bounded; the next attempt has its own."""
        reasons = [g.delayed(f"reason {number}") for number in range(DELAYS_MAX)]
        given(*SENT, *reasons).when(g.delay("one more")).then_nothing()
        given(*SENT, *reasons, g.over(Outcome.LOST, LOST), g.scheduled(2)).when(g.delay("slow", 2)).then(g.delayed("slow", 2))

    @pytest.mark.parametrize("history", [(CREATED,), FINISHED, (CREATED, *g.tried(1))])
    def test_what_is_not_under_way_is_not_delayed(self, history: tuple[events.Event, ...]) -> None:
        """A waiting task has its own reasons, one that is over needs none."""
        given(*history).when(g.delay("slow")).then_nothing()


class TestLimits:
    """A task that takes longer than it may."""

    @pytest.mark.parametrize("history", [(CREATED,), SENT, AT_PULSAR, (CREATED, *g.tried(1))])
    def test_what_nobody_claimed_is_over_at_once(self, history: tuple[events.Event, ...]) -> None:
        """The start gate is shut by the task's end."""
        given(*history).when(g.expire(TOO_LONG, claimed=False)).then(failed(TOO_LONG))
        g.refused_claim(*history, failed(TOO_LONG))

    @pytest.mark.parametrize("history", [BEGUN, RUNNING])
    def test_what_may_have_effects_is_stopped_first(self, history: tuple[events.Event, ...]) -> None:
        """AttemptExpired, once; from then on the runner is told to stop."""
        given(*history).when(g.expire(TOO_LONG, claimed=True)).then(g.expired(TOO_LONG))
        given(*history, g.expired(TOO_LONG)).when(g.report_start()).then_refused(errors.AttemptGone)

    def test_a_limit_that_the_task_has_left_behind_is_none(self) -> None:
        """Waited too long, but began just now; ran too long, but waits again."""
        given(*RUNNING).when(g.expire(TOO_LONG, claimed=False)).then_nothing()
        given(CREATED, *g.tried(1)).when(g.expire(TOO_LONG, claimed=True)).then_nothing()

    @pytest.mark.parametrize("history", [EXPIRING, CANCELING, FINISHED])
    @pytest.mark.parametrize("claimed", [False, True])
    def test_what_is_being_stopped_does_not_expire(self, history: tuple[events.Event, ...], *, claimed: bool) -> None:
        """Nor what is over."""
        given(*history).when(g.expire("again", claimed=claimed)).then_nothing()

    @pytest.mark.parametrize("outcome", [Outcome.KILLED, Outcome.SYSTEM_FAILED])
    def test_a_runner_that_was_stopped_ends_the_task(self, outcome: Outcome) -> None:
        """With the limit as the reason, however many attempts are left."""
        reason = TOO_LONG if outcome is Outcome.KILLED else "upload failed"
        history = (g.created(max_attempts=10), *EXPIRING[1:])
        given(*history).when(g.result(outcome, reason="upload failed", retryable=True)).then(
            g.over(outcome, reason), failed(TOO_LONG)
        )

    def test_a_success_that_arrives_meanwhile_is_one(self) -> None:
        """It was ready before it heard."""
        given(*EXPIRING).when(g.result(Outcome.SUCCEEDED, g.ended())).then(g.ended(), g.over(Outcome.SUCCEEDED), COMPLETED)

    def test_an_executor_that_failed_meanwhile_has_failed(self) -> None:
        """That is the user's to know."""
        given(*EXPIRING).when(g.result(Outcome.EXECUTOR_FAILED, g.ended(0, 3), reason="exit code 3")).then(
            g.ended(0, 3), g.over(Outcome.EXECUTOR_FAILED, "exit code 3"), events.TaskExecutorFailed(executor=0, exit_code=3)
        )

    @pytest.mark.parametrize("said", [PulsarStatus.CANCELLED, PulsarStatus.COMPLETE, PulsarStatus.FAILED])
    def test_a_job_that_is_dead_ends_the_task(self, said: PulsarStatus) -> None:
        """The kill is confirmed."""
        reason = "Pulsar said so, while it was being stopped"
        given(*EXPIRING).when(g.status(said)).then(g.over(Outcome.KILLED, reason), failed(TOO_LONG))

    def test_silence_ends_the_task_and_names_the_risk(self) -> None:
        """Given up, and the limit is still why."""
        given(*EXPIRING).when(g.status(PulsarStatus.LOST, LOST)).then(g.orphaned(LOST))
        reason = "silent: it may still run"
        given(*EXPIRING).when(g.give_up(1, reason)).then(g.over(Outcome.LOST, reason), failed(TOO_LONG))

    def test_another_runs_result_counts_for_nothing(self) -> None:
        """As ever."""
        given(*EXPIRING).when(g.result(run_id=g.OTHER_RUN)).then_nothing()


class TestTryingAgain:
    """Retries: before the first executor up to three attempts; after it one, unless the task asks for more."""

    @pytest.mark.parametrize("before", [0, 1])
    @pytest.mark.parametrize("begun", [(), (RECEIVED,), (RECEIVED, CLAIMED)], ids=["sent", "received", "claimed"])
    @pytest.mark.parametrize("said", list(PulsarStatus))
    def test_what_did_not_begin_is_tried_again(self, said: PulsarStatus, begun: tuple[events.Event, ...], before: int) -> None:
        """Never claimed, or dead before its first executor: another attempt may follow. A loss takes silence, too."""
        number = before + 1
        history = (CREATED, *g.tried(before), g.scheduled(number), *_of_attempt(number, begun))
        is_loss = said is PulsarStatus.LOST and CLAIMED in begun
        command = g.give_up(number, "it died") if is_loss else g.status(said, "it died", attempt=number)
        answer = given(*history).when(command)
        assert [type(event) for event in answer.decision] == [events.AttemptEnded]
        given(*history, *answer.decision).then_shows(tes.State.QUEUED)
        given(*history, *answer.decision).when(g.PLACE).then(g.scheduled(number + 1))

    @pytest.mark.parametrize("begun", [(), (RECEIVED,), (RECEIVED, CLAIMED)], ids=["sent", "received", "claimed"])
    def test_the_third_attempt_is_the_last(self, begun: tuple[events.Event, ...]) -> None:
        """At most 3."""
        last = ATTEMPTS_MAX
        given(CREATED, *g.tried(last - 1), g.scheduled(last), *_of_attempt(last, begun)).when(g.give_up(last, LOST)).then(
            g.over(Outcome.LOST, LOST, last), failed(LOST)
        )

    def test_silence_before_the_claim_leads_to_another_attempt(self) -> None:
        """An unclaimed attempt is dead once a supersede is in the log, whatever Pulsar says."""
        given(*AT_PULSAR).when(g.give_up(1, "silent")).then(g.over(Outcome.LOST, "silent"))

    def test_inputs_that_may_come_the_next_time_are_tried_again(self) -> None:
        """Failed before the first executor, and the runner says that it may fare better: another attempt."""
        given(*BEGUN).when(g.result(Outcome.SYSTEM_FAILED, reason="busy", retryable=True)).then(
            g.over(Outcome.SYSTEM_FAILED, "busy")
        )

    def test_inputs_that_will_never_come_are_not_tried_again(self) -> None:
        """`No such file` stays that."""
        given(*BEGUN).when(g.result(Outcome.SYSTEM_FAILED, reason="550 no such file")).then(
            g.over(Outcome.SYSTEM_FAILED, "550 no such file"), failed("550 no such file")
        )

    @pytest.mark.parametrize("history", [RUNNING, (*RUNNING, g.ended())])
    def test_after_an_executor_began_there_is_one_attempt(self, history: tuple[events.Event, ...]) -> None:
        """Users' commands are not idempotent, however hopeful the runner is."""
        given(*history).when(g.result(Outcome.SYSTEM_FAILED, reason="disk full", retryable=True)).then(
            g.over(Outcome.SYSTEM_FAILED, "disk full"), failed("disk full")
        )

    def test_an_executor_that_only_the_result_tells_of_has_begun_too(self) -> None:
        """Lost reports do not make a second attempt safe."""
        given(*BEGUN).when(g.result(Outcome.SYSTEM_FAILED, g.ended(), reason="disk full", retryable=True)).then(
            g.started(), g.ended(), g.over(Outcome.SYSTEM_FAILED, "disk full"), failed("disk full")
        )

    def test_a_preemptible_task_that_is_lost_is_tried_again(self) -> None:
        """Its user said that it may be."""
        given(g.created(preemptible=True), *RUNNING[1:]).when(g.give_up(1, LOST)).then(g.over(Outcome.LOST, LOST))

    def test_a_preemptible_task_whose_attempts_are_used_up_is_preempted(self) -> None:
        """PREEMPTED."""
        last = ATTEMPTS_MAX
        history = (g.created(preemptible=True), *g.tried(2), g.scheduled(last), g.claimed(last), g.started(0, last))
        given(*history).when(g.give_up(last, LOST)).then(g.over(Outcome.LOST, LOST, last), events.TaskPreempted(reason=LOST))

    @pytest.mark.parametrize("number", [1, 2, 3])
    def test_a_preemptible_task_that_fails_is_not_preempted(self, number: int) -> None:
        """Only a loss is a preemption; any other failure is tried again, too, and in the end a SYSTEM_ERROR."""
        end = () if number < ATTEMPTS_MAX else (failed(SIGNAL),)
        given(*_begun(g.created(preemptible=True), number)).when(
            g.status(PulsarStatus.FAILED, "signal 9", attempt=number)
        ).then(g.over(Outcome.SYSTEM_FAILED, SIGNAL, number), *end)


class TestMaxAttempts:
    """The backend parameter `max_attempts`: how many attempts a task may use up after an executor began."""

    LAST = (1, 2, 10)

    @pytest.mark.parametrize(
        ("command", "outcome", "reason"),
        [
            (g.status(PulsarStatus.FAILED, "signal 9"), Outcome.SYSTEM_FAILED, SIGNAL),
            (g.status(PulsarStatus.CANCELLED, "killed"), Outcome.KILLED, "killed, while executor 0 ran"),
            (g.give_up(1, "silent"), Outcome.LOST, "silent"),
            (g.result(Outcome.SYSTEM_FAILED, reason="disk full", retryable=True), Outcome.SYSTEM_FAILED, "disk full"),
        ],
        ids=["died", "killed", "silent", "said so"],
    )
    def test_an_attempt_that_is_lost_or_fails_for_the_systems_reason_is_followed_by_another(
        self, command: task.Command, outcome: Outcome, reason: str
    ) -> None:
        """Two allowed, one used up: back to waiting."""
        history = (g.created(max_attempts=2), *RUNNING[1:])
        given(*history).when(command).then(g.over(outcome, reason))
        given(*history, g.over(outcome, reason)).then_shows(tes.State.QUEUED)
        given(*history, g.over(outcome, reason)).when(g.PLACE).then(g.scheduled(2))

    @pytest.mark.parametrize("allowed", LAST)
    @pytest.mark.parametrize("said", [PulsarStatus.CANCELLED, PulsarStatus.FAILED])
    def test_the_last_one_that_is_allowed_is_the_last(self, said: PulsarStatus, allowed: int) -> None:
        """SYSTEM_ERROR with the reason; the task is not preemptible, so it is not PREEMPTED."""
        answer = given(*_begun(g.created(max_attempts=allowed), allowed)).when(g.status(said, "it died", attempt=allowed))
        over = answer.decision[0]
        assert isinstance(over, events.AttemptEnded)
        answer.then(over, failed(over.reason or ""))

    @pytest.mark.parametrize("allowed", LAST)
    def test_a_preemptible_task_may_ask_for_more_or_less(self, allowed: int) -> None:
        """`max_attempts` counts, not the three that preemptible tasks have else; used up by losses, they are PREEMPTED."""
        history = _begun(g.created(preemptible=True, max_attempts=allowed), allowed)
        given(*history).when(g.give_up(allowed, LOST)).then(
            g.over(Outcome.LOST, LOST, allowed), events.TaskPreempted(reason=LOST)
        )

    @pytest.mark.parametrize("allowed", LAST)
    def test_what_did_not_begin_is_tried_three_times_in_any_case(self, allowed: int) -> None:
        """And more often if more is allowed."""
        last = max(allowed, ATTEMPTS_MAX)
        for number in range(1, last + 1):
            history = (g.created(max_attempts=allowed), *g.tried(number - 1), g.scheduled(number))
            end = (failed("silent"),) if number == last else ()
            given(*history).when(g.give_up(number, "silent")).then(g.over(Outcome.LOST, "silent", number), *end)

    def test_attempts_that_did_not_begin_count(self) -> None:
        """Two allowed, the first never claimed: the second that began is the last."""
        history = _begun(g.created(max_attempts=2), 2)
        given(*history).when(g.give_up(2, LOST)).then(g.over(Outcome.LOST, LOST, 2), failed(LOST))

    @pytest.mark.parametrize("allowed", [2, 10])
    def test_what_cannot_fare_better_is_not_tried_again(self, allowed: int) -> None:
        """An executor's error is the user's, and `no such login` stays that."""
        history = (g.created(max_attempts=allowed), *RUNNING[1:])
        given(*history).when(g.result(Outcome.SYSTEM_FAILED, reason="530 no such login")).then(
            g.over(Outcome.SYSTEM_FAILED, "530 no such login"), failed("530 no such login")
        )
        given(*history).when(g.result(Outcome.EXECUTOR_FAILED, g.ended(0, 1), reason="exit code 1")).then(
            g.ended(0, 1), g.over(Outcome.EXECUTOR_FAILED, "exit code 1"), events.TaskExecutorFailed(executor=0, exit_code=1)
        )

    def test_a_cancel_is_a_cancel(self) -> None:
        """However many attempts are left."""
        history = (g.created(max_attempts=10), *RUNNING[1:], ASKED)
        given(*history).when(g.give_up(1, LOST)).then(g.over(Outcome.LOST, LOST), CANCELED)

    @pytest.mark.parametrize("value", ["", "0", "11", "many", "²", "9" * 5000])
    def test_a_value_that_cannot_be_counts_as_none(self, value: str) -> None:
        """`evolve` never refuses: what stands in a log is read, whoever wrote it."""
        asked = tes.Resources(backend_parameters={"max_attempts": value, "VmSize": "x"})
        created = events.TaskCreated(task=CREATED.task.model_copy(update={"resources": asked}))
        given(*_begun(created, 1)).when(g.give_up(1, LOST)).then(g.over(Outcome.LOST, LOST), failed(LOST))


def _begun(created: events.TaskCreated, number: int) -> tuple[events.Event, ...]:
    """An executor runs in attempt `number`; those before it came to nothing."""
    return (created, *g.tried(number - 1), g.scheduled(number), g.claimed(number), g.started(0, number))


class TestLateMessages:
    """Messages of older attempts and after the end."""

    SUPERSEDED = (CREATED, *g.tried(1), g.scheduled(2), g.claimed(2), g.started(0, 2))

    @pytest.mark.parametrize(
        "command",
        [
            g.receipt(1),
            g.result(attempt=1),
            g.give_up(1),
            *(g.status(said, attempt=1) for said in PulsarStatus),
            g.delay("slow", 1),
        ],
    )
    @pytest.mark.parametrize("over", [False, True], ids=["while the next lives", "after the end"])
    def test_an_older_attempt_changes_nothing(self, command: task.Command, over: bool) -> None:  # noqa: FBT001 - a parameter
        """Report or status of an older attempt: no state change, no event."""
        end = (g.ended(0, 0, 2), g.over(Outcome.SUCCEEDED, None, 2), COMPLETED) if over else ()
        given(*self.SUPERSEDED, *end).when(command).then_nothing()

    @pytest.mark.parametrize("command", [g.receipt(2), g.result(attempt=2), g.status(PulsarStatus.FAILED, attempt=2)])
    def test_an_attempt_that_never_was_changes_nothing(self, command: task.Command) -> None:
        """A number from the future is no contradiction."""
        given(*RUNNING).when(command).then_nothing()
        given(*FINISHED).when(command).then_nothing()

    @pytest.mark.parametrize(
        ("history", "command", "word"),
        [
            (FINISHED, g.status(PulsarStatus.FAILED), "failed"),
            (FINISHED, g.status(PulsarStatus.LOST), "lost"),
            (FINISHED, g.result(Outcome.SYSTEM_FAILED), "system_failed"),
            ((*SENT, ASKED, CANCELED), g.result(Outcome.SUCCEEDED), "succeeded"),
            ((*RUNNING, g.over(Outcome.LOST, LOST), failed(LOST)), g.result(Outcome.SUCCEEDED), "succeeded"),
        ],
    )
    def test_a_contradiction_is_on_record_once(
        self, history: tuple[events.Event, ...], command: task.Command, word: str
    ) -> None:
        """Message that contradicts a terminal state: one LateMessageRecorded for each (attempt, status)."""
        source = Source.PULSAR if isinstance(command, commands.RecordStatus) else Source.RUNNER
        late = events.LateMessageRecorded(attempt=1, status=word, source=source)
        given(*history).when(command).then(late)
        given(*history, late).when(command).then_nothing()

    def test_each_contradiction_is_on_record(self) -> None:
        """Once for each (attempt, status): another status is another contradiction."""
        late = events.LateMessageRecorded(attempt=1, status="failed", source=Source.PULSAR)
        given(*FINISHED, late).when(g.status(PulsarStatus.LOST)).then(
            events.LateMessageRecorded(attempt=1, status="lost", source=Source.PULSAR)
        )

    @pytest.mark.parametrize(
        ("history", "command"),
        [
            (FINISHED, g.status(PulsarStatus.COMPLETE)),
            ((*CANCELING, g.over(Outcome.KILLED, "k"), CANCELED), g.status(PulsarStatus.CANCELLED)),
            ((*CANCELING, g.over(Outcome.KILLED, "k"), CANCELED), g.status(PulsarStatus.COMPLETE)),
            ((*CANCELING, g.over(Outcome.KILLED, "k"), CANCELED), g.status(PulsarStatus.FAILED)),
            ((*CANCELING, g.over(Outcome.SUCCEEDED), CANCELED), g.result(Outcome.SUCCEEDED)),
            ((*RUNNING, g.over(Outcome.LOST, LOST), failed(LOST)), g.status(PulsarStatus.FAILED)),
        ],
    )
    def test_what_agrees_with_the_end_is_no_news(self, history: tuple[events.Event, ...], command: task.Command) -> None:
        """Exact repeat, or the same said in Pulsar's words: nothing."""
        given(*history).when(command).then_nothing()


def _of_attempt(number: int, history: tuple[events.Event, ...]) -> tuple[events.Event, ...]:
    """The same events in another attempt."""
    again: dict[events.Event, events.Event] = {RECEIVED: g.received(number), CLAIMED: g.claimed(number)}
    return tuple(again[event] for event in history)
