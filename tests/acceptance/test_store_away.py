"""The database is away while TESPES runs: who asks is told so soon, nothing is lost, and afterwards all goes on."""

import sys
import time
import urllib.error
from collections.abc import Iterator
from pathlib import Path

import pytest

from servers import Loop, Tespes, problem, until
from tespes.local.mongodb import LocalMongoDB
from tespes.local.rabbitmq import PrivateRabbitMQ

pytestmark = pytest.mark.servers

TASK = {"executors": [{"image": "any", "command": ["true"]}]}


@pytest.fixture
def server(loop_thread: Loop, tmp_path: Path) -> Iterator[LocalMongoDB]:
    """A MongoDB wire server of its own, to be killed."""
    made = LocalMongoDB(tmp_path / "mongodb", program=Path(sys.executable).with_name("secantusd-py"))
    loop_thread.run(made.start())
    yield made
    loop_thread.run(made.stop())


@pytest.mark.parametrize(
    ("away_s", "options"),
    [(0.5, "&serverSelectionTimeoutMS=500"), pytest.param(20.0, "", marks=pytest.mark.slow)],
    ids=["a moment", "20 s"],
)
def test_a_database_that_is_away_for_a_while(
    loop_thread: Loop, server: LocalMongoDB, rabbitmq: PrivateRabbitMQ, tmp_path: Path, away_s: float, options: str
) -> None:
    """POST and `/readyz` answer 503 within a bound; then every task that was answered is there, and new ones are taken."""
    variables = {"TESPES_RABBITMQ__URL": rabbitmq.url, "TESPES_STORE__MONGODB_URI": server.uri + options}
    tespes = Tespes(tmp_path / "tespes", variables)
    tespes.start()
    try:
        tasks = [tespes.submit(TASK) for _ in range(3)]
        until(lambda: tespes.get("/readyz")["status"] == "ready")
        loop_thread.run(server.kill())
        with pytest.raises(urllib.error.HTTPError) as refused:
            tespes.submit(TASK)
        assert problem(refused.value)["status"] == 503
        until(lambda: not answers(tespes))
        assert tespes.get("/healthz") == {"status": "alive"}
        time.sleep(away_s)
        loop_thread.run(server.start())
        until(lambda: answers(tespes), within_s=30)
        tasks.append(tespes.submit(TASK))
        assert [tespes.state(task_id) for task_id in tasks] == ["QUEUED"] * 4
        until(lambda: len(tespes.get("/v1/tasks")["tasks"]) >= 4, within_s=30)
        until(lambda: tespes.get("/readyz")["status"] == "ready", within_s=30)
    finally:
        tespes.stop()


def answers(tespes: Tespes) -> bool:
    """Whether it can serve; 503 if it cannot."""
    try:
        return bool(tespes.get("/readyz"))
    except urllib.error.HTTPError as error:
        error.close()
        if error.code != 503:
            raise
        return False
