"""One fault at a time, each with what must come of it. What other folders test already is named in README.md."""

import asyncio
import json
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import Any

import aio_pika
import pytest

from faults.world import World
from tespes.local import rabbitmq as local_rabbitmq
from tespes.local.rabbitmq import PrivateRabbitMQ

pytestmark = [
    pytest.mark.servers,
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),  # what crashed was not tidied up
]

on_sqlite = pytest.mark.parametrize("place", ["sqlite"], indirect=True)
RABBITMQCTL = "/usr/lib/rabbitmq/bin/rabbitmqctl"


async def test_pulsar_is_killed_in_mid_job_and_the_task_completes_from_the_same_attempt(world: World) -> None:
    """queued_python: the job lives on as an orphan, Pulsar says `lost`, and the runner's own result counts."""
    site = await world.add_site("queued_python")
    await world.start()
    task_id = await world.submit("sleep", "1.5")
    await world.runs(task_id)
    await site.pulsar.restart()
    ended = await world.becomes(task_id)
    assert (ended["state"], len(ended["logs"])) == ("COMPLETE", 1)
    assert "AttemptOrphaned" in (await world.check()).types(task_id)


@pytest.mark.slow
@on_sqlite
@pytest.mark.parametrize("kind", ["queued_cli", "unqueued", "queued_condor"])
async def test_pulsar_is_killed_in_mid_job_with_another_manager(world: World, kind: Any) -> None:
    """Found again, or never spoken of again: the runner's result counts in any case."""
    site = await world.add_site(kind)
    await world.start()
    task_id = await world.submit("sleep", "0.8")
    await world.runs(task_id)
    await site.pulsar.restart()
    ended = await world.becomes(task_id)
    assert (ended["state"], len(ended["logs"])) == ("COMPLETE", 1)
    await world.check()


@pytest.mark.slow
@on_sqlite
async def test_a_job_whose_node_died_is_given_up_and_the_risk_is_named(world: World) -> None:
    """Pulsar lost it, its runner says nothing any more: the task ends, and the log says what is not known."""
    site = await world.add_site("queued_python")
    await world.start()
    task_id = await world.submit("sleep", "30")
    await world.runs(task_id)
    site.http.shut()
    await site.pulsar.restart()
    ended = await world.becomes(task_id)
    assert ended["state"] == "SYSTEM_ERROR"
    assert "may still run" in str(ended["logs"])
    site.http.open()
    await world.until(lambda: not world.record.alive())
    await world.check()


@on_sqlite
async def test_a_runner_that_the_node_kills_ends_its_task(world: World) -> None:
    """Short of memory, for example: Pulsar sees the exit code of a signal."""
    site = await world.add_site()
    await world.start()
    task_id = await world.submit("sleep", "30")
    await world.runs(task_id)
    site.pulsar.kill_process(f"{task_id}-1")
    ended = await world.becomes(task_id)
    assert ended["state"] == "SYSTEM_ERROR"
    assert "signal 9" in str(ended["logs"])
    await world.check()


@on_sqlite
async def test_a_job_without_an_exit_code_ends_its_task(world: World) -> None:
    """What a batch system's time limit leaves: `complete`, with null for an exit code, and no result."""
    site = await world.add_site("queued_cli")
    site.pulsar.habits.has_returncode = False
    await world.start()
    task_id = await world.submit("sleep", "30")
    await world.runs(task_id)
    site.pulsar.kill_process(f"{task_id}-1")
    ended = await world.becomes(task_id)
    assert ended["state"] == "SYSTEM_ERROR"
    assert "exit code" in str(ended["logs"])
    await world.check()


@pytest.mark.slow
@on_sqlite
async def test_messages_that_come_late_twice_and_mixed_up_change_nothing(world: World) -> None:
    """Twenty tasks; each runs once."""
    site = await world.add_site(slots=8)
    site.pulsar.habits.delay_s, site.pulsar.habits.repeats = 0.5, 1.0
    await world.start()
    ids = await asyncio.gather(*(world.submit("true") for _ in range(20)))
    for task_id in ids:
        assert (await world.becomes(task_id))["state"] == "COMPLETE"
    await asyncio.sleep(0.6)
    seen = await world.check()
    assert all(seen.types(task_id).count("ExecutorStarted") == 1 for task_id in ids)


@pytest.mark.slow
@on_sqlite
async def test_the_result_is_found_at_the_end_of_a_megabyte(world: World) -> None:
    """Whoever else wrote to the job's output: the last line counts. It is all there is, if TESPES was away meanwhile."""
    site = await world.add_site("queued_cli")
    site.pulsar.habits.noise = "x" * 2**20 + "\n"
    world.settings = {**world.settings, "runner": {**world.settings["runner"], "report_patience_s": 0.5}}
    await world.start()
    task_id = await world.submit("sleep", "0.5")
    await world.runs(task_id)
    site.http.shut()
    ended = await world.becomes(task_id)
    assert ended["state"] == "COMPLETE"
    await world.check()


@on_sqlite
async def test_a_queue_that_somebody_deleted_is_declared_again(world: World) -> None:
    """The setup message comes back to TESPES, which makes the queue and sends it again."""
    site = await world.add_site()
    await world.start()
    assert (await world.becomes(await world.submit("true")))["state"] == "COMPLETE"
    await site.pulsar.kill()
    async with await aio_pika.connect(world.broker_url) as connection:
        channel = await connection.channel()
        await channel.queue_delete(f"pulsar_{site.settings['manager']}__setup")
    task_id = await world.submit("true")
    await asyncio.sleep(0.5)
    await site.pulsar.start()
    assert (await world.becomes(task_id))["state"] == "COMPLETE"
    await world.check()


@pytest.mark.slow
@on_sqlite
async def test_a_broker_that_refuses_messages_is_asked_again(world: World, rabbitmq: PrivateRabbitMQ) -> None:
    """A full queue answers with a nack: the attempt waits, and goes on when there is room."""
    site = await world.add_site()
    await world.start()
    name = f"pulsar_{site.settings['manager']}__setup"
    limits = json.dumps({"max-length": 1, "overflow": "reject-publish"})
    await site.pulsar.kill()
    await control(rabbitmq, "set_policy", "--apply-to", "queues", name, f"^{name}$", limits)
    try:
        first, second = await world.submit("true"), await world.submit("true")
        await asyncio.sleep(1)
        assert {await world.state(first), await world.state(second)} == {"QUEUED"}
    finally:
        await control(rabbitmq, "clear_policy", name)
    await site.pulsar.start()
    for task_id in (first, second):
        assert (await world.becomes(task_id))["state"] == "COMPLETE"
    await world.check()


@pytest.mark.slow
@on_sqlite
async def test_a_broker_short_of_memory_blocks_and_is_waited_for(world: World, rabbitmq: PrivateRabbitMQ) -> None:
    """RabbitMQ's memory alarm: it takes nothing and closes nothing. What runs, ends; what waits, runs afterwards."""
    await world.add_site()
    await world.start()
    running = await world.submit("sleep", "1")
    await world.runs(running)
    await control(rabbitmq, "set_vm_memory_high_watermark", "0.000001")
    try:
        waiting = await world.submit("true")
        assert (await world.becomes(running))["state"] == "COMPLETE"
        await asyncio.sleep(12)  # longer than a confirmation is waited for
        assert await world.state(waiting) == "QUEUED"
    finally:
        await control(rabbitmq, "set_vm_memory_high_watermark", "0.4")
    assert (await world.becomes(waiting))["state"] == "COMPLETE"
    await world.check()


@on_sqlite
async def test_a_pulsar_that_left_the_settings_loses_no_task(world: World) -> None:
    """What it had not begun goes elsewhere; what it runs there, ends by the runner's own result."""
    leaving = await world.add_site(slots=8)
    leaving.pulsar.habits.stages_for_ever = True
    await world.start()
    unclaimed = await world.submit("true")
    await world.until(lambda: f"{unclaimed}-1" in leaving.pulsar.jobs)
    leaving.pulsar.habits.stages_for_ever = False
    running = await world.submit("sleep", "2")
    await world.runs(running)
    await world.add_site()
    await world.restart(without="site0")
    assert (await world.becomes(unclaimed))["state"] == "COMPLETE"
    ended = await world.becomes(running)
    assert (ended["state"], len(ended["logs"])) == ("COMPLETE", 1)
    await world.check()


@on_sqlite
async def test_clients_that_hang_up_in_the_middle_of_a_request_leave_whole_tasks_or_none(world: World) -> None:
    """After the head, in the body, or before the answer: what was accepted runs, and TESPES serves on."""
    await world.add_site()
    await world.start()
    body = json.dumps({"executors": [{"image": "any", "command": ["true"]}]}).encode()
    head = (
        f"POST /v1/tasks HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    )
    for sent in (head, head + body[:10], head + body):
        for _ in range(5):
            _, writer = await asyncio.open_connection("127.0.0.1", world.front.port)
            writer.write(sent)
            await writer.drain()
            writer.transport.abort()
    await world.submit("true")
    seen = await world.check()
    assert 1 <= len(seen.views) <= 6


@pytest.mark.slow
@on_sqlite
async def test_a_full_disk_refuses_what_it_cannot_keep_and_keeps_what_it_has(world: World, tmp_path: Path) -> None:
    """SQLite on a disk that fills up: 503, and everything goes on when there is room."""
    await world.add_site()
    small = world.place.state_dir
    small.mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", small], check=True)
    try:
        await world.start()
        running = await world.submit("sleep", "1")
        await world.runs(running)
        filler = small / "filler"
        await asyncio.to_thread(_fill, filler)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(_submit_for_ever(world), 3)
        filler.unlink()
        assert (await world.becomes(running))["state"] == "COMPLETE"
        assert (await world.becomes(await world.submit("true")))["state"] == "COMPLETE"
        await world.check()
        for process in world.processes:
            await process.crash()
    finally:
        subprocess.run(["umount", small], check=True)


async def control(node: PrivateRabbitMQ, *command: str) -> None:
    """Tell RabbitMQ something, as its operator does."""
    environment = local_rabbitmq._environment(node._directory, node._node())
    environment.pop("RUNNING_UNDER_SYSTEMD")
    process = await asyncio.create_subprocess_exec(
        RABBITMQCTL, *command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    _, said = await process.communicate()
    assert process.returncode == 0, said.decode()


async def _submit_for_ever(world: World) -> None:
    while True:
        await world.submit("true", description="x" * 100_000)


def _fill(filler: Path) -> None:
    with suppress(OSError), filler.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(65536))
