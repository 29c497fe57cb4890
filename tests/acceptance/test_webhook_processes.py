"""Webhooks of `tespes serve`: killed, replaced, operated, and received by the program of the examples."""

import base64
import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import count
from pathlib import Path

import pytest

from receivers import SECRET, Answer, Receiver
from servers import ROOT, Tespes, until
from stores import Place
from tespes.__main__ import main
from tespes.events import cloud
from tespes.local.ports import free_port
from tespes.local.rabbitmq import PrivateRabbitMQ

pytestmark = pytest.mark.servers
TASK = {"executors": [{"image": "any", "command": ["true"]}]}
OTHER_SECRET = f"whsec_{base64.b64encode(b'something else, of some length').decode()}"
TAKEOVER_S = 15

Start = Callable[..., Tespes]


def hook(url: str, **more: str) -> str:
    """The settings of a webhook."""
    values = {"url": url, "secret": SECRET} | more
    return "[default.webhooks.portal]\n" + "".join(f"{name} = {json.dumps(value)}\n" for name, value in values.items())


@pytest.fixture
def start(place: Place, tmp_path: Path, rabbitmq: PrivateRabbitMQ) -> Iterator[Start]:
    """Start a process with these settings, and no Pulsar; all of them end with the test."""
    numbers = count(1)
    with ExitStack() as stack:

        def started(settings: str) -> Tespes:
            variables = {"TESPES_RABBITMQ__URL": rabbitmq.url, "TESPES_LOG__FORMAT": "json", "TESPES_LEASE__EXPIRES_S": "1"}
            directory = place.state_dir
            if place.options.mongodb_uri:
                variables |= {
                    "TESPES_STORE__MONGODB_URI": place.options.mongodb_uri,
                    "TESPES_STORE__MONGODB_DATABASE": place.options.mongodb_database,
                    "TESPES_RUNNER__KEY": "the key that all these processes share",
                }
                directory = tmp_path / f"process{next(numbers)}"
            process = Tespes(directory, variables, settings)
            stack.callback(process.stop)
            process.start()
            return process

        yield started


def expected(place: Place) -> list[str]:
    """The sequences of all tasks' events, as the database has them."""
    tasks = [entry for entry in place.stored() if ":" not in entry["stream"]]
    return [cloud.sequence(entry["position"], index) for entry in tasks for index in range(len(entry["events"]))]


def firsts(sequences: list[str]) -> list[str]:
    """The first copy of each."""
    return list(dict.fromkeys(sequences))


@pytest.mark.parametrize(
    ("place", "times"),
    [
        ("sqlite", 1),
        pytest.param("sqlite", 10, marks=pytest.mark.slow),
        pytest.param("mongodb", 10, marks=pytest.mark.slow),
    ],
    indirect=["place"],
)
def test_killed_again_and_again_it_leaves_nothing_out(start: Start, place: Place, receiver: Receiver, times: int) -> None:
    """At least once, first copies in order, copies with the same id; then it is as far as the log."""
    receiver.usual = Answer(after_s=0.005)
    process = start(hook(receiver.url))
    for _ in range(times):
        goal = len(receiver.offered) + 10
        for _ in range(15):
            process.submit(TASK)
        until(lambda goal=goal: len(receiver.offered) >= goal)  # type: ignore[misc]
        process.kill()
        process.start()
    until(lambda: firsts(receiver.sequences) == expected(place), what=lambda: f"{len(receiver.taken)} were taken")
    ids = {(each.document["sequence"], each.id) for each in receiver.offered}
    assert len(ids) == len(set(receiver.sequences))
    until(lambda: process.get("/readyz")["checks"]["webhooks"]["webhooks"]["portal"]["lag_commits"] == 0)


@pytest.mark.parametrize("place", ["mongodb"], indirect=True)
def test_another_process_goes_on_when_one_is_killed(start: Start, place: Place, receiver: Receiver) -> None:
    """Nothing is left out."""
    first, second = start(hook(receiver.url)), start(hook(receiver.url))
    second.submit(TASK)
    until(lambda: len(receiver.taken) > 0)
    first.kill()
    for _ in range(10):
        second.submit(TASK)
    until(lambda: firsts(receiver.sequences) == expected(place), within_s=TAKEOVER_S)


@pytest.mark.parametrize("place", ["sqlite"], indirect=True)
def test_the_operator_sees_what_is_the_matter_and_resumes(
    start: Start, receiver: Receiver, capsys: pytest.CaptureFixture[str]
) -> None:
    """`tespes webhooks list` and `resume`; a wrong secret is the receiver's to find; no secret is in any line."""
    address = receiver.url.replace("//", "//ada:hunter2@")
    process = start(hook(address, secret=OTHER_SECRET))

    def run(*words: str) -> str:
        where = ["--state-dir", str(process.state_dir), "--settings", str(process.state_dir / "settings.toml")]
        capsys.readouterr()
        status = main(["webhooks", *words, *where, "--url", process.url])
        out, err = capsys.readouterr()
        assert status == 0, err
        return out

    process.submit(TASK)
    until(lambda: receiver.forged > 0)
    until(lambda: "401 Unauthorized" in run("list"))
    until(lambda: "portal" in process.get("/readyz")["checks"]["webhooks"].get("reason", ""))
    assert "portal gets its events again" in run("resume", "portal")
    assert not receiver.taken
    said = process.log_file.read_text()
    assert "hunter2" not in said
    assert OTHER_SECRET not in said


@pytest.fixture
def program(tmp_path: Path) -> Iterator["Program"]:
    """See Program."""
    example = Program(tmp_path / "example")
    yield example
    example.end()


class Program:
    """The receiver of the examples, as a process."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir()
        self._directory = directory
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}/"

    @property
    def printed(self) -> list[str]:
        """The sequences of what it took."""
        return [line.split()[0] for line in (self._directory / "out").read_text().splitlines()]

    def start(self) -> None:
        """Run it."""
        command = [sys.executable, str(ROOT / "examples" / "webhook_receiver.py"), "--port", str(self.port)]
        command += ["--seen", str(self._directory / "seen.txt")]
        with (self._directory / "out").open("ab") as out:
            self._process = subprocess.Popen(command, env={**os.environ, "WEBHOOK_SECRET": SECRET}, stdout=out)

    def end(self) -> None:
        """Kill it."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(timeout=10)


@pytest.mark.parametrize("place", ["sqlite"], indirect=True)
def test_the_receiver_of_the_examples_takes_each_event_once(start: Start, place: Place, program: Program) -> None:
    """Killed, and TESPES killed: what comes twice is dropped, nothing is left out."""
    process = start(hook(program.url))
    program.start()
    for _ in range(5):
        process.submit(TASK)
    until(lambda: program.printed == expected(place), what=lambda: str(program.printed))
    program.end()
    process.submit(TASK)
    process.kill()
    process.start()
    program.start()
    until(lambda: program.printed == expected(place), what=lambda: str(program.printed))


@pytest.mark.parametrize(
    ("length", "status"), [("", 411), ("many", 411), ("-1", 411), ("\u0664", 411), (str(4 * 2**20 + 1), 413), ("9" * 5000, 413)]
)
def test_the_receiver_of_the_examples_says_what_it_cannot_take(program: Program, length: str, status: int) -> None:
    """Before it reads any of it, and it lives."""
    program.start()
    until(lambda: is_open(program.port))
    with socket.create_connection(("127.0.0.1", program.port), timeout=10) as connection:
        said = f"Content-Length: {length}\r\n" if length else ""
        connection.sendall(f"POST / HTTP/1.1\r\nHost: x\r\n{said}\r\n".encode())
        assert connection.makefile("rb").readline().split()[1] == str(status).encode()


def is_open(port: int) -> bool:
    """Whether somebody listens."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
