"""Hypothesis strategies: every event with any content, and whatever clients, Pulsars and runners may want in any order."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeVar, get_args

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

import given
from tespes import events, task, tes
from tespes.events import Outcome, Source, moment
from tespes.task import commands
from tespes.task.commands import PulsarStatus
from tespes.task.state import Canceling, Claimed, Ended, Expiring, Received, Scheduled, Waiting

settings.register_profile(
    "tespes",
    deadline=None,
    max_examples=60,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
settings.load_profile("tespes")

Part = TypeVar("Part")

# Any text that JSON can carry, so no lone surrogates; '.', '$' and what needs escapes come often.
texts = st.text(st.sampled_from('.$"\\/\0\n\x7f aä€דּ😀') | st.characters(exclude_categories=["Cs"]), max_size=12)
words = texts.filter(bool)
names = st.dictionaries(texts, texts, max_size=3)
moments = st.integers(0, 10**11).map(lambda ms: moment.whole(given.at(ms / 1000)))
digests = st.binary(min_size=32, max_size=32).map(bytes.hex)
sizes_bytes = st.integers(0, 2**53 - 1)
paths = texts.map(lambda text: "/data/" + text.replace("..", ""))
gigabytes = st.floats(0, allow_nan=False, allow_infinity=False)


def maybe(strategy: st.SearchStrategy[Part]) -> st.SearchStrategy[Part | None]:
    """That, or nothing."""
    return st.none() | strategy


def several(strategy: st.SearchStrategy[Part], at_least: int = 0) -> st.SearchStrategy[tuple[Part, ...]]:
    """Up to three of that."""
    return st.lists(strategy, min_size=at_least, max_size=3).map(tuple)


_executors = st.builds(
    tes.Executor,
    image=words,
    command=several(texts),
    workdir=maybe(paths),
    stdin=maybe(paths),
    stdout=maybe(paths),
    env=maybe(names),
    ignore_error=maybe(st.booleans()),
)
_resources = st.builds(
    tes.Resources,
    cpu_cores=maybe(st.integers(0, tes.task.INT32_MAX)),
    preemptible=maybe(st.booleans()),
    ram_gb=maybe(gigabytes),
    disk_gb=maybe(gigabytes),
    zones=maybe(several(texts)),
    backend_parameters=maybe(names),
)
_inputs = st.builds(tes.Input, name=maybe(texts), url=words, path=paths, content=maybe(texts))
_outputs = st.builds(tes.Output, name=maybe(texts), url=words, path=paths, type=st.sampled_from(tes.FileType))
tasks = st.builds(
    tes.Task,
    name=maybe(texts),
    inputs=maybe(several(_inputs)),
    outputs=maybe(several(_outputs)),
    resources=maybe(_resources),
    executors=several(_executors, at_least=1),
    tags=maybe(names),
)

_kept = several(st.builds(events.Kept, place=texts, sha256=digests, size_bytes=sizes_bytes))
_files = several(st.builds(events.File, path=texts, url=maybe(texts), size_bytes=sizes_bytes, sha256=digests))
_fields = {
    "task": tasks,
    "kept": _kept,
    "reason": texts,
    "attempt": st.integers(1, 9),
    "executor": st.integers(0, 9),
    "exit_code": st.integers(-(2**31), 2**31 - 1),
    "at": moments,
    "started_at": moments,
    "ended_at": moments,
    "outcome": st.sampled_from(Outcome),
    "source": st.sampled_from(Source),
    "inputs": _files,
    "outputs": _files,
    "notes": several(texts),
    "fields": several(texts),
    "position": st.integers(1, 2**53),
    "first": st.integers(1, 2**53),
    "index": st.integers(0, 9999),
}


def _of(kind: type[events.Event]) -> st.SearchStrategy[events.Event]:
    fields = {name: _fields.get(name, texts) for name in kind.__dataclass_fields__}
    if kind is events.AttemptEnded:
        fields["reason"] = maybe(texts)
    return st.builds(kind, **fields)


any_event: st.SearchStrategy[events.Event] = st.one_of([_of(kind) for kind in get_args(events.Event)])


@dataclass(frozen=True)
class Wish:
    """Something that somebody wants of a task, relative to what the task is then.

    :param kind: None is whatever usually comes next
    :param attempt: 0 is the present attempt, -1 the one before, 1 one that never was
    :param executor: 0 is the one that is due next, likewise
    :param own: whether the run that claimed the attempt says it; else another run does
    :param flag: whatever the kind of wish has to choose
    """

    kind: type[task.Command] | None
    attempt: int
    executor: int
    own: bool
    flag: bool
    outcome: Outcome
    status: PulsarStatus
    exit_code: int
    reason: str | None
    said: tuple[int, ...]


_usually_0 = st.sampled_from([0, 0, 0, 0, 0, 0, 0, 0, -1, 1])
wishes = st.builds(
    Wish,
    kind=st.none() | st.none() | st.sampled_from((*get_args(task.Command), *[commands.RecordStatus] * 5)),
    attempt=_usually_0,
    executor=_usually_0,
    own=st.sampled_from([True, True, True, True, False]),
    flag=st.booleans(),
    outcome=st.sampled_from([outcome for outcome in Outcome if outcome is not Outcome.LOST]),
    status=st.sampled_from([*PulsarStatus, PulsarStatus.LOST, PulsarStatus.LOST]),
    exit_code=st.sampled_from([0, 0, 1, 137]),
    reason=st.sampled_from([None, "the disk is full", "the node is gone"]),
    said=st.sampled_from([(), (0,), (0, 1), (1,), (0, 0), (1, 0), (0, 1, 2, 3)]),
)
orders = st.builds(
    given.created, st.integers(1, 3), preemptible=st.booleans(), max_attempts=st.sampled_from([None, None, 1, 2, 4, 10])
)


many_wishes = st.lists(wishes, min_size=8, max_size=40)


def wanted(wish: Wish, state: task.State) -> task.Command:
    """The wish as a command to a task that is in this situation."""
    attempt = max(1, _attempt(state) + wish.attempt)
    executor = max(0, _executor(state) + wish.executor)
    run_id = given.RUN if wish.own else given.OTHER_RUN
    reason = wish.reason or "nobody knows"
    kind = wish.kind or _usual(wish, state)
    orders_by_kind: dict[type[task.Command], Callable[[], task.Command]] = {
        commands.CreateTask: lambda: commands.CreateTask(task=given.created().task),
        commands.CancelTask: commands.CancelTask,
        commands.DeferTask: lambda: commands.DeferTask(reason=reason),
        commands.ScheduleAttempt: lambda: given.PLACE,
        commands.RecordReceipt: lambda: given.receipt(attempt),
        commands.ClaimAttempt: lambda: given.claim(attempt, run_id),
        commands.ReportStart: lambda: given.report_start(executor, attempt, run_id),
        commands.ReportEnd: lambda: given.report_end(executor, wish.exit_code, attempt, run_id),
        commands.ReportResult: lambda: _result(wish, attempt, run_id),
        commands.RecordStatus: lambda: given.status(wish.status, reason, attempt=attempt),
        commands.DelayAttempt: lambda: given.delay(reason, attempt),
        commands.ExpireTask: lambda: given.expire(reason, claimed=wish.flag),
        commands.GiveUpAttempt: lambda: given.give_up(attempt, reason),
    }
    return orders_by_kind[kind]()


def _usual(wish: Wish, state: task.State) -> type[task.Command]:
    """What usually comes next."""
    match state:
        case Waiting():
            return commands.ScheduleAttempt
        case Scheduled() if wish.flag:
            return commands.RecordReceipt
        case Scheduled() | Received():
            return commands.ClaimAttempt
        case Claimed() if state.ended == len(state.order.ignore_errors):
            return commands.ReportResult
        case Claimed():
            return commands.ReportEnd if state.started > state.ended else commands.ReportStart
        case Expiring() | Canceling() | Ended():
            return commands.ReportResult if wish.flag else commands.RecordStatus


def _result(wish: Wish, attempt: int, run_id: str) -> commands.ReportResult:
    """A runner that says `executor_failed` names an executor that failed; else it may say anything."""
    said = [given.ended(executor, wish.exit_code, attempt) for executor in wish.said]
    if wish.outcome is Outcome.EXECUTOR_FAILED:
        said = [*said[:-1], replace(said[-1], exit_code=1)] if said else [given.ended(0, 1, attempt)]
    outputs = (events.File(path="/data/out", url="ftp://files.example.org/out", size_bytes=36, sha256="0" * 64),)
    return given.result(
        wish.outcome,
        *said,
        attempt=attempt,
        run_id=run_id,
        reason=wish.reason,
        retryable=wish.flag,
        outputs=outputs if wish.own else (),
    )


def _attempt(state: task.State) -> int:
    return state.attempts if isinstance(state, Waiting | Ended) else state.attempt.number


def _executor(state: task.State) -> int:
    match state:
        case Claimed():
            return state.ended
        case Expiring() | Canceling():
            return state.claimed.ended
        case _:
            return 0
