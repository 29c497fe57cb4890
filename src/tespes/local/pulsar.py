"""A Pulsar server on this machine that takes its jobs from RabbitMQ, for the demo and the tests.

It is the real `pulsar-main`, in a virtual environment of its own. There is no HTTP port; its jobs run as the user who
started TESPES.
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Self
from urllib.parse import urlsplit, urlunsplit

import structlog

from tespes import errors
from tespes.local import files
from tespes.local.process import OwnedProcess

_log = structlog.get_logger(__name__)
_START_WITHIN_S: Final = 60.0
# pulsar/client/amqp_exchange.py logs this for each of setup, kill and status, just after the broker confirmed the
# consumer. (Its "Consuming queue" comes before the connection.)
_CONSUMES: Final = b"AMQP heartbeat thread alive"
_CONSUMERS: Final = 3
_POLLING: Final = {"min_polling_interval": 0.1}
_LOGGING: Final = """\
[app:main]
paste.app_factory = pulsar.web.wsgi:app_factory
app_config = {app_yml}

[loggers]
keys = root,exchange

[handlers]
keys = file

[formatters]
keys = line

[logger_root]
level = INFO
handlers = file

[logger_exchange]
level = DEBUG
handlers =
qualname = pulsar.client.amqp_exchange

[handler_file]
class = handlers.RotatingFileHandler
args = ({log_file!r}, "a", 10485760, 3)
level = NOTSET
formatter = line

[formatter_line]
format = %(asctime)s %(levelname)-5.5s [%(name)s] %(message)s
"""


class LocalPulsar:
    """A Pulsar that lives in one directory and ends with its owner; an async context manager.

    :param directory: configuration, jobs and log of this Pulsar; made if missing; no white space in its path
    :param program: the `pulsar-main` to run
    :param broker_url: the RabbitMQ and virtual host that TESPES uses too, as `amqp://user:password@host:port/vhost`
    :param manager: the name of its one manager; two Pulsars on one virtual host need different names
    :param key_prefix: `amqp_key_prefix`, if the queues are to be named by it instead of by the manager
    :param batch: the settings of a manager that hands its jobs to a batch system; None runs them itself
    :param path: the PATH of Pulsar and its jobs, which decides what `python3` is in a job; None takes ours
    """

    def __init__(
        self,
        directory: Path,
        *,
        program: Path,
        broker_url: str,
        manager: str = "_default_",
        key_prefix: str | None = None,
        batch: Mapping[str, object] | None = None,
        path: str | None = None,
    ) -> None:
        self._directory = directory.absolute()
        self._program = program.absolute()
        self._settings = _settings(self._directory, broker_url, manager, key_prefix)
        if batch is not None:
            self._settings["managers"] = {manager: {**_POLLING, **batch}}
        self._path = path
        self._log_end = 0
        self._process = OwnedProcess(f"Pulsar {manager}", self._directory, log_file=self._directory / "pulsar-main.log")

    @property
    def log_file(self) -> Path:
        """Pulsar's own log."""
        return self._directory / "pulsar.log"

    @property
    def staging_directory(self) -> Path:
        """Where each job gets a directory; Pulsar never removes one (it has no clean message over AMQP)."""
        return self._directory / "staging"

    @property
    def pid(self) -> int | None:
        return self._process.pid

    async def start(self) -> Self:
        """Adopt the Pulsar of this directory if it runs with this configuration, else start it.

        It has its consumers on the setup, kill and status queues when this returns.

        :raises errors.SetupError: it cannot be started or does not come up
        """
        changed = self._configure()
        try:
            adopted = self._process.adopt() and not changed
            if not adopted:
                await self._launch()
        except BaseException:
            await self.stop()
            raise
        _log.info("local Pulsar is up", pid=self.pid, adopted=adopted)
        return self

    async def stop(self) -> None:
        """End Pulsar and the processes of its jobs, also those that a `kill` left behind."""
        await self._process.stop()

    async def kill(self) -> None:
        """Crash Pulsar (SIGKILL). Its jobs live on, as they do after a real crash."""
        await self._process.kill()

    async def restart(self) -> None:
        """Crash Pulsar if it is running, and start it again: its jobs live on, unknown to it (`lost`)."""
        await self.kill()
        await self.start()

    async def __aenter__(self) -> Self:
        return await self.start()

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    def _configure(self) -> bool:
        """Write the configuration (mode 0600: it holds the broker's password); says whether it changed."""
        if len(str(self._directory).split()) != 1:
            raise errors.SetupError(f"Pulsar cannot run in {self._directory}: white space in the path; choose another")
        for directory in (self._directory, self.staging_directory, self._directory / "persisted"):
            files.make_private_directory(directory)
        app_yml = self._directory / "app.yml"
        server_ini = _LOGGING.format(app_yml=app_yml, log_file=str(self.log_file))
        changed = files.write_private(app_yml, json.dumps(self._settings, indent=2) + "\n")  # JSON is YAML
        return files.write_private(self._directory / "server.ini", server_ini) or changed

    async def _launch(self) -> None:
        if self._process.adopt():  # with another configuration
            await self._process.stop()
        self._log_end = self.log_file.stat().st_size if self.log_file.is_file() else 0
        argv = [str(self._program), "-c", str(self._directory), "--ini_path", str(self._directory / "server.ini")]
        await self._process.start(argv, environment=_environment(self._path), directory=self._directory)
        await self._process.wait_until(self._consumes, within_s=_START_WITHIN_S)

    async def _consumes(self) -> bool:
        return self._new_lines().count(_CONSUMES) >= _CONSUMERS

    def _new_lines(self) -> bytes:
        """What Pulsar has logged since this start; from the log's beginning if it was rotated meanwhile."""
        if not self.log_file.is_file():
            return b""
        with self.log_file.open("rb") as log:
            log.seek(self._log_end if self._log_end <= self.log_file.stat().st_size else 0)
            return log.read()


def _settings(directory: Path, broker_url: str, manager: str, key_prefix: str | None) -> dict[str, object]:
    settings: dict[str, object] = {
        "message_queue_url": _kombu_url(broker_url),
        "staging_directory": str(directory / "staging"),
        "persistence_directory": str(directory / "persisted"),
        "conda_auto_init": False,
        "dependency_resolution": {"resolvers": []},
        "amqp_publish_retry": True,
        "amqp_publish_timeout": 5.0,
        "managers": {manager: {"type": "queued_python", **_POLLING}},
    }
    return settings if key_prefix is None else settings | {"amqp_key_prefix": key_prefix}


def _kombu_url(url: str) -> str:
    """The URL as kombu reads it: a path of `//` is the virtual host `/`, where others write `/` or `/%2F`."""
    parts = urlsplit(url)
    default_host = parts.path.lower() in {"", "/", "//", "/%2f"}
    return urlunsplit(parts._replace(path="//")) if default_host else url


def _environment(path: str | None) -> Mapping[str, str]:
    """Pulsar hands HOME, PATH and TMPDIR on to its jobs; nothing else of our environment is for it to see."""
    kept = {name: os.environ[name] for name in ("HOME", "TMPDIR") if name in os.environ}
    return kept | {"PATH": path or os.environ.get("PATH", os.defpath), "LANG": "C.UTF-8"}
