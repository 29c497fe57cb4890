"""Several `tespes serve` on one MongoDB and one RabbitMQ: what one writes, all know; who is killed, is replaced."""

import asyncio
import http.client
import json
import signal
import time
import urllib.error
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import pytest

import given as g
import oracle
import stores
from servers import Counter, Tespes, problem, until, usual_settings
from stores import MongoDB, Place
from tespes import errors, events
from tespes import settings as configuration
from tespes.events import Meta
from tespes.local.ftp import LocalFTP
from tespes.local.ports import free_port
from tespes.local.pulsar import LocalPulsar
from tespes.local.rabbitmq import PrivateRabbitMQ
from tespes.pulsar import job

pytestmark = pytest.mark.servers

KEY = "the key that all these processes share"
SITE = '[default.pulsars.site-a]\nruntime = {kind = "sandbox"}\n'
TASK = {"executors": [{"image": "any", "command": ["true"]}]}
EVERYTHING = "api,dispatch,listen,project,publish"
TAKEOVER_S = 10

Start = Callable[..., Tespes]


@pytest.fixture
def shared(mongodb: MongoDB, tmp_path: Path) -> Place:
    """The store that all processes of a test share."""
    return stores.in_mongodb(mongodb, tmp_path)


@pytest.fixture
def start(tmp_path: Path, shared: Place, rabbitmq: PrivateRabbitMQ) -> Iterator[Start]:
    """Start a process with these roles and further settings; all of them end with the test."""
    numbers = count(1)
    with ExitStack() as stack:

        def started(roles: str, settings: str = "", port: int | None = None) -> Tespes:
            variables = {
                "TESPES_ROLES": roles,
                "TESPES_STORE__MONGODB_URI": str(shared.options.mongodb_uri),
                "TESPES_STORE__MONGODB_DATABASE": shared.options.mongodb_database,
                "TESPES_RABBITMQ__URL": rabbitmq.url,
                "TESPES_RUNNER__KEY": KEY,
                "TESPES_LEASE__EXPIRES_S": "1",
                "TESPES_HTTP__CANCEL_WAIT_S": "0",
                "TESPES_LOG__FORMAT": "json",
            }
            process = Tespes(tmp_path / f"process{next(numbers)}", variables, settings, port or free_port())
            stack.callback(process.stop)
            process.start()
            return process

        yield started


async def schedule(place: Place, task_id: str) -> None:
    """Send the task's first attempt to a Pulsar, as far as the log knows."""
    attempt = events.AttemptScheduled(attempt=1, job_id=f"{task_id}-1", pulsar="site-a", runtime="sandbox")
    meta = Meta(at=g.at(0), actor="tests", owner="anonymous")
    async with place.open() as opened:
        await opened.log.append(events.commit(str(uuid.uuid4()), task_id, 2, [attempt], meta))


@pytest.fixture
def pair(start: Start, ftp: LocalFTP, pulsar: LocalPulsar) -> tuple[Tespes, Tespes]:
    """Two processes with all roles, at the real Pulsar; the first holds the leases, runners call the second."""
    port = free_port()
    settings = at(port) + usual_settings(ftp)
    first = start(EVERYTHING, settings)
    until(lambda: {holder(first, lease) for lease in ("dispatch", "project", "publish")} == {pid_of(first)})
    return first, start(EVERYTHING, settings, port)


def at(port: int) -> str:
    """The settings that say where clients and runners find the service."""
    return f'[default.http]\npublic_url = "http://127.0.0.1:{port}"\n'


def pid_of(process: Tespes) -> int:
    """Its process id."""
    assert process.process is not None
    return process.process.pid


def holder(process: Tespes, lease: str) -> int | None:
    """The process that holds a lease, as this one sees it."""
    name = process.get("/readyz")["checks"]["leases"]["holders"][lease]
    return int(name.split(":")[-2]) if name else None


def of(place: Place, kind: str) -> list[dict[str, Any]]:
    """The data of all events of that type in the log."""
    return [json.loads(event["data"]) for each in place.stored() for event in each["events"] if event["type"] == kind]


def takings(place: Place) -> dict[str, int]:
    """How often each lease was taken."""
    names = [taken["name"] for taken in of(place, "LeaseTaken")]
    return {name: names.count(name) for name in names}


class TestReading:
    """Every process reads every process's writes."""

    @pytest.mark.parametrize("times", [20, pytest.param(100, marks=pytest.mark.slow)])
    def test_what_was_posted_here_is_found_there_without_a_projector(self, start: Start, times: int) -> None:
        """POST on one, GET on the other, 1,000 times, while nobody keeps the lists: always found."""
        first, second = start("api"), start("api")

        def post_and_get(_: int) -> int:
            found = 0
            with (
                closing(http.client.HTTPConnection("127.0.0.1", first.port, timeout=30)) as here,
                closing(http.client.HTTPConnection("127.0.0.1", second.port, timeout=30)) as there,
            ):
                for _ in range(times):
                    here.request("POST", "/v1/tasks", json.dumps(TASK), {"Content-Type": "application/json"})
                    task_id = json.loads(here.getresponse().read())["id"]
                    there.request("GET", f"/v1/tasks/{task_id}")
                    answer = there.getresponse()
                    found += answer.status == 200 and json.loads(answer.read()) == {"id": task_id, "state": "QUEUED"}
            return found

        with ThreadPoolExecutor(10) as threads:
            assert sum(threads.map(post_and_get, range(10))) == 10 * times

    def test_a_cancel_here_wakes_the_runner_that_is_held_there(self, start: Start, shared: Place) -> None:
        """A runner's request is held open for ten seconds: the hint of the other process lets it go long before."""
        first, second = start("api", SITE), start("api", SITE)
        task_id = first.submit(TASK)
        job_id = f"{task_id}-1"
        asyncio.run(schedule(shared, task_id))
        run_id = uuid.uuid4().hex
        runner = {"Authorization": f"Bearer {job.token(KEY.encode(), job_id)}", "Tespes-Run": run_id}
        with closing(http.client.HTTPConnection("127.0.0.1", second.port, timeout=30)) as connection:
            connection.request("POST", f"/runner/{job_id}/claim", json.dumps({"run_id": run_id}), runner)
            claimed = connection.getresponse()
            assert claimed.status == 200, claimed.read()
            claimed.read()
            connection.request("POST", f"/runner/{job_id}/reports", json.dumps({"report": "heartbeat", "hold_s": 10}), runner)
            time.sleep(0.5)
            begun = time.monotonic()
            first.post(f"/v1/tasks/{task_id}:cancel")
            assert connection.getresponse().status == 410
            assert time.monotonic() - begun < 5


class TestTakingOver:
    """One process alone dispatches and keeps the lists; when it is gone, another does."""

    def test_who_is_killed_is_replaced_and_its_tasks_go_on(
        self, pair: tuple[Tespes, Tespes], counter: Counter, shared: Place
    ) -> None:
        """`kill -9` of the holder: within ten seconds the other dispatches, and every task runs once and ends."""
        first, second = pair
        tasks = [first.submit({"executors": [{"image": "any", "command": counter.command}]}) for _ in range(4)]
        until(lambda: counter.runs > 0)
        first.kill()
        begun = time.monotonic()
        until(
            lambda: {holder(second, lease) for lease in ("dispatch", "project", "publish")} == {pid_of(second)},
            within_s=TAKEOVER_S,
        )
        assert time.monotonic() - begun < TAKEOVER_S
        counter.release()
        tasks += [second.submit(TASK) for _ in range(2)]
        assert {second.ended(task_id)["state"] for task_id in tasks} == {"COMPLETE"}
        assert counter.runs == 4
        until(lambda: len(second.get("/v1/tasks?state=COMPLETE")["tasks"]) == 6)
        oracle.check(shared.stored())

    @pytest.mark.parametrize("asleep_s", [1, pytest.param(30, marks=pytest.mark.slow)])
    def test_who_wakes_up_changes_nothing_and_starts_nothing(
        self, pair: tuple[Tespes, Tespes], counter: Counter, shared: Place, asleep_s: float
    ) -> None:
        """The holder stands still, and another takes over. What the first had in hand when it wakes up comes to nothing."""
        first, second = pair
        tasks = [second.submit({"executors": [{"image": "any", "command": counter.command}]}) for _ in range(3)]
        first.signal(signal.SIGSTOP)
        try:
            until(lambda: holder(second, "dispatch") == pid_of(second), within_s=TAKEOVER_S)
            tasks += [second.submit({"executors": [{"image": "any", "command": counter.command}]}) for _ in range(3)]
            until(lambda: counter.runs == 6, within_s=30)
            time.sleep(asleep_s)
        finally:
            first.signal(signal.SIGCONT)
        until(lambda: first.get("/readyz")["checks"]["leases"]["holders"]["dispatch"] is not None)
        time.sleep(1)
        assert holder(first, "dispatch") == holder(first, "project") == pid_of(second)
        counter.release()
        assert {first.ended(task_id)["state"] for task_id in tasks} == {"COMPLETE"}
        assert counter.runs == 6
        assert len(of(shared, "AttemptScheduled")) == 6
        until(lambda: set(takings(shared).values()) == {2})
        oracle.check(shared.stored())

    def test_who_is_told_to_stop_gives_its_leases_back(self, pair: tuple[Tespes, Tespes]) -> None:
        """The other need not wait until they expire."""
        first, second = pair
        assert first.stop() == 0
        until(lambda: holder(second, "dispatch") == holder(second, "project") == pid_of(second), within_s=3)


class TestRoles:
    """A process does what it is told to do, and nothing else."""

    @pytest.mark.usefixtures("pulsar")
    def test_parts_in_processes_of_their_own_are_a_whole(self, start: Start, ftp: LocalFTP) -> None:
        """One serves, one dispatches, one listens, one keeps the lists, one publishes: a task completes, and is in the list."""
        port = free_port()
        settings = at(port) + usual_settings(ftp)
        api = start("api", settings, port)
        others = [start(role, settings) for role in ("dispatch", "listen", "project", "publish")]
        task_id = api.submit(TASK)
        assert api.ended(task_id)["state"] == "COMPLETE"
        until(lambda: [each["id"] for each in api.get("/v1/tasks")["tasks"]] == [task_id])
        for other in others:
            assert other.get("/healthz") == {"status": "alive"}
            until(partial(is_ready, other))
            with pytest.raises(urllib.error.HTTPError) as refused:
                other.get("/service-info")
            assert problem(refused.value)["status"] == 404

    @pytest.mark.parametrize(
        ("missing", "said"),
        [
            ("TESPES_RUNNER__KEY", "the same runner.key"),
            ("TESPES_RABBITMQ__URL", "the same rabbitmq.url"),
            ("TESPES_HTTP__PUBLIC_URL", "pulsars.site-a.callback_url is missing"),
        ],
    )
    def test_what_processes_must_share_is_asked_for(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, missing: str, said: str
    ) -> None:
        """A part alone, of something that nobody could join: one line that says what is missing."""
        variables = {
            "TESPES_STORE__MONGODB_URI": "mongodb://127.0.0.1:9/",
            "TESPES_RUNNER__KEY": KEY,
            "TESPES_RABBITMQ__URL": "amqp://127.0.0.1:9/",
            "TESPES_HTTP__PUBLIC_URL": "https://tes.example.org",
            "TESPES_ROLES": "dispatch",
        }
        for name in variables.keys() - {missing}:
            monkeypatch.setenv(name, variables[name])
        file = tmp_path / "settings.toml"
        file.write_text(SITE)
        with pytest.raises(errors.SetupError, match=said):
            configuration.roles(configuration.load(file, {}))


def is_ready(tespes: Tespes) -> bool:
    """Whether it finds nothing that is not as it should be; what it says may be a moment old."""
    return bool(tespes.get("/readyz")["status"] == "ready")
