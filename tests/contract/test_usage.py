"""What tasks used (`projections/usage.py`) and its totals, against sums that are done here, on both stores."""

import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import given as g
import strategies
from tespes import errors, events, tes
from tespes.events import Commit, Meta, Outcome
from tespes.flow import verify
from tespes.flow.project import Projector
from tespes.flow.projections import Projections
from tespes.projections import TASK_VIEW, USAGE
from tespes.store import Store
from tespes.store.totals import By, Key, Within

PULSARS = ["site-a", "site-b", "site.c"]
DAYS = ["2026-11-20", "2026-11-21", "2026-11-23"]
SUMS = ("attempts", "cpu_ms", "bytes_in", "bytes_out", "uncounted")


@dataclass(frozen=True)
class Try:
    """An attempt: how long each executor ran, in milliseconds, and what it moved.

    :param killed_ms: of an executor that did not end by itself; None if there was none
    """

    pulsar: str
    ran_ms: Sequence[int]
    killed_ms: int | None
    bytes_in: Sequence[int]
    bytes_out: Sequence[int]
    lists: int


@dataclass(frozen=True)
class Used:
    """A task, and what it used."""

    owner: str
    day: str
    cores: int | None
    tags: dict[str, str] | None
    tries: Sequence[Try]


tries = st.builds(
    Try,
    pulsar=st.sampled_from(PULSARS),
    ran_ms=st.lists(st.integers(0, 10**7), max_size=3),
    killed_ms=st.none() | st.integers(0, 10**7),
    bytes_in=st.lists(st.integers(0, 2**40), max_size=2),
    bytes_out=st.lists(st.integers(0, 2**40), max_size=2),
    lists=st.integers(0, 2),
)
used = st.builds(
    Used,
    owner=st.sampled_from(["anonymous", "ada", "größe's", 'q"q']),
    day=st.sampled_from(DAYS),
    cores=st.none() | st.integers(0, 64),
    tags=strategies.maybe(st.dictionaries(st.sampled_from(["project", "pro", 'a"b', "ä\0"]), strategies.texts, max_size=3)),
    tries=st.lists(tries, max_size=3),
)


def commits(task_id: str, spent: Used) -> Iterator[Commit]:
    """The task's events."""
    begin = datetime.fromisoformat(spent.day).replace(hour=23, minute=59, tzinfo=UTC)
    resources = None if spent.cores is None else tes.Resources(cpu_cores=spent.cores)
    task = g.created().task.model_copy(update={"tags": spent.tags, "resources": resources})
    happened: list[tuple[datetime, list[events.Event]]] = [(begin, [events.TaskCreated(task=task)])]
    for attempt, each in enumerate(spent.tries, start=1):
        scheduled = events.AttemptScheduled(
            attempt=attempt, job_id=f"{task_id}-{attempt}", pulsar=each.pulsar, runtime="docker"
        )
        happened.append((begin, [scheduled]))
        happened.append((begin, [*_ran(each, attempt, begin)]))
        happened.append((begin + timedelta(milliseconds=each.killed_ms or 0), [_ended(each, attempt)]))
    happened.append((begin, [events.TaskCanceled()]))
    version = 1
    for at, decision in happened:
        if decision:
            meta = Meta(at=at, actor="tests", owner=spent.owner)
            yield events.commit(str(uuid.uuid4()), task_id, version, decision, meta)
            version += len(decision)


def _ran(each: Try, attempt: int, begin: datetime) -> Iterator[events.Event]:
    """The node's clock is another."""
    node = begin - timedelta(hours=5)
    for executor, ms in enumerate(each.ran_ms):
        yield events.ExecutorStarted(attempt=attempt, executor=executor, at=node)
        end = node + timedelta(milliseconds=ms)
        yield events.ExecutorEnded(attempt=attempt, executor=executor, exit_code=0, started_at=node, ended_at=end)
    if each.killed_ms is not None:
        yield events.ExecutorStarted(attempt=attempt, executor=len(each.ran_ms), at=node)


def _ended(each: Try, attempt: int) -> events.AttemptEnded:
    files = [
        tuple(events.File(path="/x", size_bytes=size, sha256="0" * 64) for size in sizes)
        for sizes in (each.bytes_in, each.bytes_out)
    ]
    kept = tuple(events.Kept(place=place, sha256="0" * 64, size_bytes=9) for place in ("inputs", "outputs")[: each.lists])
    return events.AttemptEnded(
        attempt=attempt, outcome=Outcome.KILLED, reason="enough", inputs=files[0], outputs=files[1], kept=kept
    )


def expected(tasks: Sequence[Used], of: Callable[[Used, Try | None], str | None], days: Sequence[str]) -> dict[str | None, Any]:
    """How many tasks there are for each value, and the sums of their attempts."""
    found: dict[str | None, tuple[set[int], list[int]]] = {}
    for number, task in enumerate(tasks):
        for each in (*task.tries, *([] if task.tries else [None])):
            if task.day in days:
                numbers, sums = found.setdefault(of(task, each), (set(), [0] * len(SUMS)))
                numbers.add(number)
                for place, value in enumerate([] if each is None else _spent(task, each)):
                    sums[place] += value
    return {value: (len(numbers), dict(zip(SUMS, sums, strict=True))) for value, (numbers, sums) in found.items()}


def _spent(task: Used, each: Try) -> list[int]:
    ms = sum(each.ran_ms) + (each.killed_ms or 0)
    return [1, (task.cores or 1) * ms, sum(each.bytes_in), sum(each.bytes_out), each.lists]


async def project(store: Store) -> None:
    """The view knows everything."""
    projector = Projector(store.log, store.documents, USAGE)
    await projector.prepare()
    while entries := await store.log.read(await store.documents.position(USAGE)):
        await projector.project(entries)


BY: list[tuple[By, Callable[[Used, Try | None], str | None]]] = [
    ("owner", lambda task, _: task.owner),
    ("day", lambda task, _: task.day),
    ("pulsar", lambda _, each: None if each is None else each.pulsar),
    (Key("tags", "project"), lambda task, _: (task.tags or {}).get("project")),
    (Key("tags", 'a"b'), lambda task, _: (task.tags or {}).get('a"b')),
    (Key("tags", "nobody has it"), lambda *_: None),
]
WITHIN = [None, Within("day", "2026-11-21"), Within("day", None, "2026-11-21"), Within("day", "2026-11-21", "2026-11-22")]


@settings(max_examples=6)
@given(new=st.lists(used, max_size=5))
async def test_totals_are_the_sums_of_what_was_used(a_store: Store, everything: list[Used], new: list[Used]) -> None:
    """By whatever they are asked for; of all tasks, and of those of some days. A task at two Pulsars counts at both."""
    for task in new:
        for commit in commits(uuid.uuid4().hex, task):
            await a_store.log.append(commit)
    everything += new
    await project(a_store)
    for by, of in BY:
        for within, days in zip(WITHIN, (DAYS, DAYS[1:], DAYS[:2], DAYS[1:2]), strict=True):
            found = await a_store.documents.totals(USAGE, by, within)
            assert {each.of: (each.documents, each.sums) for each in found} == expected(everything, of, days), (by, within)
            assert [each.of for each in found if each.of is not None] == sorted(
                each.of for each in found if each.of is not None
            )
    assert await a_store.documents.count(USAGE) == len(everything)
    totals = await a_store.documents.totals(USAGE, "pulsar")
    if entries := await a_store.log.read(0):
        await Projector(a_store.log, a_store.documents, USAGE).project(entries)  # they come twice
    assert await a_store.documents.totals(USAGE, "pulsar") == totals
    assert (await verify.verify(a_store.log, a_store.documents, USAGE)).named == ()


@pytest.fixture
def everything() -> list[Used]:
    """What the store has of earlier examples."""
    return []


async def test_what_is_asked_for_wrongly_is_refused_in_words(a_store: Store) -> None:
    """A view that is not there, one without totals, something that is no column, days of what has none."""
    found = Projections(a_store.log, a_store.documents, (TASK_VIEW, USAGE))
    with pytest.raises(errors.NotFound, match="there is no view x; there are: task_view, usage"):
        await found.totals("x", "owner", None, None)
    with pytest.raises(errors.BadRequest, match="a view with totals is expected: usage"):
        await found.totals("task_view", "owner", None, None)
    with pytest.raises(errors.BadRequest, match="one of owner, day, state, pulsar, tag:KEY is expected"):
        await found.totals("usage", "position", None, None)
    await a_store.documents.prepare(USAGE)
    with pytest.raises(errors.NotFound, match="the view usage has no task x"):
        await found.document("usage", "x")
