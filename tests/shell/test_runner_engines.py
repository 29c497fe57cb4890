"""What docker, podman and the sandbox have in common: one suite, each with the real thing."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from engines_at_work import Engine, planned
from runner_at_work import Tespes, file, moved, shell

pytestmark = pytest.mark.docker
Start = Callable[..., Any]


async def test_a_task_runs_in_containers(engine: Engine, tespes: Tespes, start: Start) -> None:
    """Files at their paths, streams, limits, a working directory that nobody made; no container is left."""
    tespes.inputs[0] = b"hello"
    limits = "cat /sys/fs/cgroup/memory/memory.memsw.limit_in_bytes /sys/fs/cgroup/cpu/cpu.cfs_quota_us"
    tespes.plan = planned(
        engine,
        {"command": ["md5sum"], "stdin": "/data/in", "stdout": "/data/sum,1"},
        {"command": shell("pwd; cat '/data/sum,1' >&2; echo x > /data/in"), "workdir": "/some/where", "ignore_error": True},
        {"command": shell(f"({limits}; cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/cpu.max) 2>/dev/null; true")},
        inputs=[file(0, "/data/in")],
        outputs=[file(0, "/data/sum,1")],
        resources={"ram_gb": 0.1, "cpu_cores": 1.5},
    )
    line = await (await start(tespes.url, job_id="happy-1")).ended()
    content = b"5d41402abc4b2a76b9719d911017c592  -\n"
    assert line["outcome"] == "succeeded", line["reason"]
    assert line["outputs"] == [moved(0, "/data/sum,1", content)]
    assert line["executors"][1]["stdout"] == "/some/where\n"
    assert line["executors"][1]["stderr"].startswith(content.decode())
    assert "Read-only file system" in line["executors"][1]["stderr"]
    memory, cpu = line["executors"][2]["stdout"].split()[:2]
    assert 99_000_000 < int(memory) <= 100_000_000
    assert int(cpu) == 150_000
    assert line["notes"] == []


async def test_directories_come_and_go(anything: Engine, tespes: Tespes, start: Start) -> None:
    """An input directory is read-only, with other inputs and a volume inside; outputs are directories, patterns, anything.

    What is mounted inside of an output directory is stored as the containers saw it, and links as what they lead to.
    """
    tespes.lists[0] = [{"name": "a b/c"}, {"name": "d", "size_bytes": 1}, {"name": "empty", "is_directory": True}]
    tespes.inputs |= {(0, "a b/c"): b"c", (0, "d"): b"d", 1: b"file", (2, "x"): b"x", 3: b"3"}
    tespes.lists[2] = [{"name": "x"}]
    tespes.plan = planned(
        anything,
        {"command": shell("cd /in; find . -type f | sort; cat 'a b/c' d own other/x; ls -d empty vol; echo v > vol/v")},
        {"command": shell("touch /in/new"), "ignore_error": True},
        {
            "command": shell(
                "cd out; mkdir -p s1 s2/deep empty; cp /in/vol/v s1/x1; echo y > s2/deep/y; ln -s ../s1 s2/l; touch .h"
            )
        },
        {"command": shell("mkdir /work/late; echo r > /work/late/r; ln -s x /work/late/itself")},
        {"command": shell("echo w > /in/results/w")},
        inputs=[
            file(0, "/in", type="DIRECTORY"),
            file(1, "/in/own"),
            file(2, "/in/other", type="DIRECTORY"),
            file(3, "/work/out/in"),
        ],
        outputs=[
            file(0, "/work/out", type="DIRECTORY"),
            file(1, "/work/out/*/x?", is_pattern=True),
            file(2, "/work/late"),
            file(3, "/in/results", type="DIRECTORY"),
            file(4, "/in/d"),
            file(5, "/work/*.none", is_pattern=True),
        ],
        volumes=["/in/vol"],
    )
    for executor in tespes.plan["executors"]:
        executor["workdir"] = "/work"
    line = await (await start(tespes.url)).ended(within_s=60)
    assert line["outcome"] == "succeeded", line["reason"]
    seen = line["executors"][0]["stdout"].split("\n")
    assert seen == ["./a b/c", "./d", "./other/x", "./own", "cdfilexempty", "vol", ""]
    assert [ended["exit_code"] for ended in line["executors"]] == [0, 1, 0, 0, 0]
    assert "Read-only file system" in line["executors"][1]["stderr"]
    out = {".h": b"", "in": b"3", "s1/x1": b"v\n", "s2/deep/y": b"y\n", "s2/l/x1": b"v\n"}
    others = {(1, "/work/out/s1/x1"): b"v\n", (2, "/work/late/r"): b"r\n", (3, "/in/results/w"): b"w\n"}
    assert tespes.stored == {(0, f"/work/out/{name}"): content for name, content in out.items()} | others | {4: b"d"}
    assert tespes.made == [(0, "/work/out/empty")]
    assert sorted(note for note in line["notes"] if note.startswith("output")) == [
        "output /work/*.none: no file matches, nothing was stored",
        "output /work/late/itself: is a link that leads nowhere, and was left out",
        "output /work/late: is a directory, and was stored as one",
    ]


AWKWARD = ["", " ", "a  b", "$HOME `id` $(id) \\ ; & | > /tmp/x", "'\"", "new\nline\r\n", "Ünï ☃ 𝄞", "-x", "--", "*", "a=b"]


async def test_words_arrive_exactly_as_they_are(anything: Engine, tespes: Tespes, start: Start) -> None:
    """No shell, no option and no format file on the way takes a user's string for its own."""
    names = ("ONE", "a.b-c", "S", "$X", "Ü", "LOWER", "Q", "R", "T", "U")
    env = {
        **dict(zip(names, AWKWARD[1:], strict=False)),
        "HTTP_PROXY": "http://x",
        "x*": "a=b",
        "QUOTED": '"q" # no comment ',
        "N": "",
    }
    directory = "/data/ü 'x' \"y\", $z:1"
    tespes.plan = planned(
        anything,
        {"command": [*shell('printf "%s\\0" "$0" "$@"'), *AWKWARD], "stdout": f"{directory}/words"},
        {"command": ["cat", "/proc/self/environ"], "env": env, "stdout": f"{directory}/env"},
        {"command": shell("pwd; echo $0"), "workdir": f"{directory}/a\nb", "stdout": f"{directory}/where"},
        outputs=[file(index, f"{directory}/{name}") for index, name in enumerate(("words", "env", "where"))],
    )
    line = await (await start(tespes.url)).ended()
    assert line["outcome"] == "succeeded", line["reason"]
    assert tespes.stored[0].decode().split("\0")[:-1] == AWKWARD
    got = dict(each.split("=", 1) for each in tespes.stored[1].decode().split("\0") if each)
    assert {name: got.get(name) for name in env} == env
    assert tespes.stored[2].decode() == f"{directory}/a\nb\n/bin/sh\n"


async def test_no_command_is_the_images_own(engine: Engine, tespes: Tespes, start: Start) -> None:
    """TES 1.1 permits an empty command."""
    tespes.plan = planned(engine, {"command": []})
    line = await (await start(tespes.url)).ended()
    assert line["executors"][0]["stdout"] == "by default\n"


async def test_exit_codes_are_the_containers(engine: Engine, tespes: Tespes, start: Start) -> None:
    """127 and 126 are the user's: a program that is not in the image, or is none. So is any other code, 125 included."""
    spoof = "echo 'docker: Error: exec: \"x\": executable file not found' >&2; exit"
    tespes.plan = planned(
        engine,
        {"command": shell(f"{spoof} 125"), "ignore_error": True},
        {"command": shell(f"{spoof} 127"), "ignore_error": True},
        {"command": ["/bin"], "ignore_error": True},
        {"command": ["no-such-program", "x"]},
    )
    line = await (await start(tespes.url)).ended()
    assert line["outcome"] == "executor_failed"
    assert [ended["exit_code"] for ended in line["executors"]] == [125, 127, 126, 127]
    assert "no-such-program" in line["executors"][3]["stderr"]
    assert line["notes"] == [
        f"executor 2: the program /bin in the image {engine.image} is not one that can be executed",
        f"executor 3: the program no-such-program was not found in the image {engine.image}",
    ]


async def test_a_command_line_that_is_too_long_is_a_reason(anything: Engine, tespes: Tespes, start: Start) -> None:
    """Linux takes words of up to 128 KiB; so does the environment."""
    longest = "x" * 131_072
    for executor in ({"command": ["echo", longest]}, {"command": ["true"], "env": {"A": longest}}):
        tespes.plan = planned(anything, executor)
        line = await (await start(tespes.url)).ended()
        assert (line["outcome"], line["reason"]) == ("system_failed", "executor 0: the command line is too long for the node")


async def test_an_image_is_pulled(engine: Engine, registry: str, tespes: Tespes, start: Start, tmp_path: Path) -> None:
    """Before the first executor begins; one that does not exist is named, with the registry's words, and not tried again."""
    image, missing = f"{registry}/{engine.kind}:1", f"{registry}/missing:1"
    insecure(tmp_path, registry)
    engine.ask("tag", engine.image, image)
    engine.ask("push", *(["--tls-verify=false"] if engine.kind == "podman" else []), image)
    engine.ask("rmi", image)
    tespes.plan = planned(engine, {"command": ["echo", "pulled"], "image": image})
    line = await (await start(tespes.url)).ended()
    assert line["executors"][0]["stdout"] == "pulled\n"
    tespes.plan = planned(engine, {"command": ["true"]}, {"command": ["true"], "image": missing})
    line = await (await start(tespes.url)).ended()
    assert (line["outcome"], line["phase"], line["executors"]) == ("system_failed", "inputs", [])
    assert line["reason"].startswith(f"image {missing}: ")
    assert "manifest unknown" in line["reason"]
    assert not line["retryable"]


def insecure(home: Path, registry: str) -> None:
    """Let podman speak HTTP with the registry, as docker does with all on loopback."""
    settings = home / ".config" / "containers" / "registries.conf"
    settings.parent.mkdir(parents=True)
    settings.write_text(f'[[registry]]\nlocation = "{registry}"\ninsecure = true\n')


async def test_a_registry_that_is_away_is_a_reason(engine: Engine, tespes: Tespes, start: Start) -> None:
    """Another attempt may help."""
    image = "127.0.0.1:1/away:1"
    tespes.plan = planned(engine, {"command": ["true"], "image": image})
    line = await (await start(tespes.url)).ended()
    assert (line["outcome"], line["retryable"], line["executors"]) == ("system_failed", True, [])
    assert line["reason"].startswith(f"image {image}: ")
    assert "connection refused" in line["reason"]


async def test_too_much_memory_is_said(engine: Engine, tespes: Tespes, start: Start) -> None:
    """The exit code alone could be anybody's kill. Where cgroups do not tell podman, the note says perhaps."""
    tespes.plan = planned(engine, {"command": ["dd", "if=/dev/zero", "of=/dev/null", "bs=200M"]}, resources={"ram_gb": 0.05})
    line = await (await start(tespes.url)).ended()
    assert [ended["exit_code"] for ended in line["executors"]] == [137], line["reason"]
    assert line["outcome"] == "executor_failed"
    certain = "executor 0: was ended for using more than its ram_gb of 0.05"
    perhaps = "executor 0: was killed, perhaps for using more than its ram_gb of 0.05"
    assert line["notes"] == [certain] or (engine.kind, line["notes"]) == ("podman", [perhaps])


async def test_executors_share_volumes(anything: Engine, tespes: Tespes, start: Start) -> None:
    """As Galaxy asks for it: one volume, three executors, working directory /, no inputs and no outputs."""
    for user in [{}] if anything.kind == "sandbox" else [{}, {"user": "1234:1235"}]:
        tespes.plan = planned(
            anything,
            {"command": shell("mkdir /vol/job && echo 1 > /vol/job/a"), "workdir": "/"},
            {"command": shell("echo 2 >> /vol/job/a; pwd"), "workdir": "/"},
            {"command": shell("cat /vol/job/a; mv /vol/job /vol/new"), "workdir": "/"},
            volumes=["/vol"],
            runtime=user,
        )
        line = await (await start(tespes.url)).ended()
        assert line["outcome"] == "succeeded", line
        assert [ended["stdout"] for ended in line["executors"]] == ["", "/\n", "1\n2\n"]


async def test_files_belong_to_the_configured_user(engine: Engine, tespes: Tespes, start: Start) -> None:
    """What a task makes, and what is made for it: not root's, and it can write wherever it is told to work."""
    look = "stat -c '%u:%g %n' /out /out/sub /out/log /out/made /vol /vol/in . ../work; id -u; id -g; touch /top here"
    tespes.plan = planned(
        engine,
        {"command": shell("touch /out/made /out/sub/x"), "stdout": "/out/log"},
        {"command": shell(look), "workdir": "/some/work"},
        {"command": shell("touch here; stat -c '%u:%g' ."), "workdir": "/vol/deep/er"},
        inputs=[file(0, "/vol/in")],
        outputs=[file(0, "/out/log"), file(1, "/out/sub/x"), file(2, "/top")],
        volumes=["/vol"],
        runtime={"user": "1234:1235"},
    )
    tespes.inputs[0] = b""
    line = await (await start(tespes.url)).ended()
    assert line["outcome"] == "succeeded", line
    *owned, user, group = line["executors"][1]["stdout"].splitlines()
    assert len(owned) == 8
    assert {each.split()[0] for each in owned} == {"1234:1235"}
    assert (user, group) == ("1234", "1235")
    assert line["executors"][2]["stdout"] == "1234:1235\n"


async def test_a_full_disk_is_a_reason(anything: Engine, tespes: Tespes, start: Start, tmp_path: Path) -> None:
    """Whether an input fills it or what an executor writes."""
    small = tmp_path / "job0"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tespes-test", small], check=True)
    try:
        tespes.plan = planned(anything, {"command": ["yes"], "stdout": "/out/a"}, outputs=[file(0, "/out/a")])
        line = await (await start(tespes.url)).ended()
        assert (line["outcome"], line["reason"]) == ("system_failed", "executor 0: no space left on the node")
    finally:
        subprocess.run(["umount", "--lazy", small], check=True)


@pytest.mark.slow
async def test_a_gigabyte_of_output_leaves_memory_and_disk_flat(engine: Engine, tespes: Tespes, start: Start) -> None:
    """Only the tail is kept, and the engine keeps no log."""
    script = "head -c 1073741824 /dev/zero | tr '\\0' x; echo END; sleep 1"
    tespes.plan = planned(engine, {"command": shell(script)}, tail_bytes=100)
    before_bytes = used_bytes(engine.directory)
    job = await start(tespes.url)
    runner, most_bytes, most_used_bytes = psutil.Process(job.process.pid), 0, 0
    ended = asyncio.create_task(job.ended(within_s=120))
    while not ended.done():
        try:
            most_bytes = max(most_bytes, runner.memory_info().rss)
        except psutil.Error:
            break
        most_used_bytes = max(most_used_bytes, used_bytes(engine.directory))
        await asyncio.sleep(0.1)
    line = await ended
    assert line["executors"][0]["stdout"] == "x" * 96 + "END\n"
    assert 0 < most_bytes < 60_000_000
    assert most_used_bytes - before_bytes < 20_000_000


def used_bytes(directory: Path) -> int:
    """What a directory takes, other file systems in it not counted."""
    counted = subprocess.run(["du", "--one-file-system", "--summarize", "--bytes", directory], capture_output=True, check=False)
    return int(counted.stdout.split()[0])
