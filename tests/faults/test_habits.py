"""What a Pulsar does, and what it does not: the same tests for the real one and for the one that is played.

Whatever the simulated Pulsar does in other tests is here first a fact about the real one. What needs a batch system
(a job that is found again, a return code that was never written) is tested with one, see `README.md`.
"""

import asyncio
import socket
import sys
import uuid
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio

from faults.wire_client import WireClient, wire_client
from servers import PULSAR
from simulated import SimulatedPulsar, Way
from tespes.local.pulsar import LocalPulsar
from tespes.local.rabbitmq import PrivateRabbitMQ

pytestmark = [pytest.mark.servers, pytest.mark.asyncio(loop_scope="module")]

both = pytest.mark.parametrize("subject", ["real", "simulated"], indirect=True)
both_but_the_real_one_is_slow = pytest.mark.parametrize(
    "subject", [pytest.param("real", marks=pytest.mark.slow), "simulated"], indirect=True
)


@dataclass
class Subject:
    """A Pulsar to look at: its queues, and the way by which it reaches RabbitMQ."""

    pulsar: LocalPulsar | SimulatedPulsar
    wire: WireClient
    way: Way


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def subjects(rabbitmq: PrivateRabbitMQ, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator["Subjects"]:
    """Both kinds, each started when it is first asked for."""
    async with AsyncExitStack() as stack:
        yield Subjects(stack, rabbitmq.url, tmp_path_factory.mktemp("habits"))


@dataclass
class Subjects:
    """Where subjects come from; a started one is used again."""

    stack: AsyncExitStack
    broker_url: str
    directory: Path
    real: Subject | None = None

    async def of(self, kind: str) -> Subject:
        """A Pulsar of that kind."""
        if kind == "real":
            self.real = self.real or await self._start("real")
            return self.real
        return await self._start("simulated")

    async def _start(self, kind: str) -> Subject:
        host, _, port = self.broker_url.rstrip("/").rpartition(":")
        way = await self.stack.enter_async_context(Way(int(port)))
        url, manager = f"{host}:{way.port}/", f"habits{uuid.uuid4().hex[:8]}"
        wire = await self.stack.enter_async_context(wire_client(self.broker_url, manager))
        pulsar: LocalPulsar | SimulatedPulsar
        if kind == "real":
            path = f"{sys.base_exec_prefix}/bin:/usr/bin:/bin"
            pulsar = LocalPulsar(self.directory, program=PULSAR, broker_url=url, manager=manager, path=path)
            await self.stack.enter_async_context(pulsar)
        else:
            pulsar = await self.stack.enter_async_context(SimulatedPulsar(url, manager=manager))
        return Subject(pulsar, wire, way)


@pytest_asyncio.fixture(loop_scope="module")
async def subject(request: pytest.FixtureRequest, subjects: Subjects) -> Subject:
    """The Pulsar that the test is about."""
    return await subjects.of(request.param)


@pytest.fixture
def job_id() -> str:
    """A job that nobody knows."""
    return f"{uuid.uuid4().hex}-1"


@both
async def test_a_short_job_is_complete_and_may_never_have_been_running(subject: Subject, job_id: str) -> None:
    """The receipt comes first. `running` is said if a look happened to see it."""
    await subject.wire.setup(job_id, "true")
    final = await subject.wire.final(job_id)
    assert (final["status"], final["returncode"]) == ("complete", 0)
    assert subject.wire.receipts[-1] == job_id
    assert subject.wire.said(job_id) in (["complete"], ["running", "complete"])


@both
async def test_a_job_that_takes_a_while_is_running_once_and_any_exit_code_is_complete(subject: Subject, job_id: str) -> None:
    """`preprocessing` and `queued` are never pushed; an exit code other than 0 is no failure."""
    await subject.wire.setup(job_id, "sleep 0.6; exit 3")
    final = await subject.wire.final(job_id)
    assert subject.wire.said(job_id) == ["running", "complete"]
    assert (final["returncode"], final["complete"], final["job_stdout"]) == (3, "true", "")


@both
async def test_a_signal_is_told_by_the_exit_code_in_one_of_two_ways(subject: Subject, job_id: str) -> None:
    """137 or -9."""
    await subject.wire.setup(job_id, "kill -9 $$")
    final = await subject.wire.final(job_id)
    assert final["status"] == "complete"
    assert final["returncode"] in {137, -9}


@pytest.mark.slow
@both
async def test_a_second_setup_of_a_job_is_receipted_and_ignored(subject: Subject, job_id: str) -> None:
    """While it runs and when it has ended."""
    wire = subject.wire
    await wire.setup(job_id, "sleep 0.4; echo first")
    await wire.setup(job_id, "echo second")
    assert (await wire.final(job_id))["job_stdout"] == "first\n"
    await wire.setup(job_id, "echo third")
    await wire.until(lambda: wire.receipts.count(job_id) == 3)
    await asyncio.sleep(0.5)
    assert wire.said(job_id).count("complete") == 1


@both
async def test_an_unknown_job_is_lost_when_asked_about(subject: Subject, job_id: str) -> None:
    """And a kill of it is ignored: a setup that comes later runs."""
    wire = subject.wire
    await wire.kill(job_id)
    answer = await wire.ask(job_id)
    assert (answer["status"], answer["complete"]) == ("lost", "true")
    await wire.setup(job_id, "echo ran")
    await wire.until(lambda: "complete" in wire.said(job_id))
    assert wire.updates[-1]["job_stdout"] == "ran\n"


@both
async def test_a_kill_is_never_answered_but_a_question_is(subject: Subject, job_id: str) -> None:
    """`cancelled` is not pushed. A second kill does no harm."""
    wire = subject.wire
    await wire.setup(job_id, "sleep 30")
    await wire.until(lambda: wire.said(job_id) == ["running"])
    await wire.kill(job_id)
    await wire.kill(job_id)
    await asyncio.sleep(0.7)
    assert wire.said(job_id) == ["running"]
    answer = await wire.ask(job_id)
    assert (answer["status"], answer["complete"]) == ("cancelled", "true")
    assert answer["returncode"] in {137, -9, None}


@both
async def test_a_kill_after_the_end_changes_nothing(subject: Subject, job_id: str) -> None:
    """The answer is as before."""
    await subject.wire.setup(job_id, "exit 4")
    await subject.wire.final(job_id)
    await subject.wire.kill(job_id)
    await asyncio.sleep(0.2)
    answer = await subject.wire.ask(job_id)
    assert (answer["status"], answer["returncode"]) == ("complete", 4)


@both
async def test_a_setup_that_cannot_be_has_failed_and_is_unknown_from_then_on(subject: Subject, job_id: str) -> None:
    """Without its parameters no directory is made; the reason is nowhere in the message."""
    await subject.wire.setup(job_id, "true", setup_params={})
    final = await subject.wire.final(job_id)
    assert (final["status"], final["complete"]) == ("failed", "true")
    assert (await subject.wire.ask(job_id))["status"] == "lost"


@both
async def test_a_file_that_cannot_be_staged_has_failed_the_job(subject: Subject, job_id: str) -> None:
    """Before its launch; neither the message nor the answer to a question says why."""
    action = {"action_type": "remote_copy", "source": {"path": "/nowhere"}, "path": "/nowhere"}
    await subject.wire.setup(job_id, "true", remote_staging={"setup": [{"name": "in", "type": "input", "action": action}]})
    final = await subject.wire.final(job_id)
    assert (final["status"], final["stdout"]) == ("failed", "")
    assert (await subject.wire.ask(job_id))["status"] == "failed"


@both
async def test_a_job_may_be_preprocessing_for_ever_and_then_a_kill_is_ignored(subject: Subject, job_id: str) -> None:
    """A file is waited for without any limit, and nothing is pushed. So TESPES never asks Pulsar to move one."""
    wire = subject.wire
    with socket.create_server(("127.0.0.1", 0)) as never:
        url = f"http://127.0.0.1:{never.getsockname()[1]}/"
        action = {"action_type": "remote_transfer", "url": url, "source": {"path": "/in"}, "path": "/in"}
        await wire.setup(job_id, "true", remote_staging={"setup": [{"name": "in", "type": "input", "action": action}]})
        await wire.until(lambda: job_id in wire.receipts)
        await wire.kill(job_id)
        await asyncio.sleep(0.3)
        for _ in range(2):
            answer = await wire.ask(job_id)
            assert (answer["status"], answer["complete"]) == ("preprocessing", "false")


@both
async def test_of_a_long_output_the_beginning_and_the_end_are_sent(subject: Subject, job_id: str) -> None:
    """About 1 MiB of it."""
    await subject.wire.setup(job_id, "yes | head -c 3000000; echo last")
    output = (await subject.wire.final(job_id))["job_stdout"]
    assert 0.9 * 2**20 < len(output) < 1.1 * 2**20
    assert output.startswith("y\n")
    assert output.endswith("last\n")


@pytest.mark.slow
@both
async def test_a_byte_that_is_no_text_silences_the_job(subject: Subject, job_id: str) -> None:
    """Its end is never told and no question is answered. So TESPES's runner prints ASCII and nothing else."""
    wire = subject.wire
    await wire.setup(job_id, "printf '\\377'; sleep 0.5")
    await wire.until(lambda: wire.said(job_id) == ["running"])
    await asyncio.sleep(1.2)
    await wire.send("status", {"request": "status", "job_id": job_id, "force_noack": True})
    await asyncio.sleep(0.5)
    assert wire.said(job_id) == ["running"]


@pytest.mark.slow
@both
async def test_what_is_said_to_a_queue_that_is_not_there_is_gone(subject: Subject, job_id: str) -> None:
    """Nothing comes later. So TESPES declares every queue before it says anything."""
    wire = subject.wire
    await wire.delete("status_update")
    await wire.setup(job_id, "true")
    await asyncio.sleep(1.0)
    await wire.declare("status_update")
    await asyncio.sleep(0.5)
    assert wire.said(job_id) == []
    assert (await wire.ask(job_id))["status"] == "complete"


@both_but_the_real_one_is_slow
async def test_what_was_sent_while_it_was_down_is_done_when_it_starts(subject: Subject, job_id: str) -> None:
    """The queues are durable."""
    await subject.pulsar.kill()
    await subject.wire.setup(job_id, "true")
    await subject.pulsar.start()
    assert (await subject.wire.final(job_id))["status"] == "complete"


@both_but_the_real_one_is_slow
async def test_a_pulsar_that_was_killed_loses_its_jobs_but_they_live_on(subject: Subject, job_id: str, tmp_path: Path) -> None:
    """`lost` once, after the restart; then `running` for ever, whatever becomes of the job, until it is killed."""
    wire = subject.wire
    await wire.setup(job_id, "sleep 30")
    await wire.until(lambda: wire.said(job_id) == ["running"])
    await subject.pulsar.kill()
    await subject.pulsar.start()
    await wire.until(lambda: "lost" in wire.said(job_id))
    for _ in range(2):
        assert (await wire.ask(job_id))["status"] == "running"
    await wire.kill(job_id)
    await asyncio.sleep(0.5)
    assert (await wire.ask(job_id))["status"] == "cancelled"


@both_but_the_real_one_is_slow
async def test_what_it_says_while_rabbitmq_is_away_comes_later(subject: Subject, job_id: str) -> None:
    """Its outbox is on disk; the job does not notice."""
    wire = subject.wire
    await wire.setup(job_id, "sleep 1.0; echo out")
    await wire.until(lambda: wire.said(job_id) == ["running"])
    subject.way.shut()
    await asyncio.sleep(1.5)
    assert wire.said(job_id) == ["running"]
    subject.way.open()
    assert (await wire.final(job_id))["job_stdout"] == "out\n"
    await _at_work(wire)


POISON = {
    "no JSON": (b"{", "application/json"),
    "a number": (b"5", "application/json"),
    "null": (b"null", "application/json"),
    "another content type": (b'{"job_id": "t1"}', "text/plain"),
}


@both_but_the_real_one_is_slow
@pytest.mark.parametrize("poison", POISON)
async def test_poison_ends_a_consumer_for_ever(subject: Subject, job_id: str, poison: str) -> None:
    """Of one queue; the others are served on. A restart does not help, the poison is still there; a purge does."""
    wire = subject.wire
    body, content_type = POISON[poison]
    await wire.send("kill", body, content_type)
    await _gone(wire, "kill")
    assert await wire.consumers("setup") == 1
    await wire.setup(job_id, "true")
    assert (await wire.final(job_id))["status"] == "complete"
    await subject.pulsar.kill()
    assert await wire.messages("kill") == 1
    await wire.purge("kill")
    await subject.pulsar.start()
    assert await wire.consumers("kill") == 1


@both
@pytest.mark.parametrize("body", [b"[]", b'"text"'])
async def test_a_list_or_a_text_does_no_harm(subject: Subject, job_id: str, body: bytes) -> None:
    """It is dropped."""
    await subject.wire.send("status", body)
    assert (await subject.wire.ask(job_id))["status"] == "lost"


async def _at_work(wire: WireClient) -> None:
    """It speaks again before it listens again."""
    async with asyncio.timeout(60):
        while not all([await wire.consumers(queue) for queue in ("setup", "status", "kill")]):  # noqa: ASYNC110 - only asking tells
            await asyncio.sleep(0.05)


async def _gone(wire: WireClient, queue: str) -> None:
    async with asyncio.timeout(20):
        while await wire.consumers(queue):  # noqa: ASYNC110 - only asking tells
            await asyncio.sleep(0.05)
