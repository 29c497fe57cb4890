"""What executors are told of the trace that they belong to."""

import given as g
from tespes import tes
from tespes.events import trace
from tespes.flow.execute import KnownTask
from tespes.flow.handed_on import with_traceparents
from tespes.projections import spans

EXECUTORS = (
    tes.Executor(image="alpine", command=("one",)),
    tes.Executor(image="alpine", command=("two",), env={"WORD": "a"}),
    tes.Executor(image="alpine", command=("three",), env={"TRACEPARENT": "mine"}),
)


def known(traceparent: str | None) -> KnownTask:
    """A task that belongs to that."""
    state = g.state_after(g.created())
    assert state is not None
    return KnownTask(g.TASK, "ada", tes.Task(executors=EXECUTORS), (), state, traceparent=traceparent)


def test_each_executor_gets_its_own_span_beside_its_variables() -> None:
    """As it will be told once the task has ended. A variable of the user's own stays."""
    own = [trace.span_id(g.TASK, spans.executor_place(2, number)) for number in (0, 1)]
    told = with_traceparents(known(None), attempt=2)
    assert [executor.env for executor in told.executors] == [
        {"TRACEPARENT": f"00-{g.TASK}-{own[0]}-01"},
        {"TRACEPARENT": f"00-{g.TASK}-{own[1]}-01", "WORD": "a"},
        {"TRACEPARENT": "mine"},
    ]


def test_a_trace_that_nobody_wants_is_handed_on_as_such() -> None:
    """The client's own decision holds for what it runs."""
    told = with_traceparents(known(f"00-{'a' * 32}-{'b' * 16}-00"), attempt=1)
    assert (told.executors[0].env or {})["TRACEPARENT"].startswith(f"00-{'a' * 32}-")
    assert (told.executors[0].env or {})["TRACEPARENT"].endswith("-00")
