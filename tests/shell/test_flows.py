"""What comes from Pulsar and runners becomes events, on both stores: the cases that no real server shows on command."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import pytest

from tespes import errors, events, tes
from tespes.flow.attend import Attendant, Results
from tespes.flow.bell import Bell
from tespes.flow.cancel import cancel
from tespes.flow.execute import By, KnownTask, Tasks, now
from tespes.flow.jobs import Caller, Job
from tespes.flow.listen import Listener
from tespes.flow.live import Live, Tails, logs
from tespes.flow.read import TaskReader
from tespes.flow.signs import Signs
from tespes.flow.transfers import Transfers
from tespes.flow.uploads import Uploads
from tespes.flow.watch import Watch
from tespes.pulsar import Habits, result
from tespes.storage import Options, Storage
from tespes.store import Store
from tespes.task import commands
from tespes.task.state import Canceling, Claimed, Ended, Waiting

RUN = "0f" * 16
BY = By("test")
AT = "2026-11-22T12:00:00.000Z"


class Site:
    """Everything between the wire and the log, for one Pulsar that is not there."""

    def __init__(self, store: Store, storage: Storage | None = None) -> None:
        self.store = store
        self.tasks = Tasks(store.log)
        self.signs = Signs(store.signs)
        self.watch = Watch(time.monotonic, now)
        self.signs.noted = self.watch.heard
        self.reader = TaskReader(store.log, store.documents, store.blobs)
        results = Results(self.tasks, store.blobs)
        self.listener = Listener("site", self.tasks, results, self.signs)
        self.bell = Bell(store.log)
        self.live = Live(self.bell)
        storage = storage or Storage(Options())
        self.attendant = Attendant(
            tasks=self.tasks,
            results=results,
            signs=self.signs,
            bell=self.bell,
            live=self.live,
            storage=storage,
            sites={},
            key=b"key",
            habits=Habits(),
        )
        uploads = Uploads(store.uploads, storage, self.tasks, store.log)
        self.transfers = Transfers(working=self.attendant.working, storage=storage, blobs=store.blobs, uploads=uploads)

    async def running(self, *outputs: tes.Output, inputs: tuple[tes.Input, ...] = (), attempt: int = 1) -> KnownTask:
        """A task whose runner claimed it and started its executor."""
        executor = tes.Executor(image="any", command=("true",))
        submitted = tes.Task(executors=(executor,), inputs=inputs or None, outputs=outputs or None)
        task = await self.tasks.create(commands.CreateTask(task=submitted), "somebody", BY)
        return await self.begin(task.id, attempt, RUN)

    async def begin(self, task_id: str, attempt: int, run_id: str) -> KnownTask:
        """Another attempt, as far as its first executor."""
        await self.tasks.execute(task_id, commands.ScheduleAttempt(task_id=task_id, pulsar="site", runtime="sandbox"), BY)
        claim = commands.ClaimAttempt(attempt=attempt, run_id=run_id, host="node", python="3.11")
        return await self.tasks.execute(task_id, claim, BY)

    async def final(self, task_id: str, line: dict[str, Any] | str, **message: Any) -> str | None:
        """Pulsar's final message, with that as the job's last line."""
        said = line if isinstance(line, str) else json.dumps(line)
        body = {"job_id": f"{task_id}-1", "status": "complete", "returncode": 0, "job_stdout": f"{said}\n", **message}
        return await self.listener.handle("status_update", json.dumps(body).encode())


def line(task_id: str, **what: Any) -> dict[str, Any]:
    """A runner's result."""
    ended = {"executor": 0, "exit_code": 0, "started_at": AT, "ended_at": AT, "stdout": "", "stderr": ""}
    said = {"tespes": 1, "job_id": f"{task_id}-1", "run_id": RUN, "outcome": "succeeded", "executors": [ended]}
    return said | what


@pytest.fixture
def site(a_store: Store) -> Site:
    """See Site."""
    return Site(a_store)


async def test_a_result_counts_once_however_often_it_comes(site: Site) -> None:
    """By HTTP and in Pulsar's message: whichever is first; the other changes nothing."""
    task = await site.running()
    said = result.read(json.dumps(line(task.id)))
    assert said is not None
    await site.attendant.result(Caller(Job(task.id, 1), RUN), said)
    assert await site.final(task.id, line(task.id)) is None
    after = await site.tasks.load(task.id)
    assert after is not None
    assert isinstance(after.state, Ended)
    assert (after.state.state, after.state.late) == (tes.State.COMPLETE, frozenset())


@pytest.mark.parametrize("other", [{"outcome": "superseded", "run_id": "ff" * 16}, {"run_id": "ff" * 16}])
async def test_a_job_that_the_node_started_twice_is_left_to_its_first_run(site: Site, other: dict[str, Any]) -> None:
    """The second run was turned away; of the first nobody knows: its result counts, and else its silence."""
    task = await site.running()
    assert await site.final(task.id, line(task.id, **other)) is None
    after = await site.tasks.load(task.id)
    assert after is not None
    assert isinstance(after.state, Claimed)
    assert after.state.orphaned
    said = result.read(json.dumps(line(task.id)))
    assert said is not None
    await site.attendant.result(Caller(Job(task.id, 1), RUN), said)
    assert (await site.reader.get(task.id, tes.View.MINIMAL))["state"] == "COMPLETE"
    assert await site.final(task.id, line(task.id, **other)) is None
    after = await site.tasks.load(task.id)
    assert after is not None
    assert isinstance(after.state, Ended)
    assert not after.state.late


async def test_a_run_that_has_the_claim_and_was_turned_away_is_over(site: Site) -> None:
    """Whatever it says: nobody else can end the attempt."""
    task = await site.running()
    assert await site.final(task.id, line(task.id, outcome="superseded", executors=[])) is None
    after = await site.tasks.load(task.id)
    assert after is not None
    assert isinstance(after.state, Ended | Waiting)
    assert after.state.outcome is events.Outcome.KILLED


async def test_a_line_that_cannot_be_read_ends_the_task(site: Site) -> None:
    """A line that does not parse, and no result by HTTP: SYSTEM_ERROR."""
    task = await site.running()
    start = commands.ReportStart(attempt=1, run_id=RUN, executor=0, at=datetime(2026, 1, 1, tzinfo=UTC))
    await site.tasks.execute(task.id, start, BY)
    assert await site.final(task.id, "{broken") is None
    shown = await site.reader.get(task.id, tes.View.FULL)
    assert shown["state"] == "SYSTEM_ERROR"
    assert "result unreadable" in str(shown["logs"][0]["system_logs"])


async def test_thousands_of_files_are_a_blob_and_shown_all_the_same(site: Site) -> None:
    """A list of over 500 files would not fit a commit."""
    declared = [tes.Output(url=f"ftp://h/{'x' * 500}/{index}", path=f"/out/{index}") for index in range(1200)]
    task = await site.running(*declared)
    moved = [{"index": index, "path": f"/out/{index}", "size_bytes": index, "sha256": "0" * 64} for index in range(1200)]
    said = result.Result.model_validate(line(task.id, outputs=moved))
    await site.attendant.result(Caller(Job(task.id, 1), RUN), said)
    for view in (tes.View.BASIC, tes.View.FULL):
        shown = await site.reader.get(task.id, view)
        assert shown["state"] == "COMPLETE"
        (log,) = shown["logs"]
        assert len(log["outputs"]) == 1200
        assert log["outputs"][7] == {"url": declared[7].url, "path": "/out/7", "size_bytes": "7"}


async def test_a_file_that_was_not_declared_is_not_believed(site: Site) -> None:
    """A name found on the node is accepted only if it matches a declared output."""
    task = await site.running(tes.Output(url="ftp://h/x", path="/out/x"))
    files = [
        {"index": 0, "path": "/etc/passwd", "size_bytes": 1, "sha256": "0" * 64},
        {"index": 7, "path": "/out/x", "size_bytes": 1, "sha256": "0" * 64},
    ]
    await site.attendant.result(Caller(Job(task.id, 1), RUN), result.Result.model_validate(line(task.id, outputs=files)))
    shown = await site.reader.get(task.id, tes.View.FULL)
    assert shown["logs"][0]["outputs"] == []


async def test_a_line_without_its_lists_says_that_they_are_missing(site: Site) -> None:
    """Long lists go by HTTP only; if that never came, nobody shall think that nothing was stored."""
    task = await site.running(tes.Output(url="ftp://h/x", path="/out/*", path_prefix="/out"))
    assert await site.final(task.id, line(task.id, outputs_count=20_000, outputs_sha256="0" * 64)) is None
    shown = await site.reader.get(task.id, tes.View.FULL)
    assert shown["state"] == "COMPLETE"
    assert "20,000 outputs were moved, but the list of them did not reach TESPES" in shown["logs"][0]["system_logs"]


async def test_a_runner_that_says_too_much_is_not_believed(site: Site) -> None:
    """`succeeded` without every executor's end is a system failure."""
    task = await site.running()
    assert await site.final(task.id, line(task.id, executors=[])) is None
    after = await site.tasks.load(task.id)
    assert after is not None
    assert isinstance(after.state, Ended | Waiting)
    assert "COMPLETE" not in str(await site.reader.get(task.id, tes.View.MINIMAL))


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        ({"returncode": None}, "no exit code: the batch system may have ended it (time or memory limit)"),
        ({"returncode": 137}, "signal 9 (SIGKILL)"),
        ({"returncode": -15}, "signal 15 (SIGTERM)"),
        ({"returncode": 3}, "exit code 3"),
        ({"returncode": 255}, "signal 127"),
        ({"status": "failed", "returncode": None}, "could not run the job"),
    ],
)
async def test_a_job_that_ends_without_a_result_names_what_ended_it(site: Site, message: dict[str, Any], reason: str) -> None:
    """A wall-time kill by a batch system leaves no exit code; a signal has a name."""
    task = await site.running()
    start = commands.ReportStart(attempt=1, run_id=RUN, executor=0, at=now())
    await site.tasks.execute(task.id, start, BY)
    assert await site.final(task.id, "", **message) is None
    shown = await site.reader.get(task.id, tes.View.FULL)
    assert shown["state"] == "SYSTEM_ERROR"
    assert reason in str(shown["logs"][0]["system_logs"])


async def test_a_crowd_of_commands_on_one_task_gets_through(site: Site) -> None:
    """One after the other, none refused."""
    task = await site.running()
    starts = [commands.ReportStart(attempt=1, run_id=RUN, executor=0, at=datetime(2026, 1, 1, tzinfo=UTC)) for _ in range(120)]
    await asyncio.gather(*(site.tasks.execute(task.id, start, BY) for start in starts))
    shown = await site.reader.get(task.id, tes.View.MINIMAL)
    assert shown["state"] == "RUNNING"


@pytest.fixture
async def ringing(site: Site) -> AsyncIterator[Site]:
    """The same, with its bell listening to the log."""
    listening = asyncio.create_task(site.bell.run())
    yield site
    listening.cancel()
    await asyncio.wait({listening})


@pytest.mark.parametrize("command", [commands.CancelTask(), commands.ExpireTask(reason="too long", claimed=True)])
async def test_a_cancel_reaches_the_request_that_a_runner_holds_open(ringing: Site, command: commands.Command) -> None:
    """At once, and not when the time of the request is up: 410. So does the end of its time."""
    task = await ringing.running()
    beat = asyncio.create_task(ringing.attendant.heartbeat(Caller(Job(task.id, 1), RUN), 10.0, None))
    await asyncio.sleep(0.05)
    await ringing.tasks.execute(task.id, command, BY)
    with pytest.raises(errors.AttemptGone):
        await asyncio.wait_for(beat, 5)


async def test_dispatch_learns_that_a_runner_has_heard_of_the_cancel(ringing: Site) -> None:
    """Only the runner that claimed counts, and the first time."""
    task = await ringing.running()
    canceling = await ringing.tasks.execute(task.id, commands.CancelTask(), BY)
    ringing.watch.look(task.id, canceling.state)
    for run_id, told in (("other", False), (RUN, True)):
        with pytest.raises(errors.AttemptGone):
            await ringing.attendant.heartbeat(Caller(Job(task.id, 1), run_id), 0.0, None)
        assert (ringing.watch.look(task.id, canceling.state).told_s is not None) is told


async def test_tails_of_a_runner_that_was_turned_away_are_not_shown(ringing: Site) -> None:
    """Another run of the same job has nothing to say."""
    task = await ringing.running()
    await ringing.attendant.started(Caller(Job(task.id, 1), RUN), 0, now())
    with pytest.raises(errors.AttemptGone):
        await ringing.attendant.heartbeat(Caller(Job(task.id, 1), "other"), 0.0, Tails(0, "not mine\n", ""))
    assert (await logs(ringing.reader, ringing.live, task.id))["executors"] == []


async def test_a_cancel_that_came_first_is_the_answer(ringing: Site) -> None:
    """A request that comes after the cancel is not held."""
    task = await ringing.running()
    await ringing.tasks.execute(task.id, commands.CancelTask(), BY)
    with pytest.raises(errors.AttemptGone):
        await asyncio.wait_for(ringing.attendant.heartbeat(Caller(Job(task.id, 1), RUN), 10.0, None), 5)


async def test_a_heartbeat_is_held_for_its_time_and_no_longer_at_the_end(ringing: Site) -> None:
    """Nothing happens: the answer wants nothing. The process ends: nobody is kept."""
    task = await ringing.running()
    caller = Caller(Job(task.id, 1), RUN)
    assert await ringing.attendant.heartbeat(caller, 0.05, None) is False
    beat = asyncio.create_task(ringing.attendant.heartbeat(caller, 10.0, None))
    await asyncio.sleep(0.05)
    ringing.bell.close()
    assert await asyncio.wait_for(beat, 5) is False


async def test_a_cancel_is_answered_when_the_task_is_over(ringing: Site) -> None:
    """Within the time that is waited; the runner's word is what ends it."""
    task = await ringing.running()
    canceling = asyncio.create_task(cancel(ringing.tasks, ringing.bell, task.id, BY, 10.0))
    await asyncio.sleep(0.05)
    said = result.read(json.dumps(line(task.id, outcome="killed", reason="canceled", executors=[])))
    assert said is not None
    await ringing.attendant.result(Caller(Job(task.id, 1), RUN), said)
    await asyncio.wait_for(canceling, 5)
    after = await ringing.tasks.load(task.id)
    assert after is not None
    assert isinstance(after.state, Ended)
    assert after.state.state is tes.State.CANCELED


async def test_a_cancel_that_takes_long_is_answered_all_the_same(ringing: Site) -> None:
    """The task is CANCELING then."""
    task = await ringing.running()
    await cancel(ringing.tasks, ringing.bell, task.id, BY, 0.05)
    after = await ringing.tasks.load(task.id)
    assert after is not None
    assert isinstance(after.state, Canceling)


async def test_who_looks_sees_what_the_running_executor_writes(ringing: Site) -> None:
    """The wish goes through the held request, the tails come with the next, and nothing of it is in the log."""
    task = await ringing.running()
    caller = Caller(Job(task.id, 1), RUN)
    await ringing.attendant.started(caller, 0, now())
    head = await ringing.store.log.head()
    beat = asyncio.create_task(ringing.attendant.heartbeat(caller, 10.0, None))
    await asyncio.sleep(0.05)
    looking = asyncio.create_task(logs(ringing.reader, ringing.live, task.id))
    assert await asyncio.wait_for(beat, 5) is True
    assert await ringing.attendant.heartbeat(caller, 0.05, Tails(0, "so far\n", "")) is False
    seen = await asyncio.wait_for(looking, 5)
    assert [(each["running"], each["stdout"]) for each in seen["executors"]] == [(True, "so far\n")]
    assert await ringing.store.log.head() == head
    again = await logs(ringing.reader, ringing.live, task.id)
    assert again["executors"] == seen["executors"], "what was read a moment ago is shown again"


async def test_without_a_runner_that_answers_the_logs_have_what_ended(ringing: Site) -> None:
    """Nobody waits for ever: a task before its first executor, one whose runner is silent, one that is not there."""
    waiting = await ringing.tasks.create(
        commands.CreateTask(task=tes.Task(executors=(tes.Executor(image="any", command=("true",)),))), "somebody", BY
    )
    assert await logs(ringing.reader, ringing.live, waiting.id) == {"id": waiting.id, "state": "QUEUED", "executors": []}
    task = await ringing.running()
    assert (await logs(ringing.reader, ringing.live, task.id))["executors"] == []
    with pytest.raises(errors.NotFound):
        await logs(ringing.reader, ringing.live, "nobody")
