"""One child process and its owner: started, adopted, ended, never left behind."""

import asyncio
import json
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest
import pytest_asyncio

from tespes import errors
from tespes.local import identity, ports
from tespes.local.process import RECORD, OwnedProcess

SLEEPS = ["/bin/sleep", "600"]
# A program that ignores SIGTERM, with a child in another process group, and a line that says that both are there.
STUBBORN = """
import signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = subprocess.Popen(["/bin/sleep", "600"], process_group=0)
print("child", child.pid, flush=True)
time.sleep(600)
"""


async def start(process: OwnedProcess, argv: list[str], directory: Path) -> None:
    await process.start(argv, environment={"PATH": os.defpath}, directory=directory)


@pytest_asyncio.fixture
async def process(tmp_path: Path) -> AsyncIterator[OwnedProcess]:
    process = OwnedProcess("the sleeper", tmp_path, log_file=tmp_path / "log", patience_s=0.3)
    yield process
    await process.stop()


async def never() -> bool:
    return False


async def test_nothing_remains_after_a_stop(process: OwnedProcess, tmp_path: Path) -> None:
    """On a clean exit there is no process and no record file."""
    await start(process, SLEEPS, tmp_path)
    pid = process.pid
    assert pid is not None
    assert (tmp_path / RECORD).is_file()

    await process.stop()

    assert not psutil.pid_exists(pid)
    assert process.pid is None
    assert not (tmp_path / RECORD).exists()


async def test_what_the_program_started_ends_with_it(process: OwnedProcess, tmp_path: Path) -> None:
    """A program that ignores the stop signal is killed, with its children in whatever process group."""
    await start(process, [sys.executable, "-c", STUBBORN], tmp_path)

    async def has_child() -> bool:
        return "child" in process.log_file.read_text()

    await process.wait_until(has_child, within_s=10)
    child = int(process.log_file.read_text().split()[1])
    assert psutil.pid_exists(child)

    await process.stop()

    assert identity.look(child) is None


async def test_children_of_a_crashed_program_end_at_the_stop(process: OwnedProcess, tmp_path: Path) -> None:
    """`kill` crashes the program alone; `stop` ends what it left behind, even after another start."""
    await start(process, ["/bin/sh", "-c", "sleep 600 & wait"], tmp_path)
    pid = process.pid
    assert pid is not None
    leader = identity.look(pid)
    assert leader is not None

    async def has_child() -> bool:
        return len(identity.family([leader.identity])) > 1

    await process.wait_until(has_child, within_s=10)
    await process.kill()
    await start(process, SLEEPS, tmp_path)
    left = identity.family([leader.identity])
    await process.stop()

    assert len(left) == 1
    assert not any(identity.is_alive(one) for one in left)


async def test_an_orphan_is_adopted_by_pid_and_start_time(process: OwnedProcess, tmp_path: Path) -> None:
    """The next owner finds the program that a killed one left."""
    await start(process, SLEEPS, tmp_path)
    heir = OwnedProcess("the sleeper", tmp_path, log_file=tmp_path / "log")

    assert heir.adopt()
    assert heir.pid == process.pid
    await heir.stop()

    assert not process.is_running


async def test_another_process_with_the_same_pid_is_left_alone(process: OwnedProcess, tmp_path: Path) -> None:
    """A pid whose start time differs from the record's belongs to somebody else."""
    await start(process, SLEEPS, tmp_path)
    record = json.loads((tmp_path / RECORD).read_text())
    record["leaders"][0]["started_ticks"] += 1
    (tmp_path / RECORD).write_text(json.dumps(record))
    stranger = OwnedProcess("the sleeper", tmp_path, log_file=tmp_path / "log")

    assert not stranger.adopt()
    await stranger.stop()

    assert process.is_running


async def test_a_program_that_dies_at_once_says_why(process: OwnedProcess, tmp_path: Path) -> None:
    """The error names the program, its exit code, its last log line and the log file."""
    await start(process, ["/bin/sh", "-c", "echo first; echo no licence >&2; exit 7"], tmp_path)

    with pytest.raises(errors.SetupError) as caught:
        await process.wait_until(never, within_s=10)

    expected = f"the sleeper ended with exit code 7 before it was ready: no licence (log: {tmp_path / 'log'})"
    assert str(caught.value) == expected


async def test_a_program_that_takes_too_long_is_named(process: OwnedProcess, tmp_path: Path) -> None:
    """Waiting for a program has an end."""
    await start(process, SLEEPS, tmp_path)

    with pytest.raises(errors.SetupError, match=r"the sleeper \(pid \d+\) was not ready after 0.1 s"):
        await process.wait_until(never, within_s=0.1)


async def test_a_missing_program_is_named(process: OwnedProcess, tmp_path: Path) -> None:
    """A program that is not there is a SetupError with its path, not a traceback."""
    with pytest.raises(errors.SetupError, match="the sleeper cannot be started: /no/such: No such file"):
        await start(process, ["/no/such"], tmp_path)


async def test_an_owner_that_was_killed_leaves_nothing_after_the_next_stop(tmp_path: Path) -> None:
    """`kill -9` of the owner: the record is enough to end its child."""
    owner = (
        "import asyncio, pathlib, sys\n"
        "from tespes.local.process import OwnedProcess\n"
        "async def main(directory):\n"
        "    process = OwnedProcess('sleep', directory, log_file=directory / 'log')\n"
        "    await process.start(['/bin/sleep', '600'], environment={}, directory=directory)\n"
        "    print('up', flush=True)\n"
        "    await asyncio.sleep(600)\n"
        "asyncio.run(main(pathlib.Path(sys.argv[1])))\n"
    )
    killed = await asyncio.create_subprocess_exec(sys.executable, "-c", owner, str(tmp_path), stdout=asyncio.subprocess.PIPE)
    assert killed.stdout is not None
    await killed.stdout.readline()
    killed.send_signal(signal.SIGKILL)
    await killed.communicate()
    heir = OwnedProcess("sleep", tmp_path, log_file=tmp_path / "log")

    assert heir.adopt()
    pid = heir.pid
    await heir.stop()

    assert pid is not None
    assert identity.look(pid) is None
    assert not (tmp_path / RECORD).exists()


async def test_a_free_port_is_free() -> None:
    """A port is free until something listens on it; then it is no longer free, and it answers."""
    port = ports.free_port()
    assert ports.is_free(port)
    assert not await ports.listens(ports.LOOPBACK, port)

    with socket.create_server((ports.LOOPBACK, port)):
        assert not ports.is_free(port)
        assert await ports.listens(ports.LOOPBACK, port)
