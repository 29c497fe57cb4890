"""What clients that are not Python libraries send, request by request: traces written after their sources, not the clients.

Each test names the source that it follows. Left out is what TESPES does not do yet: file:// and s3 URLs (FTP stands in their
place), directories, wildcards. Whole tasks with these: tests/core/test_submission_clients.py.
"""

import json
import time
import urllib.parse
from typing import Any

import pytest

from servers import TERMINAL, Counter, Tespes, until
from tespes.local.ftp import LocalFTP

pytestmark = pytest.mark.servers

WORK = "/work"  # where Nextflow works in a container


@pytest.fixture
def place(ftp: LocalFTP) -> str:
    """The URL of a directory on the FTP server, without a login."""
    (ftp.directory / "work").mkdir(exist_ok=True)
    return f"ftp://{ftp.url.rpartition('@')[2]}/work"


def polled(server: Tespes, path: str, ends: set[str]) -> str:
    """The state that is shown at `path`, once it is one of those."""
    until(lambda: server.get(path)["state"] in ends, within_s=40, every_s=0.1, what=lambda: str(server.get(path)))
    return str(server.get(path)["state"])


def nextflow_task(place: str, name: str) -> dict[str, Any]:
    """nf-ga4gh, TesTaskHandler.newTesTask: the wrapper as an input, its four files and the declared ones as outputs.

    Brackets are no wildcards for it: a name that has them comes without a prefix.
    """
    control = [
        {"url": f"{place}/{name}/{file}", "path": f"/work/{file}", "type": "FILE"} for file in (".command.sh", ".command.run")
    ]
    kept = (".command.out", ".command.err", ".command.log", ".exitcode", "declared[12].txt")
    return {
        "name": "sayHello (1)",
        "inputs": control,
        "outputs": [{"url": f"{place}/{name}/{file}", "path": f"/work/{file}"} for file in kept],
        "resources": {"cpu_cores": 1, "ram_gb": 0.5},
        "executors": [
            {
                "image": "debian:stable",
                "command": ["bash", "-o", "pipefail", "-c", f"bash {WORK}/.command.run 2>&1 | tee {WORK}/.command.log"],
                "workdir": "/work",
            }
        ],
    }


@pytest.mark.parametrize(("script", "state", "exit_code"), [("true", "COMPLETE", 0), ("exit 3", "EXECUTOR_ERROR", 3)])
def test_trace_of_nextflow(server: Tespes, ftp: LocalFTP, place: str, script: str, state: str, exit_code: int) -> None:
    """/v1, GET without a view until the end, then FULL for logs[0].logs[0].exit_code; outputs are there after an error too.

    Source: nextflow-io/nextflow plugins/nf-ga4gh TesTaskHandler.groovy, TaskServiceApi.java (nf-ga4gh 1.4).
    """
    directory = ftp.directory / "work" / f"nextflow-{exit_code}"
    directory.mkdir()
    (directory / ".command.sh").write_text("echo hello > 'declared[12].txt'; echo out; echo err >&2\n")
    wrapper = (
        f"bash {WORK}/.command.sh > .command.out 2> .command.err; echo said; ({script}); echo -n $? > .exitcode; {script}\n"
    )
    (directory / ".command.run").write_text(wrapper)
    task_id = server.submit(nextflow_task(place, directory.name))
    final = {"COMPLETE", "EXECUTOR_ERROR", "SYSTEM_ERROR", "CANCELED"}
    assert polled(server, f"/v1/tasks/{task_id}", final) == state, server.task(task_id)
    assert server.task(task_id)["logs"][0]["logs"][0]["exit_code"] == exit_code
    found = {file.name: file.read_text() for file in directory.iterdir() if file.name not in {".command.sh", ".command.run"}}
    assert found == {
        ".command.out": "out\n",
        ".command.err": "err\n",
        ".command.log": "said\n",
        ".exitcode": str(exit_code),
        "declared[12].txt": "hello\n",
    }


def cromwell_task(place: str) -> dict[str, Any]:
    """TesTask.scala, TesResponseJsonFormatter.scala: the script as input and as output, one file twice, nulls, a null tag."""
    root = "/cromwell-executions/wf/1/call-hello/execution"
    named = {name: {"name": name, "description": f"wf.hello.{name}", "type": "FILE"} for name in ("rc", "stdout", "stderr")}
    script = {"name": "commandScript", "description": "wf.hello.commandScript", "type": "FILE", "path": f"{root}/script"}
    return {
        "name": "wf.hello",
        "description": "BackendJobDescriptor(wf.hello)",
        "inputs": [
            {**script, "url": f"{place}/cromwell/script", "content": None},
            *(
                {
                    "name": name,
                    "url": f"{place}/cromwell/reads",
                    "path": "/cromwell-executions/wf/1/inputs/reads",
                    "content": None,
                }
                for name in ("hello.left", "hello.right")
            ),
        ],
        "outputs": [
            *({**output, "url": f"{place}/cromwell/{name}", "path": f"{root}/{name}"} for name, output in named.items()),
            {**script, "url": f"{place}/cromwell/script"},
        ],
        "resources": {
            "cpu_cores": 1,
            "ram_gb": 2.0,
            "disk_gb": 10.0,
            "preemptible": False,
            "backend_parameters": {"internal_path_prefix": "wf/1/tes_task", "vm_size": "Standard_D2"},
            "backend_parameters_strict": False,
        },
        "executors": [
            {
                "image": "ubuntu:latest",
                "command": ["/bin/bash", f"{root}/script"],
                "workdir": None,
                "stdout": f"{root}/stdout",
                "stderr": f"{root}/stderr",
                "stdin": None,
                "env": None,
            }
        ],
        "volumes": None,
        "tags": {"workflow_id": "1", "root_workflow_id": "1", "parent_workflow_id": None},
        "logs": None,
    }


def test_trace_of_cromwell(server: Tespes, ftp: LocalFTP, place: str) -> None:
    """The endpoint is …/v1/tasks; nulls and a null tag are absent, backend parameters that nobody knows are a line of the log.

    It polls MINIMAL, then reads FULL, where sizes are texts and the log has a start time; its cancel wants a JSON object.
    Source: broadinstitute/cromwell supportedBackends/tes TesTask.scala, TesAsyncBackendJobExecutionActor.scala.
    """
    directory = ftp.directory / "work" / "cromwell"
    directory.mkdir()
    (directory / "script").write_text("cd $(dirname $0); cat ../../inputs/reads; echo $? > rc\n")
    (directory / "reads").write_text("hello\n")
    endpoint = "/v1/tasks"
    task_id = server.post(endpoint, cromwell_task(place))["id"]
    assert polled(server, f"{endpoint}/{task_id}?view=MINIMAL", TERMINAL) == "COMPLETE", server.task(task_id)
    assert ((directory / "rc").read_text(), (directory / "stdout").read_text()) == ("0\n", "hello\n")
    full = server.get(f"{endpoint}/{task_id}?view=FULL")
    assert full["tags"] == {"workflow_id": "1", "root_workflow_id": "1"}
    (log,) = full["logs"]
    assert log["start_time"]
    assert {name.rpartition("/")[2]: size for name, size in ((o["path"], o["size_bytes"]) for o in log["outputs"])} == {
        "rc": "2",
        "stdout": "6",
        "stderr": "0",
        "script": "55",
    }
    assert server.post(f"{endpoint}/{task_id}:cancel") == {}
    assert server.task(task_id) == full


def test_trace_of_crankshaft(server: Tespes, counter: Counter) -> None:
    """A group is watched by ListTasks with its tag, 2047 to a page, until there is no next page; cancels have a body, null.

    A task that is over has a task log with at least one executor log; a canceled one is seen in the list, too.
    Source: stjude-rust-labs/crankshaft crankshaft-engine backend/tes/monitor.rs, backend/tes.rs.
    """
    tag = f"crankshaft-{time.time_ns()}"

    def submit(command: list[str]) -> str:
        executors = [{"image": "ubuntu", "command": command, "workdir": "/mnt/task/work"}]
        return server.submit(
            {"name": "task", "executors": executors, "tags": {"crankshaft-task-group": tag}, "volumes": ["/mnt/task"]}
        )

    def group() -> dict[str, str]:
        query = {"tag_key": "crankshaft-task-group", "tag_value": tag, "page_size": 2047, "view": "MINIMAL"}
        page = server.get(f"/v1/tasks?{urllib.parse.urlencode(query)}")
        assert not page.get("next_page_token")
        return {task["id"]: task["state"] for task in page["tasks"]}

    good, bad, canceled = submit(["true"]), submit(["false"]), submit(counter.command)
    server.submit({"executors": [{"image": "ubuntu", "command": ["true"]}], "tags": {"crankshaft-task-group": "other"}})
    until(lambda: group().get(canceled) == "RUNNING", within_s=40, what=lambda: str(group()))
    server._call("POST", f"/v1/tasks/{canceled}:cancel", b"null")
    expected = {good: "COMPLETE", bad: "EXECUTOR_ERROR", canceled: "CANCELED"}
    until(lambda: group() == expected, within_s=40, what=lambda: str(group()))
    codes = [server.get(f"/v1/tasks/{task}?view=BASIC")["logs"][-1]["logs"][0]["exit_code"] for task in (good, bad)]
    assert codes == [0, 1]


def test_trace_of_toil(server: Tespes) -> None:
    """The old service info first; MINIMAL polls, FULL at the end for exit code and times, BASIC for the runtime, a late cancel.

    No storage is a file:// one, so Toil mounts nothing. A cancel of a finished task may be no error other than 409 or 500.
    Source: toil-batch-system-tes 2.0.0 tes_batch_system.py, over py-tes 0.4.2 client.py.
    """
    info = server.get("/v1/tasks/service-info")
    assert set(info) == {"name", "doc", "storage"}
    assert not any(place.startswith("file://") for place in info["storage"])
    command = ["sh", "-c", "echo sorry >&2; exit 9"]
    executor = {"image": "quay.io/ucsc_cgl/toil:7.0.0", "command": command, "env": {"TOIL_WORKDIR": "/work"}}
    resources = {"cpu_cores": 1, "ram_gb": 2.0, "disk_gb": 2.0, "preemptible": True}
    body = {"name": "'job' kind-job/instance-1 v1", "executors": [executor], "inputs": [], "resources": resources}
    address = f"/v1/tasks/{server.submit(body)}"
    assert polled(server, f"{address}?view=MINIMAL", TERMINAL) == "EXECUTOR_ERROR", server.get(f"{address}?view=FULL")
    full, basic = server.get(f"{address}?view=FULL"), server.get(f"{address}?view=BASIC")
    assert full["logs"][-1]["logs"][-1]["exit_code"] == 9
    assert full["logs"][-1]["logs"][-1]["stderr"] == "sorry\n"
    assert basic["logs"][0]["start_time"] < basic["logs"][-1]["end_time"]
    assert server.post(f"{address}:cancel") == {}


def test_trace_of_galaxy(server: Tespes) -> None:
    """Nulls for every unset field, the working directory `/`, a volume with a slash at the end, polls in FULL.

    Source: pulsar-app 0.16.0 pulsar/client/tes.py, pydantic-tes 0.4.0; test_galaxy.py runs them for real.
    """
    unset = dict.fromkeys(("stdin", "stdout", "stderr", "env"))
    script = "sed s/in/out/ /pulsar_staging/in > /pulsar_staging/out"
    commands = (["sh", "-c", "echo in > /pulsar_staging/in"], ["sh", "-c", script], ["cat", "/pulsar_staging/out"])
    task = dict.fromkeys(("id", "state", "description", "inputs", "outputs", "tags", "logs", "creation_time"))
    resources = dict.fromkeys(("preemptible", "disk_gb", "zones", "backend_parameters")) | {"backend_parameters_strict": False}
    body = task | {
        "name": "pulsar-42",
        "volumes": ["/pulsar_staging/"],
        "executors": [{"image": "any", "command": command, "workdir": "/", **unset} for command in commands],
        "resources": resources | {"cpu_cores": 1, "ram_gb": 0.5},
    }
    task_id = server.submit(json.loads(json.dumps(body)))
    assert polled(server, f"/v1/tasks/{task_id}?view=FULL", TERMINAL) == "COMPLETE", server.task(task_id)
    found = server.task(task_id)
    assert found["logs"][0]["logs"][2]["stdout"] == "out\n"
    assert None not in (*found.values(), *found["resources"].values(), *found["executors"][0].values())
