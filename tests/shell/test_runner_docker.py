"""Executors in containers of a real, private Docker engine."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import runner_at_work
from runner_at_work import Tespes, file, moved, plan, problem, shell, until

from docker_engine import DockerEngine

pytestmark = pytest.mark.docker
Start = Callable[..., Any]


@pytest.fixture
async def tespes() -> AsyncIterator[Tespes]:
    async with runner_at_work.tespes_at_work() as server:
        yield server


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    with runner_at_work.starting(tmp_path, runner_at_work.bundled(tmp_path)) as starter:
        yield starter


def docker_plan(engine: DockerEngine, *executors: dict[str, Any], **changes: Any) -> dict[str, Any]:
    runtime = {"kind": "docker", "program": "docker", "host": engine.host, "network": "none"}
    of_the_image = [{"image": engine.image, **executor} for executor in executors]
    return plan(*of_the_image, **{"runtime": runtime, **changes})


async def container_is(engine: DockerEngine, job_id: str, *, there: bool, within_s: float = 10) -> None:
    found = ("ps", "-a", "-q", "--filter", f"label=org.tespes.job={job_id}")
    await until(lambda: bool(engine.docker(*found)) is there, within_s)


async def test_a_task_runs_in_containers(docker_engine: DockerEngine, tespes: Tespes, start: Start) -> None:
    """Files at their paths, streams, environment of any value, working directory; no container is left."""
    tespes.inputs[0] = b"hello"
    env = {"ONE": "a b='\"$x", "LINES": "1\n2", "SPACE": " x "}
    tespes.plan = docker_plan(
        docker_engine,
        {"command": ["md5sum"], "stdin": "/data/in", "stdout": "/data/sum,1"},
        {"command": shell('pwd; echo "$ONE|$LINES|$SPACE"; cat /data/sum,1 >&2; echo x > /data/in'), "env": env},
        inputs=[file(0, "/data/in")],
        outputs=[file(0, "/data/sum,1")],
        resources={"ram_gb": 0.1, "cpu_cores": 1},
    )
    tespes.plan["executors"][1].update(workdir="/some/where", ignore_error=True)
    line = await (await start(tespes.url, job_id="happy-1")).ended()
    content = b"5d41402abc4b2a76b9719d911017c592  -\n"
    assert line["outcome"] == "succeeded", line["reason"]
    assert line["outputs"] == [moved(0, "/data/sum,1", content)]
    assert line["executors"][1]["stdout"] == "/some/where\na b='\"$x|1\n2| x \n"
    assert line["executors"][1]["stderr"].startswith(content.decode())
    assert "Read-only file system" in line["executors"][1]["stderr"]
    assert docker_engine.docker("ps", "-a", "-q") == ""


async def test_exit_codes_are_the_containers(docker_engine: DockerEngine, tespes: Tespes, start: Start) -> None:
    """127 is the user's: a command that is not in the image. So is any other code, 125 included."""
    tespes.plan = docker_plan(
        docker_engine,
        {"command": shell("exit 125"), "ignore_error": True},
        {"command": ["no-such-program"]},
    )
    line = await (await start(tespes.url)).ended()
    assert line["outcome"] == "executor_failed"
    assert [ended["exit_code"] for ended in line["executors"]] == [125, 127]
    assert "no-such-program" in line["executors"][1]["stderr"]
    assert docker_engine.docker("ps", "-a", "-q") == ""


async def test_a_missing_image_is_a_reason(docker_engine: DockerEngine, tespes: Tespes, start: Start) -> None:
    """Said before the first executor begins, with docker's own words."""
    image = "127.0.0.1:1/missing:1"
    tespes.plan = docker_plan(docker_engine, {"command": ["true"]}, {"command": ["true"], "image": image})
    line = await (await start(tespes.url)).ended()
    assert (line["outcome"], line["phase"], line["executors"]) == ("system_failed", "inputs", [])
    assert line["reason"].startswith(f"image {image}: ")
    assert "connection refused" in line["reason"]


async def test_an_engine_that_is_away_is_a_reason(tespes: Tespes, start: Start, tmp_path: Path) -> None:
    """Another attempt may help."""
    engine = DockerEngine(f"unix://{tmp_path}/none.sock", "busybox:local")
    tespes.plan = docker_plan(engine, {"command": ["true"]})
    line = await (await start(tespes.url)).ended()
    assert (line["outcome"], line["retryable"]) == ("system_failed", True)
    assert "Cannot connect to the Docker daemon" in line["reason"]


async def test_a_limit_that_docker_refuses_is_a_system_error(docker_engine: DockerEngine, tespes: Tespes, start: Start) -> None:
    """The user's command was not at fault, so it has no exit code."""
    tespes.plan = docker_plan(docker_engine, {"command": ["true"]}, resources={"cpu_cores": 100_000})
    line = await (await start(tespes.url)).ended()
    assert line["outcome"] == "system_failed"
    assert line["reason"].startswith("executor 0: ")
    assert "CPUs" in line["reason"]


async def test_a_stopped_attempt_leaves_no_container(docker_engine: DockerEngine, tespes: Tespes, start: Start) -> None:
    """410 to a heartbeat removes the container, not only its client."""
    tespes.plan = docker_plan(docker_engine, {"command": ["sleep", "1000"]}, heartbeat_s=0.1)
    job = await start(tespes.url, job_id="stopped-1")
    await container_is(docker_engine, "stopped-1", there=True)
    tespes.answers["heartbeat"] = lambda: problem(410, "canceled")
    line = await job.ended()
    assert line["outcome"] == "killed"
    assert docker_engine.docker("ps", "-a", "-q") == ""


async def test_a_killed_runner_leaves_no_container(docker_engine: DockerEngine, tespes: Tespes, start: Start) -> None:
    """Pulsar kills with SIGKILL, which containers survive: the reaper removes them, and the files."""
    tespes.plan = docker_plan(docker_engine, {"command": ["sleep", "1000"]})
    job = await start(tespes.url, job_id="killed-1")
    await container_is(docker_engine, "killed-1", there=True)
    os.kill(job.process.pid, signal.SIGKILL)
    await job.process.wait()
    await container_is(docker_engine, "killed-1", there=False, within_s=5)
    await until(lambda: not list(job.directory.iterdir()))
