"""What `tespes doctor` is shown: settings, servers with something wrong about them, and what it finds there."""

import asyncio
import contextlib
import os
import secrets
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote, urlsplit

from pymongo import AsyncMongoClient

from servers import PULSAR
from tespes import doctor, settings
from tespes.doctor.finding import Finding, Level
from tespes.local import rabbitmq as local_rabbitmq
from tespes.local.mongodb import LocalMongoDB
from tespes.local.pulsar import LocalPulsar
from tespes.local.rabbitmq import PrivateRabbitMQ

RABBITMQCTL = "/usr/lib/rabbitmq/bin/rabbitmqctl"
REAL = '[default.pulsars.real]\nruntime = {kind = "sandbox"}\n'
QUICK = None
PASSWORD = "never-shown"  # noqa: S105 - and not secret


@dataclass(frozen=True)
class Patient:
    """A TESPES that could be run, with the settings in that directory."""

    directory: Path
    state_dir: Path

    @classmethod
    def made(cls, directory: Path, text: str = "", *, broker_url: str, state_dir: Path | None = None, port: int = 0) -> Self:
        """One that uses that RabbitMQ."""
        whole = f'[default.http]\nport = {port}\n[default.rabbitmq]\nurl = "{broker_url}"\n{text}'
        (directory / "settings.toml").write_text(whole)
        return cls(directory, state_dir or directory / "state")

    async def examined(self, job_s: float | None = QUICK) -> list[Finding]:
        """What the doctor finds."""
        chosen = settings.load(self.directory / "settings.toml", {"state_dir": self.state_dir})
        return await doctor.examine(chosen, job_s)

    def command(self, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """What the command says."""
        argv = [sys.executable, "-m", "tespes", "doctor", "--settings", str(self.directory / "settings.toml")]
        argv += ["--state-dir", str(self.state_dir), *words]
        return subprocess.run(argv, env={**os.environ, **variables}, capture_output=True, text=True, check=False, timeout=60)


def problems(found: list[Finding]) -> dict[str, str]:
    """What is wrong, by its name; one for each."""
    return {each.about: each.said for each in found if each.level is Level.PROBLEM}


def warnings(found: list[Finding]) -> dict[str, str]:
    """What a person should look at, by its name."""
    return {each.about: each.said for each in found if each.level is Level.WARNING}


@dataclass(frozen=True)
class Vhost:
    """A virtual host of a RabbitMQ.

    :param url: with a user that may do everything there; :param least_url: with one that may not use the queue `pulsar__kill`
    """

    url: str
    least_url: str


async def a_vhost(rabbitmq: PrivateRabbitMQ) -> Vhost:
    """A new one, with nothing in it."""
    return (await vhosts(rabbitmq, 1))[0]


async def vhosts(rabbitmq: PrivateRabbitMQ, count: int) -> list[Vhost]:
    """As many new ones: each word with the administrator takes a second."""
    names = [f"doctor/{secrets.token_hex(4)}" for _ in range(count)]
    user, whole = f"least-{secrets.token_hex(4)}", urlsplit(rabbitmq.url)
    steps = [f'rabbit_auth_backend_internal:add_user(<<"{user}">>, <<"{PASSWORD}">>, <<"test">>)']
    for name in names:
        steps += [
            f'rabbit_vhost:add(<<"{name}">>, <<"test">>)',
            _permission(whole.username, name, ".*"),
            _permission(user, name, "^(amq.default|tespes.dead|pulsar|pulsar__s.*)$"),
        ]
    await ctl(rabbitmq, "eval", f"{', '.join(steps)}.")
    places = [whole._replace(path=f"/{quote(name, safe='')}") for name in names]
    host = f"{user}:{PASSWORD}@{whole.hostname}:{whole.port}"
    return [Vhost(place.geturl(), place._replace(netloc=host).geturl()) for place in places]


def _permission(user: str | None, vhost: str, what: str) -> str:
    names = ", ".join(f'<<"{each}">>' for each in (user, vhost, what, what, what, "test"))
    return f"rabbit_auth_backend_internal:set_permissions({names})"


async def ctl(rabbitmq: PrivateRabbitMQ, *command: str) -> None:
    """Have the administrator of that RabbitMQ do something."""
    environment = local_rabbitmq._environment(rabbitmq._directory, rabbitmq._node())
    environment.pop("RUNNING_UNDER_SYSTEMD")
    process = await asyncio.create_subprocess_exec(
        RABBITMQCTL, *command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    output, said = await process.communicate()
    assert process.returncode == 0, (output + said).decode()


@contextlib.asynccontextmanager
async def a_pulsar(directory: Path, broker_url: str, version: str | None = None) -> AsyncIterator[LocalPulsar]:
    """A real Pulsar, which takes itself for another version if that is said."""
    program = PULSAR
    if version is not None:
        directory.mkdir(parents=True, exist_ok=True)
        program = directory / "pulsar-main"
        python = PULSAR.with_name("python")
        lines = (f"#!{python}", "import sys, pulsar", f"pulsar.__version__ = {version!r}", "from pulsar.main import main")
        program.write_text("\n".join((*lines, "sys.exit(main())", "")))
        program.chmod(0o700)
    async with LocalPulsar(directory, program=program, broker_url=broker_url, path="/usr/bin:/bin") as local:
        yield local


@contextlib.contextmanager
def a_small_disk(directory: Path, options: str) -> Iterator[Path]:
    """A file system of its own, in memory."""
    directory.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(directory)], check=True)
    try:
        yield directory
    finally:
        subprocess.run(["umount", str(directory)], check=True)


class _Guarded(LocalMongoDB):
    """One that lets in who has a password, once there are users."""

    has_users = False

    def _argv(self) -> list[str]:
        return [*super()._argv(), *(["--auth"] if self.has_users else [])]


@contextlib.asynccontextmanager
async def a_mongodb_with_users(directory: Path) -> AsyncIterator[str]:
    """Its host with a port, and options: `reader`, with the password `never-shown`, may read the database `tespes`."""
    async with _Guarded(directory, program=Path(sys.executable).with_name("secantusd-py")) as server:
        async with AsyncMongoClient[dict[str, Any]](server.uri) as client:
            roles = [{"role": "read", "db": "tespes"}]
            await client.admin.command("createUser", "reader", pwd=PASSWORD, roles=roles)
        server.has_users = True
        await server.restart()
        yield f"{server.uri.removeprefix('mongodb://')}&authSource=admin"
