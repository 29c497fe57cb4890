"""Cancel and live logs, the whole way: what a client sees is what is."""

import time
from pathlib import Path

import psutil
import pytest

from docker_engine import DockerEngine
from servers import Counter, Tespes, until

pytestmark = [pytest.mark.servers, pytest.mark.parametrize("tespes", ["sqlite"], indirect=True)]

SLEEP = "31415926"


def sleepers() -> list[int]:
    """The processes of executors that sleep."""
    return [each.pid for each in psutil.process_iter(["cmdline"]) if SLEEP in (each.info["cmdline"] or ())]


def sleeping(tespes: Tespes, image: str = "any") -> str:
    """A task whose executor has begun to sleep."""
    task_id = tespes.submit({"executors": [{"image": image, "command": ["sleep", SLEEP]}]})
    until(lambda: tespes.state(task_id) == "RUNNING" and sleepers(), what=lambda: str(tespes.task(task_id)))
    return task_id


def test_the_answer_to_a_cancel_leaves_when_the_executor_is_dead(tespes: Tespes) -> None:
    """So a client that does not know CANCELING does not see it; nothing of the task runs (law 9)."""
    tespes.start()
    task_id = sleeping(tespes)
    assert tespes.post(f"/v1/tasks/{task_id}:cancel") == {}
    assert tespes.state(task_id) == "CANCELED"
    assert sleepers() == []


@pytest.mark.docker
def test_after_a_cancel_no_container_is_left(tespes: Tespes, docker_engine: DockerEngine) -> None:
    """CANCELED means that the container is gone, not only its process."""
    docker = f'runtime = {{kind = "docker", network = "none", host = "{docker_engine.host}"}}'
    tespes.settings = tespes.settings.replace('runtime = {kind = "sandbox", network = "host"}', docker)
    tespes.start()
    for _ in range(3):
        task_id = sleeping(tespes, docker_engine.image)
        tespes.post(f"/v1/tasks/{task_id}:cancel")
        until(lambda: tespes.state(task_id) == "CANCELED", every_s=0.005)  # noqa: B023 - used at once
        assert docker_engine.docker("ps", "-aq") == ""


@pytest.mark.docker
def test_a_removal_that_takes_long_is_waited_for(tespes: Tespes, docker_engine: DockerEngine, tmp_path: Path) -> None:
    """A runner that has heard of the cancel is not killed while it removes its container: CANCELED would be a lie."""
    slow = tmp_path / "docker"
    slow.write_text('#!/bin/sh\ncase " $* " in *" rm "*) sleep 2.5;; esac\nexec docker "$@"\n')
    slow.chmod(0o755)
    docker = f'runtime = {{kind = "docker", network = "none", host = "{docker_engine.host}", program = "{slow}"}}'
    tespes.settings = tespes.settings.replace('runtime = {kind = "sandbox", network = "host"}', docker)
    tespes.start()
    task_id = sleeping(tespes, docker_engine.image)
    tespes.post(f"/v1/tasks/{task_id}:cancel")
    assert tespes.state(task_id) == "CANCELING"
    until(lambda: tespes.state(task_id) == "CANCELED", every_s=0.01)
    assert docker_engine.docker("ps", "-aq") == ""


def test_a_runner_that_does_not_stop_is_killed_by_pulsar(tespes: Tespes) -> None:
    """A frozen runner hears nothing: after a second Pulsar is told, and what it confirms is the end."""
    tespes.start()
    task_id = sleeping(tespes)
    sandbox = psutil.Process(sleepers()[0])
    runner = next(each for each in sandbox.parents() if "python" in each.name() and "-I" in each.cmdline())
    runner.suspend()
    began = time.monotonic()
    tespes.post(f"/v1/tasks/{task_id}:cancel")
    assert tespes.ended(task_id, within_s=15)["state"] == "CANCELED", f"after {time.monotonic() - began} s"
    until(lambda: not sleepers())


def test_live_logs_show_what_a_running_executor_writes(tespes: Tespes, counter: Counter) -> None:
    """While it runs, by GET /tasks/{id}/logs; the standard's views have it when it ended."""
    tespes.start()
    command = ["bash", "-c", f"echo begun; echo trouble >&2; {counter.command[-1]}"]
    task_id = tespes.submit(
        {"executors": [{"image": "any", "command": ["echo", "first"]}, {"image": "any", "command": command}]}
    )
    until(lambda: counter.runs == 1)
    until(lambda: len(tespes.get(f"/v1/tasks/{task_id}/logs")["executors"]) == 2, every_s=0.2)
    first, second = tespes.get(f"/v1/tasks/{task_id}/logs")["executors"]
    assert (first["running"], first["stdout"], first["exit_code"]) == (False, "first\n", 0)
    assert (second["running"], second["stdout"], second["stderr"]) == (True, "begun\n", "trouble\n")
    assert len(tespes.task(task_id)["logs"][0]["logs"]) == 1, "an executor is in the standard's views when it has ended"
    counter.release()
    tespes.ended(task_id)
    logs = tespes.get(f"/v1/tasks/{task_id}/logs")
    assert [(each["running"], each["stdout"]) for each in logs["executors"]] == [(False, "first\n"), (False, "begun\ndone\n")]
