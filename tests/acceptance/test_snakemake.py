"""Snakemake with its TES plugin, for real: a private Docker engine, an image with Snakemake inside, files on the FTP server."""

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

import client_image
from docker_engine import DockerEngine
from servers import ROOT, Counter, Tespes, until
from tespes.local.ftp import LocalFTP

pytestmark = [pytest.mark.servers, pytest.mark.docker, pytest.mark.slow]

SETTINGS = {"TESPES_HTTP__LEGACY_STATES": "true"}
ENVIRONMENT = ROOT / ".venv-snakemake"
MD5 = "8b1a9953c4611296a827abf8c47804d7"

SNAKEFILE = """
rule all:
    input: "sum.txt"
rule sum:
    input: "words.txt"
    output: "sum.txt"
    shell: "md5sum < {input} > {output}"
rule broken:
    output: "never.txt"
    shell: "exit 3"
rule endless:
    output: "endless.txt"
    shell: "sleep 600"
"""


@pytest.fixture(autouse=True)
def environment() -> None:
    """Without it there is nothing to run."""
    assert (ENVIRONMENT / "ready").is_file(), f"no Snakemake in {ENVIRONMENT}: make .venv-snakemake/ready"


@pytest.fixture
def in_docker(server: Tespes, docker_engine: DockerEngine) -> Iterator[str]:
    """The image's name; TESPES runs its tasks in that engine."""
    image = "snakemake:local"
    client_image.make(docker_engine, ENVIRONMENT, image)
    server.stop()
    runtime = f'runtime = {{kind = "docker", network = "host", host = "{docker_engine.host}"}}'
    before = server.settings
    server.settings = before.replace('runtime = {kind = "sandbox", network = "host"}', runtime)
    server.start()
    yield image
    server.stop()
    server.settings = before
    server.start()


def snakemake(server: Tespes, ftp: LocalFTP, directory: Path, image: str, target: str) -> subprocess.Popen[bytes]:
    """Snakemake on its way to that target, in a directory of its own; what it says is in `said`."""
    directory.mkdir()
    (directory / "Snakefile").write_text(SNAKEFILE)
    (directory / "funnel.log").write_text("the plugin reads this file when a task fails\n")
    words = [f"{ENVIRONMENT}/bin/snakemake", target, "--executor", "tes", "--tes-url", server.url, "--jobs", "1"]
    words += ["--container-image", image, "--default-storage-provider", "ftp", "--seconds-between-status-checks", "1"]
    words += ["--default-storage-prefix", f"ftp://{ftp.url.rpartition('@')[2]}/{directory.name}"]
    variables = {
        "PATH": f"{ENVIRONMENT}/bin:{os.environ['PATH']}",
        "HOME": str(directory),
        "GITHUB_WORKSPACE": str(directory),
        "SNAKEMAKE_STORAGE_FTP_USERNAME": ftp.user,
        "SNAKEMAKE_STORAGE_FTP_PASSWORD": ftp.password,
    }
    with (directory / "said").open("wb") as said:
        return subprocess.Popen(words, cwd=directory, env=variables, stdout=said, stderr=said)


def test_snakemake_runs_fails_and_cancels(server: Tespes, ftp: LocalFTP, tmp_path: Path, in_docker: str) -> None:
    """A workflow succeeds, one fails and Snakemake says so, one is interrupted and its task is canceled.

    All files are in the default storage, so the plugin sends no file:// URL: its only input is the job script, as content.
    """
    for name in ("good", "bad", "cut"):
        (ftp.directory / name).mkdir()
        (ftp.directory / name / "words.txt").write_text("Hello")
    runs = {
        name: snakemake(server, ftp, tmp_path / name, in_docker, target)
        for name, target in (("good", "all"), ("bad", "never.txt"), ("cut", "endless.txt"))
    }
    said = {name: tmp_path / name / "said" for name in runs}
    until(
        lambda: len(server.get("/v1/tasks")["tasks"]) == 3,
        within_s=60,
        what=lambda: str([s.read_text() for s in said.values()]),
    )
    tasks = {task["name"]: task["id"] for task in server.get("/v1/tasks?view=BASIC")["tasks"]}
    cut = next(task for name, task in tasks.items() if "endless" in name)
    until(lambda: server.state(cut) == "RUNNING", within_s=60, what=lambda: str(server.task(cut)))
    runs["cut"].send_signal(signal.SIGINT)
    ends = {name: run.wait(timeout=150) for name, run in runs.items()}
    assert ends["good"] == 0, str([server.task(task_id) for task_id in tasks.values()])
    assert (ftp.directory / "good" / "sum.txt").read_text() == f"{MD5}  -\n"
    assert ends["bad"] == 1, said["bad"].read_text()
    assert "Error in rule broken" in said["bad"].read_text()
    broken = next(server.task(task_id) for name, task_id in tasks.items() if "broken" in name)
    assert broken["state"] == "EXECUTOR_ERROR"
    assert "exit 3" in broken["logs"][0]["logs"][0]["stderr"]
    assert ends["cut"] != 0
    assert server.ended(cut)["state"] == "CANCELED"


def test_the_old_py_tes_reads_every_answer(server: Tespes, counter: Counter) -> None:
    """Its models refuse fields and states that they do not know: with `http.legacy_states` there are none."""
    program = str(ROOT / "tests" / "clients" / "old_py_tes.py")
    command = [f"{ENVIRONMENT}/bin/python", program, server.url, json.dumps(counter.command)]
    ran = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert ran.returncode == 0, ran.stderr[-3000:]
    service, whole, failed, canceled, listed = (json.loads(line) for line in ran.stdout.splitlines())
    assert service == {"service": "TESPES"}
    assert whole == {"state": "COMPLETE", "exit_codes": [0], "stdout": ["words\n"]}
    assert failed == {"state": "EXECUTOR_ERROR", "exit_codes": [1], "stdout": [""]}
    assert canceled["state"] == "CANCELED"
    assert listed["listed"] >= 3
