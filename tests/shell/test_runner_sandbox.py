"""Executors in a real bubblewrap sandbox."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
import runner_at_work
from runner_at_work import TOKEN, Tespes, file, moved, plan, shell, until

Start = Callable[..., Any]


def running(mark: str) -> list[psutil.Process]:
    """Processes whose arguments hold a mark."""
    return [
        process
        for process in psutil.process_iter(["cmdline", "status"])
        if any(mark in word for word in process.info["cmdline"] or ()) and process.info["status"] != "zombie"
    ]


def _has_child(parent: psutil.Process, mark: str) -> bool:
    with contextlib.suppress(psutil.Error):  # a child that ends as it is looked at
        return any(mark in word for child in parent.children() for word in child.cmdline())
    return False


async def test_the_first_failing_executor_is_the_last(tespes: Tespes, start: Start) -> None:
    """What it wrote before it failed is stored; what was not made is not missed."""
    tespes.plan = plan(
        {"command": shell("echo part > /out/a; exit 3")},
        {"command": shell("echo never > /out/b")},
        outputs=[file(0, "/out/a"), file(1, "/out/b")],
    )
    line = await (await start(tespes.url)).ended()
    assert line["outcome"] == "executor_failed"
    assert [ended["exit_code"] for ended in line["executors"]] == [3]
    assert tespes.stored == {0: b"part\n"}
    assert line["notes"] == ["sandbox: the image alpine is not used; programs of the node are"]


async def test_an_error_can_be_ignored(tespes: Tespes, start: Start) -> None:
    """TES 1.1, ignore_error: the next executor runs, and the task succeeds."""
    tespes.plan = plan({"command": ["false"], "ignore_error": True}, {"command": ["true"]})
    line = await (await start(tespes.url)).ended()
    assert line["outcome"] == "succeeded"
    assert [ended["exit_code"] for ended in line["executors"]] == [1, 0]


async def test_an_output_that_was_not_made_is_a_note(tespes: Tespes, start: Start) -> None:
    """The command said that it succeeded."""
    tespes.plan = plan({"command": ["true"]}, outputs=[file(0, "/out/a")])
    line = await (await start(tespes.url)).ended()
    assert line["outcome"] == "succeeded"
    assert line["notes"][-1] == "output /out/a: does not exist, nothing was stored"


@pytest.mark.parametrize(
    ("command", "exit_code", "message"),
    [
        (["no-such-program"], 127, "bwrap: execvp no-such-program: No such file or directory\n"),
        (["/etc/passwd"], 126, "bwrap: execvp /etc/passwd: Permission denied\n"),
        (shell("echo 'bwrap: execvp x: No such file or directory' >&2; exit 1"), 1, None),
        (shell("kill -TERM $$"), 143, ""),
        (shell("kill -KILL $$"), 137, ""),
    ],
)
async def test_exit_codes_are_those_of_a_shell(
    tespes: Tespes, start: Start, command: list[str], exit_code: int, message: str | None
) -> None:
    """127 for a program that is not there, 126 for one that cannot start, 128 + N for signal N."""
    tespes.plan = plan({"command": command})
    line = await (await start(tespes.url)).ended()
    assert line["outcome"] == "executor_failed"
    assert line["executors"][0]["exit_code"] == exit_code
    assert any(command[0] in note for note in line["notes"]) is (exit_code in {126, 127})
    assert message is None or line["executors"][0]["stderr"] == message


async def test_output_that_is_not_text_is_shown_as_well_as_can_be(tespes: Tespes, start: Start) -> None:
    """A byte that is not UTF-8 would silence Pulsar, a NUL would break databases; a stored file keeps them."""
    content = b"\xff\x00a\xe2\x82\xac"
    command = shell("printf '\\377\\000a\\342\\202\\254'")
    tespes.plan = plan({"command": command}, {"command": command, "stdout": "/o/x"}, outputs=[file(0, "/o/x")])
    line = await (await start(tespes.url)).ended()
    assert [ended["stdout"] for ended in line["executors"]] == ["\ufffd\ufffda€", "\ufffd\ufffda€"]
    assert tespes.stored[0] == content


async def test_three_hundred_megabytes_of_output_leave_the_memory_flat(tespes: Tespes, start: Start) -> None:
    """Only the tail is kept, and nothing of it on the disk."""
    tespes.plan = plan({"command": shell("head -c 300000000 /dev/zero | tr '\\0' x; echo END")}, tail_bytes=100)
    job = await start(tespes.url)
    runner, most_bytes = psutil.Process(job.process.pid), 0
    ended = asyncio.create_task(job.ended())
    while not ended.done():
        try:
            most_bytes = max(most_bytes, runner.memory_info().rss)
        except psutil.Error:
            break
        await asyncio.sleep(0.02)
    line = await ended
    assert line["executors"][0]["stdout"] == "x" * 96 + "END\n"
    assert 0 < most_bytes < 60_000_000


async def test_streams_that_are_declared_are_files(tespes: Tespes, start: Start) -> None:
    """Each executor starts its files anew; one file may take both streams, in their order."""
    tespes.plan = plan(
        {"command": shell("echo much longer"), "stdout": "/log/both"},
        {"command": shell("echo 1; echo 2 >&2; echo 3"), "stdout": "/log/both", "stderr": "/log/both"},
        {"command": ["cat"], "stdin": "/log/both", "stdout": "/log/copy"},
        outputs=[file(0, "/log/copy")],
    )
    line = await (await start(tespes.url)).ended()
    assert tespes.stored == {0: b"1\n2\n3\n"}
    assert line["executors"][1]["stderr"] == "1\n2\n3\n"


async def test_a_stdin_that_does_not_exist_is_a_reason(tespes: Tespes, start: Start) -> None:
    """The command is not run on nothing."""
    tespes.plan = plan({"command": ["cat"], "stdin": "/vol/x"}, volumes=["/vol"])
    line = await (await start(tespes.url)).ended()
    assert (line["outcome"], line["phase"]) == ("system_failed", "executor 0")
    assert line["reason"] == "executor 0: stdin /vol/x: does not exist"


async def test_volumes_outputs_and_workdir_are_where_the_task_says(tespes: Tespes, start: Start) -> None:
    """Also directly under the root and in /etc, without hiding what is there."""
    tespes.inputs[0] = b"1"
    tespes.plan = plan(
        {"command": shell("pwd; touch /vol/a; ls /etc/passwd; cat /etc/in; echo 2 > /top"), "workdir": "/some/where"},
        {"command": shell("ls /vol; cat /top; pwd; chmod 777 /data/in"), "workdir": "/vol/new"},
        inputs=[file(0, "/etc/in"), file(1, "/data/in")],
        outputs=[file(0, "/top")],
        volumes=["/vol"],
    )
    tespes.inputs[1] = b""
    line = await (await start(tespes.url)).ended()
    first, second = line["executors"]
    assert first["stdout"] == "/some/where\n/etc/passwd\n1"
    assert second["stdout"] == "a\nnew\n2\n/vol/new\n"
    assert "Read-only file system" in second["stderr"]
    assert tespes.stored == {0: b"2\n"}


async def test_a_task_sees_nothing_of_the_node(tespes: Tespes, start: Start, tmp_path: Path) -> None:
    """No environment, no token, no directory of Pulsar's, no process, no network, no way to change the kernel."""
    script = f"""
        env; ls {tmp_path} /root /home /var/lib /work; cat /proc/[0-9]*/cmdline | tr '\\0' ' '
        ls /sys /proc/net/dev; grep -c : /proc/net/dev; ls -l /proc/self/fd | grep -c '/tespes/'
        for f in core_pattern modprobe; do [ -w /proc/sys/kernel/$f ] && echo WRIT''ABLE; done; true
    """
    tespes.plan = plan({"command": shell(script)}, volumes=["/vol"])
    line = await (await start(tespes.url)).ended()
    ended = line["executors"][0]
    assert ended["stderr"].count("No such file or directory") == 6
    assert "PATH=/usr/local/sbin" in ended["stdout"]
    for secret in (TOKEN, "SECRET_OF_PULSAR", "tespes_runner", "WRITABLE"):
        assert secret not in ended["stdout"]
    assert "\n1\n0\n" in ended["stdout"]  # one network interface, the loopback; no file of the runner's is open


async def test_environment_is_neither_in_arguments_nor_in_bubblewrap(tespes: Tespes, start: Start) -> None:
    """A variable such as LD_PRELOAD reaches the command, not the program that makes its sandbox."""
    env = {"LD_PRELOAD": "tespes/inputs/0", "A": "hidden-value"}
    tespes.plan = plan({"command": shell("echo $LD_PRELOAD $A; sleep 0.5; sleep 31.25"), "env": env}, heartbeat_s=0.1)
    job = await start(tespes.url)
    await until(lambda: running("sleep 31.25"))
    monitors = [process for process in running("sleep 31.25") if process.name() == "bwrap"]
    assert monitors
    for process in monitors:
        assert process.environ() == {}
        assert "hidden-value" not in " ".join(process.cmdline())
    tespes.answers["heartbeat"] = lambda: runner_at_work.problem(410, "canceled")
    assert "tespes/inputs/0 hidden-value\n" in (await job.ended())["executors"][0]["stdout"]
    assert running("sleep 31.25") == []


@pytest.mark.parametrize("target", ["/etc/shadow", "../../../../../../../../etc/hostname", "/proc/self/environ"])
async def test_a_link_out_of_the_sandbox_is_not_followed(tespes: Tespes, start: Start, target: str) -> None:
    """The runner stores outputs from outside of the sandbox: a link must not show it the node's files."""
    tespes.plan = plan({"command": ["ln", "-s", target, "/out/a"]}, outputs=[file(0, "/out/a")])
    line = await (await start(tespes.url)).ended()
    assert line["outcome"] == "system_failed"
    assert line["reason"] == "output /out/a: leads outside the task's files"
    assert tespes.stored == {}


async def test_a_link_cannot_turn_stdout_against_the_node(tespes: Tespes, start: Start, tmp_path: Path) -> None:
    """The runner opens the next executor's stdout outside of the sandbox."""
    victim = tmp_path / "victim"
    victim.write_text("untouched")
    tespes.plan = plan(
        {"command": shell(f"ln -s {victim} /out/a; mkfifo /out/b; ln -s real /out/c")},
        {"command": ["echo", "within"], "stdout": "/out/c"},
        {"command": ["echo", "owned"], "stdout": "/out/a", "stderr": "/out/b"},
        outputs=[file(0, "/out/c")],
    )
    line = await (await start(tespes.url)).ended()
    assert line["reason"] == "executor 2: stdout /out/a: leads outside the task's files"
    assert victim.read_text() == "untouched"


async def test_a_directory_in_place_of_a_file_is_stored(tespes: Tespes, start: Start) -> None:
    """With all that is in it. Nextflow declares files, and means whatever is there."""
    tespes.plan = plan({"command": shell("mkdir /out/a; echo x > /out/a/.x")}, outputs=[file(0, "/out/a")])
    line = await (await start(tespes.url)).ended()
    assert line["outputs"] == [moved(0, "/out/a/.x", b"x\n")]
    assert line["notes"][-1] == "output /out/a: is a directory, and was stored as one"


async def test_a_link_to_a_file_of_the_task_is_that_file(tespes: Tespes, start: Start) -> None:
    """Many programs leave a link to their result."""
    tespes.plan = plan(
        {"command": shell("echo x > /vol/real; ln -s /vol/real /out/a")}, volumes=["/vol"], outputs=[file(0, "/out/a")]
    )
    line = await (await start(tespes.url)).ended()
    assert line["outputs"] == [moved(0, "/out/a", b"x\n")]


async def test_a_killed_runner_leaves_no_sandbox_and_no_files(tespes: Tespes, start: Start) -> None:
    """Pulsar kills with SIGKILL: the sandbox dies with its parent, and a reaper removes the files."""
    tespes.inputs[0] = b"x"
    script = "sleep 32.25 & sleep 32.25"
    tespes.plan = plan({"command": shell(script)}, inputs=[file(0, "/data/in")])
    job = await start(tespes.url)
    await until(lambda: running("sleep 32.25"))
    os.kill(job.process.pid, signal.SIGKILL)
    await job.process.wait()
    await until(lambda: not running("sleep 32.25") and not list(job.directory.iterdir()), within_s=15)
    await until(lambda: not running(str(job.directory)), within_s=10)


async def test_a_runner_that_is_killed_as_it_starts_a_sandbox_leaves_none(tespes: Tespes, start: Start) -> None:
    """It is some milliseconds before bwrap asks the kernel to die with its parent: until then, the reaper must find it."""
    for number in range(3):
        mark = f"36.25{number}"
        tespes.plan = plan({"command": shell(f"sleep {mark} & sleep {mark}")})
        job = await start(tespes.url)
        runner = psutil.Process(job.process.pid)
        async with asyncio.timeout(10):
            while not _has_child(runner, mark):  # noqa: ASYNC110 - a process tells nobody that it began
                await asyncio.sleep(0)
        job.process.kill()
        await job.process.wait()
        await until(lambda: not running(mark), within_s=10)  # noqa: B023 - waited for in the same round


async def test_the_end_by_the_node_is_a_reason(tespes: Tespes, start: Start) -> None:
    """A batch system sends SIGTERM before it kills: time enough to say so."""
    tespes.plan = plan({"command": ["sleep", "33.25"]})
    job = await start(tespes.url)
    await until(lambda: running("sleep 33.25") or running("33.25"))
    os.kill(job.process.pid, signal.SIGTERM)
    line = await job.ended()
    assert (line["outcome"], line["retryable"]) == ("system_failed", True)
    assert line["reason"] == "the node ended the job (SIGTERM)"
    assert running("33.25") == []


async def test_no_command_is_a_reason(tespes: Tespes, start: Start) -> None:
    """A sandbox has no image to take one from."""
    tespes.plan = plan({"command": ["true"]}, {"command": []})
    line = await (await start(tespes.url)).ended()
    assert (line["outcome"], line["phase"]) == ("system_failed", "inputs")
    assert line["reason"] == "an executor has no command, and a sandbox has no image to take one from"


async def test_a_disk_that_is_too_small_is_a_reason(tespes: Tespes, start: Start) -> None:
    """TES 1.1, tesResources.disk_gb: before anything is fetched; on another node there may be more."""
    tespes.plan = plan({"command": ["true"]}, inputs=[file(0, "/data/in")], resources={"disk_gb": 1e9})
    line = await (await start(tespes.url)).ended()
    assert (line["outcome"], line["phase"], line["retryable"]) == ("system_failed", "inputs", True)
    assert re.fullmatch(r"the task asks for 1000000000 GB of disk, \d+\.\d GB are free on the node", line["reason"])
    assert "input 0" not in [route for route, _ in tespes.heard]


async def test_an_input_that_fills_the_disk_is_a_reason(tespes: Tespes, start: Start, tmp_path: Path) -> None:
    """It is named, and on another node there may be more."""
    small = tmp_path / "job0"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tespes-test", small], check=True)
    try:
        tespes.inputs[0] = bytes(4_000_000)
        tespes.plan = plan({"command": ["true"]}, inputs=[file(0, "/data/in")])
        line = await (await start(tespes.url)).ended()
        assert (line["reason"], line["retryable"]) == ("input /data/in: no space left on the node", True)
    finally:
        subprocess.run(["umount", "--lazy", small], check=True)


async def test_limits_that_are_not_enforced_are_notes(tespes: Tespes, start: Start) -> None:
    """The user should know."""
    tespes.plan = plan({"command": ["true"], "image": ""}, resources={"cpu_cores": 2, "ram_gb": 1.5})
    line = await (await start(tespes.url)).ended()
    assert line["notes"] == ["sandbox: cpu_cores is not enforced", "sandbox: ram_gb is not enforced"]
