"""What the groups share: fresh directories, servers that are started when they are first asked for, a log to read."""

import sys
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import docker_engine
from bench import seed
from docker_engine import DockerEngine
from tespes.local.mongodb import LocalMongoDB
from tespes.local.pulsar import LocalPulsar
from tespes.local.rabbitmq import PrivateRabbitMQ

ROOT = Path(__file__).resolve().parents[1]
MONGODB_PROGRAM = Path(sys.executable).with_name("secantusd-py")
PULSAR_PROGRAM = ROOT / ".venv-pulsar" / "bin" / "pulsar-main"

README_TASK: dict[str, Any] = {
    "inputs": [{"url": "ftp://127.0.0.1:2121/holy_file", "path": "/data/file1", "type": "FILE"}],
    "outputs": [{"path": "/data/outfile", "url": "ftp://127.0.0.1:2121/outfile-1", "type": "FILE"}],
    "executors": [{"image": "alpine", "command": ["md5sum"], "stdin": "/data/file1", "stdout": "/data/outfile"}],
}


class Bench:
    """One run of the benchmarks.

    :param directory: everything is below it
    :param stack: what is started for the run ends with it
    :param quick: fewer and shorter rounds
    """

    def __init__(self, directory: Path, stack: AsyncExitStack, *, quick: bool) -> None:
        self._directory = directory
        self._stack = stack
        self._count = 0
        self._rabbitmq: PrivateRabbitMQ | None = None
        self._mongodb: LocalMongoDB | None = None
        self._seeded: Path | None = None
        self.quick = quick
        self.rounds = 1 if quick else 3
        self.tasks = 2_000 if quick else 10_000

    def fresh(self) -> Path:
        """An empty directory."""
        self._count += 1
        path = self._directory / f"{self._count:03}"
        path.mkdir()
        return path

    async def rabbitmq(self) -> str:
        """URL of a RabbitMQ on loopback."""
        if self._rabbitmq is None:
            self._rabbitmq = await self._stack.enter_async_context(PrivateRabbitMQ(self.fresh()))
        return self._rabbitmq.url

    async def mongodb(self) -> str:
        """URI of a MongoDB wire server on loopback, without a database."""
        if self._mongodb is None:
            server = LocalMongoDB(self.fresh(), program=MONGODB_PROGRAM)
            self._mongodb = await self._stack.enter_async_context(server)
        return self._mongodb.uri

    async def pulsar(self, broker_url: str) -> None:
        """A Pulsar that takes jobs from that broker's virtual host, until the run ends."""
        path = f"{Path(sys.executable).resolve().parent}:/usr/local/bin:/usr/bin:/bin"
        local = LocalPulsar(self.fresh(), program=PULSAR_PROGRAM, broker_url=broker_url, path=path)
        await self._stack.enter_async_context(local)

    def docker(self) -> DockerEngine:
        """A private Docker engine with a small image, until the run ends."""
        return self._stack.enter_context(docker_engine.running())

    async def seeded(self) -> Path:
        """A state directory with `tasks` complete histories of the README task, and their view. Copy it to change it."""
        if self._seeded is None:
            self._seeded = self.fresh()
            await seed.write(self._seeded, README_TASK, self.tasks)
        return self._seeded
