"""Tasks of every kind, for the tests of their RO-Crates: their histories, and who makes the crates."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import given as g
from strategies import Wish, wanted
from tespes import errors, events, task, tes
from tespes.events import File, Meta, Outcome, Recorded
from tespes.projections import course, crate
from tespes.task import commands
from tespes.tes.service import Service

SECRET = "d0-n0t-tell"  # noqa: S105 - it must not be found
ATTACHED = crate.Attached(1234, "ef" * 32)
SERVICE = Service(
    id="org.example.tes",
    name="TES of the institute",
    description="Runs tasks",
    organization_name="The institute",
    organization_url="https://example.org/",
    version="1",
)
PUBLISHER = crate.Publisher(SERVICE, "urn:tespes:org.example.tes")


def recorded(*happened: events.Event) -> list[Recorded]:
    """These events as followers see them: event number n happened at second n, in a commit of its own."""
    meta = Meta(at=g.at(0), actor="ada", owner="ada")
    return [
        Recorded(event, g.TASK, number, number, replace(meta, at=g.at(number)))
        for number, event in enumerate(happened, start=1)
    ]


def lived(order: events.TaskCreated, wishes: Sequence[Wish]) -> list[Recorded]:
    """What happened to a task to which all that was wanted, until nothing more can."""
    state: task.State | None = None
    happened: list[events.Event] = []
    for wish in (None, *wishes):
        command = wanted(wish, state) if wish and state else commands.CreateTask(task=order.task)
        try:
            decision = task.decide(state, command)
        except errors.AttemptGone:
            continue
        for event in decision:
            happened.append(event)
            state = task.evolve(state, event, g.at(len(happened)))
    return recorded(*happened)


def made(history: Sequence[Recorded], publisher: crate.Publisher = PUBLISHER) -> dict[str, Any]:
    """The crate that these events make."""
    told = course.told(history)
    assert told is not None
    return crate.crate(told, ATTACHED, publisher)


def file(path: str, url: str | None, sha256: str = "ab" * 32, size_bytes: int = 7) -> File:
    """A file that was moved."""
    return File(path=path, url=url, size_bytes=size_bytes, sha256=sha256)


def ran(
    order: tes.Task, *exit_codes: int, runtime: str = "docker", inputs: tuple[File, ...] = (), outputs: tuple[File, ...] = ()
) -> tuple[events.Event, ...]:
    """An attempt from its beginning to its end, in which executors ended with these codes."""
    outcome = Outcome.EXECUTOR_FAILED if exit_codes and exit_codes[-1] else Outcome.SUCCEEDED
    reason = f"exit code {exit_codes[-1]}" if outcome is Outcome.EXECUTOR_FAILED else None
    ends = (event for number, code in enumerate(exit_codes) for event in (g.started(number), g.ended(number, code)))
    return (
        events.TaskCreated(task=order),
        replace(g.scheduled(), runtime=runtime),
        g.claimed(),
        *ends,
        events.AttemptEnded(attempt=1, outcome=outcome, reason=reason, inputs=inputs, outputs=outputs),
    )


ORDER = tes.Task(
    name="count",
    description="Counts words",
    inputs=(
        tes.Input(url="ftp://user:pass@files.example.org/words", path="/data/words"),
        tes.Input(content=SECRET, path="/data/script"),
        tes.Input(url="s3://bucket/genomes", path="/data/genomes", type=tes.FileType.DIRECTORY),
    ),
    outputs=(
        tes.Output(url="ftp://files.example.org/count", path="/data/count"),
        tes.Output(url="ftp://files.example.org/plots/", path="/data/plots", type=tes.FileType.DIRECTORY),
    ),
    executors=(
        tes.Executor(
            image="quay.io/biocontainers/wc:1.2--0",
            command=("/usr/bin/wc", "-w", "two words"),
            stdin="/data/words",
            stdout="/data/count",
            env={"TOKEN": SECRET, "LANG": SECRET},
        ),
        tes.Executor(image="plot@sha256:" + "12" * 32, command=("plot",), ignore_error=True),
    ),
    resources=tes.Resources(cpu_cores=2, ram_gb=4.5, disk_gb=10),
)
INPUTS = (
    file("/data/words", "ftp://files.example.org/words"),
    file("/data/script", None, sha256="aa" * 32),
    file("/data/genomes/a/one.fa", "s3://bucket/genomes/a/one.fa"),
    file("/data/genomes/two [2].fa", "s3://bucket/genomes/two [2].fa", sha256="bb" * 32),
)
OUTPUTS = (
    file("/data/count", "ftp://files.example.org/count", sha256="cc" * 32),
    *(file(f"/data/plots/{number}.png", f"ftp://files.example.org/plots/{number}.png") for number in range(3)),
)
COMPLETE = (*ran(ORDER, 0, 0, inputs=INPUTS, outputs=OUTPUTS), events.TaskCompleted())
FAILED = (*ran(ORDER, 0, 3, inputs=INPUTS, outputs=OUTPUTS[:1]), events.TaskExecutorFailed(executor=1, exit_code=3))
CUT_OFF = (
    *ran(ORDER, 0)[:-1],
    g.started(1),
    events.TaskCancelRequested(),
    g.over(Outcome.KILLED, "stopped, since the task was canceled"),
    events.TaskCanceled(),
)
NEVER_RUN = (events.TaskCreated(task=ORDER), events.TaskCancelRequested(), events.TaskCanceled())
TWICE = (
    *ran(ORDER, 0, runtime="podman", inputs=INPUTS, outputs=OUTPUTS)[:-1],
    g.over(Outcome.LOST, "nobody was heard"),
    replace(g.scheduled(2), runtime="sandbox"),
    g.claimed(2),
    g.started(0, 2),
    g.ended(0, 0, 2),
    g.started(1, 2),
    g.ended(1, 1, 2),
    events.AttemptEnded(attempt=2, outcome=Outcome.SUCCEEDED, inputs=INPUTS, outputs=OUTPUTS),
    events.TaskCompleted(),
)
HISTORIES: dict[str, tuple[events.Event, ...]] = {
    "complete": COMPLETE,
    "failed": FAILED,
    "cut-off": CUT_OFF,
    "never-run": NEVER_RUN,
    "twice": TWICE,
}
