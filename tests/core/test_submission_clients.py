"""Whole tasks as workflow engines send them, and what of them becomes the runner's plan."""

import json
from typing import Any, cast

from submissions import echoed, executor, read, source, target, task
from tespes.pulsar import Habits
from tespes.pulsar.plan import plan
from tespes.runner import mounts

HERE, WORK, ROOT = "/work", "ftp://h/work/3f/a1", "/cromwell-executions/wf/1/call-join"


def nextflow_output(path: str, prefix: str | None = None) -> dict[str, Any]:
    """nf-ga4gh, TesTaskHandler: FILE whatever it is, a prefix only beside `*` and `?`, the directory as URL then."""
    name = path.removeprefix("/work/")
    return {"path": path, "url": WORK if prefix else f"{WORK}/{name}", "type": "FILE"} | (
        {"path_prefix": prefix} if prefix else {}
    )


NEXTFLOW: dict[str, Any] = {
    "name": "align (sample[12])",
    "inputs": [
        {"path": f"/work/{name}", "url": f"{WORK}/{name}", "type": "FILE"}
        for name in (".command.sh", ".command.run", "results/old.txt", "sample[12].fq")
    ],
    "outputs": [
        *(nextflow_output(f"/work/{name}") for name in (".command.out", ".command.err", ".command.log", ".exitcode")),
        nextflow_output("/work/results"),
        nextflow_output("/work/results/*.txt", "/work"),
        nextflow_output("/work/results/a.txt"),
        nextflow_output("/work/sample[12].txt"),
        nextflow_output("/work/??/[ab].txt", "/work"),
        nextflow_output("/scratch"),
    ],
    "executors": [
        {"image": "debian", "command": ["bash", "-o", "pipefail", "-c", f"bash {HERE}/.command.run"], "workdir": "/work"}
    ],
    "resources": {"cpu_cores": 2, "ram_gb": 0.5, "disk_gb": 1.0},
    "volumes": ["/scratch"],
    "tags": {},
}


def cromwell_input(name: str, file: str) -> dict[str, Any]:
    """TesTask.scala: an input for each File of the workflow, be it the same one; nulls for what it does not know."""
    path = f"{ROOT}/inputs/{file}"
    given = {"name": name, "description": f"wf.join.{name}", "url": f"ftp://h/{file}", "path": path, "type": "FILE"}
    return {**given, "content": None}


CROMWELL: dict[str, Any] = {
    "name": "wf.join",
    "description": None,
    "inputs": [
        {**cromwell_input("commandScript", "script"), "path": f"{ROOT}/execution/script"},
        cromwell_input("join.left", "reads.fq"),
        cromwell_input("join.right", "reads.fq"),
        cromwell_input("join.index", "reads.fq.idx"),
    ],
    "outputs": [
        {"name": name, "url": f"ftp://h/execution/{name}", "path": f"{ROOT}/execution/{name}", "type": "FILE"}
        for name in ("rc", "stdout", "stderr", "script", "glob-1", "glob-1/*", "glob-1.list")
    ],
    "executors": [
        {
            "image": "ubuntu:latest",
            "command": ["/bin/bash", f"{ROOT}/execution/script"],
            "workdir": None,
            "stdin": None,
            "stdout": f"{ROOT}/execution/stdout",
            "stderr": f"{ROOT}/execution/stderr",
            "env": None,
        }
    ],
    "resources": {"cpu_cores": 1, "ram_gb": 2.0, "disk_gb": 10.0, "preemptible": False, "zones": None},
    "volumes": None,
    "tags": {"workflow_id": "1", "parent_workflow_id": None},
}
CROMWELL["outputs"][5]["path_prefix"] = f"{ROOT}/execution"


def planned(sent: Any) -> dict[str, Any]:
    """The plan that a runner gets for it."""
    return plan("1-1", read(sent).task, {"kind": "sandbox"}, Habits(), lambda *_: True)


def without_nulls(value: Any) -> Any:
    match value:
        case dict():
            return {name: without_nulls(each) for name, each in value.items() if each is not None}
        case list():
            return [without_nulls(each) for each in value]
        case _:
            return value


def test_what_nextflow_sends_is_taken() -> None:
    """Directories that it calls files, in each other and at a volume; a name with brackets; a pattern and what it matches."""
    assert echoed(NEXTFLOW) == NEXTFLOW
    patterns = [each["path"] for each in planned(NEXTFLOW)["outputs"] if each["is_pattern"]]
    assert patterns == ["/work/results/*.txt", "/work/??/[ab].txt"]
    layout = mounts.lay_out(cast("Any", planned(NEXTFLOW)), "/job")
    assert [mount.container_path for mount in layout.mounts if not mount.read_only] == ["/scratch", "/work"]


def test_what_cromwell_sends_is_taken() -> None:
    """One file for two inputs, and nulls; it is shown as it was sent, and fetched once."""
    assert echoed(CROMWELL) == without_nulls(CROMWELL)
    assert [(each["index"], each["path"]) for each in planned(CROMWELL)["inputs"]] == [
        (0, f"{ROOT}/execution/script"),
        (1, f"{ROOT}/inputs/reads.fq"),
        (3, f"{ROOT}/inputs/reads.fq.idx"),
    ]


def test_inputs_that_are_the_same_are_planned_once() -> None:
    """The first of them, as it is written; the indexes of the others stay."""
    paths = ("/b", "/a", "//a/.", "/c", "/b/", "/a")
    found = planned(task(inputs=[source(path) for path in paths]))["inputs"]
    assert [(each["index"], each["path"]) for each in found] == [(0, "/b"), (1, "/a"), (3, "/c")]


def test_the_plan_says_which_outputs_are_patterns() -> None:
    """`*` and `?` always, `[` with a prefix only; an input has none, whatever its name."""
    paths = {"/w/a": None, "/w/*": "/w", "/w/?": "/w", "/w/[a]": "/w", "/w/[b]": None, "/w/[c": "", "/w/b": "/w"}
    outputs = [target(path) | ({} if prefix is None else {"path_prefix": prefix}) for path, prefix in paths.items()]
    found = planned(task(inputs=[source("/in/*")], outputs=outputs))
    assert [each["path"] for each in found["outputs"] if each["is_pattern"]] == ["/w/*", "/w/?", "/w/[a]"]
    assert "is_pattern" not in found["inputs"][0]
    assert json.loads(json.dumps(planned(executor()))) == planned(executor())
