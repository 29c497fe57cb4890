"""A service that goes on from a backup: what ran meanwhile, and what subscribers get."""

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import aio_pika
import pytest

from servers import Counter, Tespes, until, usual_settings
from tespes.local.ftp import LocalFTP
from tespes.local.pulsar import LocalPulsar
from tespes.local.rabbitmq import PrivateRabbitMQ

pytestmark = [pytest.mark.servers, pytest.mark.slow]
TASK = {"executors": [{"image": "any", "command": ["true"]}]}
EXCHANGE = "tespes.restored"


@pytest.fixture
def kept(tmp_path: Path, rabbitmq: PrivateRabbitMQ, pulsar: LocalPulsar, ftp: LocalFTP) -> Iterator[Tespes]:
    """TESPES with the real Pulsar, and not much patience."""
    variables = {
        "TESPES_RABBITMQ__URL": rabbitmq.url,
        "TESPES_EVENTS__EXCHANGE": EXCHANGE,
        "TESPES_LOG__FORMAT": "json",
        "TESPES_PATIENCE__ASK_AFTER_S": "1",
        "TESPES_PATIENCE__SILENCE_S": "2",
    }
    running = Tespes(tmp_path / "tespes", variables, usual_settings(ftp))
    yield running
    running.stop()


def backup(tespes: Tespes, what: str) -> None:
    """`tespes backup`, as it is typed."""
    words = ["backup", what, str(tespes.state_dir.parent / "kept"), "--state-dir", str(tespes.state_dir)]
    subprocess.run([sys.executable, "-m", "tespes", *words], check=True, capture_output=True)


def lose(tespes: Tespes) -> None:
    """The log is gone, with all that is made of it; the key is not."""
    for path in tespes.state_dir.glob("*.sqlite3*"):
        path.unlink()
    (tespes.state_dir / "heads.jsonl").unlink(missing_ok=True)


def test_what_ended_meanwhile_ends_again_without_running_again(
    kept: Tespes, rabbitmq: PrivateRabbitMQ, pulsar: LocalPulsar, counter: Counter
) -> None:
    """It ran at the time of the backup. Its Pulsar is asked, has the job still, and says the result a second time."""
    kept.start()
    task_id = kept.submit({"executors": [{"image": "any", "command": counter.command}]})
    until(lambda: kept.state(task_id) == "RUNNING", what=lambda: str(kept.task(task_id)))
    backup(kept, "make")
    counter.release()
    assert kept.ended(task_id)["state"] == "COMPLETE"
    until((pulsar.staging_directory / f"{task_id}-1" / "final_status").is_file)
    kept.stop()
    asyncio.run(_purge(rabbitmq.url))
    lose(kept)
    backup(kept, "restore")
    kept.start()
    assert kept.ended(task_id)["state"] == "COMPLETE"
    assert counter.runs == 1


async def _purge(url: str) -> None:
    """Nothing that Pulsar said by itself is left."""
    async with await aio_pika.connect(url) as connection, connection.channel() as channel:
        await (await channel.get_queue("pulsar__status_update")).purge()


def test_a_runner_that_is_at_work_ends_its_task(kept: Tespes, counter: Counter) -> None:
    """It has the token of its attempt, which the log knows: it reports to whoever has the key."""
    kept.start()
    task_id = kept.submit({"executors": [{"image": "any", "command": counter.command}]})
    until(lambda: kept.state(task_id) == "RUNNING", what=lambda: str(kept.task(task_id)))
    backup(kept, "make")
    kept.stop()
    lose(kept)
    backup(kept, "restore")
    kept.start()
    counter.release()
    assert kept.ended(task_id)["state"] == "COMPLETE"
    assert counter.runs == 1


def test_subscribers_get_nothing_again_and_are_told(kept: Tespes, rabbitmq: PrivateRabbitMQ) -> None:
    """The publisher goes on behind what it had published; the first new thing is that the log was restored."""
    kept.start()
    kept.ended(kept.submit(TASK))
    backup(kept, "make")
    kept.ended(kept.submit(TASK))
    kept.stop()
    lose(kept)
    backup(kept, "restore")
    names = asyncio.run(_published(kept, rabbitmq.url))
    assert names[names.index("LogRestored") :].count("TaskCompleted") == 1
    assert names[: names.index("LogRestored")].count("TaskCompleted") <= 1  # how far it was is written down now and then


async def _published(kept: Tespes, url: str) -> list[str]:
    """The names of what is published once it runs, and a task has ended."""
    async with await aio_pika.connect(url) as connection:
        channel = await connection.channel()
        exchange = await channel.declare_exchange(EXCHANGE, aio_pika.ExchangeType.TOPIC, durable=True)
        queue = await channel.declare_queue(exclusive=True)
        await queue.bind(exchange, "#")
        await asyncio.to_thread(kept.start)
        task_id = await asyncio.to_thread(kept.submit, TASK)
        await asyncio.to_thread(kept.ended, task_id)
        found: list[str] = []
        async with asyncio.timeout(20):
            while "LogRestored" not in found or "TaskCompleted" not in found[found.index("LogRestored") :]:
                message = await queue.get(fail=False, no_ack=True)
                if message is None:
                    await asyncio.sleep(0.05)
                else:
                    found.append(str(message.routing_key).split(".")[1])
    return found
