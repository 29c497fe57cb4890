"""`tespes demo`: what the README's first command does."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from servers import PULSAR

pytestmark = pytest.mark.servers


def test_the_demo_runs_the_main_job_and_leaves_nothing_behind(tmp_path: Path) -> None:
    """Exit status 0, every event from TaskCreated to TaskCompleted, the result, and no process left."""
    state = tmp_path / "demo"
    command = [sys.executable, "-m", "tespes", "demo", "--once", "--port", "0", "--state-dir", str(state)]
    ran = subprocess.run(
        [*command, "--pulsar-main", str(PULSAR)], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    told = [line.split()[2] for line in ran.stdout.splitlines() if " s  " in line[:14]]
    assert (told[0], told[-1]) == ("TaskCreated", "TaskCompleted")
    assert "ed076287532e86365e841e92bfc50d8c" in ran.stdout
    assert '"state": "COMPLETE"' in ran.stdout
    assert _processes_in(state) == []


def test_a_demo_without_pulsar_says_what_is_missing(tmp_path: Path) -> None:
    """One line that names the thing."""
    command = [sys.executable, "-m", "tespes", "demo", "--once", "--port", "0", "--state-dir", str(tmp_path / "demo")]
    variables = {**os.environ, "TESPES_RABBITMQ__URL": "amqp://u:p@127.0.0.1:1/"}
    ran = subprocess.run(
        [*command, "--pulsar-main", "/nonexistent/pulsar-main"],
        env=variables, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert ran.returncode == 2
    assert "Traceback" not in ran.stderr
    assert "/nonexistent/pulsar-main" in ran.stderr


def _processes_in(directory: Path) -> list[str]:
    found = []
    for process in Path("/proc").iterdir():
        if process.name.isdecimal():
            try:
                words = (process / "cmdline").read_bytes() + (process / "environ").read_bytes()
            except OSError:
                continue
            if str(directory).encode() in words:
                found.append(process.name)
    return found
