"""Draw the state diagram of docs/architecture.md from `decide` and `evolve` themselves: every situation, every command.

`python docs/draw_states.py` writes it into the page, between its two marks.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from tespes import errors, events, task, tes
from tespes.events import Outcome
from tespes.task import commands

PAGE = Path(__file__).with_name("architecture.md")
BEGIN, END = "<!-- drawn from decide and evolve -->\n", "<!-- end -->\n"
_AT = datetime(2026, 1, 1, tzinfo=UTC)
_RUN = "0f" * 16
_TASK = tes.Task(executors=(tes.Executor(image="alpine", command=("true",)),))
_ENDED = events.ExecutorEnded(attempt=1, executor=0, exit_code=1, started_at=_AT, ended_at=_AT)


def _result(outcome: Outcome, *, retryable: bool = False) -> commands.ReportResult:
    executors = (_ENDED,) if outcome is not Outcome.SYSTEM_FAILED else ()
    result = commands.Result(
        attempt=1,
        run_id=_RUN,
        outcome=outcome,
        reason=None,
        phase="inputs",
        retryable=retryable,
        executors=executors,
        inputs=(),
        outputs=(),
        notes=(),
    )
    return commands.ReportResult(result=result)


COMMANDS: tuple[task.Command, ...] = (
    commands.CreateTask(task=_TASK),
    commands.ScheduleAttempt(task_id="task", pulsar="site", runtime="docker"),
    commands.RecordReceipt(attempt=1),
    commands.ClaimAttempt(attempt=1, run_id=_RUN, host="node", python="3.11"),
    commands.ReportStart(attempt=1, run_id=_RUN, executor=0, at=_AT),
    commands.CancelTask(),
    _result(Outcome.SUCCEEDED),
    _result(Outcome.EXECUTOR_FAILED),
    _result(Outcome.SYSTEM_FAILED),
    _result(Outcome.SYSTEM_FAILED, retryable=True),
    commands.RecordStatus(attempt=1, status=commands.PulsarStatus.FAILED, reason="failed"),
    commands.GiveUpAttempt(attempt=1, reason="silent"),
    commands.ExpireTask(reason="too long", claimed=False),
    commands.ExpireTask(reason="too long", claimed=True),
)


def diagram() -> str:
    """The diagram in Mermaid's words."""
    lines = sorted({f"    {before} --> {after}: {label}" for before, after, label in _steps()})
    return "\n".join(["```mermaid", "stateDiagram-v2", *lines, "```", ""])


def _steps() -> Iterator[tuple[str, str, str]]:
    """Every step that changes the situation or its TES state, found by walking."""
    seen: set[str] = set()
    found: list[task.State | None] = [None]
    while found:
        before = found.pop()
        for command in COMMANDS:
            after, label = _step(before, command)
            if after is None or _name(after) == _name(before):
                continue
            yield _name(before), _name(after), label
            if _name(after) not in seen:
                seen.add(_name(after))
                found.append(after)


def _step(state: task.State | None, command: task.Command) -> tuple[task.State | None, str]:
    try:
        decision = task.decide(state, command)
    except errors.TespesError:
        return state, ""
    for event in decision:
        state = task.evolve(state, event, _AT)
    told = [type(event).__name__ for event in decision if not isinstance(event, events.ExecutorEnded)]
    return state, ", ".join(told)


def _name(state: task.State | None) -> str:
    return "[*]" if state is None else f"{type(state).__name__}_{task.tes_state(state).value}"


def page() -> str:
    """The page with today's diagram."""
    head, rest = PAGE.read_text().split(BEGIN)
    return head + BEGIN + diagram() + END + rest.split(END)[1]


if __name__ == "__main__":
    PAGE.write_text(page())
