"""py-tes 0.4.2, which the TES plugins of Snakemake and Toil are made for: `old_py_tes.py URL RUNNING_COMMAND_AS_JSON`.

Prints a line of JSON for each thing that it sees.
"""
# ruff: noqa: T201 - what it prints is read by the test

import json
import sys
import time

import tes  # the old one: this runs with the environment of the Snakemake plugin

OVER = ("COMPLETE", "EXECUTOR_ERROR", "SYSTEM_ERROR", "CANCELED")


def main(url: str, running: list[str]) -> None:
    """A task with everything that this version knows, one that fails, one that is canceled while it runs."""
    client = tes.HTTPClient(url)
    executor = tes.Executor(image="alpine", command=["sh", "-c", "cat /data/in; echo $WORD >&2"], env={"WORD": "word"})
    inputs = [tes.Input(path="/data/in", content="words\n")]
    resources = tes.Resources(cpu_cores=1, ram_gb=1, disk_gb=1)
    whole = tes.Task(name="old", executors=[executor], inputs=inputs, resources=resources, tags={"a": "b"}, volumes=["/vol"])
    print(json.dumps({"service": client.get_service_info().name}))
    show(wait(client, client.create_task(whole)))
    show(wait(client, client.create_task(tes.Task(executors=[tes.Executor(image="alpine", command=["false"])]))))
    canceled = client.create_task(tes.Task(executors=[tes.Executor(image="alpine", command=running)]))
    while client.get_task(canceled, "MINIMAL").state != "RUNNING":
        time.sleep(0.1)
    client.cancel_task(canceled)
    show(wait(client, canceled))
    client.cancel_task(canceled)
    print(json.dumps({"listed": len(client.list_tasks(view="FULL").tasks)}))


def wait(client: tes.HTTPClient, task_id: str) -> tes.Task:
    """The task in FULL view once it is over; every answer on the way must fit this version's strict models."""
    while client.get_task(task_id, "MINIMAL").state not in OVER:
        time.sleep(0.05)
    client.get_task(task_id, "BASIC")
    return client.get_task(task_id, "FULL")


def show(task: tes.Task) -> None:
    """What came of it."""
    entries = [entry for log in task.logs for entry in log.logs]
    print(
        json.dumps({"state": task.state, "exit_codes": [e.exit_code for e in entries], "stdout": [e.stdout for e in entries]})
    )


if __name__ == "__main__":
    main(sys.argv[1], json.loads(sys.argv[2]))
