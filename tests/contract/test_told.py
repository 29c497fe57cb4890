"""The log's own lines about the log: one for each event, once it is durable, whatever becomes of the write; on both stores."""

import uuid
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from structlog.testing import capture_logs

import given as g
from tespes import errors, events
from tespes.events import Commit, Entry, Meta, Outcome
from tespes.flow import story
from tespes.store import Store
from tespes.store.promise import LogTable, OutcomeUnknown, Written

TRACEPARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
Line = dict[str, Any]


@pytest.fixture
def lines() -> Iterator[list[Line]]:
    """What is said, as it is said."""
    with capture_logs() as said:
        yield said  # type: ignore[misc]  # the library says less of them


def commit(stream: str, *happened: events.Event, version: int = 1, **meta: Any) -> Commit:
    """It happens there."""
    about = Meta(at=g.at(0), actor="tests", owner="ada", **meta)
    return events.commit(str(uuid.uuid4()), stream, version, happened, about)


async def test_each_event_is_a_line_that_says_what_it_belongs_to(a_store: Store, lines: list[Line]) -> None:
    """In the order of the log; of a task that names no trace, its own."""
    a_store.log.wrote.append(story.wrote)
    await a_store.log.append(commit(g.TASK, g.created(), correlation="order-7"))
    happened = (g.started(), g.ended(0, 7), g.over(Outcome.EXECUTOR_FAILED, "exit code 7"))
    await a_store.log.append(commit(g.TASK, *happened, version=2, traceparent=TRACEPARENT))
    about = {"event": "appended", "log_level": "info", "task_id": g.TASK, "actor": "tests"}
    first = {**about, "position": 1, "trace_id": g.TASK, "request_id": "order-7"}
    then = {**about, "position": 2, "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736", "request_id": None, "attempt": 1}
    assert lines == [
        {**first, "type": "TaskCreated"},
        {**then, "type": "ExecutorStarted", "executor": 0},
        {**then, "type": "ExecutorEnded", "executor": 0, "exit_code": 7, "took_s": 0.5},
        {**then, "type": "AttemptEnded", "outcome": "executor_failed", "reason": "exit code 7"},
    ]


async def test_what_happens_to_the_service_is_told_too(a_store: Store, lines: list[Line]) -> None:
    """With the stream that it is in, and what of it is not the line's own."""
    a_store.log.wrote.append(story.wrote)
    parked = events.WebhookParked(webhook="portal", position=1234, reason="410")
    await a_store.log.append(commit("webhook:portal", parked))
    [line] = lines
    assert (line["stream"], line["position"], line["of_position"], line["reason"]) == ("webhook:portal", 1, 1234, "410")
    assert line["log_level"] == "warning"


@pytest.mark.parametrize(
    ("event", "level"),
    [
        (g.over(Outcome.LOST, "the node is gone"), "warning"),
        (g.over(Outcome.EXECUTOR_FAILED, "exit code 1"), "info"),
        (g.delayed("no sign of life"), "warning"),
        (events.TaskSystemFailed(reason="ran out of patience"), "warning"),
        (events.TaskExecutorFailed(executor=0, exit_code=1), "info"),
        (events.TaskCanceled(), "info"),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, str) else value,
)
def test_what_an_operator_should_see_is_a_warning(lines: list[Line], event: events.Event, level: str) -> None:
    """A user's command that fails is none."""
    held = commit(g.TASK, event)
    story.wrote([Entry(held, 1, "", "", "")])
    assert [line["log_level"] for line in lines] == [level]


class Unanswered:
    """A log table whose first write is carried out, and not answered."""

    def __init__(self, table: LogTable) -> None:
        self._table = table
        self._asked = 0

    async def write(self, entries: Sequence[Entry]) -> Written:
        self._asked += 1
        written = await self._table.write(entries)
        if self._asked == 1:
            raise OutcomeUnknown("no answer")
        return written

    def __getattr__(self, name: str) -> Any:
        return getattr(self._table, name)


async def test_what_nobody_answered_is_told_once_it_is_found(
    a_store: Store, lines: list[Line], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The write is tried again and finds itself: that is its line. What is asked for twice later is none."""
    a_store.log.wrote.append(story.wrote)
    appender = a_store.log._appender
    monkeypatch.setattr(appender, "_table", Unanswered(appender._table))
    first = commit(g.TASK, g.created())
    entry = await a_store.log.append(first)
    assert await a_store.log.append(first) == entry
    with pytest.raises(errors.VersionConflict):
        await a_store.log.append(commit(g.TASK, g.created()))
    assert [(line["type"], line["position"]) for line in lines if line["event"] == "appended"] == [("TaskCreated", 1)]
