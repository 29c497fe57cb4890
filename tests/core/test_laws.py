"""The laws that hold for a task whatever happens to it, tried with random orders in any sequence.

Every sequence becomes a log in memory, laid out as the stores lay it out; the oracle reads that and nothing else.
"""

import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, get_args

from hypothesis import example, given
from hypothesis import strategies as st

import given as g
import oracle
import strategies
from strategies import Wish
from tespes import errors, events, task, tes
from tespes.events import Entry, Meta, Outcome, Recorded, chain
from tespes.flow.otlp import encoded
from tespes.projections import TASK_VIEW, Document, fold, spans
from tespes.store import layout
from tespes.task import commands
from tespes.task.commands import PulsarStatus
from tespes.task.state import DELAYS_MAX, Canceling, Claimed, Ended, Expiring

OF_AN_ATTEMPT = (
    events.AttemptScheduled
    | events.AttemptReceived
    | events.AttemptClaimed
    | events.ExecutorStarted
    | events.ExecutorEnded
    | events.AttemptOrphaned
    | events.AttemptDelayed
    | events.AttemptExpired
    | events.AttemptEnded
)
AT_ANY_TIME = events.AttemptOrphaned | events.AttemptDelayed | events.AttemptExpired
ENDS = events.TaskCompleted | events.TaskExecutorFailed | events.TaskSystemFailed | events.TaskCanceled | events.TaskPreempted


@dataclass
class Life:
    """A task's log, its situation, and every step: the situation before, the command, the decision."""

    order: events.TaskCreated
    entries: list[Entry] = field(default_factory=list)
    state: task.State | None = None
    steps: list[tuple[task.State | None, task.Command, task.Decision | errors.TespesError]] = field(default_factory=list)

    def obey(self, command: task.Command) -> None:
        """Decide, append, evolve: as the service does."""
        before = self.state
        try:
            decision = task.decide(before, command)
        except errors.AttemptGone as refusal:
            self.steps.append((before, command, refusal))
            return
        self.steps.append((before, command, decision))
        if decision:
            self._append(decision)

    def _append(self, decision: task.Decision) -> None:
        place = len(self.entries) + 1
        head = chain.head_of(self.entries[-1]) if self.entries else chain.EMPTY
        version = self.entries[-1].last_version + 1 if self.entries else 1
        meta = Meta(at=g.at(place), actor="tests", owner="anonymous")
        commit = events.commit(str(uuid.UUID(int=place)), g.TASK, version, decision, meta)
        self.entries.append(chain.link(commit, chain.data_hash(commit.stream, commit.events), head))
        for event in decision:
            self.state = task.evolve(self.state, event, meta.at)

    @property
    def stored(self) -> list[dict[str, Any]]:
        """The log as a database keeps it."""
        return [layout.document(entry) for entry in self.entries]

    @property
    def recorded(self) -> list[Recorded]:
        """Its events as followers see them."""
        return [recorded for entry in self.entries for recorded in events.recorded(entry)]

    @property
    def commits(self) -> list[list[events.Event]]:
        """Its events, commit by commit."""
        return [[recorded.event for recorded in events.recorded(entry)] for entry in self.entries]

    @property
    def happened(self) -> list[events.Event]:
        """Its events."""
        return [recorded.event for recorded in self.recorded]


def lived(order: events.TaskCreated, wishes: Sequence[Wish]) -> Life:
    """The life of a task to which all that was wanted, in that order."""
    life = Life(order)
    life.obey(commands.CreateTask(task=order.task))
    for wish in wishes:
        assert life.state is not None
        life.obey(strategies.wanted(wish, life.state))
    return life


lives = st.builds(lived, strategies.orders, strategies.many_wishes)


def views(life: Life) -> Iterator[tuple[int, Document]]:
    """How many commits, and the view after them."""
    view = None
    for count, entry in enumerate(life.entries, start=1):
        view = fold(TASK_VIEW, events.recorded(entry), view)
        assert view is not None
        yield count, view


@given(lives)
def test_an_end_is_an_end(life: Life) -> None:
    """Law 5: after a terminal event comes nothing but late messages, each once, and the state never changes."""
    oracle.check(life.stored)
    over = [index for index, event in enumerate(life.happened) if isinstance(event, ENDS)]
    assert len(over) <= 1
    if over:
        after = life.happened[over[0] + 1 :]
        assert all(isinstance(event, events.LateMessageRecorded) for event in after)
        assert len(set(after)) == len(after)
        ends = {before.state for before, _, _ in life.steps if isinstance(before, Ended)}
        assert isinstance(life.state, Ended)
        assert ends <= {life.state.state}
    assert bool(over) == isinstance(life.state, Ended)


@given(lives)
def test_every_commit_leaves_what_the_oracle_says(life: Life) -> None:
    """Law 4: the view, the situation and the oracle agree after every commit."""
    state = None
    for count, view in views(life):
        told = oracle.told(life.stored[:count])
        assert oracle.shown(view) == told
        state = task.fold(events.recorded(life.entries[count - 1]), state)
        assert state is not None
        assert task.tes_state(state).value == told.state
    assert state == life.state


@given(lives, st.data())
def test_duplicates_change_no_view(life: Life, data: st.DataObject) -> None:
    """Law 4: events that come again, one by one or in whole batches, change nothing."""
    recorded = life.recorded
    view = None
    for index, each in enumerate(recorded):
        view = TASK_VIEW.apply(view, each)
        again = data.draw(st.lists(st.integers(0, index), max_size=2))
        for start in again:
            assert fold(TASK_VIEW, recorded[start : index + 1], view) == view
    assert view == fold(TASK_VIEW, recorded)


@given(lives)
def test_the_view_is_what_it_was_whenever_it_is_read(life: Life) -> None:
    """`apply` changes no document that somebody else may hold."""
    kept = [(count, view, repr(view)) for count, view in views(life)]
    assert all(repr(view) == text for _, view, text in kept)


@given(lives)
def test_events_of_an_attempt_are_bounded(life: Life) -> None:
    """4 + 2 x executors; one more if the attempt was orphaned, one if it expired, and at most three delays."""
    executors = len(life.order.task.executors)
    by_attempt: dict[int, list[events.Event]] = {}
    for event in life.happened:
        if isinstance(event, OF_AN_ATTEMPT):
            by_attempt.setdefault(event.attempt, []).append(event)
    for of_it in by_attempt.values():
        orphaned, delayed, expired = (
            sum(isinstance(event, kind) for event in of_it)
            for kind in (events.AttemptOrphaned, events.AttemptDelayed, events.AttemptExpired)
        )
        assert orphaned <= 1
        assert expired <= 1
        assert delayed <= DELAYS_MAX
        assert len(of_it) <= 4 + 2 * executors + orphaned + delayed + expired
    assert list(by_attempt) == list(range(1, len(by_attempt) + 1))


@given(lives)
def test_asking_twice_is_safe(life: Life) -> None:
    """The same command again leads to nothing new, or is refused."""
    for before, command, decision in life.steps:
        if isinstance(decision, errors.TespesError):
            continue
        after = g.state_after(*decision, state=before)
        try:
            assert task.decide(after, command) == ()
        except errors.AttemptGone:
            assert isinstance(command, commands.ReportStart | commands.ReportEnd | commands.ClaimAttempt)


@given(lives)
def test_an_attempts_end_is_followed_by_another_or_by_the_tasks_end(life: Life) -> None:
    """AttemptEnded: another attempt, or the task's end in the same commit, follows."""
    for place, commit in enumerate(life.commits):
        for index, event in enumerate(commit):
            if isinstance(event, events.AttemptEnded):
                rest = commit[index + 1 :]
                later = [each for other in life.commits[place + 1 :] for each in other]
                assert (len(rest) == 1 and isinstance(rest[0], ENDS)) or (
                    not rest and _goes_on(later, event.attempt, life.state)
                )
                assert event.outcome is Outcome.SUCCEEDED or event.reason, "None only for succeeded"


def _goes_on(later: list[events.Event], attempt: int, state: task.State | None) -> bool:
    """Another attempt, unless a cancel or the end of the task's time came in between; or nothing yet."""
    following = [each for each in later if not isinstance(each, events.TaskDeferred)]
    if not following:
        return not isinstance(state, Ended)
    first = following[0]
    another = isinstance(first, events.AttemptScheduled) and first.attempt == attempt + 1
    return another or isinstance(first, events.TaskCancelRequested | events.TaskSystemFailed)


@given(lives)
def test_a_command_begins_no_more_often_than_its_user_allows(life: Life) -> None:
    """Users' commands are not idempotent; and no task is tried for ever, nor preempted unless it may be."""
    begun = {event.attempt for event in life.happened if isinstance(event, events.ExecutorStarted)}
    scheduled = [event for event in life.happened if isinstance(event, events.AttemptScheduled)]
    may_begin, may_be = oracle.attempts_allowed(life.stored)
    assert len(begun) <= may_begin
    assert len(scheduled) <= may_be
    preempted = any(isinstance(event, events.TaskPreempted) for event in life.happened)
    asked = life.order.task.resources
    assert not preempted or (asked is not None and asked.preemptible)


@given(lives)
def test_claims_do_not_overlap(life: Life) -> None:
    """Law 7: a claimed attempt has ended before another is scheduled, and each is claimed by one run."""
    claimed: int | None = None
    seen = set()
    for event in life.happened:
        match event:
            case events.AttemptScheduled():
                assert claimed is None
            case events.AttemptClaimed():
                assert claimed is None
                assert event.attempt not in seen
                claimed = event.attempt
                seen.add(event.attempt)
            case events.AttemptEnded():
                claimed = None
            case _:
                assert not isinstance(event, events.TaskCanceled) or claimed is None, "law 9: it may still run"


NEXT: dict[type[events.Event], Any] = {
    events.TaskCreated: events.AttemptScheduled | events.TaskDeferred | events.TaskCancelRequested | events.TaskSystemFailed,
    events.AttemptReceived: events.AttemptClaimed
    | events.AttemptDelayed
    | events.AttemptEnded
    | events.TaskCancelRequested
    | events.TaskSystemFailed,
}
NEXT_OF_ITS_ATTEMPT: dict[type[events.Event], Any] = {
    events.ExecutorStarted: events.ExecutorEnded | events.AttemptEnded,
    events.ExecutorEnded: events.ExecutorStarted | events.AttemptEnded,
    events.AttemptClaimed: events.ExecutorStarted | events.AttemptEnded,
}
JUST_BEFORE: dict[type[events.Event], Any] = {
    events.TaskCompleted: events.AttemptEnded,
    events.TaskExecutorFailed: events.AttemptEnded,
    events.TaskPreempted: events.AttemptEnded,
    events.TaskCanceled: events.AttemptEnded | events.TaskCancelRequested,
}


@given(lives)
def test_what_follows_is_what_events_promise(life: Life) -> None:
    """`events/types.py`, docstring by docstring: "X follows"."""
    happened = life.happened
    for index, event in enumerate(happened):
        before, after = happened[:index], happened[index + 1 :]
        kind = type(event)
        assert isinstance(event, events.TaskCreated) == (index == 0)
        _first(after, NEXT.get(kind, object))
        _first(before[::-1], JUST_BEFORE.get(kind, object))
        if isinstance(event, events.TaskSystemFailed):
            attempt = [each for each in before if isinstance(each, OF_AN_ATTEMPT)]
            claimed = any(isinstance(each, events.AttemptClaimed) and each.attempt == attempt[-1].attempt for each in attempt)
            assert isinstance(before[-1], events.AttemptEnded) or not claimed or isinstance(attempt[-1], events.AttemptEnded)
        if isinstance(event, OF_AN_ATTEMPT):
            _first(_of(event.attempt, after), NEXT_OF_ITS_ATTEMPT.get(kind, object))


@given(lives)
def test_what_is_begun_is_ended(life: Life) -> None:
    """A claimed attempt has an end or is the present one; a cancel was done or is being done."""
    ended = {event.attempt for event in life.happened if isinstance(event, events.AttemptEnded)}
    claimed = {event.attempt for event in life.happened if isinstance(event, events.AttemptClaimed)}
    assert claimed <= ended or isinstance(life.state, Claimed | Expiring | Canceling)
    asked = sum(isinstance(event, events.TaskCancelRequested) for event in life.happened)
    done = sum(isinstance(event, events.TaskCanceled) for event in life.happened)
    assert asked - done == isinstance(life.state, Canceling)


@given(lives)
def test_what_events_say_of_themselves_is_so(life: Life) -> None:
    """Numbers and names: executors in order, job ids, a reason to wait once at a time, orphans of a claim."""
    happened = life.happened
    for index, event in enumerate(happened):
        before = happened[:index]
        match event:
            case events.TaskDeferred():
                assert event != before[-1]
            case events.AttemptScheduled():
                assert event.job_id == f"{g.TASK}-{event.attempt}"
            case events.ExecutorStarted() | events.ExecutorEnded():
                same = [each for each in _of(event.attempt, before) if type(each) is type(event)]
                assert event.executor == len(same)
            case events.AttemptDelayed():
                assert event not in before
            case events.AttemptOrphaned() | events.AttemptExpired():
                assert any(isinstance(each, events.AttemptClaimed) for each in _of(event.attempt, before))
            case events.TaskExecutorFailed():
                assert event.exit_code != 0
            case _:
                pass


def _first(happened: Sequence[events.Event], kinds: Any) -> None:
    """What comes first, if anything came yet, is one of these."""
    assert not happened or isinstance(happened[0], kinds)


def _of(attempt: int, happened: Sequence[events.Event]) -> list[events.Event]:
    """The events of one attempt, but what may come at any time."""
    kinds = tuple(kind for kind in get_args(OF_AN_ATTEMPT) if kind not in get_args(AT_ANY_TIME))
    return [each for each in happened if isinstance(each, kinds) and each.attempt == attempt]


@given(lives)
def test_every_event_comes_back_as_it_went_in(life: Life) -> None:
    """What is decided is what is read: decoding the stored entries gives the same events and the same situation."""
    read = [layout.from_document(stored) for stored in life.stored]
    assert read == life.entries
    rows = [layout.from_row(layout.row(entry)) for entry in life.entries]
    assert rows == life.entries
    decided = [event for _, _, step in life.steps if isinstance(step, tuple) for event in step]
    assert [recorded.event for entry in rows for recorded in events.recorded(entry)] == decided


@given(
    strategies.orders,
    strategies.many_wishes,
    st.sampled_from([outcome for outcome in Outcome if outcome is not Outcome.LOST]),
)
@example(g.created(), [], Outcome.SUCCEEDED)
def test_whatever_happened_a_pulsar_that_lives_brings_the_end(
    order: events.TaskCreated, wishes: list[Wish], outcome: Outcome
) -> None:
    """Law 6, the core's half: place, claim and result, again and again, lead to a terminal state in bounded steps."""
    life = lived(order, wishes)
    for _ in range(2 * oracle.attempts_allowed(life.stored)[1]):
        life.obey(g.PLACE)
        attempt = oracle.told(life.stored).attempts
        run_id = next(
            (each.run_id for each in life.happened if isinstance(each, events.AttemptClaimed) and each.attempt == attempt),
            g.RUN,
        )
        life.obey(g.claim(attempt, run_id))
        executors = [g.ended(number, 1, attempt) for number in range(len(order.task.executors))]
        life.obey(g.result(outcome, *executors, attempt=attempt, run_id=run_id, retryable=True))
        life.obey(g.status(PulsarStatus.COMPLETE, attempt=attempt))
    assert life.state is not None
    assert task.tes_state(life.state) in tes.TERMINAL


@given(lives)
def test_every_task_that_ended_has_a_whole_trace(life: Life) -> None:
    """One root, every other span within one that is there, an id for each place; the same history is told the same twice."""
    found = spans.told(life.recorded)
    assert (found is not None) == any(isinstance(event, ENDS) for event in life.happened)
    if found is None:
        return
    places = [span.place for span in found.spans]
    assert len({found.span_id(place) for place in places}) == len(places)
    assert [span.place for span in found.spans if span.within is None] == [spans.TASK]
    assert {span.within for span in found.spans} - {None} <= set(places)
    assert all(span.began <= span.ended for span in found.spans)
    scheduled = [event for event in life.happened if isinstance(event, events.AttemptScheduled)]
    assert sum(span.name == "attempt" for span in found.spans) == len(scheduled)
    assert spans.told(life.recorded) == found
    assert encoded([found], "tests")
