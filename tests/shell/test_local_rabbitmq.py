"""The private RabbitMQ, and a real Pulsar on it."""

import asyncio
import json
import os
import shlex
import signal
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aio_pika
import psutil
import pytest
import pytest_asyncio
from aio_pika.abc import AbstractChannel, AbstractQueue
from aiormq.exceptions import ProbableAuthenticationError

from tespes import errors
from tespes.local import identity
from tespes.local.ports import LOOPBACK
from tespes.local.process import RECORD
from tespes.local.pulsar import LocalPulsar
from tespes.local.rabbitmq import PrivateRabbitMQ, listens

pytestmark = [pytest.mark.servers, pytest.mark.asyncio(loop_scope="module")]

PULSAR = Path(os.environ.get("TESPES_TEST_PULSAR", Path(__file__).parents[2] / ".venv-pulsar/bin/pulsar-main"))
OWNER = """
import asyncio, pathlib, sys
from tespes.local.rabbitmq import PrivateRabbitMQ
async def main():
    async with PrivateRabbitMQ(pathlib.Path(sys.argv[1])) as server:
        print("OWNED", server.pid, server.url, flush=True)
        await asyncio.sleep(600)
asyncio.run(main())
"""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def broker(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[PrivateRabbitMQ]:
    async with PrivateRabbitMQ(tmp_path_factory.mktemp("broker")) as broker:
        yield broker


async def publish(channel: AbstractChannel, exchange: str, key: str, body: bytes) -> None:
    message = aio_pika.Message(
        body,
        content_type="application/json",
        content_encoding="utf-8",
        delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
    )
    await (await channel.get_exchange(exchange, ensure=False)).publish(message, key, mandatory=True)


async def take(queue: AbstractQueue, *, within_s: float = 15.0) -> bytes:
    """The next message; those that came with it go back to their place."""
    async with asyncio.timeout(within_s), queue.iterator() as messages:
        async for message in messages:
            await message.ack()
            return message.body
    raise AssertionError


def is_on_disk(directory: Path, name: bytes) -> bool:
    """Whether RabbitMQ's database has written down what is declared: it answers some milliseconds before."""
    return any(name in file.read_bytes() for file in directory.rglob("LATEST.LOG"))


def listening(pid: int) -> set[tuple[str, int]]:
    connections = psutil.Process(pid).net_connections("tcp")
    return {(one.laddr.ip, one.laddr.port) for one in connections if one.status == psutil.CONN_LISTEN}


async def test_a_message_goes_through(broker: PrivateRabbitMQ) -> None:
    """A quorum queue, as TESPES has for itself, takes a message and gives it back."""
    async with await aio_pika.connect(broker.url) as connection:
        channel = await connection.channel()
        queue = await channel.declare_queue("mine", durable=True, arguments={"x-queue-type": "quorum"})
        await publish(channel, "", "mine", b"hello")

        assert await take(queue) == b"hello"


async def test_it_is_private(broker: PrivateRabbitMQ) -> None:
    """Every port is on loopback, there is no guest, and the configuration is closed to others."""
    assert broker.pid is not None
    assert {address for address, _ in listening(broker.pid)} == {LOOPBACK}
    password = broker.url.split(":")[2].split("@")[0]
    with pytest.raises(ProbableAuthenticationError):
        await aio_pika.connect(broker.url.replace(f"tespes:{password}", "guest:guest"))
    directory = Path(psutil.Process(broker.pid).cwd())
    assert (directory / "rabbitmq.conf").stat().st_mode & 0o077 == 0
    assert directory.stat().st_mode & 0o077 == 0


async def test_a_crash_of_its_owner_or_itself_loses_nothing(tmp_path: Path) -> None:
    """A node whose owner was killed is adopted, one that crashed comes back, both with the same URL and messages."""
    owner = await asyncio.create_subprocess_exec(sys.executable, "-c", OWNER, str(tmp_path), stdout=asyncio.subprocess.PIPE)
    assert owner.stdout is not None
    line = b""
    while not line.startswith(b"OWNED"):
        line = await owner.stdout.readline()
        assert line
    _, pid, url = line.decode().split()
    owner.send_signal(signal.SIGKILL)
    await owner.communicate()

    async with PrivateRabbitMQ(tmp_path) as heir:
        assert (heir.pid, heir.url) == (int(pid), url)
        async with await aio_pika.connect(url) as connection:
            channel = await connection.channel()
            await channel.declare_queue("kept", durable=True)
            await publish(channel, "", "kept", b"hello")
        while not is_on_disk(tmp_path, b"kept"):  # noqa: ASYNC110 - a file sends no event
            await asyncio.sleep(0.02)
        await heir.kill()
        await heir.start()
        assert heir.pid != int(pid)
        assert heir.url == url
        async with await aio_pika.connect(url) as connection:
            assert await take(await (await connection.channel()).get_queue("kept")) == b"hello"
    await nothing_remains(tmp_path)


async def nothing_remains(directory: Path) -> None:
    used = json.loads((directory / "node.json").read_text())
    for port in (used["amqp_port"], used["epmd_port"], used["distribution_port"]):
        assert not await listens(LOOPBACK, port)
    alive = [process.cmdline() for process in psutil.process_iter() if process.status() != psutil.STATUS_ZOMBIE]
    assert not [argv for argv in alive if str(directory) in " ".join(argv)]
    assert not (directory / RECORD).exists()


async def test_a_missing_rabbitmq_is_said_in_one_line(tmp_path: Path) -> None:
    """Without RabbitMQ there is one line that says what to do, and nothing is left."""
    with pytest.raises(errors.SetupError, match=r"^RabbitMQ is not installed: apt-get install .*TESPES_RABBITMQ__URL$"):
        await PrivateRabbitMQ(tmp_path / "rabbitmq", program=tmp_path / "rabbitmq-server").start()
    assert not (tmp_path / "rabbitmq").exists()


class Site:
    """A Pulsar, and its queues as a client of it sees them (all are declared before the first message)."""

    names = ("setup", "kill", "status", "status_update", "setup_ack", "kill_ack", "status_ack")

    def __init__(self, pulsar: LocalPulsar, channel: AbstractChannel) -> None:
        self.pulsar = pulsar
        self.channel = channel
        self.queues: dict[str, AbstractQueue] = {}

    async def declare(self) -> None:
        await self.channel.declare_exchange("pulsar", aio_pika.ExchangeType.DIRECT, durable=True)
        for name in self.names:
            self.queues[name] = await self.channel.declare_queue(f"pulsar__{name}", durable=True)
            await self.queues[name].bind("pulsar", f"pulsar__{name}")

    async def submit(self, job_id: str, script: str) -> None:
        body = {"job_id": job_id, "command_line": f"(\n{script}\n)", "setup_params": {"job_id": job_id}}
        await publish(self.channel, "pulsar", "pulsar__setup", json.dumps(body).encode())

    async def final(self) -> dict[str, Any]:
        while True:
            update: dict[str, Any] = json.loads(await take(self.queues["status_update"]))
            if update["complete"] == "true":
                return update


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site(broker: PrivateRabbitMQ, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Site]:
    assert PULSAR.is_file(), f"no Pulsar at {PULSAR}: make one, or name its pulsar-main with TESPES_TEST_PULSAR"
    directory = tmp_path_factory.mktemp("pulsar")
    async with (
        await aio_pika.connect(broker.url) as connection,
        LocalPulsar(directory, program=PULSAR, broker_url=broker.url, path="/usr/bin:/bin") as pulsar,
    ):
        site = Site(pulsar, await connection.channel())
        await site.declare()
        yield site


async def test_pulsar_consumes_when_it_is_started(site: Site) -> None:
    """Its consumers are on the queues, and its configuration is closed to others."""
    declared = await site.channel.declare_queue("pulsar__setup", passive=True)
    assert declared.declaration_result.consumer_count == 1
    app_yml = site.pulsar.staging_directory.parent / "app.yml"
    assert app_yml.stat().st_mode & 0o077 == 0


async def test_pulsar_runs_a_job(site: Site) -> None:
    """A setup message leads to a final status with the job's exit code."""
    await site.submit("t1", "true")

    update = await site.final()

    assert (update["job_id"], update["status"], update["returncode"]) == ("t1", "complete", 0)


async def test_jobs_survive_a_crash_of_pulsar_but_not_its_stop(site: Site, tmp_path: Path) -> None:
    """`restart` is a crash: Pulsar says `lost`, the job lives on. `stop` ends it."""
    noted = tmp_path / "pid"
    await site.submit("t2", f"echo $$ > {shlex.quote(str(noted))}.new; mv {noted}.new {noted}; exec sleep 600")
    while not noted.exists():  # noqa: ASYNC110 - a file sends no event
        await asyncio.sleep(0.02)
    job = int(noted.read_text())

    await site.pulsar.restart()
    assert (await site.final())["status"] == "lost"
    assert identity.look(job) is not None

    started = time.monotonic()
    await site.pulsar.stop()
    assert time.monotonic() - started < 2
    assert identity.look(job) is None


async def test_pulsar_refuses_a_directory_that_it_could_not_quote(tmp_path: Path) -> None:
    """White space in its path would break every job."""
    pulsar = LocalPulsar(tmp_path / "a b", program=PULSAR, broker_url="amqp://127.0.0.1/")
    with pytest.raises(errors.SetupError, match="white space in the path"):
        await pulsar.start()
