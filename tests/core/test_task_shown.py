"""The three views of a task, exactly: a task that uses every field of TES 1.1, from its submission to its end."""

import json
from typing import Any

import orjson
import pytest
from pydantic import BaseModel

import given as g
from submissions import EXECUTOR, read, task, view_after
from tespes import events, tes
from tespes.events import Outcome

SUBMITTED: dict[str, Any] = {
    "name": "every field",
    "description": "of TES 1.1",
    "inputs": [
        {
            "name": "reads",
            "description": "from the sequencer",
            "url": "ftp://files.example.org/reads",
            "path": "/data/reads",
            "type": "FILE",
            "streamable": False,
        },
        {"path": "/data/script", "type": "FILE", "content": "echo $A\n"},
        {"url": "ftp://files.example.org/reference/", "path": "/data/reference", "type": "DIRECTORY"},
    ],
    "outputs": [
        {
            "name": "tables",
            "description": "all of them",
            "url": "ftp://files.example.org/tables/",
            "path": "/out/*.tsv",
            "path_prefix": "/out",
            "type": "FILE",
        }
    ],
    "resources": {
        "cpu_cores": 4,
        "preemptible": True,
        "ram_gb": 7.5,
        "disk_gb": 40.0,
        "zones": ["eu-1", "eu-2"],
        "backend_parameters": {"max_attempts": "2"},
        "backend_parameters_strict": False,
    },
    "executors": [
        {
            "image": "quay.io/team/tool:1.0",
            "command": ["/bin/sh", "/data/script"],
            "workdir": "/work",
            "stdin": "/data/reads",
            "stdout": "/out/log.tsv",
            "stderr": "/out/errors.tsv",
            "env": {"A": "b"},
            "ignore_error": True,
        }
    ],
    "volumes": ["/scratch"],
    "tags": {"project": "demo"},
}
FILE = events.File(path="/out/a.tsv", url="ftp://files.example.org/tables/a.tsv", size_bytes=3 * 2**30, sha256="0" * 64)
LOGS: list[dict[str, Any]] = [
    {
        "logs": [],
        "metadata": {"attempt": "1", "job_id": f"{g.TASK}-1", "pulsar": "site-a", "runtime": "sandbox"},
        "start_time": "2026-11-22T12:00:01.000Z",
        "end_time": "2026-11-22T12:00:02.000Z",
        "outputs": [],
        "system_logs": [
            "zones are not used here: the sites of this server are its Pulsars",
            "the backend parameter VmSize is not supported and was not used",
            "attempt 1: silent",
        ],
    },
    {
        "logs": [
            {
                "start_time": "2026-11-22T12:00:00.250Z",
                "end_time": "2026-11-22T12:00:00.750Z",
                "stdout": "out",
                "stderr": "err",
                "exit_code": 3,
            }
        ],
        "metadata": {"attempt": "2", "job_id": f"{g.TASK}-2", "pulsar": "site-a", "runtime": "sandbox", "host": "node-7"},
        "start_time": "2026-11-22T12:00:03.000Z",
        "end_time": "2026-11-22T12:00:07.000Z",
        "outputs": [{"url": "ftp://files.example.org/tables/a.tsv", "path": "/out/a.tsv", "size_bytes": "3221225472"}],
        "system_logs": ["docker: disk_gb is not enforced"],
    },
]
CREATED_AT = {"creation_time": "2026-11-22T12:00:00.000Z"}
FULL = {"id": g.TASK, "state": "COMPLETE", **SUBMITTED, "logs": LOGS, **CREATED_AT}


@pytest.fixture
def document() -> dict[str, Any]:
    """The task as it is stored, at its end."""
    sent = json.loads(json.dumps(SUBMITTED))
    sent["resources"]["backend_parameters"]["VmSize"] = "A1"
    submitted = read(sent)
    ended = g.ended(0, 3, 2)
    view = view_after(
        events.TaskCreated(task=submitted.task, notes=submitted.notes),
        g.scheduled(1),
        g.over(Outcome.LOST, "silent", 1),
        g.scheduled(2),
        g.claimed(2),
        g.started(0, 2),
        events.ExecutorEnded(
            attempt=2, executor=0, exit_code=3, started_at=ended.started_at, ended_at=ended.ended_at, stdout="out", stderr="err"
        ),
        events.AttemptEnded(
            attempt=2, outcome=Outcome.SUCCEEDED, outputs=(FILE,), notes=("docker: disk_gb is not enforced",)
        ),
        events.TaskCompleted(),
    )  # fmt: skip
    shown: dict[str, Any] = view["task"]
    return shown


def text(value: Any) -> str:
    """JSON as clients get it: the order of the fields counts."""
    return orjson.dumps(value).decode()


def test_full_is_all_that_was_sent_and_all_that_happened(document: dict[str, Any]) -> None:
    """FULL: every field, in the order of the standard, sizes as texts, and no null."""
    assert text(tes.Showing().show(document, tes.View.FULL)) == text(FULL)
    assert "null" not in text(FULL)


def test_basic_leaves_out_four_fields(document: dict[str, Any]) -> None:
    """BASIC: all fields except ExecutorLog.stdout and .stderr, tesInput.content and tesTaskLog.system_logs."""
    basic = json.loads(json.dumps(FULL))
    del basic["inputs"][1]["content"]
    for log in basic["logs"]:
        del log["system_logs"]
        for executor in log["logs"]:
            del executor["stdout"], executor["stderr"]
    assert text(tes.Showing().show(document, tes.View.BASIC)) == text(basic)


def test_minimal_is_id_and_state(document: dict[str, Any]) -> None:
    """MINIMAL: only these two."""
    assert text(tes.Showing().show(document, tes.View.MINIMAL)) == text({"id": g.TASK, "state": "COMPLETE"})


def test_showing_changes_nothing_of_what_is_stored(document: dict[str, Any]) -> None:
    """The same document is shown again and again."""
    for view in tes.View:
        tes.Showing().show(document, view)
    assert text(document) == text(FULL)


@pytest.mark.parametrize("view", [tes.View.FULL, tes.View.BASIC])
def test_a_task_that_says_little_shows_little(view: tes.View) -> None:
    """Only what was sent: no field that is empty, no log before there is anything to say."""
    document = view_after(events.TaskCreated(task=read(task()).task))["task"]
    expected = {"id": g.TASK, "state": "QUEUED", "executors": [EXECUTOR], **CREATED_AT}
    assert text(tes.Showing().show(document, view)) == text(expected)


def test_every_field_of_the_standard_that_clients_send_is_in_this_test() -> None:
    """The task above has all fields of the models, so that none is forgotten."""
    shapes: list[tuple[type[BaseModel], list[dict[str, Any]]]] = [
        (tes.Task, [SUBMITTED]),
        (tes.Input, SUBMITTED["inputs"]),
        (tes.Output, SUBMITTED["outputs"]),
        (tes.Executor, SUBMITTED["executors"]),
        (tes.Resources, [SUBMITTED["resources"]]),
    ]
    for model, examples in shapes:
        assert set(model.model_fields) == {name for example in examples for name in example}, model
