"""The servers that tests share: one RabbitMQ, one Pulsar and one FTP server for the whole run, and TESPES as a process.

They live in an event loop of their own, in a thread of its own, so that any test, whatever its loop, may use them.
"""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import pytest

from tespes.local.ftp import LocalFTP
from tespes.local.ports import free_port
from tespes.local.pulsar import LocalPulsar
from tespes.local.rabbitmq import PrivateRabbitMQ

Answer = TypeVar("Answer")

ROOT = Path(__file__).parent.parent
PULSAR = Path(os.environ.get("TESPES_TEST_PULSAR", ROOT / ".venv-pulsar" / "bin" / "pulsar-main"))
TERMINAL = {"COMPLETE", "EXECUTOR_ERROR", "SYSTEM_ERROR", "CANCELED", "PREEMPTED"}


class Loop:
    """An event loop in a thread."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, Answer]) -> Answer:
        """Do that there, and wait for it."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(timeout=60)

    def close(self) -> None:
        """End it."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


@pytest.fixture(scope="session")
def loop_thread() -> Iterator[Loop]:
    """A loop for servers."""
    loop = Loop()
    yield loop
    loop.close()


@pytest.fixture(scope="session")
def rabbitmq(loop_thread: Loop, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrivateRabbitMQ]:
    """A private RabbitMQ."""
    node = PrivateRabbitMQ(tmp_path_factory.mktemp("rabbitmq"))
    loop_thread.run(node.start())
    yield node
    loop_thread.run(node.stop())


@pytest.fixture(scope="session")
def pulsar(loop_thread: Loop, rabbitmq: PrivateRabbitMQ, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalPulsar]:
    """A real Pulsar at that RabbitMQ."""
    assert PULSAR.is_file(), f"no Pulsar at {PULSAR}: make one, or name its pulsar-main with TESPES_TEST_PULSAR"
    path = f"{sys.base_exec_prefix}/bin:/usr/bin:/bin"
    local = LocalPulsar(tmp_path_factory.mktemp("pulsar"), program=PULSAR, broker_url=rabbitmq.url, path=path)
    loop_thread.run(local.start())
    yield local
    loop_thread.run(local.stop())


@pytest.fixture(scope="session")
def ftp(loop_thread: Loop, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalFTP]:
    """An FTP server."""
    server = LocalFTP(tmp_path_factory.mktemp("ftp"))
    loop_thread.run(server.start())
    yield server
    loop_thread.run(server.stop())


class Counter:
    """What an executor tells the world outside: it connects, and a line is written to a file for each run.

    The executor then waits for a byte, which `release` sends, or gets at once if `open` is set.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        path.touch()
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = self._server.getsockname()[1]
        self._held: list[socket.socket] = []
        self.open = False
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    @property
    def runs(self) -> int:
        """How often an executor ran."""
        return len(self.path.read_text().splitlines())

    @property
    def command(self) -> list[str]:
        """An executor's command that runs once: says so, then waits to be released."""
        script = f"exec 3<>/dev/tcp/127.0.0.1/{self.port}; echo ran >&3; read -r -u 3 word; echo done"
        return ["bash", "-c", script]

    def release(self) -> None:
        """Let every executor go on, now and later."""
        self.open = True
        for connection in self._held:
            connection.sendall(b"go\n")
            connection.close()
        self._held.clear()

    def close(self) -> None:
        """End."""
        self.release()
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        self._thread.join(timeout=5)

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._server.accept()
            except OSError:
                return
            with self.path.open("a") as file:
                file.write(connection.recv(16).decode())
            if self.open:
                connection.sendall(b"go\n")
                connection.close()
            else:
                self._held.append(connection)


@pytest.fixture
def counter(tmp_path: Path) -> Iterator[Counter]:
    """Counts executors' runs, outside of TESPES."""
    counting = Counter(tmp_path / "runs")
    yield counting
    counting.close()


@dataclass
class Tespes:
    """`tespes serve` as a process of its own, to be killed and started again.

    :param variables: its settings, as environment variables
    """

    state_dir: Path
    variables: dict[str, str]
    settings: str = ""
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def log_file(self) -> Path:
        """Its own log."""
        return self.state_dir / "tespes.log"

    def start(self) -> None:
        """Start it and wait until it answers."""
        self.state_dir.mkdir(parents=True, exist_ok=True)
        settings = self.state_dir / "settings.toml"
        settings.write_text(self.settings)
        command = [sys.executable, "-m", "tespes", "serve", "--port", str(self.port)]
        command += ["--state-dir", str(self.state_dir), "--settings", str(settings)]
        with self.log_file.open("ab") as log:
            self.process = subprocess.Popen(command, env={**os.environ, **self.variables}, stdout=log, stderr=log)
        until(self._answers, what=lambda: f"TESPES does not answer: {self.log_file.read_text()[-2000:]}")

    def kill(self) -> None:
        """Crash it."""
        self.signal(signal.SIGKILL)
        self.wait()

    def stop(self) -> int:
        """End it as an operator does; its exit status."""
        if self.process is None:
            return 0
        if self.process.poll() is None:
            self.process.terminate()
        return self.wait()

    def wait(self) -> int:
        """Wait for its end; its exit status."""
        assert self.process is not None
        status = self.process.wait(timeout=30)
        self.process = None
        return status

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        assert self.process is not None
        self.process.send_signal(number)

    def post(self, path: str, body: Any = None) -> Any:
        """POST as a TES client does."""
        return self._call("POST", path, json.dumps(body).encode() if body is not None else b"")

    def get(self, path: str) -> Any:
        """GET as a TES client does."""
        return self._call("GET", path, None)

    def submit(self, task: dict[str, Any]) -> str:
        """The id of a new task."""
        return str(self.post("/v1/tasks", task)["id"])

    def task(self, task_id: str) -> dict[str, Any]:
        """A task in FULL view."""
        found: dict[str, Any] = self.get(f"/v1/tasks/{task_id}?view=FULL")
        return found

    def state(self, task_id: str) -> str:
        """Its state."""
        return str(self.get(f"/v1/tasks/{task_id}")["state"])

    def ended(self, task_id: str, within_s: float = 40) -> dict[str, Any]:
        """The task, once it is over."""
        until(lambda: self.state(task_id) in TERMINAL, within_s=within_s, what=lambda: str(self.task(task_id)))
        return self.task(task_id)

    def _answers(self) -> bool:
        assert self.process is not None
        if self.process.poll() is not None:
            raise AssertionError(f"TESPES ended with {self.process.returncode}: {self.log_file.read_text()[-2000:]}")
        try:
            self.get("/healthz")
        except OSError:
            return False
        return True

    def _call(self, method: str, path: str, body: bytes | None) -> Any:
        request = urllib.request.Request(f"{self.url}{path}", data=body, method=method)  # noqa: S310 - loopback
        request.add_header("Content-Type", "application/json")
        with urllib.request.urlopen(request, timeout=15) as answer:  # noqa: S310 - loopback
            return json.loads(answer.read() or b"null")


def until(
    true: Callable[[], Any], *, within_s: float = 20, every_s: float = 0.02, what: Callable[[], str] = lambda: ""
) -> None:
    """Wait until that is true."""
    end = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < end, f"not true within {within_s} s: {what()}"
        time.sleep(every_s)


def problem(error: urllib.error.HTTPError) -> dict[str, Any]:
    """The JSON problem in an error's answer."""
    assert error.headers["Content-Type"] == "application/problem+json"
    with error:
        found: dict[str, Any] = json.loads(error.read())
    return found


class Gate:
    """A way to a TCP server that can be closed: whoever comes then waits inside until it is opened."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._open = threading.Event()
        self._open.set()
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = self._server.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def shut(self) -> None:
        """Let nobody through."""
        self._open.clear()

    def open(self) -> None:
        """Let everybody through."""
        self._open.set()

    def close(self) -> None:
        """End."""
        self._open.set()
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        self._thread.join(timeout=5)

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._server.accept()
            except OSError:
                return
            threading.Thread(target=self._lead, args=(connection,), daemon=True).start()

    def _lead(self, connection: socket.socket) -> None:
        self._open.wait()
        with connection, socket.create_connection(("127.0.0.1", self._target)) as target:
            back = threading.Thread(target=_copy, args=(target, connection), daemon=True)
            back.start()
            _copy(connection, target)
            back.join(timeout=5)


def _copy(source: socket.socket, target: socket.socket) -> None:
    try:
        while data := source.recv(65536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        return


@pytest.fixture
def way_in(ftp: LocalFTP) -> Iterator[Gate]:
    """A way to the FTP server, for inputs."""
    gate = Gate(int(ftp.url.rpartition(":")[2]))
    yield gate
    gate.close()


@pytest.fixture
def way_out(ftp: LocalFTP) -> Iterator[Gate]:
    """A way to the FTP server, for outputs."""
    gate = Gate(int(ftp.url.rpartition(":")[2]))
    yield gate
    gate.close()


@pytest.fixture(params=["sqlite", "mongodb"])
def tespes(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    rabbitmq: PrivateRabbitMQ,
    pulsar: LocalPulsar,
    ftp: LocalFTP,
    way_in: Gate,
    way_out: Gate,
) -> Iterator[Tespes]:
    """TESPES on each store, with the real Pulsar; not started yet. It knows the FTP server's password, by any way there."""
    variables = {"TESPES_RABBITMQ__URL": rabbitmq.url, "TESPES_LOG__FORMAT": "json"}
    if request.param == "mongodb":
        server = request.getfixturevalue("mongodb")
        variables["TESPES_STORE__MONGODB_URI"] = server.uri
        variables["TESPES_STORE__MONGODB_DATABASE"] = f"test_{os.urandom(6).hex()}"
        variables["TESPES_LEASE__EXPIRES_S"] = "1"
    running = Tespes(tmp_path / "tespes", variables, usual_settings(ftp, way_in, way_out))
    yield running
    running.stop()


@pytest.fixture
def alone(tmp_path: Path, rabbitmq: PrivateRabbitMQ) -> Iterator[Tespes]:
    """TESPES with no Pulsar."""
    running = Tespes(tmp_path / "alone", {"TESPES_RABBITMQ__URL": rabbitmq.url})
    running.start()
    yield running
    running.stop()


def usual_settings(ftp: LocalFTP, *ways: Gate) -> str:
    """A settings file: the real Pulsar, the sandbox with the node's network, the FTP server's password by any way there."""
    hosts = [ftp.url.rpartition("@")[2], *(f"127.0.0.1:{way.port}" for way in ways)]
    logins = (f'[default.storage.ftp."{host}"]\nuser = "{ftp.user}"\npassword = "{ftp.password}"\n' for host in hosts)
    return f"""
[default.pulsars.real]
slots = 8
runtime = {{kind = "sandbox", network = "host"}}
{"".join(logins)}"""
