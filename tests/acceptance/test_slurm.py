"""A batch system behind Pulsar: the real Pulsar with `queued_cli`, and a Slurm that is three scripts (tests/slurm)."""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import servers
from tespes.local.pulsar import LocalPulsar
from tespes.local.rabbitmq import PrivateRabbitMQ

SCRIPTS = servers.ROOT / "tests" / "slurm"
SETTINGS = """
[default.pulsars.slurm]
manager = "slurm_{size}"
capacity = "site"
runtime = {kind = "sandbox", network = "host"}
[default.pulsars.slurm.sizes.small]
cpus = 1
ram_gb = 4
"""


class Slurm:
    """The scripts in a directory of their own, and the Pulsar that calls them."""

    def __init__(self, directory: Path, loop: servers.Loop, rabbitmq: PrivateRabbitMQ) -> None:
        self.directory = directory / "bin"
        shutil.copytree(SCRIPTS, self.directory)
        self._loop = loop
        batch = {"type": "queued_cli", "job_plugin": "Slurm", "shell_plugin": "LocalShell", "job_ncpus": 1, "job_time": 10}
        path = f"{self.directory}:{sys.base_exec_prefix}/bin:/usr/bin:/bin"
        self._pulsar = LocalPulsar(
            directory / "pulsar",
            program=servers.PULSAR,
            broker_url=rabbitmq.url,
            manager="slurm_small",
            batch=batch,
            path=path,
        )

    @property
    def jobs(self) -> list[str]:
        """The jobs that were ever submitted."""
        jobs = self.directory / "jobs"
        return sorted((job.name for job in jobs.iterdir()), key=int) if jobs.exists() else []

    def start(self) -> None:
        self._loop.run(self._pulsar.start())

    def stop(self) -> None:
        self._loop.run(self._pulsar.stop())

    def crash_pulsar(self) -> None:
        """Pulsar is gone and comes again; its jobs are Slurm's."""
        self._loop.run(self._pulsar.restart())

    def has(self, job: str) -> bool:
        """Whether Slurm has that job still."""
        return subprocess.run([self.directory / "squeue", "-j", job], check=False, capture_output=True).returncode == 0

    def end(self, job: str) -> None:
        """Slurm ends a job, for its time is over."""
        subprocess.run([self.directory / "scancel", job], check=True)


@pytest.fixture(scope="module")
def slurm(loop_thread: servers.Loop, rabbitmq: PrivateRabbitMQ, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Slurm]:
    """A Slurm with a Pulsar."""
    made = Slurm(tmp_path_factory.mktemp("slurm"), loop_thread, rabbitmq)
    made.start()
    yield made
    made.stop()


@pytest.fixture
def tespes(tmp_path: Path, rabbitmq: PrivateRabbitMQ, slurm: Slurm) -> Iterator[servers.Tespes]:
    """TESPES with that Pulsar alone."""
    running = servers.Tespes(tmp_path / "tespes", {"TESPES_RABBITMQ__URL": rabbitmq.url}, SETTINGS)
    running.start()
    yield running
    running.stop()


def submitted(tespes: servers.Tespes, command: list[str]) -> str:
    """A task."""
    return tespes.submit({"executors": [{"image": "any", "command": command}], "resources": {"cpu_cores": 1}})


def running(tespes: servers.Tespes, counter: servers.Counter, slurm: Slurm) -> tuple[str, str]:
    """A task whose executor runs, and its job in Slurm."""
    task_id = submitted(tespes, counter.command)
    servers.until(lambda: counter.runs == 1, what=lambda: str(tespes.task(task_id)))
    servers.until(lambda: tespes.state(task_id) == "RUNNING")
    return task_id, slurm.jobs[-1]


def test_a_job_goes_through_the_batch_system(tespes: servers.Tespes, slurm: Slurm) -> None:
    """To the size class that fits, with what Pulsar's settings say of it."""
    before = len(slurm.jobs)
    task = tespes.ended(submitted(tespes, ["echo", "hello"]))
    assert task["state"] == "COMPLETE", task
    assert task["logs"][0]["logs"][0]["stdout"] == "hello\n"
    assert task["logs"][0]["metadata"]["pulsar"] == "slurm.small"
    assert len(slurm.jobs) == before + 1
    assert "#SBATCH -c 1\n" in (slurm.directory / "jobs" / slurm.jobs[-1] / "script").read_text()


def test_a_task_that_fits_no_size_class_says_so(tespes: servers.Tespes) -> None:
    """It waits, since settings change; and can be canceled."""
    task_id = tespes.submit({"executors": [{"image": "any", "command": ["true"]}], "resources": {"cpu_cores": 64}})
    servers.until(lambda: "system_logs" in str(tespes.task(task_id)))
    assert tespes.task(task_id)["logs"][0]["system_logs"] == ["waiting: asks for 64 cpus, the largest Pulsar has 1"]
    assert tespes.state(task_id) == "QUEUED"
    tespes.post(f"/v1/tasks/{task_id}:cancel")
    assert tespes.ended(task_id)["state"] == "CANCELED"


def test_a_job_that_the_batch_system_ends_has_a_reason(tespes: servers.Tespes, counter: servers.Counter, slurm: Slurm) -> None:
    """No exit code, no result: most likely its time or memory was used up."""
    task_id, job = running(tespes, counter, slurm)
    slurm.end(job)
    task = tespes.ended(task_id)
    assert task["state"] == "SYSTEM_ERROR"
    assert "the batch system may have ended it" in "\n".join(task["logs"][-1]["system_logs"])
    assert counter.runs == 1


@pytest.mark.slow
def test_a_job_outlives_a_crash_of_pulsar(tespes: servers.Tespes, counter: servers.Counter, slurm: Slurm) -> None:
    """The new Pulsar finds it in the batch system again: the same attempt ends, nothing runs twice."""
    task_id, _ = running(tespes, counter, slurm)
    slurm.crash_pulsar()
    counter.release()
    task = tespes.ended(task_id)
    assert (task["state"], len(task["logs"]), counter.runs) == ("COMPLETE", 1, 1)


@pytest.mark.slow
def test_a_canceled_job_is_gone_from_the_batch_system(tespes: servers.Tespes, counter: servers.Counter, slurm: Slurm) -> None:
    """Nothing of it runs after CANCELED."""
    task_id, job = running(tespes, counter, slurm)
    tespes.post(f"/v1/tasks/{task_id}:cancel")
    assert tespes.ended(task_id)["state"] == "CANCELED"
    servers.until(lambda: not slurm.has(job))
