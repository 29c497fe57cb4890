"""`kill -9` of `tespes serve` at the worst moments, then a restart: the task completes and its executor ran once."""

import os
import signal
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from servers import Counter, Gate, Tespes, until
from tespes.local.ftp import LocalFTP
from tespes.local.mongodb import LocalMongoDB
from tespes.local.pulsar import LocalPulsar

pytestmark = pytest.mark.servers

REPORT_S = 5.0  # a runner tries for that long to deliver a report, then goes on


@pytest.fixture
def task(ftp: LocalFTP, counter: Counter, way_in: Gate, way_out: Gate) -> dict[str, Any]:
    """A task that fetches, runs once, and stores; each step can be held up."""
    (ftp.directory / "in").write_text("in")
    (ftp.directory / "out").unlink(missing_ok=True)
    return {
        "inputs": [{"url": f"ftp://127.0.0.1:{way_in.port}/in", "path": "/data/in"}],
        "outputs": [{"url": f"ftp://127.0.0.1:{way_out.port}/out", "path": "/data/out"}],
        "executors": [{"image": "any", "command": counter.command, "stdout": "/data/out"}],
    }


def crash(tespes: Tespes) -> None:
    """Crash it, and start it again on what it left."""
    tespes.kill()
    tespes.start()


def assert_ran_once(tespes: Tespes, task_id: str, counter: Counter, ftp: LocalFTP) -> None:
    """The task completed, its executor ran once, its output is there."""
    ended = tespes.ended(task_id)
    assert ended["state"] == "COMPLETE", ended
    assert counter.runs == 1
    assert (ftp.directory / "out").read_text() == "done\n"


def test_right_after_the_answer_to_the_post(tespes: Tespes, task: dict[str, Any], counter: Counter, ftp: LocalFTP) -> None:
    """What was answered is durable."""
    counter.release()
    tespes.start()
    task_id = tespes.submit(task)
    crash(tespes)
    assert_ran_once(tespes, task_id, counter, ftp)


def test_after_the_setup_message_left(
    tespes: Tespes, task: dict[str, Any], counter: Counter, ftp: LocalFTP, pulsar: LocalPulsar
) -> None:
    """Nobody knows whether the message left: it is sent again, and Pulsar runs the job once."""
    counter.release()
    tespes.start()
    assert pulsar.pid is not None
    os.kill(pulsar.pid, signal.SIGSTOP)
    try:
        task_id = tespes.submit(task)
        until(lambda: "logs" in tespes.task(task_id), what=lambda: str(tespes.task(task_id)))
        time.sleep(0.5)
        tespes.kill()
    finally:
        os.kill(pulsar.pid, signal.SIGCONT)
    tespes.start()
    assert_ran_once(tespes, task_id, counter, ftp)


def test_after_the_claim(tespes: Tespes, task: dict[str, Any], counter: Counter, ftp: LocalFTP, way_in: Gate) -> None:
    """The runner waits for TESPES to come back, and goes on with the attempt it claimed."""
    counter.release()
    way_in.shut()
    tespes.start()
    task_id = tespes.submit(task)
    until(lambda: "host" in str(tespes.task(task_id).get("logs")), what=lambda: str(tespes.task(task_id)))
    crash(tespes)
    way_in.open()
    assert_ran_once(tespes, task_id, counter, ftp)


def test_while_the_executor_runs(tespes: Tespes, task: dict[str, Any], counter: Counter, ftp: LocalFTP) -> None:
    """What runs on the node does not care whether TESPES is there."""
    tespes.start()
    task_id = tespes.submit(task)
    until(lambda: counter.runs == 1, what=lambda: str(tespes.task(task_id)))
    until(lambda: tespes.state(task_id) == "RUNNING")
    tespes.kill()
    counter.release()
    time.sleep(0.5)
    tespes.start()
    assert_ran_once(tespes, task_id, counter, ftp)


@pytest.mark.parametrize("tespes", ["sqlite"], indirect=True)
def test_after_the_result_arrived_and_before_its_append(
    request: pytest.FixtureRequest, tespes: Tespes, task: dict[str, Any], counter: Counter, ftp: LocalFTP, way_out: Gate
) -> None:
    """A result that was not answered is delivered again."""
    way_out.shut()
    counter.release()
    tespes.start()
    task_id = tespes.submit(task)
    until(lambda: "exit_code" in str(tespes.task(task_id)), what=lambda: str(tespes.task(task_id)))
    with held_store(request, tespes):
        way_out.open()
        until((ftp.directory / "out").exists)
        time.sleep(0.5)
        tespes.kill()
    tespes.start()
    assert_ran_once(tespes, task_id, counter, ftp)


@pytest.mark.parametrize("tespes", [pytest.param("sqlite", marks=pytest.mark.slow), "mongodb"], indirect=True)
def test_after_the_last_report_and_the_result_arrived_and_before_their_appends(
    request: pytest.FixtureRequest, tespes: Tespes, counter: Counter
) -> None:
    """What the reports did not get into the log, the result brings; what it did not, its second delivery does."""
    tespes.start()
    task_id = tespes.submit({"executors": [{"image": "any", "command": counter.command}]})
    until(lambda: tespes.state(task_id) == "RUNNING" and counter.runs == 1, what=lambda: str(tespes.task(task_id)))
    with held_store(request, tespes):
        counter.release()
        time.sleep(REPORT_S + 1)
        tespes.kill()
    tespes.start()
    ended = tespes.ended(task_id)
    assert ended["state"] == "COMPLETE", ended
    assert [log["exit_code"] for log in ended["logs"][0]["logs"]] == [0]
    assert counter.runs == 1


@contextmanager
def held_store(request: pytest.FixtureRequest, tespes: Tespes) -> Iterator[None]:
    """No append gets through: SQLite is locked by somebody else, the MongoDB server stands still."""
    if "TESPES_STORE__MONGODB_URI" in tespes.variables:
        server: LocalMongoDB | None = request.getfixturevalue("mongodb").server
        if server is None or server.pid is None:
            pytest.skip("somebody else's MongoDB cannot be made to stand still")
        os.kill(server.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(server.pid, signal.SIGCONT)
    else:
        holder = sqlite3.connect(tespes.state_dir / "log.sqlite3", isolation_level=None)
        holder.execute("BEGIN IMMEDIATE")
        yield
        holder.execute("ROLLBACK")
        holder.close()
