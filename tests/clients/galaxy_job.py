"""Galaxy's way to a TES server, run with Pulsar's own environment: `galaxy_job.py URL`.

Pulsar's module `pulsar.client.tes` builds and sends the task, and reads its state, exactly as in Galaxy's process; only the
three commands (Pulsar's staging programs and the tool) are stand-ins. Prints a line of JSON for each thing that it sees.
"""
# ruff: noqa: T201 - what it prints is read by the test

import json
import sys
import time

from pulsar.client.container_job_config import CoexecutionContainerCommand  # type: ignore[import-not-found]
from pulsar.client.tes import LaunchesTesContainersMixin  # type: ignore[import-not-found]

STAGING = "/pulsar_staging"


class Job(LaunchesTesContainersMixin):  # type: ignore[misc]
    """The TES part of Pulsar's client, without the parts that talk to Galaxy."""

    def __init__(self, parameters: dict[str, str]) -> None:
        """A job as Galaxy's destination describes it."""
        self.destination_params = parameters
        self.job_id = "42"
        self.instance_id = "galaxy"
        self.external_id = None

    def launch_three(self, tool: str) -> None:
        """Stage in, run the tool, stage out: three executors that share the staging directory."""
        stage_in = CoexecutionContainerCommand("pulsar", "sh", ["-c", f"echo input > {STAGING}/in"], "/")
        run = CoexecutionContainerCommand("tool", "sh", ["-c", tool], "/")
        stage_out = CoexecutionContainerCommand("pulsar", "sh", ["-c", f"cat {STAGING}/out"], "/")
        self.external_id = self._launch_containers(stage_in, run, stage_out).external_id


def main(url: str) -> None:
    """One job that succeeds, one that is killed."""
    job = Job({"tes_url": url, "tes_cpu_cores": "1", "tes_ram_gb": "0.5"})
    job.launch_three(f"sed s/in/out/ {STAGING}/in > {STAGING}/out")
    print(json.dumps({"id": job.external_id, "end": wait(job)}))
    killed = Job({"tes_url": url})
    killed.launch_three("sleep 600")
    while killed.raw_check_complete()["status"] != "running":
        time.sleep(0.1)
    killed.kill()
    print(json.dumps({"id": killed.external_id, "end": wait(killed)}))


def wait(job: Job) -> dict[str, str]:
    """What Pulsar's client says once the task is over.

    It takes QUEUED for a failure, so it is not asked before that has passed; with a message queue Galaxy never asks.
    """
    while job._tes_client.get_task(job.external_id, "FULL").state.value == "QUEUED":
        time.sleep(0.1)
    while True:
        said: dict[str, str] = job.raw_check_complete()
        if said["complete"] == "true":
            return said
        time.sleep(0.1)


if __name__ == "__main__":
    main(sys.argv[1])
