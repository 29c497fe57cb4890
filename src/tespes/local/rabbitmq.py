"""A private RabbitMQ node on loopback, for a TESPES that was given no broker.

It has its own port mapper (epmd), cookie, data and random password, no `guest`, no management, and listens on 127.0.0.1
only. A node that a killed TESPES left running is adopted.
"""

import asyncio
import json
import os
import secrets
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final, Self

import structlog

from tespes import errors
from tespes.local import files, ports
from tespes.local.ports import LOOPBACK, listens
from tespes.local.process import OwnedProcess

__all__ = ["PrivateRabbitMQ", "listens"]

_log = structlog.get_logger(__name__)
# The wrapper in /usr/sbin changes the user and the directory; the program behind it does not.
_DEBIAN: Final = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
_NOT_INSTALLED: Final = "RabbitMQ is not installed: apt-get install rabbitmq-server, or name one with TESPES_RABBITMQ__URL"
_USER: Final = "tespes"
_START_WITHIN_S: Final = 60.0
_ADOPT_WITHIN_S: Final = 15.0
# epmd's KILL_REQ with its length in front (Erlang distribution protocol, "EPMD Protocol"); refused while a node lives.
_EPMD_KILL: Final = b"\x00\x01k"
_EPMD_WITHIN_S: Final = 2.0


@dataclass(frozen=True)
class _Node:
    """What stays the same when the node is started again."""

    amqp_port: int
    epmd_port: int
    distribution_port: int
    password: str


class PrivateRabbitMQ:
    """A RabbitMQ node that lives in one directory and ends with its owner; an async context manager.

    :param directory: everything of the node; made if missing. The same directory gives the same `url`.
    :param program: `rabbitmq-server`; None looks for the one of the Debian package, then in PATH
    """

    def __init__(self, directory: Path, *, program: Path | None = None) -> None:
        self._directory = directory.absolute()
        self._program = program
        self._process = OwnedProcess("RabbitMQ", self._directory, log_file=self._directory / "rabbitmq-server.log")

    @property
    def url(self) -> str:
        """`amqp://user:password@127.0.0.1:port/`, virtual host `/`: it holds the password, so never log it."""
        node = self._node()
        return f"amqp://{_USER}:{node.password}@{LOOPBACK}:{node.amqp_port}/"

    @property
    def pid(self) -> int | None:
        return self._process.pid

    def find_program(self) -> Path:
        """Where RabbitMQ is.

        :raises errors.SetupError: it is not installed
        """
        found = shutil.which("rabbitmq-server")
        candidates = [self._program] if self._program else [_DEBIAN, *([Path(found)] if found else [])]
        for candidate in candidates:
            if os.access(candidate, os.X_OK):
                return candidate
        raise errors.SetupError(_NOT_INSTALLED)

    async def start(self) -> Self:
        """Adopt the node of this directory if it is still running, else start it; return when it takes connections.

        :raises errors.SetupError: RabbitMQ is not installed or does not come up
        """
        program = self.find_program()
        files.make_private_directory(self._directory)
        try:
            adopted = await self._adopt()
            if not adopted:
                await self._launch(program)
        except BaseException:
            await self.stop()
            raise
        _log.info("private RabbitMQ is up", pid=self.pid, port=self._node().amqp_port, adopted=adopted)
        return self

    async def stop(self) -> None:
        """End the node, in order if it can, and its port mapper. Its data stay."""
        await self._process.stop()
        if self._node_file.is_file():
            await _end_epmd(self._node().epmd_port)

    async def kill(self) -> None:
        """Crash the node (SIGKILL)."""
        await self._process.kill()

    async def restart(self) -> None:
        """Stop the node if it is running, and start it with the same url and data."""
        await self.stop()
        await self.start()

    async def __aenter__(self) -> Self:
        return await self.start()

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    @property
    def _node_file(self) -> Path:
        return self._directory / "node.json"

    def _node(self) -> _Node:
        match files.read_json(self._node_file):
            case {"password": str(), "amqp_port": int()} as known:
                return _Node(**known)
            case _:
                return self._choose(secrets.token_hex(16))

    def _choose(self, password: str) -> _Node:
        amqp, epmd, distribution = ports.free_ports(3)
        node = _Node(amqp, epmd, distribution, password)
        files.make_private_directory(self._directory)
        files.write_private(self._node_file, json.dumps(asdict(node)))
        return node

    async def _adopt(self) -> bool:
        if not self._process.adopt():
            return False
        try:
            await self._process.wait_until(self._answers, within_s=_ADOPT_WITHIN_S)
        except errors.SetupError as error:
            _log.warning("a RabbitMQ node that was left running does not answer and is ended", reason=str(error))
            await self._process.stop()
            return False
        return True

    async def _launch(self, program: Path) -> None:
        node = self._node()
        await _end_epmd(node.epmd_port)
        if not all(ports.is_free(port) for port in (node.amqp_port, node.epmd_port, node.distribution_port)):
            _log.warning("the ports of the private RabbitMQ are taken; it gets others", port=node.amqp_port)
            node = self._choose(node.password)
        _configure(self._directory, node)
        server, environment = _fewer_libraries(self._directory / "program", program)
        environment |= _environment(self._directory, node)
        await self._process.start([str(server)], environment=environment, directory=self._directory)
        await self._process.wait_until(self._answers, within_s=_START_WITHIN_S)

    async def _answers(self) -> bool:
        return await listens(LOOPBACK, self._node().amqp_port)


def _configure(directory: Path, node: _Node) -> None:
    """Write the node's configuration. Its first start makes the one user; there is no `guest` then."""
    lines = [
        f"listeners.tcp.1 = {LOOPBACK}:{node.amqp_port}",
        f"default_user = {_USER}",
        f"default_pass = {node.password}",
        "log.console = false",
        "log.file.rotation.size = 10485760",
        "log.file.rotation.count = 3",
        "disk_free_limit.absolute = 50MB",
    ]
    files.write_private(directory / "rabbitmq.conf", "\n".join(lines) + "\n")
    files.write_private(directory / "enabled_plugins", "[].\n")
    files.make_private_directory(directory / "home")  # the Erlang cookie


def _environment(directory: Path, node: _Node) -> dict[str, str]:
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "LANG": "C.UTF-8",
        "HOME": str(directory / "home"),
        "RABBITMQ_NODENAME": "tespes@localhost",  # no need for the machine's own name to resolve
        "RABBITMQ_MNESIA_BASE": str(directory / "data"),
        "RABBITMQ_LOG_BASE": str(directory / "log"),
        "RABBITMQ_PID_FILE": str(directory / "rabbitmq.pid"),
        "RABBITMQ_CONFIG_FILE": str(directory / "rabbitmq.conf"),
        "RABBITMQ_CONF_ENV_FILE": os.devnull,
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(directory / "enabled_plugins"),
        "RABBITMQ_DIST_PORT": str(node.distribution_port),
        "ERL_EPMD_PORT": str(node.epmd_port),
        "ERL_EPMD_ADDRESS": LOOPBACK,
        "ERL_CRASH_DUMP_SECONDS": "0",  # no dump: the last line of the log is then the reason
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1}",
        # The script then becomes the Erlang machine instead of watching over it: our child is the node, SIGTERM ends
        # it in order.
        "RUNNING_UNDER_SYSTEMD": "true",
    }


def _fewer_libraries(shadow: Path, program: Path) -> tuple[Path, dict[str, str]]:
    """The program as seen through a tree of links that leaves out the optional plugins.

    Erlang looks for each of a thousand modules in one directory after the other; without the forty of the plugins,
    none of which is enabled, a start takes 3.5 s instead of 6 to 9 (RabbitMQ 3.10 on two cores). An installation with
    another layout is started as it is, and so is one for a directory with white space, which its scripts do not quote.
    """
    home = program.resolve().parent.parent
    known = (home / "plugins").is_dir() and (home / "sbin" / program.name).is_file()
    if not known or len(str(shadow).split()) != 1:
        return program, {}
    shutil.rmtree(shadow, ignore_errors=True)
    for part in ("sbin", "plugins"):
        (shadow / part).mkdir(parents=True)
        for entry in (home / part).iterdir():
            if not entry.name.startswith("rabbitmq_") or entry.name.startswith("rabbitmq_prelaunch"):
                (shadow / part / entry.name).symlink_to(entry)
    return shadow / "sbin" / program.name, {"RABBITMQ_SCRIPTS_DIR": str(shadow / "sbin")}


async def _end_epmd(port: int) -> None:
    """End the port mapper that the node started: it is a daemon of its own and outlives the node."""
    try:
        async with asyncio.timeout(_EPMD_WITHIN_S):
            while await listens(LOOPBACK, port):
                await _ask_epmd_to_end(port)
                await asyncio.sleep(0.02)
    except TimeoutError:
        _log.warning("the Erlang port mapper of the private RabbitMQ does not end", port=port)


async def _ask_epmd_to_end(port: int) -> None:
    try:
        reader, writer = await asyncio.open_connection(LOOPBACK, port)
        writer.write(_EPMD_KILL)
        await reader.read(2)
        writer.close()
    except OSError:
        return
