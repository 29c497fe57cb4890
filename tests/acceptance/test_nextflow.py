"""Nextflow with its plugin nf-ga4gh, for real, where there is one: TESPES_TEST_NEXTFLOW names the program.

Nextflow fetches the plugin from servers of its own, so a test cannot count on it. What it sends is in `test_client_traces.py`.
"""

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from servers import Tespes, until

NEXTFLOW = os.environ.get("TESPES_TEST_NEXTFLOW", "")
WITHOUT = "no Nextflow: TESPES_TEST_NEXTFLOW names a program that has the plugin nf-ga4gh"

pytestmark = [pytest.mark.servers, pytest.mark.slow, pytest.mark.skipif(not NEXTFLOW, reason=WITHOUT)]

SETTINGS = {"TESPES_HTTP__LEGACY_STATES": "true"}
MD5 = "eb61eead90e3b899c6bcbe27ac581660"  # of HELLO
PIPELINE = """
process shout {
    input: path words
    output: path 'shouted.txt'
    script: "tr a-z A-Z < $words > shouted.txt"
}
process sum {
    publishDir params.results, mode: 'copy'
    input: path shouted
    output: path 'sum.txt'
    script: "md5sum < $shouted > sum.txt"
}
process broken { script: "echo no luck >&2; exit 3" }
process endless { script: "sleep 600" }
workflow { sum(shout(channel.fromPath(params.words))) }
workflow fails { broken() }
workflow waits { endless() }
"""
CONFIGURATION = """
plugins {{ id 'nf-ga4gh' }}
process.executor = 'tes'
process.container = 'debian:stable'
tes.endpoint = '{url}'
workDir = '{directory}/work'
params {{ words = '{directory}/words.txt'; results = '{directory}/results' }}
"""


@pytest.fixture(scope="module")
def shared(server: Tespes, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A directory that TESPES may read and write, as Nextflow does, with the pipeline in it."""
    directory = tmp_path_factory.mktemp("nextflow")
    (directory / "words.txt").write_text("hello")
    (directory / "main.nf").write_text(PIPELINE)
    (directory / "nextflow.config").write_text(CONFIGURATION.format(url=server.url, directory=directory))
    server.stop()
    before = server.settings
    server.settings = f'{before}\n[default.storage.file]\nwrite = ["{directory}"]\n'
    server.start()
    yield directory
    server.stop()
    server.settings = before
    server.start()


@contextmanager
def nextflow(shared: Path, *words: str) -> Iterator[subprocess.Popen[str]]:
    """It, on its way; what it says comes by `communicate`."""
    command = [NEXTFLOW, "run", "main.nf", "-ansi-log", "false", *words]
    with subprocess.Popen(command, cwd=shared, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as running:
        try:
            yield running
        finally:
            running.kill()


def states(server: Tespes) -> dict[str, str]:
    """Of all tasks, by the names of their processes, without the workflow that a process may be in."""
    return {task["name"].rpartition(":")[2]: task["state"] for task in server.get("/v1/tasks?view=BASIC")["tasks"]}


def test_nextflow_runs_a_pipeline_of_two_steps(server: Tespes, shared: Path) -> None:
    """Each process is a task; the file of the first is the input of the second, and Nextflow publishes the last one."""
    with nextflow(shared) as running:
        said, _ = running.communicate(timeout=180)
    assert running.returncode == 0, said
    assert (shared / "results" / "sum.txt").read_text().split()[0] == MD5
    assert {name: state for name, state in states(server).items() if name in {"shout (1)", "sum (1)"}} == {
        "shout (1)": "COMPLETE",
        "sum (1)": "COMPLETE",
    }


def test_nextflow_says_which_process_failed(server: Tespes, shared: Path) -> None:
    """It reads exit code and error stream from the work directory: they are stored after an executor error, too."""
    with nextflow(shared, "-entry", "fails") as running:
        said, _ = running.communicate(timeout=180)
    assert running.returncode != 0
    assert "terminated with an error exit status (3)" in said
    assert "no luck" in said
    assert states(server)["broken"] == "EXECUTOR_ERROR"


def test_nextflow_cancels_what_runs_when_it_is_interrupted(server: Tespes, shared: Path) -> None:
    """The task is CANCELED."""
    with nextflow(shared, "-entry", "waits") as running:
        until(lambda: states(server).get("endless") == "RUNNING", within_s=120, what=lambda: str(states(server)))
        running.send_signal(signal.SIGINT)
        said, _ = running.communicate(timeout=60)
    until(lambda: states(server)["endless"] == "CANCELED", what=lambda: said)
