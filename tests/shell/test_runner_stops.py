"""However an attempt ends, no container of it is left: docker and podman, whose containers outlive their clients."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
import runner_at_work
from engines_at_work import Engine, container_is, planned
from runner_at_work import Tespes, problem, until

pytestmark = pytest.mark.docker
Start = Callable[..., Any]


async def test_a_stopped_attempt_leaves_no_container(engine: Engine, tespes: Tespes, start: Start) -> None:
    """When the runner has ended, the container is gone: not only its client, and whenever the stop came."""
    await stop(engine, tespes, start, [0.0, 0.15, 1.0])


@pytest.mark.slow
async def test_a_stopped_attempt_never_leaves_a_container(engine: Engine, tespes: Tespes, start: Start) -> None:
    """Twenty times, at moments all over a container's start."""
    await stop(engine, tespes, start, [number * 0.04 for number in range(20)])


async def started(tespes: Tespes, start: Start, job_id: str) -> runner_at_work.Job:
    """A job that is about to start its first executor."""
    tespes.heard.clear()
    job: runner_at_work.Job = await start(tespes.url, job_id=job_id)
    await until(lambda: tespes.reports("executor_started"))
    return job


async def is_empty(directory: Path) -> None:
    await until(lambda: not list(directory.iterdir()))


async def stop(engine: Engine, tespes: Tespes, start: Start, after_s: list[float]) -> None:
    for number, wait_s in enumerate(after_s):
        tespes.plan = planned(engine, {"command": ["sleep", "1000"]}, heartbeat_s=0.02)
        tespes.answers.clear()
        job = await started(tespes, start, f"stopped-{number}")
        await asyncio.sleep(wait_s)
        tespes.answers["heartbeat"] = lambda: problem(410, "canceled")
        line = await job.ended()
        assert line["outcome"] == "killed"
        assert line["notes"] == []
        assert engine.ask("ps", "--all", "--quiet") == ""


async def test_the_end_by_the_node_leaves_no_container(engine: Engine, tespes: Tespes, start: Start) -> None:
    """The signal interrupts the very wait for the container."""
    tespes.plan = planned(engine, {"command": ["sleep", "1000"]})
    job = await start(tespes.url, job_id="ended-1")
    await container_is(engine, "ended-1", there=True)
    os.kill(job.process.pid, signal.SIGTERM)
    line = await job.ended()
    assert (line["reason"], line["notes"]) == ("the node ended the job (SIGTERM)", [])
    assert engine.ask("ps", "--all", "--quiet") == ""


async def test_a_killed_runner_leaves_no_container(engine: Engine, tespes: Tespes, start: Start) -> None:
    """Pulsar kills the job and all its children with SIGKILL, which containers survive: the reaper removes them, and files."""
    await kill(engine, tespes, start, [0.0, 0.2, 1.0])


@pytest.mark.slow
async def test_a_killed_runner_never_leaves_a_container(engine: Engine, tespes: Tespes, start: Start) -> None:
    """Twenty times, at moments all over a container's start: when it was half made, nothing is left of it either."""
    await kill(engine, tespes, start, [number * 0.025 for number in range(20)])


async def kill(engine: Engine, tespes: Tespes, start: Start, after_s: list[float]) -> None:
    for number, wait_s in enumerate(after_s):
        tespes.plan = planned(engine, {"command": ["sleep", "1000"]})
        job = await started(tespes, start, f"killed-{number}")
        await asyncio.sleep(wait_s)
        for process in [*psutil.Process(job.process.pid).children(recursive=True), psutil.Process(job.process.pid)]:
            process.kill()
        await job.process.wait()
        await is_empty(job.directory)
        await container_is(engine, f"killed-{number}", there=False, within_s=5)
    await until(lambda: not of_the_jobs("killed-"), within_s=10)


def of_the_jobs(name: str) -> list[list[str]]:
    """The command lines of all processes that have to do with jobs of a name, but for the reaper, which waits a while."""
    lines = [each.info["cmdline"] or [] for each in psutil.process_iter(["cmdline"])]
    return [line for line in lines if any(name in word for word in line) and "tespes-reaper" not in line]


async def test_what_an_earlier_attempt_left_is_removed_first(engine: Engine, tespes: Tespes, start: Start) -> None:
    """A node that killed a whole job, its reaper included: the task's commands do not run twice at a time (law 7)."""
    further = engine.runtime.get("run_arguments", [])
    engine.ask("run", "--detach", "--name", "t7-1-0", "--network", "none", *further, engine.image, "sleep", "1000")
    tespes.plan = planned(engine, {"command": ["true"]})
    line = await (await start(tespes.url, job_id="t7-2")).ended(within_s=30)
    assert (line["outcome"], line["notes"]) == ("succeeded", [])
    assert engine.ask("ps", "--all", "--quiet") == ""
