"""docker-compose.yaml as an administrator runs it, at a private engine, from a directory with little else of the project."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest

import stand_ins
from docker_engine import DockerEngine
from servers import ROOT, TERMINAL, until
from tespes.local.ports import free_port, free_ports, is_free

IMAGE: Final = "tespes:latest"
_PULSAR_IMAGE: Final = "tespes-pulsar:latest"
_COMPOSE: Final = str(Path(sys.executable).with_name("docker-compose"))
_USED: Final = ("docker-compose.yaml", "settings.toml", "docker", "src")
_OWN: Final = frozenset({IMAGE, _PULSAR_IMAGE})


def environment(profile: str) -> dict[str, str]:
    """What docker/environment makes for that profile."""
    with tempfile.TemporaryDirectory() as directory:
        subprocess.run([ROOT / "docker" / "environment", profile], cwd=directory, check=True)
        return _variables(Path(directory) / ".env")


def configured(variables: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """`docker compose config` with those variables and no .env, as JSON."""
    command = [_COMPOSE, "-f", str(ROOT / "docker-compose.yaml"), "--env-file", "/dev/null", "config", "--format", "json"]
    around = {"PATH": os.environ["PATH"], **variables}
    return subprocess.run(command, env=around, capture_output=True, text=True, check=False, timeout=60)


def built(engine: DockerEngine, image: str, *arguments: str) -> None:
    """That image, as its Dockerfile says."""
    command = ["docker", "--host", engine.host, "build", "--quiet", "--network", "host", "--tag", image, *arguments]
    ran = subprocess.run(
        command, cwd=ROOT, env=os.environ | {"DOCKER_BUILDKIT": "0"}, capture_output=True, text=True, check=False, timeout=600
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr


@pytest.fixture(scope="session")
def tespes_image(docker_engine: DockerEngine) -> str:
    """The image of TESPES, built on a stand-in of the image that it is based on."""
    stand_ins.make(docker_engine, based_on("docker/tespes/Dockerfile"))
    built(docker_engine, IMAGE, "--file", "docker/tespes/Dockerfile", ".")
    return IMAGE


def based_on(dockerfile: str, argument: str = "BASE") -> str:
    """The image that a Dockerfile begins with."""
    lines = (ROOT / dockerfile).read_text().splitlines()
    return next(line for line in lines if line.startswith(f"ARG {argument}=")).partition("=")[2]


@dataclass(frozen=True)
class Stack:
    """The services of one .env; `ports` are those of the host by the variables that name them."""

    engine: DockerEngine
    directory: Path
    ports: Mapping[str, int]

    @property
    def secrets(self) -> dict[str, str]:
        """What .env says."""
        return _variables(self.directory / ".env")

    @property
    def url(self) -> str:
        """Where TESPES is published."""
        return f"http://127.0.0.1:{self.ports['TESPES_PORT']}"

    def compose(self, *arguments: str, given: str | None = None) -> str:
        """What `docker compose` prints."""
        around = {"PATH": os.environ["PATH"], "HOME": str(self.directory), "DOCKER_HOST": self.engine.host}
        ran = subprocess.run(
            [_COMPOSE, *arguments],
            cwd=self.directory,
            env=around,
            input=given,
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
        assert ran.returncode == 0, f"{ran.stdout}{ran.stderr}\n{self._logs()}"
        return ran.stdout

    def up(self, profile: str) -> None:
        """Everything of that profile, and nothing of another; returns once TESPES is ready."""
        self.compose("--profile", "*", "down")
        file = self.directory / ".env"
        variables = _variables(file) | {"COMPOSE_PROFILES": profile}
        file.write_text(_text(variables))
        self.compose("up", "--detach", "--no-build", "--pull", "never")
        until(self.is_ready, within_s=90, every_s=0.05, what=lambda: f"{self.ready()}\n{self._logs()}")

    def ready(self) -> Any:
        """What /readyz says; None if nobody answers."""
        try:
            return self.get("/readyz")
        except (OSError, ValueError):
            return None

    def is_ready(self) -> bool:
        """Whether nothing is the matter."""
        return (self.ready() or {}).get("status") == "ready"

    def get(self, path: str) -> Any:
        """GET as a client on the host does."""
        with urllib.request.urlopen(f"{self.url}{path}", timeout=15) as answer:  # noqa: S310 - loopback
            return json.load(answer)

    def submitted(self, task: Mapping[str, Any]) -> str:
        """The id of a new task."""
        request = urllib.request.Request(f"{self.url}/v1/tasks", json.dumps(task).encode())  # noqa: S310 - loopback
        with urllib.request.urlopen(request, timeout=15) as answer:  # noqa: S310 - loopback
            return str(json.load(answer)["id"])

    def ended(self, task_id: str) -> dict[str, Any]:
        """The task in FULL view, once it is over."""
        until(lambda: self._task(task_id)["state"] in TERMINAL, within_s=90, every_s=0.2, what=lambda: str(self._task(task_id)))
        return self._task(task_id)

    def containers(self, service: str) -> list[str]:
        """The ids of a service's containers."""
        return self.compose("ps", "--quiet", service).split()

    def _task(self, task_id: str) -> dict[str, Any]:
        found: dict[str, Any] = self.get(f"/v1/tasks/{task_id}?view=FULL")
        return found

    def _logs(self) -> str:
        command = [_COMPOSE, "logs", "--no-color", "--tail", "20"]
        around = {"PATH": os.environ["PATH"], "DOCKER_HOST": self.engine.host}
        ran = subprocess.run(command, cwd=self.directory, env=around, capture_output=True, text=True, check=False)
        return ran.stdout[-8000:]


@pytest.fixture(scope="module")
def stack(docker_engine: DockerEngine, tespes_image: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """All images, made here; nothing runs yet."""
    for image in _images_used():
        stand_ins.make(docker_engine, image)
    stand_ins.make(docker_engine, based_on("docker/pulsar/Dockerfile", "DOCKER"))
    built(docker_engine, _PULSAR_IMAGE, "docker/pulsar")
    docker_engine.docker("tag", docker_engine.image, "alpine")
    directory = tmp_path_factory.mktemp("stack")
    for name in _USED:
        (shutil.copytree if (ROOT / name).is_dir() else shutil.copy)(ROOT / name, directory / name)
    names = ("TESPES_PORT", "FILES_S3_PORT", "FILES_WEB_PORT", "FILES_FTP_PORT")
    ports = dict(zip(names, free_ports(len(names)), strict=True))
    passive = next(port for port in iter(free_port, None) if all(map(is_free, range(port, port + 10))))
    places = {
        "PULSAR_DIRECTORY": directory / "pulsar",
        "DOCKER_SOCKET": docker_engine.host.removeprefix("unix://"),
        "FILES_FTP_PASSIVE_PORTS": f"{passive}-{passive + 9}",
    }
    variables = environment("single") | ports | places
    (directory / ".env").write_text(_text(variables))
    running = Stack(docker_engine, directory, ports)
    try:
        yield running
    finally:
        running.compose("--profile", "*", "down", "--volumes", "--timeout", "3")


def _variables(file: Path) -> dict[str, str]:
    return dict(line.split("=", 1) for line in file.read_text().splitlines() if not line.startswith("#"))


def _text(variables: Mapping[str, object]) -> str:
    return "".join(f"{name}={value}\n" for name, value in variables.items())


def _images_used() -> list[str]:
    """The published images of all profiles."""
    found: set[str] = set()
    for profile in ("single", "scale", "dev"):
        services = json.loads(configured(environment(profile)).stdout)["services"]
        found |= {service["image"] for service in services.values()}
    return sorted(found - _OWN)
