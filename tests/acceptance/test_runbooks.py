"""The runbooks, walked: each command of `docs/runbooks.md` is taken from there and typed, with the fault planted."""

import asyncio
import json
import os
import re
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import aio_pika
import pytest

from servers import ROOT, Counter, Loop, Tespes, problem, until, usual_settings
from tespes.local import rabbitmq as nodes
from tespes.local.ftp import LocalFTP
from tespes.local.pulsar import LocalPulsar
from tespes.local.rabbitmq import PrivateRabbitMQ

pytestmark = pytest.mark.servers

BOOK = ROOT / "docs" / "runbooks.md"
TASK = {"executors": [{"image": "any", "command": ["true"]}]}
UNRUN = "# not run"


def chapters() -> dict[str, list[str]]:
    """The commands of each chapter, in order, without those that no test runs."""
    found: dict[str, list[str]] = {}
    for chapter in BOOK.read_text().split("\n## ")[1:]:
        blocks = re.findall(r"```sh\n(.*?)```", chapter, re.DOTALL)
        lines = [line for block in blocks for line in block.splitlines()]
        found[chapter.splitlines()[0]] = [line for line in lines if not line.endswith(UNRUN)]
    return found


class Walk:
    """A chapter whose commands are typed one after the other, where the settings of that TESPES are.

    :param variables: what the words with a `$` stand for
    """

    def __init__(self, chapter: str, tespes: Tespes, node: PrivateRabbitMQ, **variables: str) -> None:
        self.left = chapters()[chapter]
        self.variables = variables
        self._tespes = tespes
        self._environment = (
            nodes._environment(node._directory, node._node())
            | {"PATH": f"{Path(sys.executable).parent}:/usr/lib/rabbitmq/bin:{os.environ['PATH']}"}
            | tespes.variables
            | {"TESPES_STATE_DIR": str(tespes.state_dir), "TESPES_HTTP__PORT": str(tespes.port)}
            | {"STATE_DIR": str(tespes.state_dir), "URL": tespes.url}
        )

    def type(self, begins: str, status: int = 0) -> str:
        """What the next command says, which begins with that and ends with that exit status."""
        line = self.left.pop(0)
        assert line.startswith(begins), f"the book says: {line}"
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", line],
            cwd=self._tespes.state_dir,
            env=self._environment | self.variables,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == status, f"{line}: {done.stderr}"
        return done.stdout


Walking = Callable[..., Walk]


@pytest.fixture
def walk(walked: Tespes, rabbitmq: PrivateRabbitMQ) -> Iterator[Walking]:
    """Begin a chapter; at the end of the test, all of its commands were typed."""
    begun: list[Walk] = []

    def walking(chapter: str, **variables: str) -> Walk:
        begun.append(Walk(chapter, walked, rabbitmq, **variables))
        return begun[-1]

    yield walking
    assert [each.left for each in begun] == [[]] * len(begun)


@pytest.fixture
def walked(tmp_path: Path, rabbitmq: PrivateRabbitMQ, pulsar: LocalPulsar, ftp: LocalFTP) -> Iterator[Tespes]:
    """TESPES on SQLite with the real Pulsar, not started yet."""
    variables = {"TESPES_RABBITMQ__URL": rabbitmq.url, "TESPES_LOG__FORMAT": "json", "TESPES_AUDIT__SEAL_S": "0.5"}
    running = Tespes(tmp_path / "tespes", variables, usual_settings(ftp))
    yield running
    running.stop()


def ready(tespes: Tespes) -> str:
    """What `/readyz` says."""
    return json.dumps(tespes.get("/readyz"))


def becomes_ready(tespes: Tespes) -> None:
    """Wait until nothing is wrong."""
    until(lambda: tespes.get("/readyz")["status"] == "ready", within_s=40, every_s=0.2, what=lambda: ready(tespes))


def publish(node: PrivateRabbitMQ, queue: str, body: bytes) -> None:
    """Something that nobody can read."""

    async def work() -> None:
        async with await aio_pika.connect(node.url) as connection:
            channel = await connection.channel()
            message = aio_pika.Message(body, content_type="application/json")
            await channel.default_exchange.publish(message, queue)

    asyncio.run(work())


def _metrics(tespes: Tespes) -> str:
    """What Prometheus is told."""
    with urllib.request.urlopen(f"{tespes.url}/metrics", timeout=15) as answer:  # noqa: S310 - loopback
        return str(answer.read().decode())


def test_every_chapter_is_walked() -> None:
    """A chapter that nobody walks has no place in the book."""
    assert set(re.findall(r'walk\(\s*"([^"]+)"', Path(__file__).read_text())) == set(chapters())
    assert all(chapters().values())


@pytest.mark.slow
def test_a_pulsar_is_gone(loop_thread: Loop, walked: Tespes, pulsar: LocalPulsar, walk: Walking) -> None:
    """It is seen, drained, started and enabled; then it takes tasks."""
    walked.start()
    becomes_ready(walked)
    loop_thread.run(pulsar.stop())
    try:
        until(lambda: "nobody reads pulsar__setup" in ready(walked), within_s=30, every_s=0.2)
        chapter = walk("A Pulsar is gone", PULSAR="real")
        assert "nobody reads pulsar__setup" in chapter.type("curl -s $URL/readyz")
        assert 'tespes_pulsar_up{pulsar="real"} 0.0' in chapter.type("curl -s $URL/metrics")
        assert re.search(r"^problem +pulsar real:", chapter.type("tespes doctor", status=1), re.MULTILINE)
        assert "nobody reads pulsar__setup" in chapter.type("tespes pulsars list")
        chapter.type("tespes pulsars drain")
        task_id = walked.submit(TASK)
        until(lambda: "its machine is down" in json.dumps(walked.task(task_id)))
    finally:
        loop_thread.run(pulsar.start())
    chapter.type("tespes pulsars enable")
    becomes_ready(walked)
    shown = chapter.type("tespes pulsars list")  # without a trouble; the task may be at work there already
    assert re.search(r"^real +enabled +[01] of 8 +[0-9]+ +[0-9]+ *$", shown, re.MULTILINE), shown
    assert walked.ended(task_id)["state"] == "COMPLETE"


@pytest.mark.slow
def test_the_broker_is_gone(loop_thread: Loop, walked: Tespes, rabbitmq: PrivateRabbitMQ, walk: Walking) -> None:
    """Tasks are taken meanwhile, and end when it is back."""
    walked.start()
    becomes_ready(walked)
    loop_thread.run(rabbitmq.stop())
    try:
        until(lambda: "RabbitMQ is away" in ready(walked), within_s=30, every_s=0.2)
        chapter = walk("The broker is gone")
        assert "RabbitMQ is away" in chapter.type("curl")
        task_id = walked.submit(TASK)
    finally:
        loop_thread.run(rabbitmq.start())
    assert walked.ended(task_id)["state"] == "COMPLETE"
    assert re.search(r"^pulsar__setup\s+0\s+1$", chapter.type("rabbitmqctl list_queues"), re.MULTILINE)
    becomes_ready(walked)


@pytest.mark.slow
def test_a_full_disk(walked: Tespes, walk: Walking) -> None:
    """Submissions say why they fail; with room, the log goes on and is whole."""
    walked.state_dir.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=32m", "tmpfs", walked.state_dir], check=True)
    try:
        walked.start()
        before = walked.submit(TASK)
        large = walked.state_dir / "large"
        refused = _fill(large, lambda: walked.submit(TASK))
        assert (refused.code, "full" in problem(refused)["detail"]) == (503, True)
        said = re.compile(r"the last append failed.*the disk of .* is full")
        until(lambda: said.search(ready(walked)), every_s=0.2, what=lambda: ready(walked))
        chapter = walk("A full disk")
        assert "100%" in chapter.type("df")
        assert "/large" in chapter.type("du")
        assert said.search(chapter.type("curl"))
        large.unlink()
        assert walked.ended(walked.submit(TASK))["state"] == "COMPLETE"
        assert walked.ended(before)["state"] == "COMPLETE"
        until(lambda: "the last append failed" not in ready(walked), every_s=0.2)
        assert "sound" in chapter.type("tespes audit verify")
    finally:
        walked.stop()
        subprocess.run(["umount", walked.state_dir], check=True)


def _fill(file: Path, submit: Callable[[], str]) -> urllib.error.HTTPError:
    """Fill the disk, until nothing more is taken; what is said then."""
    with suppress(OSError), file.open("wb", buffering=0) as large:
        while True:
            large.write(bytes(4096))
    try:
        for _ in range(1000):
            submit()
    except urllib.error.HTTPError as refused:
        return refused
    raise AssertionError("the disk is not full")


@pytest.mark.slow
def test_a_lagging_view(walked: Tespes, walk: Walking) -> None:
    """Nobody does it, and that is said; then somebody does, and the view is what the events make."""
    walked.variables["TESPES_ROLES"] = "api,dispatch,listen,publish"
    walked.start()
    walked.ended(walked.submit(TASK))
    until(lambda: "nobody does: project" in ready(walked), every_s=0.2)
    chapter = walk("A lagging view")
    assert _behind(chapter.type("tespes projections list")) > 0
    walked.stop()
    del walked.variables["TESPES_ROLES"]
    walked.start()
    until(lambda: walked.get("/v1/tasks")["tasks"])
    until(lambda: walked.get("/readyz")["checks"]["list"]["lag_commits"] == 0)
    assert _behind(chapter.type("tespes projections list")) == 0
    assert ", 0 different" in chapter.type("tespes projections verify")
    assert "done: all 1 documents are as they were" in chapter.type("tespes projections rebuild")


def _behind(table: str) -> int:
    heads, *rows = [line.split() for line in table.splitlines()]
    return next(int(row[heads.index("BEHIND")]) for row in rows if row[0] == "task_view")


@pytest.mark.slow
def test_a_stuck_task(walked: Tespes, walk: Walking) -> None:
    """Its history says what it waits for; it can be ended."""
    walked.start()
    task_id = walked.submit(TASK | {"resources": {"backend_parameters": {"pulsar": "nowhere"}}})
    chapter = walk("A stuck task", TASK=task_id)
    until(lambda: "TaskDeferred" in (walked.state_dir / "log.sqlite3-wal").read_bytes().decode("latin-1"))
    assert re.search(r"TaskDeferred +.*nowhere", chapter.type("tespes log show"))
    assert re.search(r"^1 task waits", chapter.type("tespes pulsars list"), re.MULTILINE)
    assert task_id not in chapter.type("tespes parked list")
    chapter.type("curl -s -X POST")
    assert "TaskCanceled" in chapter.type("tespes log show")


def test_a_key_to_rotate(walked: Tespes, counter: Counter, walk: Walking) -> None:
    """What runs with the old key ends, what comes has the new one, and the log is sound with both."""
    walked.start()
    task_id = walked.submit({"executors": [{"image": "any", "command": counter.command}]})
    until(lambda: walked.state(task_id) == "RUNNING", what=lambda: str(walked.task(task_id)))
    until((walked.state_dir / "heads.jsonl").is_file)
    walked.stop()
    chapter = walk("A key to rotate")
    chapter.type("(umask 077; printf")
    assert (walked.state_dir / ".secrets.toml").stat().st_mode & 0o077 == 0
    chapter.type("mv")
    walked.start()
    counter.release()
    assert walked.ended(task_id)["state"] == "COMPLETE"
    assert counter.runs == 1
    assert walked.ended(walked.submit(TASK))["state"] == "COMPLETE"
    until(lambda: len({json.loads(line)["key"] for line in (walked.state_dir / "heads.jsonl").read_text().splitlines()}) == 2)
    assert "sound" in chapter.type("tespes audit verify")
    assert json.loads((walked.state_dir / "heads.jsonl").read_text().splitlines()[-1])["key"] in chapter.type(
        "tespes audit key"
    )


@pytest.mark.slow
def test_restore_from_a_backup(walked: Tespes, rabbitmq: PrivateRabbitMQ, walk: Walking, tmp_path: Path) -> None:
    """What it has comes back, what came later is gone, and that is said; the service goes on."""
    walked.start()
    before = walked.submit(TASK)
    walked.ended(before)
    chapter = walk("Restore from a backup", BACKUP=str(tmp_path / "backup"))
    chapter.left.insert(0, "tespes backup make $BACKUP")
    chapter.type("tespes backup make")
    after = walked.submit(TASK)
    walked.ended(after)
    walked.stop()
    assert "sound" in chapter.type("tespes backup verify")
    chapter.type("mkdir")
    chapter.type("mv")
    chapter.type("tespes backup restore")
    walked.start()
    assert walked.state(before) == "COMPLETE"
    with pytest.raises(urllib.error.HTTPError) as gone:
        walked.state(after)
    with gone.value:
        assert gone.value.code == 404
    assert walked.ended(walked.submit(TASK))["state"] == "COMPLETE"
    becomes_ready(walked)
    assert "sound" in chapter.type("tespes audit verify")
    assert "LogRestored" in chapter.type("tespes log show")


@pytest.mark.slow
def test_a_poisoned_message(
    loop_thread: Loop, walked: Tespes, rabbitmq: PrivateRabbitMQ, pulsar: LocalPulsar, walk: Walking
) -> None:
    """From a Pulsar: a letter. In a Pulsar's own queue: its consumer dies, until the queue is purged and it is started anew."""
    walked.start()
    becomes_ready(walked)
    chapter = walk("A poisoned message")
    chapter.left.insert(0, "rabbitmqctl purge_queue tespes.dead")
    chapter.type("rabbitmqctl purge_queue tespes.dead")  # what other tests left
    publish(rabbitmq, "pulsar__status_update", b"\xff")
    until(lambda: "a message goes to the dead letters" in walked.log_file.read_text())
    until(lambda: re.search(r'queue="dead"} [1-9]', _metrics(walked)), within_s=30, every_s=0.5)
    assert re.search(r'queue="dead"} [1-9]', chapter.type("curl"))
    letter = next(line for line in chapter.type("tespes dead list").splitlines() if "not JSON" in line)
    chapter.variables["LETTER"] = letter.split()[0]
    assert "body_base64: /w==" in chapter.type("tespes dead show")
    chapter.type("tespes dead retry")
    chapter.type("rabbitmqctl purge_queue tespes.dead")
    publish(rabbitmq, "pulsar__setup", b"\xff")
    until(lambda: "nobody reads pulsar__setup" in ready(walked), within_s=30, every_s=0.2)
    chapter.type("rabbitmqctl purge_queue pulsar__setup")
    loop_thread.run(pulsar.stop())
    loop_thread.run(pulsar.start())
    becomes_ready(walked)
    assert walked.ended(walked.submit(TASK))["state"] == "COMPLETE"
