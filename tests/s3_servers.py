"""Two S3 stores on loopback, of different making: SeaweedFS, which checks every signature, and moto, which checks none."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol, Self

import pytest

from tespes.local.ports import free_port, free_ports

if TYPE_CHECKING:
    from moto.moto_server.threaded_moto_server import ThreadedMotoServer

_START_TIMEOUT_S = 60
_SMALL = {"GOMEMLIMIT": "400MiB"}  # what it needs for a large object is a third of what it takes
_PORTS = ("master", "volume", "filer", "s3")


class User(NamedTuple):
    """Who somebody is at a store."""

    access_key: str
    secret_key: str


OWNER = User("TESTKEYOFTHEOWNER", "secret/of+the=owner")
READER = User("TESTKEYOFAREADER", "secret/of+a=reader")


class S3Server(Protocol):
    """A store with one user who may do everything (OWNER), and one who may only read (READER)."""

    port: int

    @property
    def url(self) -> str: ...

    def start(self) -> Self: ...

    def stop(self) -> None: ...


class SeaweedFS:
    """A store in a directory of its own, as a process: objects are on disk."""

    def __init__(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="tespes-seaweedfs-"))
        ports = iter(free_ports(2 * len(_PORTS)))
        self._ports = {name: (next(ports), next(ports)) for name in _PORTS}
        self.port = self._ports["s3"][0]
        self._server: subprocess.Popen[bytes] | None = None
        identities = [_identity("owner", OWNER, "Admin"), _identity("reader", READER, "Read", "List")]
        (self.directory / "s3.json").write_text(json.dumps({"identities": identities}))

    @property
    def url(self) -> str:
        """Its endpoint."""
        return f"http://localhost:{self.port}"

    def start(self) -> Self:
        """Listen; after a `stop`, on the same port again, with what was there."""
        here = self.directory
        ports = [
            text for name, (http, grpc) in self._ports.items() for text in (f"-{name}.port={http}", f"-{name}.port.grpc={grpc}")
        ]
        argv = [
            *(str(Path(sys.executable).with_name("weed")), "-logtostderr=true", "server", f"-dir={here}", *ports),
            *("-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-master.telemetry=false", "-master.electionTimeout=1s"),
            *("-volume.max=1000", "-volume.minFreeSpace=1", "-master.volumeSizeLimitMB=1024"),
            *("-s3", f"-s3.config={here}/s3.json", "-s3.domainName=localhost", "-s3.iam=false"),
            *("-s3.port.iceberg=0", "-s3.port.lance=0", f"-filer.localSocket={here}/filer.sock"),
        ]
        with (here / "log").open("ab") as log:
            self._server = subprocess.Popen(argv, stdout=log, stderr=log, cwd=here, env=os.environ | _SMALL)
        self._wait_until_up()
        return self

    def stop(self) -> None:
        """End it; what was stored stays."""
        if self._server is not None:
            self._server.kill()  # asked to end, it takes its time
            self._server.wait()
            self._server = None

    def remove(self) -> None:
        """End it, and everything that was stored."""
        self.stop()
        shutil.rmtree(self.directory)

    def _wait_until_up(self) -> None:
        deadline = time.monotonic() + _START_TIMEOUT_S
        while self._server is not None and self._server.poll() is None and time.monotonic() < deadline:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/", timeout=1):
                    return
            except urllib.error.HTTPError as error:
                error.close()
                return  # it says who may not come in
            except OSError:
                time.sleep(0.05)
        pytest.fail(f"SeaweedFS did not come up:\n{(self.directory / 'log').read_text()[-3000:]}")


class Moto:
    """A store in this process: objects are in its memory, large ones in files without a name."""

    def __init__(self) -> None:
        self.port = free_port()
        self._server: ThreadedMotoServer | None = None

    @property
    def url(self) -> str:
        """Its endpoint."""
        return f"http://localhost:{self.port}"

    def start(self) -> Self:
        """Listen; after a `stop`, on the same port again, with what was there."""
        from moto.moto_server.threaded_moto_server import ThreadedMotoServer  # noqa: PLC0415 - half a second, for few tests

        self._server = ThreadedMotoServer("127.0.0.1", self.port, verbose=False)
        self._server.start()
        return self

    def stop(self) -> None:
        """Listen no more; what was stored stays."""
        if self._server is not None:
            self._server.stop()
            self._server = None


@pytest.fixture(scope="session")
def seaweedfs() -> Iterator[SeaweedFS]:
    """One for the whole run."""
    server = SeaweedFS()
    try:
        yield server.start()
    finally:
        server.remove()


@pytest.fixture(scope="session")
def moto() -> Iterator[Moto]:
    """One for the whole run."""
    server = Moto()
    yield server.start()
    server.stop()


@pytest.fixture(params=["seaweedfs", "moto"])
def an_s3(request: pytest.FixtureRequest) -> S3Server:
    """Each of them."""
    server: S3Server = request.getfixturevalue(request.param)
    return server


def _identity(name: str, user: User, *actions: str) -> dict[str, object]:
    credentials = [{"accessKey": user.access_key, "secretKey": user.secret_key}]
    return {"name": name, "credentials": credentials, "actions": actions}
