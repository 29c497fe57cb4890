"""cwl-tes, for real: a workflow of two steps, its files in a directory that it shares with TESPES."""

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from servers import ROOT, Tespes

pytestmark = [pytest.mark.servers, pytest.mark.slow]

SETTINGS = {"TESPES_HTTP__LEGACY_STATES": "true"}
ENVIRONMENT = ROOT / ".venv-cwl-tes"
WORKFLOW = ROOT / "tests" / "clients" / "two_steps.cwl"
BROKEN = ROOT / "tests" / "clients" / "broken.cwl"
MD5 = "eb61eead90e3b899c6bcbe27ac581660"  # of HELLO


@pytest.fixture(scope="module")
def shared(server: Tespes, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A directory that TESPES may read and write, as the client does."""
    assert (ENVIRONMENT / "ready").is_file(), f"no cwl-tes in {ENVIRONMENT}: make .venv-cwl-tes/ready"
    directory = tmp_path_factory.mktemp("cwl-tes")
    server.stop()
    before = server.settings
    server.settings = f'{before}\n[default.storage.file]\nwrite = ["{directory}"]\n'
    server.start()
    yield directory
    server.stop()
    server.settings = before
    server.start()


def cwl_tes(server: Tespes, shared: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """What it said, and how it ended; its own temporary files are in the shared directory."""
    command = [f"{ENVIRONMENT}/bin/cwl-tes", "--tes", server.url, "--outdir", f"{shared}/results"]
    command += ["--tmpdir-prefix", f"{shared}/temporary", "--tmp-outdir-prefix", f"{shared}/out", *words]
    variables = os.environ | {"HOME": str(shared), "PYTHONWARNINGS": "ignore"}
    return subprocess.run(command, cwd=shared, env=variables, capture_output=True, text=True, check=False, timeout=180)


def test_cwl_tes_runs_a_workflow_of_two_steps(server: Tespes, shared: Path) -> None:
    """Each step is a task; the file of the first is the input of the second, and the last one lies where it was asked for."""
    (shared / "words.txt").write_text("hello")
    ran = cwl_tes(server, shared, str(WORKFLOW), "--words", f"{shared}/words.txt")
    assert ran.returncode == 0, ran.stderr[-3000:]
    assert json.loads(ran.stdout)["sum"]["basename"] == "sum.txt"
    assert (shared / "results" / "sum.txt").read_text().split()[0] == MD5
    tasks = server.get("/v1/tasks?view=FULL")["tasks"]
    assert {task["name"]: task["state"] for task in tasks} == {"shout": "COMPLETE", "count": "COMPLETE"}


def test_cwl_tes_says_which_step_failed(server: Tespes, shared: Path) -> None:
    """Its end is an error, and what it says has the exit code and what the step wrote."""
    ran = cwl_tes(server, shared, str(BROKEN))
    assert ran.returncode != 0
    assert "EXECUTOR_ERROR" in ran.stderr
    assert "exit_code=3" in ran.stderr
    assert "no luck" in ran.stderr
