"""Toil with its TES plugin, for real: a private Docker engine, an image with Toil inside, a job store that all share."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import client_image
from docker_engine import DockerEngine
from servers import ROOT, Tespes

pytestmark = [pytest.mark.servers, pytest.mark.docker, pytest.mark.slow]

SETTINGS = {"TESPES_HTTP__LEGACY_STATES": "true"}
ENVIRONMENT = ROOT / ".venv-toil"
WORKFLOW = ROOT / "tests" / "clients" / "two_steps.cwl"
BROKEN = ROOT / "tests" / "clients" / "broken.cwl"
MD5 = "eb61eead90e3b899c6bcbe27ac581660"  # of HELLO
APPLIANCE = "import os; from toil import version as v; print(f'{v.dockerRegistry}/{v.dockerName}:{v.dockerTag}')"


@pytest.fixture(scope="module")
def shared(server: Tespes, docker_engine: DockerEngine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A directory that every container has at the same path; TESPES runs its tasks in the engine that has Toil's image."""
    assert (ENVIRONMENT / "ready").is_file(), f"no Toil in {ENVIRONMENT}: make .venv-toil/ready"
    asked = subprocess.run([f"{ENVIRONMENT}/bin/python", "-c", APPLIANCE], check=True, capture_output=True, text=True)
    client_image.make(docker_engine, ENVIRONMENT, asked.stdout.strip())
    directory = tmp_path_factory.mktemp("toil")
    server.stop()
    volume = f'run_arguments = ["--volume", "{directory}:{directory}"]'
    runtime = f'runtime = {{kind = "docker", network = "host", host = "{docker_engine.host}", {volume}}}'
    before = server.settings
    server.settings = before.replace('runtime = {kind = "sandbox", network = "host"}', runtime)
    server.start()
    yield directory
    server.stop()
    server.settings = before
    server.start()


def toil(server: Tespes, shared: Path, store: str, *words: str) -> subprocess.CompletedProcess[str]:
    """What it said, and how it ended; each step is a task of its own, which Toil else spares itself."""
    command = [f"{ENVIRONMENT}/bin/toil-cwl-runner", "--batchSystem", "tes", "--tesEndpoint", server.url]
    command += [
        "--jobStore",
        f"{shared}/{store}",
        "--outdir",
        f"{shared}/results",
        "--disableChaining",
        "true",
        "--retryCount",
        "0",
    ]
    variables = os.environ | {"HOME": str(shared), "PATH": f"{ENVIRONMENT}/bin:{os.environ['PATH']}"}
    return subprocess.run(
        [*command, *words], cwd=shared, env=variables, capture_output=True, text=True, check=False, timeout=300
    )


def tasks_of(server: Tespes, step: str) -> list[dict[str, Any]]:
    """Toil names a task after the job, with the step in the middle."""
    return [task for task in server.get("/v1/tasks?view=BASIC")["tasks"] if step in task["name"]]


def test_toil_runs_a_workflow_of_two_steps(server: Tespes, shared: Path) -> None:
    """Each step is a task that gets its file from the job store and puts its own there; Toil brings the last one home."""
    (shared / "words.txt").write_text("hello")
    ran = toil(server, shared, "good", str(WORKFLOW), "--words", f"{shared}/words.txt")
    assert ran.returncode == 0, ran.stderr[-6000:]
    assert (shared / "results" / "sum.txt").read_text().split()[0] == MD5
    assert {task["state"] for step in ("shout", "count") for task in tasks_of(server, step)} == {"COMPLETE"}
    assert (len(tasks_of(server, "shout")), len(tasks_of(server, "count"))) == (1, 1)


def test_toil_says_which_step_failed(server: Tespes, shared: Path) -> None:
    """The task is EXECUTOR_ERROR; Toil shows what the worker wrote, which has what the step wrote, and ends with an error."""
    ran = toil(server, shared, "bad", str(BROKEN))
    assert ran.returncode != 0
    assert "no luck" in ran.stderr
    assert [task["state"] for task in tasks_of(server, "broken")] == ["EXECUTOR_ERROR"], ran.stderr[-6000:]
