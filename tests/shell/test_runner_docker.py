"""What docker alone can do wrong: its daemon is elsewhere or away, and refuses limits that a node does not have."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from runner_at_work import Tespes, plan

from docker_engine import DockerEngine

pytestmark = pytest.mark.docker
Start = Callable[..., Any]


async def test_an_engine_that_is_away_is_a_reason(tespes: Tespes, start: Start, tmp_path: Path) -> None:
    """Another attempt may help."""
    engine = DockerEngine(f"unix://{tmp_path}/none.sock", "busybox:local")
    tespes.plan = plan({"command": ["true"]}, runtime=engine.runtime)
    line = await (await start(tespes.url)).ended()
    assert (line["outcome"], line["retryable"]) == ("system_failed", True)
    assert line["reason"].startswith("docker: Cannot connect to the Docker daemon")


async def test_a_limit_that_docker_refuses_is_a_system_error(docker_engine: DockerEngine, tespes: Tespes, start: Start) -> None:
    """The user's command was not at fault, so it has no exit code."""
    executor = {"command": ["true"], "image": docker_engine.image}
    tespes.plan = plan(executor, runtime=docker_engine.runtime, resources={"cpu_cores": 100_000})
    line = await (await start(tespes.url)).ended()
    assert line["outcome"] == "system_failed"
    assert line["reason"].startswith("executor 0: Range of CPUs is from ")
    assert docker_engine.ask("ps", "--all", "--quiet") == ""


async def test_the_settings_arguments_are_docker_s(docker_engine: DockerEngine, tespes: Tespes, start: Start) -> None:
    """`arguments` before its command word, `run_arguments` among those of run: for devices, for example."""
    runtime = {
        **docker_engine.runtime,
        "host": None,
        "arguments": ["--host", docker_engine.host],
        "run_arguments": ["--hostname", "by-settings"],
    }
    tespes.plan = plan({"command": ["cat", "/etc/hostname"], "image": docker_engine.image}, runtime=runtime)
    line = await (await start(tespes.url)).ended()
    assert line["executors"][0]["stdout"] == "by-settings\n"
