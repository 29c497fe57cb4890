"""The main job: from FTP to FTP, through RabbitMQ and a real Pulsar, on both stores."""

import hashlib
import json
import subprocess
import sys
from typing import Any

import jsonschema
import pytest

from servers import ROOT, Counter, Tespes, until
from tespes.local.ftp import LocalFTP

pytestmark = pytest.mark.servers

MD5 = "ed076287532e86365e841e92bfc50d8c  -\n"


def readme_task(ftp: LocalFTP) -> dict[str, Any]:
    """The README's task."""
    host = ftp.url.rpartition("@")[2]
    (ftp.directory / "holy_file").write_bytes(b"Hello World!")
    (ftp.directory / "outfile-1").unlink(missing_ok=True)
    return {
        "inputs": [{"url": f"ftp://{host}/holy_file", "path": "/data/file1", "type": "FILE"}],
        "outputs": [{"path": "/data/outfile", "url": f"ftp://{host}/outfile-1", "type": "FILE"}],
        "executors": [{"image": "alpine", "command": ["md5sum"], "stdin": "/data/file1", "stdout": "/data/outfile"}],
    }


def command(tespes: Tespes, *words: str) -> subprocess.CompletedProcess[str]:
    """Run `tespes` on the same store, beside the service."""
    arguments = [sys.executable, "-m", "tespes", *words, "--state-dir", str(tespes.state_dir)]
    settings = ["--settings", str(tespes.state_dir / "settings.toml")]
    variables = {"PATH": "/usr/bin:/bin", "HOME": "/root", **tespes.variables}
    return subprocess.run([*arguments, *settings], env=variables, capture_output=True, text=True, check=False, timeout=30)


def test_a_file_goes_from_ftp_to_ftp_and_every_step_is_an_event(tespes: Tespes, ftp: LocalFTP) -> None:
    """The whole way; then the history, the audit and the view say the same."""
    tespes.start()
    task_id = tespes.submit(readme_task(ftp))
    ended = tespes.ended(task_id)
    assert ended["state"] == "COMPLETE", ended
    assert (ftp.directory / "outfile-1").read_text() == MD5
    (log,) = ended["logs"]
    assert log["outputs"] == [{"url": ended["outputs"][0]["url"], "path": "/data/outfile", "size_bytes": str(len(MD5))}]
    assert [entry["exit_code"] for entry in log["logs"]] == [0]
    assert log["metadata"]["pulsar"] == "real"
    jsonschema.validate(
        {"id": task_id, "version": 1, "position": 1, "state": "COMPLETE", "owner": "anonymous", "kept": [], "task": ended},
        json.loads((ROOT / "projections" / "task_view.v2.schema.json").read_text()),
    )
    shown = command(tespes, "log", "show", task_id)
    names = [line.split()[2] for line in shown.stdout.splitlines()]
    assert names == [
        "TaskCreated",
        "AttemptScheduled",
        "AttemptReceived",
        "AttemptClaimed",
        "ExecutorStarted",
        "ExecutorEnded",
        "AttemptEnded",
        "TaskCompleted",
    ], shown.stdout + shown.stderr
    assert "/data/outfile 36 B" in shown.stdout
    assert hashlib.sha256(MD5.encode()).hexdigest()[:12] in shown.stdout
    audited = command(tespes, "audit", "verify")
    assert audited.returncode == 0, audited.stdout + audited.stderr
    assert "sound" in audited.stdout
    assert tespes.stop() == 0


def test_the_views_show_what_the_standard_says(tespes: Tespes, ftp: LocalFTP) -> None:
    """MINIMAL is id and state; BASIC leaves out streams, contents and system logs; LIST shows the same."""
    tespes.start()
    task = readme_task(ftp) | {"name": "views", "inputs": [{"path": "/data/file1", "content": "Hello World!"}]}
    task_id = tespes.submit(task)
    full = tespes.ended(task_id)
    assert full["inputs"][0]["content"] == "Hello World!"
    assert full["logs"][0]["system_logs"]
    assert tespes.get(f"/ga4gh/tes/v1/tasks/{task_id}") == {"id": task_id, "state": "COMPLETE"}
    basic = tespes.get(f"/tasks/{task_id}?view=BASIC")
    assert "content" not in basic["inputs"][0]
    assert "system_logs" not in basic["logs"][0]
    assert "stdout" not in basic["logs"][0]["logs"][0]
    until(lambda: tespes.get("/v1/tasks?state=COMPLETE")["tasks"])
    assert tespes.get("/v1/tasks") == {"tasks": [{"id": task_id, "state": "COMPLETE"}]}
    assert tespes.get("/v1/tasks?view=FULL") == {"tasks": [full]}


def test_a_cancel_kills_what_runs(tespes: Tespes, counter: Counter) -> None:
    """CANCELING until the attempt is confirmed dead, then CANCELED; a second cancel changes nothing."""
    tespes.start()
    task_id = tespes.submit({"executors": [{"image": "any", "command": counter.command}]})
    until(lambda: tespes.state(task_id) == "RUNNING" and counter.runs == 1, what=lambda: str(tespes.task(task_id)))
    assert tespes.post(f"/v1/tasks/{task_id}:cancel") == {}
    ended = tespes.ended(task_id)
    assert ended["state"] == "CANCELED"
    assert not _processes_with(str(counter.port)), "the executor is dead"
    assert tespes.post(f"/ga4gh/tes/v1/tasks/{task_id}%3Acancel") == {}
    assert tespes.task(task_id) == ended


def test_executors_run_in_order_and_stop_at_the_first_error(tespes: Tespes, ftp: LocalFTP) -> None:
    """EXECUTOR_ERROR names the code; what was made before it is stored; an ignored error does not count."""
    host = ftp.url.rpartition("@")[2]
    (ftp.directory / "made").unlink(missing_ok=True)
    tespes.start()
    task = {
        "volumes": ["/vol"],
        "outputs": [{"path": "/vol/made", "url": f"ftp://{host}/made"}],
        "executors": [
            {"image": "any", "command": ["false"], "ignore_error": True},
            {"image": "any", "command": ["sh", "-c", 'printf "%s" "$WORD" > /vol/made; pwd'], "env": {"WORD": "a $b 'c"}},
            {"image": "any", "command": ["sh", "-c", "cat /vol/made >&2; exit 7"], "workdir": "/vol"},
            {"image": "any", "command": ["true"]},
        ],
    }
    ended = tespes.ended(tespes.submit(task))
    assert ended["state"] == "EXECUTOR_ERROR", ended
    logs = ended["logs"][0]["logs"]
    assert [log["exit_code"] for log in logs] == [1, 0, 7]
    assert logs[2]["stderr"] == "a $b 'c"
    assert (ftp.directory / "made").read_text() == "a $b 'c"


def _processes_with(word: str) -> list[str]:
    found = subprocess.run(["pgrep", "-f", f"dev/tcp/127.0.0.1/{word}"], capture_output=True, text=True, check=False)
    return found.stdout.split()
