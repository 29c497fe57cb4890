"""What an operator does with a TESPES that runs: the commands as they are typed, with a real Pulsar."""

import asyncio
import json
import re
import sqlite3
import urllib.error
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import aio_pika
import pytest
from aio_pika.abc import AbstractQueue

from servers import Tespes, until, usual_settings
from tespes import door
from tespes.__main__ import main
from tespes.local.ftp import LocalFTP
from tespes.local.pulsar import LocalPulsar
from tespes.local.rabbitmq import PrivateRabbitMQ
from tespes.pulsar import dead

pytestmark = pytest.mark.servers
TASK = {"executors": [{"image": "unused", "command": ["true"]}]}


@pytest.fixture
def operated(tmp_path: Path, rabbitmq: PrivateRabbitMQ, pulsar: LocalPulsar, ftp: LocalFTP) -> Iterator[Tespes]:
    """TESPES with the real Pulsar; it is called by that name."""
    variables = {"TESPES_RABBITMQ__URL": rabbitmq.url, "TESPES_LOG__FORMAT": "json"}
    running = Tespes(tmp_path / "tespes", variables, usual_settings(ftp))
    running.start()
    yield running
    running.stop()


@pytest.fixture
def operate(operated: Tespes, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """`tespes WORDS`, as typed on TESPES's machine: exit status, output, errors."""
    where = ["--state-dir", str(operated.state_dir), "--settings", str(operated.state_dir / "settings.toml")]

    def run(*words: str) -> tuple[int, str, str]:
        capsys.readouterr()
        status = main([*words, *where, "--url", operated.url])
        out, err = capsys.readouterr()
        return status, out, err

    return run


@pytest.fixture
def said(operate: Callable[..., tuple[int, str, str]]) -> Callable[..., str]:
    """What a command says, which does what it should."""

    def run(*words: str) -> str:
        status, out, err = operate(*words)
        assert status == 0, err
        return out

    return run


def publish(rabbitmq: PrivateRabbitMQ, *bodies: bytes) -> None:
    """To the queue of Pulsar's status messages. There are no dead letters of other tests then."""

    async def work() -> None:
        async with await aio_pika.connect(rabbitmq.url) as connection:
            channel = await connection.channel()
            queue: AbstractQueue = await dead.declare(channel)
            await queue.purge()
            for body in bodies:
                message = aio_pika.Message(body, content_type="application/json")
                await channel.default_exchange.publish(message, "pulsar__status_update")

    asyncio.run(work())


def test_a_drained_pulsar_gets_no_task_over_restarts_until_it_is_enabled(operated: Tespes, said: Callable[..., str]) -> None:
    """What waits says why; an order that is given twice is given once; the list shows who has a place."""
    assert re.search(r"^real +enabled +0 of 8", said("pulsars", "list"), re.MULTILINE)
    for _ in range(2):
        said("pulsars", "drain", "real", "--reason", "new disks")
    assert re.search(r"^real +drained \(new disks\)", said("pulsars", "list"), re.MULTILINE)
    operated.kill()
    operated.start()
    task_id = operated.submit(TASK)
    until(lambda: "new disks" in json.dumps(operated.task(task_id)), what=lambda: str(operated.task(task_id)))
    assert operated.state(task_id) == "QUEUED"
    assert "1 task waits" in said("pulsars", "list")
    said("pulsars", "enable", "real")
    assert operated.ended(task_id)["state"] == "COMPLETE"
    events = logged(operated)
    assert (events.count("PulsarDrained"), events.count("PulsarEnabled")) == (1, 1)


def test_rubbish_is_listed_shown_and_retried_while_tasks_go_on(
    operated: Tespes, rabbitmq: PrivateRabbitMQ, operate: Callable[..., tuple[int, str, str]], said: Callable[..., str]
) -> None:
    """It is rubbish the second time, too: a letter again."""
    publish(rabbitmq, b"\xff", b'{"job_id": "of-another-1", "status": "lost"}', b'{"acknowledge_uuid_response": 5}')
    reasons = ("not JSON", "of-another-1", "job_id or status")
    until(lambda: all(reason in said("dead", "list") for reason in reasons), every_s=0.2, what=lambda: said("dead", "list"))
    assert operated.ended(operated.submit(TASK))["state"] == "COMPLETE"
    (line,) = [line for line in said("dead", "list").splitlines() if "of-another-1" in line]
    letter_id = line.split()[0]
    assert 'body: {"job_id": "of-another-1", "status": "lost"}' in said("dead", "show", letter_id)
    assert said("dead", "retry", letter_id) == "1 put back into their queues\n"
    until(lambda: "of-another-1" in said("dead", "list"), every_s=0.2)
    assert letter_id not in said("dead", "list")
    assert operate("dead", "show", letter_id)[2] == f"tespes: TESPES says: there is no dead letter {letter_id}\n"


def test_the_doors_are_closed_to_others(
    operated: Tespes, operate: Callable[..., tuple[int, str, str]], said: Callable[..., str]
) -> None:
    """Without the token, or with another: 401. A mistake is one line that says what to do."""
    for path in ("pulsars", "dead", "dead/x", "parked"):
        with pytest.raises(urllib.error.HTTPError) as refused:
            operated.get(f"/operator/{path}")
        assert refused.value.code == 401
        refused.value.close()
    status, _, line = operate("pulsars", "drain", "nobody")
    assert (status, line) == (2, "tespes: TESPES says: there is no Pulsar nobody in the settings; there are: real\n")
    assert said("parked", "list").split() == ["VIEW", "TASK", "SINCE", "POSITION", "REASON"]
    assert operate("parked", "retry", "x")[2] == "tespes: TESPES says: the task x is not parked\n"
    operated.stop()
    status, _, line = operate("pulsars", "list")
    assert status == 2
    assert line.startswith(f"tespes: no TESPES answers at {operated.url}: start it, or name its address with --url")


def logged(tespes: Tespes) -> list[Any]:
    """The names of all events in the log."""
    with closing(sqlite3.connect(tespes.state_dir / "log.sqlite3")) as database:
        rows = database.execute("SELECT events FROM log ORDER BY position").fetchall()
    return [event["type"] for (row,) in rows for event in json.loads(row)]


def test_what_others_wrote_cannot_command_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    """Control characters are replaced; letters of every script stay."""
    door.say("reason: \x1b[2J\x07 größe 名")
    assert capsys.readouterr().out == "reason: \ufffd[2J\ufffd größe 名\n"
