"""A server on loopback that speaks MongoDB's wire protocol, for the tests and for a try of the MongoDB store.

It is `secantusd-py` (package secantusdb), one node without a replica set: enough to show that the store's adapter is
right, nothing to keep a service's log in, and it says nothing of how fast MongoDB is.
"""

import os
from pathlib import Path
from typing import Final, Self

import structlog

from tespes.local import files, ports
from tespes.local.ports import LOOPBACK
from tespes.local.process import OwnedProcess

_log = structlog.get_logger(__name__)
_START_WITHIN_S: Final = 30.0


class LocalMongoDB:
    """A MongoDB wire server that keeps its data in one directory and ends with its owner; an async context manager.

    :param directory: data and log; made if missing
    :param program: the `secantusd-py` to run
    """

    def __init__(self, directory: Path, *, program: Path) -> None:
        self._directory = directory.absolute()
        self._program = program.absolute()
        self._port = 0
        self._process = OwnedProcess("secantusd-py", self._directory, log_file=self._directory / "server.log")

    @property
    def uri(self) -> str:
        """For a client, without a database name. This server has no retryable writes; what it confirms is on disk."""
        options = "directConnection=true&retryWrites=false&w=majority&journal=true"
        return f"mongodb://{LOOPBACK}:{self._port}/?{options}"

    @property
    def pid(self) -> int | None:
        return self._process.pid

    async def start(self) -> Self:
        """Start the server, on the same port if it ran before, and return when it takes connections.

        What a killed owner left running in this directory is ended first.

        :raises errors.SetupError: it cannot be started or does not come up
        """
        files.make_private_directory(self._directory)
        await self._process.stop()
        self._port = self._port or ports.free_port()
        environment = {"PATH": os.environ.get("PATH", os.defpath), "LANG": "C.UTF-8", "HOME": str(self._directory)}
        try:
            await self._process.start(self._argv(), environment=environment, directory=self._directory)
            await self._process.wait_until(self._answers, within_s=_START_WITHIN_S)
        except BaseException:
            await self.stop()
            raise
        _log.info("MongoDB wire server is up", pid=self.pid, port=self._port)
        return self

    async def stop(self) -> None:
        """End the server in order; its data stay."""
        await self._process.stop()

    async def kill(self) -> None:
        """Crash the server (SIGKILL)."""
        await self._process.kill()

    async def restart(self) -> None:
        """Stop the server if it is running, and start it with the same uri and data."""
        await self.stop()
        await self.start()

    async def __aenter__(self) -> Self:
        return await self.start()

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    def _argv(self) -> list[str]:
        place = ["--host", LOOPBACK, "--port", str(self._port), "--storage-path", str(self._directory / "data")]
        return [str(self._program), *place, "--standalone", "--sync-on-commit", "--cache-size", "256M"]

    async def _answers(self) -> bool:
        return await ports.listens(LOOPBACK, self._port)
