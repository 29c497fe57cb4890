"""What the runner says to TESPES, and what it does when TESPES is away or says no."""

from __future__ import annotations

import ast
import asyncio
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest
import runner_at_work
from aiohttp import web
from runner_at_work import TOKEN, Tespes, file, moved, plan, problem, shell, until

from tespes.runner import result

Start = Callable[..., Any]


async def test_a_task_is_claimed_run_and_reported(tespes: Tespes, start: Start) -> None:
    """Claim, inputs, executors with a report before and after each, outputs, result: in this order."""
    tespes.inputs[0] = b"hello"
    tespes.plan = plan(
        {"command": ["md5sum"], "stdin": "/data/in", "stdout": "/out/sum"},
        {"command": shell('cat /out/sum; echo done >&2; echo "$GREETING"'), "env": {"GREETING": "hi\nthere"}},
        inputs=[file(0, "/data/in")],
        outputs=[file(0, "/out/sum")],
    )
    line = await (await start(tespes.url)).ended()
    content = b"5d41402abc4b2a76b9719d911017c592  -\n"
    assert tespes.stored == {0: content}
    assert line == tespes.result
    assert line["outcome"] == "succeeded"
    assert line["inputs"] == [moved(0, "/data/in", b"hello")]
    assert line["outputs"] == [moved(0, "/out/sum", content)]
    first, second = line["executors"]
    assert (first["exit_code"], first["stdout"], first["stderr"]) == (0, content.decode(), "")
    assert (second["stdout"], second["stderr"]) == (content.decode() + "hi\nthere\n", "done\n")
    said = [body["report"] if route == "reports" else route for route, body in tespes.heard]
    reports = ["executor_started", "executor_ended"] * 2
    assert said == ["claim", "input 0", *reports, "output 0", "result"]
    assert tespes.reports("executor_ended") == [{"report": "executor_ended", **ended} for ended in line["executors"]]
    assert {headers["Tespes-Run"] for headers in tespes.headers} == {line["run_id"]}
    assert {headers["Authorization"] for headers in tespes.headers} == {f"Bearer {TOKEN}"}


async def test_an_attempt_ends_when_its_time_is_up(tespes: Tespes, start: Start) -> None:
    """running_s: the executor is killed and the reason named, though TESPES may be away; trying again would not help."""
    tespes.plan = {**plan({"command": ["sleep", "1000"]}), "running_s": 1.0}
    tespes.answers["heartbeat"] = lambda: problem(503, "away")
    line = await (await start(tespes.url)).ended()
    assert (line["outcome"], line["retryable"]) == ("system_failed", False)
    assert line["reason"] == "ran longer than the 1 s that it may (running_s)"


async def test_an_attempt_that_ends_in_time_is_left_alone(tespes: Tespes, start: Start) -> None:
    """Its limit ends with it."""
    tespes.plan = {**plan({"command": ["true"]}), "running_s": 3600.0}
    assert (await (await start(tespes.url)).ended())["outcome"] == "succeeded"


async def test_the_result_has_the_shape_that_was_agreed(tespes: Tespes, start: Start) -> None:
    """Field by field; times are UTC with milliseconds."""
    tespes.plan = plan({"command": ["true"]})
    line = await (await start(tespes.url, job_id="t1-1")).ended()
    (ended,) = line.pop("executors")
    run_id = line.pop("run_id")
    assert len(run_id) == 32
    assert int(run_id, 16)
    assert line == {
        "tespes": 1,
        "job_id": "t1-1",
        "outcome": "succeeded",
        "reason": None,
        "phase": "outputs",
        "retryable": False,
        "inputs": [],
        "outputs": [],
        "notes": ["sandbox: the image alpine is not used; programs of the node are"],
    }
    for name in ("started_at", "ended_at"):
        time.strptime(ended[name][:-5], "%Y-%m-%dT%H:%M:%S")
        assert ended[name][-5] == "."
        assert ended[name].endswith("Z")
    claim = tespes.heard[0][1]
    assert claim["run_id"] == run_id
    assert sorted(claim["node"]) == ["host", "python"]


async def test_an_attempt_that_is_gone_is_not_touched(tespes: Tespes, start: Start) -> None:
    """410 at the claim: nothing is fetched, nothing is said but the job's last line."""
    tespes.answers["claim"] = lambda: problem(410, "canceled")
    line = await (await start(tespes.url)).ended()
    assert (line["outcome"], line["phase"]) == ("superseded", "claim")
    assert [route for route, _ in tespes.heard] == ["claim"]


@pytest.mark.parametrize("status", [401, 403, 404, 422])
async def test_a_refused_claim_is_a_reason(tespes: Tespes, start: Start, status: int) -> None:
    """It is not asked again: it would be refused again."""
    tespes.answers["claim"] = lambda: problem(status, "no such token")
    line = await (await start(tespes.url)).ended()
    assert line["outcome"] == "system_failed"
    assert line["reason"] == "TESPES refused the claim: no such token"
    assert len(tespes.heard) == 1


async def test_a_tespes_that_cannot_be_reached_is_named(tespes: Tespes, start: Start) -> None:
    """After `claim_timeout_s`; another attempt may help."""
    await tespes.stop()
    line = await (await start(tespes.url, claim_timeout_s=0.5)).ended()
    assert line["outcome"] == "system_failed"
    assert line["reason"] == f"cannot reach TESPES at {tespes.url}: Connection refused"
    assert line["retryable"] is True


async def test_a_claim_waits_for_tespes(tespes: Tespes, start: Start) -> None:
    """TESPES may be starting, or answer 503 for a while."""
    tespes.plan = plan({"command": ["true"]})
    busy = iter([problem(503, "starting")])
    tespes.answers["claim"] = lambda: next(busy, None)
    await tespes.stop()
    job = await start(tespes.url)
    await asyncio.sleep(0.4)
    await tespes.start()
    assert (await job.ended())["outcome"] == "succeeded"
    assert [route for route, _ in tespes.heard][:2] == ["claim", "claim"]


async def test_a_missing_input_is_a_reason(tespes: Tespes, start: Start) -> None:
    """4xx is final; the problem's detail is the user's line, and no executor begins."""
    tespes.plan = plan({"command": ["true"]}, inputs=[file(0, "/data/in")])
    line = await (await start(tespes.url)).ended()
    assert (line["outcome"], line["phase"], line["retryable"]) == ("system_failed", "inputs", False)
    assert line["reason"] == "input /data/in: ftp://files/missing does not exist"
    assert line["executors"] == []
    assert [route for route, _ in tespes.heard] == ["claim", "input 0", "result"]


async def test_an_input_that_breaks_off_is_fetched_again(tespes: Tespes, start: Start) -> None:
    """A shorter body than announced is no input."""

    def broken() -> web.StreamResponse | None:
        if tries := next(answers, None):
            answer = web.Response(body=tries, headers={"Content-Length": "500"})
            answer.force_close()
            return answer
        return None

    answers = iter([b"half of it"])
    tespes.inputs[0] = b"whole"
    tespes.answers["input 0"] = broken
    tespes.plan = plan({"command": ["cat", "/data/in"]}, inputs=[file(0, "/data/in")])
    line = await (await start(tespes.url)).ended()
    assert line["inputs"] == [moved(0, "/data/in", b"whole")]
    assert line["executors"][0]["stdout"] == "whole"


async def test_a_storage_that_stumbles_is_asked_five_times(tespes: Tespes, start: Start) -> None:
    """5xx may pass; if it does not, another attempt may help."""
    tespes.answers["input 0"] = lambda: problem(502, "ftp://files: no answer", retryable=True)
    tespes.plan = plan({"command": ["true"]}, inputs=[file(0, "/data/in")])
    line = await (await start(tespes.url)).ended()
    assert line["reason"] == "input /data/in: ftp://files: no answer"
    assert line["retryable"] is True
    assert [route for route, _ in tespes.heard].count("input 0") == 5


async def test_a_chunked_input_is_whole(tespes: Tespes, start: Start) -> None:
    """TESPES need not know the length of what it streams."""

    def chunked() -> web.StreamResponse:
        answer = web.Response(body=b"abc" * 100_000)
        answer.enable_chunked_encoding()
        return answer

    tespes.answers["input 0"] = chunked
    tespes.plan = plan({"command": ["wc", "-c", "/in/f"]}, inputs=[file(0, "/in/f")])
    line = await (await start(tespes.url)).ended()
    assert line["inputs"] == [moved(0, "/in/f", b"abc" * 100_000)]
    assert line["executors"][0]["stdout"] == "300000 /in/f\n"


async def test_a_restart_of_tespes_fails_nothing(tespes: Tespes, start: Start) -> None:
    """Reports are lost, outputs and result wait: the result repeats what the reports said."""
    tespes.plan = plan({"command": shell("sleep 0.3; echo x > /out/x")}, outputs=[file(0, "/out/x")])
    job = await start(tespes.url)
    await until(lambda: tespes.reports("executor_started"))
    await tespes.stop()
    await asyncio.sleep(1)
    await tespes.start()
    line = await job.ended()
    assert line["outcome"] == "succeeded"
    assert tespes.reports("executor_ended") == []
    assert tespes.stored == {0: b"x\n"}
    assert tespes.result == line


async def test_no_command_starts_before_tespes_knows_that_it_does(tespes: Tespes, start: Start) -> None:
    """Else a node that dies then would look as if nothing had begun, and the commands would run a second time."""
    tespes.plan = plan({"command": shell("echo x > /out/x")}, outputs=[file(0, "/out/x")])
    busy = iter([problem(503, "the database is away")] * 2)
    tespes.answers["executor_started"] = lambda: next(busy, None)
    line = await (await start(tespes.url)).ended()
    assert line["outcome"] == "succeeded"
    assert len(tespes.reports("executor_started")) == 3
    tespes.heard.clear()
    tespes.plan = plan({"command": ["true"]}, report_patience_s=0.5)
    tespes.answers["executor_started"] = lambda: problem(503, "the database is away")
    line = await (await start(tespes.url)).ended()
    assert (line["outcome"], line["retryable"], line["executors"]) == ("system_failed", True, [])
    assert line["phase"] == "inputs"
    assert tespes.reports("executor_ended") == []


async def test_a_result_that_tespes_never_takes_is_still_the_last_line(tespes: Tespes, start: Start) -> None:
    """After `report_patience_s`, Pulsar's final message is the other way."""
    tespes.answers["result"] = lambda: web.Response(status=500)
    tespes.plan = plan({"command": ["true"]}, report_patience_s=0.5)
    line = await (await start(tespes.url)).ended()
    assert line["outcome"] == "succeeded"
    assert [route for route, _ in tespes.heard].count("result") >= 2


async def test_a_heartbeat_says_the_phase_and_its_refusal_kills(tespes: Tespes, start: Start) -> None:
    """410 to a heartbeat: the executor is dead within a second or two, and the node is clean."""
    tespes.plan = plan({"command": shell("echo begun; sleep 1000")}, heartbeat_s=0.1)
    job = await start(tespes.url)
    await until(lambda: tespes.reports("heartbeat"))
    assert tespes.reports("heartbeat")[-1] == {"report": "heartbeat", "phase": "executor 0", "hold_s": 0.1, "tails": None}
    tespes.answers["heartbeat"] = lambda: problem(410, "canceled")
    begin = time.monotonic()
    line = await job.ended()
    assert time.monotonic() - begin < 2
    assert (line["outcome"], line["phase"]) == ("killed", "executor 0")
    assert [(ended["exit_code"], ended["stdout"]) for ended in line["executors"]] == [(137, "begun\n")]


async def test_tails_are_sent_when_tespes_asks_for_them(tespes: Tespes, start: Start) -> None:
    """The answer to a heartbeat may wish for tails: the next one brings them at once, of pipe and file alike."""
    command = shell("echo seen; echo in the file >&2; sleep 1000")
    tespes.plan = plan({"command": command, "stderr": "/out/err"}, heartbeat_s=0.3)
    tespes.answers["heartbeat"] = lambda: web.json_response({"tails": True})
    job = await start(tespes.url)
    await until(lambda: any(body["tails"] for body in tespes.reports("heartbeat")))
    shown = next(body["tails"] for body in tespes.reports("heartbeat") if body["tails"])
    tespes.answers["heartbeat"] = lambda: problem(410, "canceled")
    await job.ended()
    assert shown == {"executor": 0, "stdout": "seen\n", "stderr": "in the file\n"}


@pytest.mark.parametrize("nonsense", ["<html>log in first</html>", "[1]", "null"])
async def test_an_answer_that_nobody_understands_is_none(tespes: Tespes, start: Start, nonsense: str) -> None:
    """A proxy's page in place of TESPES: reports are lost as on a bad line, and the heart beats on."""
    for report in ("heartbeat", "executor_started", "executor_ended"):
        tespes.answers[report] = lambda: web.Response(text=nonsense)
    tespes.plan = plan({"command": shell("sleep 1")}, heartbeat_s=0.2)
    line = await (await start(tespes.url)).ended()
    assert line["outcome"] == "succeeded"
    assert len(tespes.reports("heartbeat")) > 2


async def test_wishes_that_never_end_do_not_keep_the_runner_busy(tespes: Tespes, start: Start) -> None:
    """However often tails are asked for, there is a pause between two heartbeats; without any to show, a longer one."""
    tespes.answers["heartbeat"] = lambda: web.json_response({"tails": True})
    tespes.plan = plan({"command": shell("sleep 1")}, heartbeat_s=10.0)
    await (await start(tespes.url)).ended()
    assert 2 < len(tespes.reports("heartbeat")) < 25


async def test_a_heartbeat_that_is_held_brings_the_order_to_stop_at_once(tespes: Tespes, start: Start) -> None:
    """However long a heartbeat may be held, its 410 ends the attempt when it comes."""
    held = asyncio.Event()

    class Held(web.StreamResponse):
        async def prepare(self, request: web.BaseRequest) -> Any:
            await held.wait()
            self.set_status(410)
            return await super().prepare(request)

    tespes.answers["heartbeat"] = lambda: Held(headers={"Content-Length": "0"})
    tespes.plan = plan({"command": ["sleep", "1000"]}, heartbeat_s=30)
    job = await start(tespes.url)
    await until(lambda: tespes.reports("heartbeat"))
    held.set()
    assert (await job.ended())["outcome"] == "killed"


async def test_a_transfer_that_hangs_is_killed_too(tespes: Tespes, start: Start) -> None:
    """An order to stop breaks the connection that is waited for."""

    class Endless(web.StreamResponse):
        async def write_eof(self, data: bytes = b"") -> None:  # noqa: ARG002 - never used
            await asyncio.sleep(30)

    tespes.answers["input 0"] = lambda: Endless(headers={"Content-Length": "10"})
    tespes.answers["heartbeat"] = lambda: problem(410, "canceled")
    tespes.plan = plan({"command": ["true"]}, inputs=[file(0, "/data/in")], heartbeat_s=0.2)
    begin = time.monotonic()
    line = await (await start(tespes.url)).ended()
    assert time.monotonic() - begin < 3
    assert (line["outcome"], line["phase"]) == ("killed", "inputs")


async def test_a_transfer_that_is_gone_ends_the_attempt(tespes: Tespes, start: Start) -> None:
    """410 from a transfer route is the order to stop, like any other 410."""
    tespes.answers["output 0"] = lambda: problem(410, "canceled")
    tespes.plan = plan({"command": ["true"], "stdout": "/out/x"}, outputs=[file(0, "/out/x")])
    line = await (await start(tespes.url)).ended()
    assert (line["outcome"], line["phase"]) == ("killed", "outputs")


async def test_a_refused_output_is_a_reason(tespes: Tespes, start: Start) -> None:
    """Even if TESPES does not read the body to its end."""
    tespes.answers["output 0"] = lambda: problem(403, "ftp://files: permission denied")
    tespes.plan = plan({"command": shell("head -c 20000000 /dev/zero"), "stdout": "/out/x"}, outputs=[file(0, "/out/x")])
    line = await (await start(tespes.url)).ended()
    assert line["reason"] == "output /out/x: ftp://files: permission denied"
    assert line["retryable"] is False


async def test_a_plan_that_makes_no_sense_is_a_result_too(tespes: Tespes, start: Start) -> None:
    """A bug on either side is said by name, not left in silence."""
    tespes.plan = {"job_id": "t1-1"}
    line = await (await start(tespes.url)).ended()
    assert line["outcome"] == "system_failed"
    assert line["reason"] == "the runner failed: KeyError: 'inputs'"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"runtime": {"kind": "magic"}}, "the runtime 'magic' is not known to this runner"),
        ({"runtime": {"kind": "sandbox", "program": "no-bwrap"}}, "the program no-bwrap is not on this node"),
    ],
)
async def test_what_cannot_be_done_is_said_before_anything_runs(
    tespes: Tespes, start: Start, changes: dict[str, Any], reason: str
) -> None:
    """Rather than after hours of computing."""
    tespes.plan = plan({"command": ["true"]}, **changes)
    line = await (await start(tespes.url)).ended()
    assert (line["outcome"], line["reason"], line["executors"]) == ("system_failed", reason, [])


def test_a_long_result_fits_into_256_kib() -> None:
    """Tails go first; then the files are counted and hashed in their canonical JSON."""
    files = [moved(index, f"/data/{index}", b"") for index in range(5000)]
    ended = {"executor": 0, "exit_code": 0, "started_at": "", "ended_at": "", "stdout": "x" * 300_000, "stderr": ""}
    document = {"tespes": 1, "reason": None, "executors": [ended], "inputs": [], "outputs": [], "notes": []}
    assert json.loads(result.line(cast("Any", document)))["executors"] == [{**ended, "stdout": ""}]
    shortened = json.loads(result.line({**document, "outputs": files}))
    assert "outputs" not in shortened
    assert shortened["outputs_count"] == 5000
    assert len(shortened["outputs_sha256"]) == 64
    assert shortened["inputs_count"] == 0


@pytest.mark.parametrize("module", sorted(runner_at_work.RUNNER.glob("*.py")), ids=lambda module: module.name)
def test_the_runner_is_written_in_python_3_8(module: Path) -> None:
    """Nodes are not ours to upgrade."""
    ast.parse(module.read_text(), feature_version=(3, 8))
