"""Two `tespes serve` on one MongoDB; one of them is killed with -9 again and again while tasks keep coming.

None is lost, none is doubled.
"""

import json
import os
import random
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest
from pymongo import MongoClient

import oracle
from faults import laws
from servers import Loop, Tespes, until
from simulated import Record, SimulatedPulsar, Way
from stores import MongoDB
from tespes.local.rabbitmq import PrivateRabbitMQ

pytestmark = [pytest.mark.servers, pytest.mark.slow]

SITES = ("north", "south")
ENDED_WITHIN_S = 60.0
TAKEN_OVER_WITHIN_S = 10.0  # with the lease's usual 5 s


@dataclass
class Tally:
    """What is told at the end."""

    submitted: list[str] = field(default_factory=list)
    kills: int = 0
    takeovers_s: list[float] = field(default_factory=list)


@contextmanager
def simulated_sites(loop: Loop, broker_url: str, record: Record, name: str) -> Iterator[str]:
    """Two simulated Pulsars; what the settings say of them."""
    pulsars = [SimulatedPulsar(broker_url, manager=f"{name}{site}", record=record) for site in SITES]
    settings = ""
    for site, pulsar in zip(SITES, pulsars, strict=True):
        loop.run(pulsar.start())
        settings += f'[default.pulsars.{site}]\nmanager = "{name}{site}"\nslots = 16\nruntime = {{kind = "sandbox"}}\n'
    try:
        yield settings
    finally:
        for pulsar in pulsars:
            loop.run(pulsar.stop())


@pytest.fixture(params=[15, 120], ids=lambda seconds: f"{seconds}s")
def for_s(request: pytest.FixtureRequest) -> float:
    """How long tasks come and processes die."""
    return float(request.param)


def test_one_of_two_is_killed_every_few_seconds(
    for_s: float, tmp_path: Path, loop_thread: Loop, rabbitmq: PrivateRabbitMQ, mongodb: MongoDB
) -> None:
    """Every task that was accepted ends; each has exactly one run that did its work."""
    record, tally, name = Record(), Tally(), f"two{os.urandom(4).hex()}"
    variables = {
        "TESPES_RABBITMQ__URL": rabbitmq.url,
        "TESPES_LOG__FORMAT": "json",
        "TESPES_STORE__MONGODB_URI": mongodb.uri,
        "TESPES_STORE__MONGODB_DATABASE": name,
        "TESPES_RUNNER__KEY": os.urandom(32).hex(),
        "TESPES_RUNNER__HEARTBEAT_S": "2",
    }
    with simulated_sites(loop_thread, rabbitmq.url, record, name) as sites:
        pair = [Tespes(tmp_path / place, variables) for place in ("first", "second")]
        front = loop_thread.run(Way(*(one.port for one in pair)).__aenter__())  # runners find whichever is alive
        for one in pair:
            one.settings = f'[default.http]\npublic_url = "http://127.0.0.1:{front.port}"\n{sites}'
        try:
            for one in pair:
                one.start()
            with ThreadPoolExecutor(1) as submitting:
                done = submitting.submit(_submit, pair, tally, for_s)
                _kill(pair, tally, for_s, mongodb.uri, name)
                done.result()
            until(
                lambda: all(_states(mongodb.uri, name).get(each) in oracle.ENDS.values() for each in tally.submitted),
                within_s=ENDED_WITHIN_S,
                every_s=0.5,
            )
        finally:
            for one in pair:
                one.stop()
            loop_thread.run(front.__aexit__())
    entries = _entries(mongodb.uri, name)
    oracle.check(entries)
    _each_ran_once(entries, record, tally)
    print(_report(entries, tally, for_s))  # noqa: T201 - it is meant to be read
    assert max(tally.takeovers_s, default=0.0) < TAKEN_OVER_WITHIN_S


def _submit(pair: list[Tespes], tally: Tally, for_s: float) -> None:
    """Tasks, evenly, to whichever answers. A key for each makes asking again safe."""
    count = int(for_s * 2.5)
    began = time.monotonic()
    for number in range(count):
        task = {"executors": [{"image": "any", "command": ["sleep", str(random.choice([0, 0.2, 1, 3]))]}]}
        tally.submitted.append(_accepted(pair, task, f"{began}-{number}"))
        time.sleep(max(0.0, began + (number + 1) * for_s / count - time.monotonic()))


def _accepted(pair: list[Tespes], task: dict[str, Any], key: str) -> str:
    for turn in range(200):
        try:
            return _posted(pair[turn % 2].url, task, key)
        except OSError:  # nobody is there, or says 503
            time.sleep(0.1)
    raise AssertionError("nobody accepts a task")


def _posted(url: str, task: dict[str, Any], key: str) -> str:
    request = Request(f"{url}/v1/tasks", data=json.dumps(task).encode(), method="POST")  # noqa: S310 - loopback
    request.add_header("Content-Type", "application/json")
    request.add_header("Idempotency-Key", f'"{key}"')
    with urlopen(request, timeout=15) as answer:  # noqa: S310 - loopback
        return str(json.loads(answer.read())["id"])


def _kill(pair: list[Tespes], tally: Tally, for_s: float, uri: str, name: str) -> None:
    """One after the other; how long it takes until another leads what the dead one led."""
    end = time.monotonic() + for_s
    while time.monotonic() < end - 3:
        time.sleep(random.uniform(2, 4))
        victim = random.choice(pair)
        assert victim.process is not None
        leads = _leads(uri, name, victim.process.pid)
        victim.signal(signal.SIGKILL)
        victim.wait()
        tally.kills += 1
        died = time.monotonic()
        if leads:
            until(lambda: not _leads(uri, name, leads), within_s=30, every_s=0.05)  # noqa: B023 - used at once
            tally.takeovers_s.append(time.monotonic() - died)
        victim.start()


def _leads(uri: str, name: str, pid: int) -> int:
    """The pid, if that process holds the lease of dispatch; else 0."""
    with MongoClient[dict[str, Any]](uri) as client:
        lease = client[name].lease.find_one({"_id": "dispatch"}) or {}
    return pid if f":{pid}:" in str(lease.get("holder")) else 0


def _entries(uri: str, name: str) -> list[oracle.Stored]:
    with MongoClient[oracle.Stored](uri) as client:
        return list(client[name].log.find().sort("position"))


def _states(uri: str, name: str) -> dict[str, str]:
    return {stream: oracle.told(of).state for stream, of in laws.streams(_entries(uri, name)).items()}


def _each_ran_once(entries: list[oracle.Stored], record: Record, tally: Tally) -> None:
    """No accepted task is missing or doubled, all completed, and of each one run did the work."""
    tasks = laws.streams(entries)
    assert set(tasks) == set(tally.submitted)
    assert len(tally.submitted) == len(set(tally.submitted))
    for task_id, of in tasks.items():
        worked = [run for run in record.of(task_id) if run.containers]
        assert (oracle.told(of).state, len(worked)) == ("COMPLETE", 1), json.dumps(of, default=str, indent=1)


def _report(entries: list[oracle.Stored], tally: Tally, for_s: float) -> str:
    attempts = [oracle.told(of).attempts for of in laws.streams(entries).values()]
    taken = ", ".join(f"{each:.1f}" for each in sorted(tally.takeovers_s)) or "none"
    return (
        f"{for_s:.0f} s: {len(tally.submitted)} tasks submitted, all COMPLETE, each with one run that worked;"
        f" {tally.kills} times kill -9; dispatch was taken over after (s): {taken};"
        f" {sum(attempts) - len(attempts)} further attempts; {len(entries)} commits"
    )
