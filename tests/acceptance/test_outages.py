"""RabbitMQ and Pulsar come and go; tasks complete all the same."""

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path

import aio_pika
import pytest

from servers import PULSAR, Counter, Loop, Tespes, until
from tespes.local.ftp import LocalFTP
from tespes.local.pulsar import LocalPulsar
from tespes.local.rabbitmq import PrivateRabbitMQ

pytestmark = pytest.mark.servers


@pytest.mark.parametrize("tespes", ["sqlite", pytest.param("mongodb", marks=pytest.mark.slow)], indirect=True)
def test_rabbitmq_stops_and_starts_while_a_task_runs(
    loop_thread: Loop, tespes: Tespes, rabbitmq: PrivateRabbitMQ, counter: Counter
) -> None:
    """The job does not notice; the result comes by HTTP, and the links come back by themselves."""
    tespes.start()
    task_id = tespes.submit({"executors": [{"image": "any", "command": counter.command}]})
    until(lambda: counter.runs == 1, what=lambda: str(tespes.task(task_id)))
    loop_thread.run(rabbitmq.stop())
    waiting = tespes.submit({"executors": [{"image": "any", "command": ["true"]}]})
    counter.release()
    ended = tespes.ended(task_id)
    assert tespes.state(waiting) == "QUEUED"
    loop_thread.run(rabbitmq.start())
    assert ended["state"] == "COMPLETE"
    assert counter.runs == 1
    assert tespes.ended(waiting)["state"] == "COMPLETE"


@pytest.mark.parametrize("tespes", ["sqlite"], indirect=True)
def test_pulsar_is_down_at_submission_and_started_later(
    loop_thread: Loop, tespes: Tespes, pulsar: LocalPulsar, counter: Counter
) -> None:
    """The job waits in the broker."""
    loop_thread.run(pulsar.stop())
    try:
        tespes.start()
        counter.release()
        task_id = tespes.submit({"executors": [{"image": "any", "command": counter.command}]})
        until(lambda: "logs" in tespes.task(task_id))
        assert tespes.state(task_id) == "QUEUED"
    finally:
        loop_thread.run(pulsar.start())
    assert tespes.ended(task_id)["state"] == "COMPLETE"
    assert counter.runs == 1


@pytest.mark.parametrize("tespes", ["sqlite"], indirect=True)
def test_a_runner_that_is_killed_leaves_a_reason(tespes: Tespes, counter: Counter) -> None:
    """Runner dead without a result: SYSTEM_ERROR that names the signal and how far it was."""
    tespes.start()
    task_id = tespes.submit({"executors": [{"image": "any", "command": counter.command}]})
    until(lambda: tespes.state(task_id) == "RUNNING", what=lambda: str(tespes.task(task_id)))
    _kill_runners()
    ended = tespes.ended(task_id)
    assert ended["state"] == "SYSTEM_ERROR"
    (reason,) = [line for line in ended["logs"][0]["system_logs"] if "died without a result" in line]
    assert "signal 9" in reason
    assert "executor 0" in reason


@pytest.mark.slow
@pytest.mark.parametrize("tespes", ["sqlite"], indirect=True)
def test_a_node_without_python_is_named(loop_thread: Loop, tespes: Tespes, rabbitmq: PrivateRabbitMQ, tmp_path: Path) -> None:
    """No Python 3 on the node: the shell says so, and the task ends with that reason."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("bash", "sh", "date", "mkdir", "cp", "mv", "rm", "env", "cat", "printf", "true", "hostname", "sleep"):
        (programs / name).symlink_to(Path("/bin") / name)
    tespes.settings = tespes.settings.replace("[default.pulsars.real]", '[default.pulsars.bare]\nmanager = "bare"')
    bare = LocalPulsar(tmp_path / "bare", program=PULSAR, broker_url=rabbitmq.url, manager="bare", path=str(programs))
    loop_thread.run(bare.start())
    try:
        tespes.start()
        ended = tespes.ended(tespes.submit({"executors": [{"image": "any", "command": ["true"]}]}))
    finally:
        loop_thread.run(bare.stop())
    assert ended["state"] == "SYSTEM_ERROR"
    assert "no Python 3.8 or newer was found on the node" in str(ended["logs"][-1]["system_logs"])
    assert len(ended["logs"]) == 3, "an attempt that never began is tried again, three times in all"


def _kill_runners() -> None:
    for process in Path("/proc").iterdir():
        if process.name.isdecimal():
            try:
                words = (process / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if words[1:4] == [b"-I", b"-S", b"-"]:
                os.kill(int(process.name), 9)


@pytest.mark.slow
@pytest.mark.parametrize("tespes", ["sqlite"], indirect=True)
def test_a_full_disk_on_the_node_is_named(
    loop_thread: Loop, tespes: Tespes, rabbitmq: PrivateRabbitMQ, ftp: LocalFTP, tmp_path: Path
) -> None:
    """A full disk: the reason names the file and what is wrong."""
    (ftp.directory / "large").write_bytes(bytes(4 * 2**20))
    small = tmp_path / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", small], check=True)
    tespes.settings = tespes.settings.replace("[default.pulsars.real]", '[default.pulsars.small]\nmanager = "small"')
    path = f"{sys.base_exec_prefix}/bin:/usr/bin:/bin"
    full = LocalPulsar(small, program=PULSAR, broker_url=rabbitmq.url, manager="small", path=path)
    loop_thread.run(full.start())
    try:
        tespes.start()
        task = {
            "inputs": [{"url": f"ftp://{ftp.url.rpartition('@')[2]}/large", "path": "/data/large"}],
            "executors": [{"image": "any", "command": ["true"]}],
        }
        ended = tespes.ended(tespes.submit(task))
    finally:
        loop_thread.run(full.stop())
        subprocess.run(["umount", small], check=True)
    assert ended["state"] == "SYSTEM_ERROR"
    assert "/data/large: no space left on the node" in str(ended["logs"][-1]["system_logs"])


@pytest.mark.parametrize("tespes", ["sqlite"], indirect=True)
def test_rubbish_goes_to_the_dead_letters(loop_thread: Loop, tespes: Tespes, rabbitmq: PrivateRabbitMQ) -> None:
    """What nobody can do anything with is kept, with its reason, and what comes after it is handled."""
    tespes.start()
    task = {"executors": [{"image": "any", "command": ["true"]}]}
    assert tespes.ended(tespes.submit(task))["state"] == "COMPLETE"
    unknown = json.dumps({"job_id": "nobody-1", "status": "complete", "complete": "true"}).encode()
    letters = loop_thread.run(_dead_letters(rabbitmq.url, [b"{", b"null", unknown]))
    assert letters == {
        b"{": "not JSON: unexpected end of data: line 1 column 2 (char 1)",
        b"null": "not a JSON object",
        unknown: "the job nobody-1 is not known here: does another TESPES have the same queues?",
    }
    assert tespes.ended(tespes.submit(task))["state"] == "COMPLETE"


async def _dead_letters(url: str, bodies: list[bytes]) -> dict[bytes, str]:
    """Publish these as Pulsar would; what then is in the queue of the dead, each with its reason."""
    async with await aio_pika.connect(url) as connection:
        channel = await connection.channel()
        dead = await channel.get_queue("tespes.dead")
        await dead.purge()
        exchange = await channel.get_exchange("pulsar")
        for body in bodies:
            await exchange.publish(aio_pika.Message(body, content_type="application/json"), "pulsar__status_update")
        found: dict[bytes, str] = {}
        async with asyncio.timeout(10):
            while len(found) < len(bodies):
                letter = await dead.get(no_ack=True, fail=False)
                if letter is None:
                    await asyncio.sleep(0.05)
                elif letter.body in bodies:
                    found[letter.body] = str(letter.headers["tespes-reason"])
        return found
