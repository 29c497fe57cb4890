"""What is said to Pulsar and read from it, as data (Pulsar 0.16, message-queue interface)."""

import json
import subprocess
from pathlib import Path

import pytest

from tespes.pulsar import job, result, wire


@pytest.mark.parametrize(
    ("manager", "key_prefix", "setup"),
    [
        ("_default_", None, "pulsar__setup"),
        ("siteb_cpu", None, "pulsar_siteb_cpu__setup"),
        ("_default_", "tes_site_d", "tes_site_d_setup"),
    ],
)
def test_queues_are_named_as_pulsar_names_them(manager: str, key_prefix: str | None, setup: str) -> None:
    """By the prefix if there is one, else by the manager; two underscores for a manager's queues."""
    assert wire.queue(wire.prefix(manager, key_prefix), "setup") == setup


def test_every_message_is_a_json_object() -> None:
    """Anything else kills Pulsar's consumer for ever."""
    for body in (wire.setup("t-1", "true"), wire.kill("t-1"), wire.status_request("t-1"), wire.acknowledgement("u")):
        assert isinstance(json.loads(body), dict)


def test_a_setup_message_asks_for_a_receipt_and_has_setup_params() -> None:
    """Without non-empty setup_params the job fails; the receipt's id is the job's."""
    message = json.loads(wire.setup("t-1", "true"))
    assert message["setup_params"] == {"job_id": "t-1"}
    assert (message["acknowledge_uuid"], message["acknowledge_queue"]) == ("t-1", "setup_ack")
    assert wire.read_receipt(b'{"acknowledge_uuid_response": "t-1"}') == wire.Receipt("t-1")


@pytest.mark.parametrize(
    "body", [b"", b"{", b"5", b"null", b'"text"', b"[]", b"{}", b'{"job_id": 1, "status": "lost"}', b"\xff"]
)
def test_rubbish_is_known_as_such(body: bytes) -> None:
    """It has a reason, and nobody falls over it."""
    assert isinstance(wire.read_status(body), wire.Rubbish)
    assert isinstance(wire.read_receipt(body), wire.Rubbish)


def test_a_final_message_is_read() -> None:
    """The last line of the job's output is the runner's result; Pulsar may want an acknowledgement."""
    body = {
        "job_id": "t-1",
        "complete": "true",
        "status": "complete",
        "returncode": 0,
        "job_stdout": "noise\n{}\n\n",
        "acknowledge_uuid": "u",
        "acknowledge_queue": "status_update_ack",
    }
    read = wire.read_status(json.dumps(body).encode())
    assert isinstance(read, wire.Status)
    assert (read.final, read.returncode, read.last_line) == (True, 0, "{}")
    assert read.acknowledge == wire.Acknowledge("u", "status_update_ack")


@pytest.mark.parametrize("status", ["running", "queued", "preprocessing", "postprocessing"])
def test_other_states_are_signs_of_life(status: str) -> None:
    """Only four states end a job; stdout may be null."""
    read = wire.read_status(json.dumps({"job_id": "t-1", "status": status, "job_stdout": None}).encode())
    assert isinstance(read, wire.Status)
    assert not read.final


def test_the_job_is_valid_shell_and_a_node_without_python_gets_a_result(tmp_path: Path) -> None:
    """Pulsar pastes it before `; return_code=$?`; without any Python the last line is a result that can be read."""
    script = tmp_path / "script"
    text = job.command_line("t-1", "http://127.0.0.1:1/", "secret", job.Terms()) + "; return_code=$?; echo $return_code"
    script.write_text(text)
    ran = subprocess.run(["/bin/bash", script], env={"PATH": "/nonexistent"}, capture_output=True, text=True, check=False)
    line, code = ran.stdout.splitlines()
    said = result.read(line)
    assert said is not None
    assert (said.job_id, said.outcome, said.retryable, code) == ("t-1", "system_failed", True, "0")
    assert "no Python 3.8 or newer" in (said.reason or "")


def test_the_token_is_in_no_argument_vector() -> None:
    """It goes through the heredoc, encoded; the bundle is the same every time."""
    script = job.command_line("t-1", "http://127.0.0.1:1/", "secret-token", job.Terms())
    assert "secret-token" not in script
    assert script == job.command_line("t-1", "http://127.0.0.1:1/", "secret-token", job.Terms())


@pytest.mark.parametrize("line", ["", "noise", "{}", '{"tespes": 2}', "[" * 1000, "x" * (result.MAX_BYTES + 1)])
def test_a_line_that_is_no_result_is_none(line: str) -> None:
    """Whatever stands there, nobody falls over it."""
    assert result.read(line) is None


def test_tokens_differ_by_job_and_key() -> None:
    """A token opens one attempt of one installation."""
    assert len({job.token(b"a", "t-1"), job.token(b"a", "t-2"), job.token(b"b", "t-1")}) == 3
