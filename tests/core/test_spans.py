"""The trace of a task: spans that are made of its events, and nothing else."""

from collections.abc import Sequence
from dataclasses import replace

import given as g
from tespes import events, tes
from tespes.events import Meta, Outcome, Recorded, trace
from tespes.events.trace import Context
from tespes.projections import spans
from tespes.projections.spans import Span, Trace

PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
OTHER = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
TRIED = (g.scheduled(), g.received(), g.claimed(), g.started())
DONE = (*TRIED, g.ended(), g.over(Outcome.SUCCEEDED), events.TaskCompleted())


def recorded(*happened: events.Event, traceparents: Sequence[str | None] = ()) -> list[Recorded]:
    """A history, one event a second; the n-th belongs to the n-th of these, all others to none."""
    named = dict(enumerate(traceparents))
    return [
        Recorded(event, g.TASK, n + 1, n + 1, Meta(at=g.at(n), actor="tests", owner="ada", traceparent=named.get(n)))
        for n, event in enumerate(happened)
    ]


def told(*happened: events.Event, traceparents: Sequence[str | None] = ()) -> Trace:
    """The trace of a task to which that happened, after it was created."""
    found = spans.told(recorded(g.created(), *happened, traceparents=traceparents))
    assert found is not None
    return found


def at(found: Trace, place: str) -> Span:
    """The span at that place."""
    [span] = [each for each in found.spans if each.place == place]
    return span


def lasted(span: Span) -> tuple[float, float]:
    """From when to when, in seconds since the creation."""
    return (span.began - g.at(0)).total_seconds(), (span.ended - g.at(0)).total_seconds()


def test_each_part_of_a_task_is_a_span_of_its_own_time() -> None:
    """What TESPES decided by its clock, what an executor did by the node's."""
    found = told(*DONE)
    assert {span.place: lasted(span) for span in found.spans} == {
        "task": (0, 7),
        "waiting/1": (0, 1),
        "attempt/1": (1, 6),
        "attempt/1/pulsar": (1, 3),
        "attempt/1/inputs": (3, 3),  # the node's clock is behind: nothing ends before it began
        "attempt/1/executor/0": (0.25, 0.75),
        "attempt/1/outputs": (0.75, 6),
        "waiting/2": (6, 7),
    }
    assert {span.name for span in found.spans} == {"task", "waiting", "attempt", "pulsar", "inputs", "executor", "outputs"}
    assert not any(span.error for span in found.spans)
    assert at(found, "task").words["state"] == "COMPLETE"
    assert at(found, "attempt/1/executor/0").words == {"executor": 0, "image": "alpine", "exit_code": 0}


def test_an_end_in_the_same_commit_leaves_no_wait_behind() -> None:
    """As it is decided: the attempt's end and the task's are of one moment."""
    history = recorded(g.created(), *DONE)
    history[-1] = replace(history[-1], meta=replace(history[-1].meta, at=history[-2].at))
    found = spans.told(history)
    assert found is not None
    assert [span.place for span in found.spans if span.name == "waiting"] == ["waiting/1"]


def test_a_failure_is_an_error_where_it_happened_and_of_all_above() -> None:
    """What was under way says why it ended; what had ended well before does not."""
    found = told(*TRIED[:3], g.over(Outcome.SYSTEM_FAILED, "no such file"), events.TaskSystemFailed(reason="no such file"))
    errors = {span.place: span.error for span in found.spans}
    assert errors["attempt/1/inputs"] == errors["attempt/1"] == errors["task"] == "no such file"
    assert errors["attempt/1/pulsar"] is errors["waiting/1"] is None


def test_an_exit_code_is_an_error_of_its_executor() -> None:
    """Of one whose errors are ignored too: but then the task goes on."""
    found = spans.told(
        recorded(
            g.created(2, ignoring=[0]),
            *TRIED,
            g.ended(0, 3),
            g.started(1),
            g.ended(1, 4),
            g.over(Outcome.EXECUTOR_FAILED, "exit code 4"),
            events.TaskExecutorFailed(executor=1, exit_code=4),
        )
    )
    assert found is not None
    assert [at(found, f"attempt/1/executor/{n}").error for n in (0, 1)] == ["exit code 3", "exit code 4"]
    assert at(found, "task").error == "executor 1: exit code 4"
    [outputs] = [span for span in found.spans if span.name == "outputs"]
    assert outputs.error is None, "what was there was stored"


def test_what_has_no_span_is_a_note_where_it_happened() -> None:
    """Delays on the attempt, a missing place on the wait, the receipt on the way through Pulsar."""
    found = told(events.TaskDeferred(reason="all full"), *TRIED, g.delayed("no sign of life"), *DONE[4:])
    notes = {span.place: [(note.name, note.words.get("reason")) for note in span.notes] for span in found.spans if span.notes}
    assert notes == {
        "waiting/1": [("TaskDeferred", "all full")],
        "attempt/1/pulsar": [("AttemptReceived", None)],
        "attempt/1": [("AttemptDelayed", "no sign of life")],
    }


def test_a_cancel_is_linked_to_the_request_that_wanted_it() -> None:
    """It is part of the task's trace all the same."""
    found = told(events.TaskCancelRequested(), events.TaskCanceled(), traceparents=[PARENT, OTHER, OTHER])
    canceled = at(found, "cancel")
    assert canceled.link == Context("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331")
    assert canceled.within == "task"
    assert found.context.trace_id == "4bf92f3577b34da6a3ce929d0e0e4736"


def test_a_task_belongs_to_the_trace_of_its_client_or_to_one_that_has_its_id() -> None:
    """Whoever knows the task finds its trace."""
    assert told(*DONE).context == Context(g.TASK)
    assert told(*DONE, traceparents=[PARENT]).context == Context("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7")
    assert not told(*DONE, traceparents=[f"{PARENT[:-2]}00"]).context.is_sampled


def test_what_is_handed_on_is_a_traceparent() -> None:
    """W3C Trace Context, 3.2."""
    assert Context("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7").traceparent == PARENT
    assert replace(Context("a" * 32, "b" * 16), is_sampled=False).traceparent == f"00-{'a' * 32}-{'b' * 16}-00"


def test_nothing_that_users_wrote_is_told() -> None:
    """But the image: who it is for, what it is called, what it runs, and where its files are, is nobody's business."""
    secret = "hunter2"  # noqa: S105 - something to look for
    task = tes.Task(
        name=secret,
        tags={secret: secret},
        executors=(tes.Executor(image="alpine", command=(secret,), env={"KEY": secret}),),
        inputs=(tes.Input(url=f"ftp://a:{secret}@host/{secret}", path=f"/{secret}"),),
    )
    ended = replace(g.ended(), stdout=secret, stderr=secret)
    found = spans.told(recorded(events.TaskCreated(task=task), *TRIED, ended, *DONE[5:]))
    assert found is not None
    assert secret not in repr(found)
    assert "ada" not in repr(found)


def test_an_id_says_which_task_and_which_part() -> None:
    """Eight bytes, the same in every process and release."""
    assert trace.span_id(g.TASK, spans.executor_place(1, 0)) == "c8a45c7b170432f7"
