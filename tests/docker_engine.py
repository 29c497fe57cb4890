"""A private Docker engine for tests, with one small image made on the spot: nothing is pulled."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import busybox_image

_START_TIMEOUT_S = 30


@dataclass(frozen=True)
class DockerEngine:
    """`host` is what DOCKER_HOST takes; `image` has busybox in /bin. Networks: none and host only."""

    host: str
    image: str
    kind = "docker"

    @property
    def runtime(self) -> dict[str, Any]:
        """What a plan says of it."""
        return {"kind": "docker", "program": "docker", "host": self.host, "network": "none"}

    @property
    def directory(self) -> Path:
        """Where it keeps everything."""
        return Path(self.host.removeprefix("unix://")).parent

    def ask(self, *arguments: str) -> str:
        """The same as `docker`."""
        return self.docker(*arguments)

    def docker(self, *arguments: str) -> str:
        """What the docker command line prints."""
        command = ["docker", "--host", self.host, *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture(scope="session", name="docker_engine")
def shared_engine() -> Iterator[DockerEngine]:
    """See `running`."""
    with running() as engine:
        yield engine


@contextmanager
def running() -> Iterator[DockerEngine]:
    """An engine that is up, and gone afterwards with all it had."""
    directory = Path(tempfile.mkdtemp(prefix="tespes-docker-", dir="/tmp"))  # a socket's path must be short
    engine = DockerEngine(f"unix://{directory}/d.sock", "busybox:local")
    with (directory / "log").open("wb") as log:
        daemon = subprocess.Popen(_command(directory), stdout=log, stderr=log, start_new_session=True)
    try:
        _wait_until_up(engine, daemon, directory)
        _import_image(engine)
        yield engine
    finally:
        _end(daemon)
        for place in reversed([line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]):
            if place.startswith(f"{directory}/"):
                subprocess.run(["umount", "--lazy", place], check=False)
        shutil.rmtree(directory, ignore_errors=True)


def _command(directory: Path) -> list[str]:
    places = ["--data-root", f"{directory}/data", "--exec-root", f"{directory}/exec", "--pidfile", f"{directory}/d.pid"]
    network = ["--iptables=false", "--ip6tables=false", "--bridge=none"]
    return ["dockerd", "--host", f"unix://{directory}/d.sock", *places, *network]


def _wait_until_up(engine: DockerEngine, daemon: subprocess.Popen[bytes], directory: Path) -> None:
    deadline = time.monotonic() + _START_TIMEOUT_S
    while subprocess.run(["docker", "--host", engine.host, "version"], capture_output=True, check=False).returncode:
        if daemon.poll() is not None or time.monotonic() > deadline:
            pytest.fail(f"dockerd did not come up:\n{(directory / 'log').read_text()[-3000:]}")
        time.sleep(0.1)


def _import_image(engine: DockerEngine) -> None:
    command = ["docker", "--host", engine.host, "import", "--change", busybox_image.CHANGE, "-", engine.image]
    subprocess.run(command, input=busybox_image.archive(), check=True, capture_output=True)


def _end(daemon: subprocess.Popen[bytes]) -> None:
    daemon.send_signal(signal.SIGTERM)
    try:
        daemon.wait(20)
    except subprocess.TimeoutExpired:
        os.killpg(daemon.pid, signal.SIGKILL)
        daemon.wait()
