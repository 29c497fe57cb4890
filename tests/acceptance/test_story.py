"""What is told of a task: its trace, whole, over a crash; and its story in the log, in order and without a secret."""

import contextlib
import json
import re
import urllib.error
import urllib.request
from typing import Any

import pytest

from collectors import Collector, Told
from servers import TERMINAL, Counter, Tespes, until
from tespes.local.ftp import LocalFTP

pytestmark = pytest.mark.servers

TRACE, CLIENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
STORY = [
    "TaskCreated",
    "AttemptScheduled",
    "AttemptReceived",
    "AttemptClaimed",
    "ExecutorStarted",
    "ExecutorEnded",
    "AttemptEnded",
    "TaskCompleted",
]


def submit(tespes: Tespes, task: dict[str, Any], **headers: str) -> str:
    """The id of a new task."""
    request = urllib.request.Request(f"{tespes.url}/v1/tasks", data=json.dumps(task).encode(), headers=headers)  # noqa: S310 - loopback
    with urllib.request.urlopen(request, timeout=15) as answer:  # noqa: S310 - loopback
        return str(json.loads(answer.read())["id"])


def lines(tespes: Tespes) -> list[dict[str, Any]]:
    """Its log, of which each line is an object of JSON."""
    told = [json.loads(line) for line in tespes.log_file.read_text().splitlines()]
    assert all({"timestamp", "level", "event"} <= line.keys() for line in told)
    return told


def story(tespes: Tespes, task_id: str) -> list[dict[str, Any]]:
    """What the log tells of the task's events."""
    return [line for line in lines(tespes) if line.get("task_id") == task_id and line["event"] == "appended"]


@pytest.mark.parametrize("tespes", ["sqlite", pytest.param("mongodb", marks=pytest.mark.slow)], indirect=True)
def test_a_task_is_one_trace_and_one_story_from_the_post_to_its_end_over_a_crash(
    tespes: Tespes, collector: Collector, counter: Counter, ftp: LocalFTP
) -> None:
    """Within the span that the client named; the executor knows its own."""
    tespes.variables |= {"TESPES_TRACES__ENDPOINT": collector.url, "TESPES_TRACES__TO_TASKS": "true"}
    tespes.start()
    (ftp.directory / "traced").write_text("in")
    host = ftp.url.rpartition("@")[2]
    command = ["bash", "-c", f"echo $TRACEPARENT; {counter.command[-1]}"]
    task = {
        "inputs": [{"url": f"ftp://{host}/traced", "path": "/data/in"}],
        "executors": [{"image": "any", "command": command}],
    }
    task_id = submit(tespes, task, traceparent=f"00-{TRACE}-{CLIENT}-01", **{"X-Request-ID": "order-7"})
    until(lambda: counter.runs == 1, what=lambda: str(tespes.task(task_id)))
    tespes.kill()
    tespes.start()
    counter.release()
    ended = tespes.ended(task_id)
    until(lambda: collector.tasks() == [task_id])
    spans = {span.span.name: span for span in collector.of(task_id).values()}
    assert_is_whole(spans, ended)
    told = story(tespes, task_id)
    assert [line["type"] for line in told] == STORY
    assert [line["position"] for line in told] == sorted(line["position"] for line in told)
    assert {(line["trace_id"], line["request_id"], line["level"]) for line in told} == {(TRACE, "order-7", "info")}
    assert told[1]["pulsar"] == "real"
    assert told[-2]["outcome"] == "succeeded"


def assert_is_whole(spans: dict[str, Told], ended: dict[str, Any]) -> None:
    """One trace: the client's span, the task in it, the attempt in that, and each step in the attempt."""
    parents = {"attempt": "task", "waiting": "task"} | dict.fromkeys(("pulsar", "inputs", "executor", "outputs"), "attempt")
    assert spans.keys() == {"task", *parents}
    assert {span.trace_id for span in spans.values()} == {TRACE}
    assert spans["task"].parent_id == CLIENT
    assert {name: spans[name].parent_id for name in parents} == {name: spans[above].id for name, above in parents.items()}
    assert spans["attempt"].attributes["tespes.pulsar"] == "real"
    stdout = ended["logs"][0]["logs"][0]["stdout"]
    assert stdout.splitlines()[0] == f"00-{TRACE}-{spans['executor'].id}-01"


SECRETS = {
    name: f"{name}-hunter2"
    for name in (
        "env",
        "word",
        "content",
        "output",
        "tag",
        "user",
        "query",
        "key",
        "webhook",
        "way",
        "header",
        "login",
        "runner",
    )
}


@pytest.mark.parametrize("tespes", ["sqlite"], indirect=True)
def test_no_line_of_the_log_has_a_secret(tespes: Tespes, ftp: LocalFTP, collector: Collector) -> None:
    """Whatever goes well or wrong, at the level that tells most; and each line is JSON. The S3 server is none: it says 404."""
    host = ftp.url.rpartition("@")[2]
    tespes.variables |= {
        "TESPES_LOG__LEVEL": "debug",
        "TESPES_RUNNER__KEY": SECRETS["runner"] * 4,
        "TESPES_TRACES__ENDPOINT": f"http://ada:{SECRETS['login']}@127.0.0.1:1/",
        "TESPES_TRACES__HEADERS": f"x-token={SECRETS['header']}",
    }
    tespes.settings += f"""
[default.storage.s3.buckets."*"]
endpoint = "{collector.url}"
access_key = "{SECRETS["key"]}"
secret_key = "{SECRETS["key"]}"
[default.storage.http."127.0.0.1:1"]
token = "{SECRETS["key"]}"
[default.webhooks.portal]
url = "http://ada:{SECRETS["webhook"]}@127.0.0.1:1/{SECRETS["way"]}?token={SECRETS["way"]}"
secret = "whsec_aHVudGVyMmh1bnRlcjJodW50ZXIyaHVudGVyMg=="
"""
    tespes.start()
    executor = {
        "image": "any",
        "command": ["sh", "-c", f"echo {SECRETS['output']} | tee /dev/stderr; exit $CODE", SECRETS["word"]],
        "env": {"PASSWORD": SECRETS["env"]},
    }
    sent = {"tags": {"project": SECRETS["tag"]}, "inputs": [{"path": "/data/in", "content": SECRETS["content"]}]}
    well, failed = ({**sent, "executors": [executor | {"env": {**executor["env"], "CODE": code}}]} for code in "07")  # type: ignore[dict-item]
    sources = [f"ftp://ada:{SECRETS['user']}@{host}/none", f"ftp://{host}/none?token={SECRETS['query']}"]
    away = [f"http://ada:{SECRETS['user']}@127.0.0.1:1/none?token={SECRETS['query']}", "s3://bucket/none", sources[0]]
    of_inputs = [{**sent, "inputs": [{"path": "/data/in", "url": url}], "executors": [executor]} for url in sources]
    of_outputs = [{**sent, "outputs": [{"path": "/data/in", "url": url}], "executors": [executor]} for url in away]
    ids = [tespes.submit(task) for task in (well, failed, *of_inputs, *of_outputs)]
    for path in (f"/v1/tasks?token={SECRETS['query']}", f"/{SECRETS['query']}", f"/v1/tasks/{ids[0]}?view={SECRETS['query']}"):
        with contextlib.suppress(urllib.error.HTTPError):
            tespes.get(path)
    states = [tespes.ended(task_id, within_s=60)["state"] for task_id in ids]
    assert states[:2] == ["COMPLETE", "EXECUTOR_ERROR"]
    assert set(states[2:]) <= TERMINAL
    until(lambda: "traces cannot be told" in tespes.log_file.read_text())
    until(lambda: "a webhook does not take an event" in tespes.log_file.read_text())
    tespes.stop()

    log = tespes.log_file.read_text()
    assert [name for name, secret in SECRETS.items() if secret in log] == []
    passwords = [re.split("[:@]", url)[2] for url in (ftp.url, tespes.variables["TESPES_RABBITMQ__URL"])]
    assert [found for found in (*passwords, "whsec_", "aHVudGVy", "Bearer") if found in log] == []
    assert [line["type"] for line in story(tespes, ids[0])] == STORY
    ends = {task_id: story(tespes, task_id)[-1] for task_id in ids}
    assert (ends[ids[1]]["type"], ends[ids[1]]["exit_code"]) == ("TaskExecutorFailed", 7)
    assert all(end["reason"] and end["level"] == "warning" for end in ends.values() if end["type"] == "TaskSystemFailed")
    assert any(line["event"] == "answered" and line["path"] == "/v1/tasks" for line in lines(tespes))
