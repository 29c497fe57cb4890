"""A Pulsar that is played. What it does and does not do follows the experiments with Pulsar 0.16.0, case by case."""

import asyncio
import contextlib
import json
import random
from collections.abc import Coroutine, Iterable
from dataclasses import dataclass
from typing import Any, Literal, Self

import aiohttp

from simulated import jobs
from simulated.jobs import Job, Object, Process
from simulated.link import Link
from simulated.record import Record
from simulated.runner import Node

Kind = Literal["queued_python", "queued_cli", "queued_condor", "unqueued"]
_RECOVERS = frozenset({"queued_cli", "queued_condor"})


@dataclass
class Habits:
    """How it behaves; may be changed at any time. The defaults are the real one's.

    :param poll_s: how often it looks at its jobs: a shorter one is never said to be `running`
    :param lost_after_s: after a restart, until it says which jobs it has lost
    :param delay_s: how late a message may leave, each for itself; :param repeats: how likely it leaves twice
    :param is_silent: it takes every message and says nothing; :param stages_for_ever: a new job never gets past `preprocessing`
    :param has_returncode: whether a job's exit code gets written; :param maximum_bytes: of a job's output in a message
    :param noise: what a node's shell prints before everything else
    """

    poll_s: float = 0.1
    lost_after_s: float = 0.2
    delay_s: float = 0.0
    repeats: float = 0.0
    is_silent: bool = False
    stages_for_ever: bool = False
    has_returncode: bool = True
    maximum_bytes: int = 2**20
    noise: str = ""


class SimulatedPulsar:
    """One manager of one Pulsar; an async context manager. What it has on disk survives `kill`, and so do its jobs' processes.

    :param kind: the manager's type, which decides what becomes of jobs when Pulsar is killed
    :param record: where its runners write what ran; :param chance: decides what is random
    """

    def __init__(
        self,
        broker_url: str,
        *,
        manager: str = "_default_",
        kind: Kind = "queued_python",
        record: Record | None = None,
        chance: random.Random | None = None,
    ) -> None:
        self.habits = Habits()
        self.record = record or Record()
        self.jobs: dict[str, Job] = {}
        self.node: Node | None = None
        self._kind = kind
        self._chance = chance or random.Random()
        self._link = Link(broker_url, manager, {"setup": self._setup, "kill": self._kill, "status": self._status})
        self._watching: set[asyncio.Task[None]] = set()

    async def start(self) -> Self:
        """Begin, or begin again; it takes messages when this returns."""
        if self.node is None:
            connector = aiohttp.TCPConnector(limit=0)
            self.node = Node(aiohttp.ClientSession(connector=connector), self.record)
        await self._link.start()
        for job in self.jobs.values():
            if not job.is_final and not job.lost:
                self._start(self._resume(job))
        return self

    async def kill(self) -> None:
        """Crash it (SIGKILL). Its jobs' processes live on."""
        for watching in self._watching:
            watching.cancel()
        await asyncio.gather(*self._watching, return_exceptions=True)
        await self._link.stop()

    async def restart(self) -> None:
        """Crash it and begin again."""
        await self.kill()
        await self.start()

    async def stop(self) -> None:
        """End it and all its jobs."""
        await self.kill()
        for job in self.jobs.values():
            if job.process is not None:
                job.process.kill()
                await job.process.gone()
        if self.node is not None:
            await self.node.session.close()
            self.node = None

    async def __aenter__(self) -> Self:
        return await self.start()

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    def kill_process(self, job_id: str) -> None:
        """What a node short of memory does to a job."""
        job = self.jobs[job_id]
        if job.process is not None:
            job.process.kill()

    def lose_consumer(self, queue: str) -> None:
        """The thread that reads `setup`, `kill` or `status` dies; Pulsar looks healthy."""
        self._link.lose_consumer(queue)

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._watching.add(task)
        task.add_done_callback(self._watching.discard)

    def _setup(self, message: Object) -> None:
        """The receipt comes first, whatever becomes of the job; a job that has a directory is not set up again."""
        job_id = message["job_id"]
        if "acknowledge_uuid" in message:
            self._say(message["acknowledge_queue"], {"acknowledge_uuid_response": message["acknowledge_uuid"]})
        if job_id in self.jobs:
            return
        job = Job(job_id, message["command_line"])
        if not message.get("setup_params"):
            self._say("status_update", self._final(job, "failed"))
            return
        self.jobs[job_id] = job
        self._stage(job, message.get("remote_staging", {}).get("setup", ()))

    def _stage(self, job: Job, files: Iterable[Object]) -> None:
        """No file is there to be copied, and no server answers: the one fails at once, the other takes for ever."""
        actions = {file["action"]["action_type"] for file in files}
        if "remote_copy" in actions:
            job.status = "failed"
            self._say("status_update", self._final(job, "failed"))
        elif not actions and not self.habits.stages_for_ever:
            self._launch(job)

    def _kill(self, message: Object) -> None:
        """Unknown, staging and ended jobs are not touched. Nothing is said of it."""
        job = self.jobs.get(message["job_id"])
        if job is not None and job.process is not None and not job.is_final:
            job.killed = True
            job.process.kill()

    def _status(self, message: Object) -> None:
        job_id = message["job_id"]
        job = self.jobs.get(job_id)
        if job is None:
            self._say("status_update", jobs.lost(job_id))
        elif not (job.is_final and job.is_unspeakable):
            self._say("status_update", self._answer(job))

    def _answer(self, job: Job) -> Object:
        if job.lost:  # it has forgotten how to look at it: `running`, whatever became of it, until it is told to kill it
            return self._final(job, "cancelled") if job.killed and not job.lives else jobs.update(job.id, "running")
        if job.killed and not job.lives and self._kind != "queued_condor":
            return self._final(job, "cancelled")
        return self._final(job, job.status) if job.is_final else jobs.update(job.id, job.status)

    def _launch(self, job: Job) -> None:
        assert self.node is not None
        job.process = Process()
        job.process.start(job.command_line, self.node)
        job.status = "queued"
        self._start(self._watch(job))

    async def _watch(self, job: Job) -> None:
        """Look at it now and then: `running` is said once, if it was seen."""
        assert job.process is not None
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self.habits.poll_s):
                await job.process.gone()
        if job.lives:
            job.status = "running"
            self._say("status_update", jobs.update(job.id, "running"))
            await job.process.gone()
            await asyncio.sleep(self.habits.poll_s * self._chance.random())
        self._finish(job)

    def _finish(self, job: Job) -> None:
        """`cancelled` is never said unasked; condor does not even notice that it was a kill."""
        if job.killed and self._kind != "queued_condor":
            job.status = "cancelled"
            return
        job.status = "complete"
        if not job.is_unspeakable:
            self._say("status_update", self._final(job, "complete"))

    async def _resume(self, job: Job) -> None:
        """What a Pulsar that was killed finds when it starts again."""
        if job.process is None:
            if not self.habits.stages_for_ever:
                self._launch(job)
        elif self._kind in _RECOVERS:
            await self._watch(job)
        elif self._kind == "unqueued":
            job.lost = True
        else:
            await asyncio.sleep(self.habits.lost_after_s)
            job.lost = True
            self._say("status_update", jobs.lost(job.id))

    def _final(self, job: Job, status: str) -> Object:
        habits = self.habits
        return jobs.final(job, status, habits.noise, has_returncode=habits.has_returncode, maximum_bytes=habits.maximum_bytes)

    def _say(self, queue: str, message: Object) -> None:
        """Into the outbox, which is on disk."""
        if self.habits.is_silent:
            return
        body = json.dumps(message).encode()
        for _ in range(2 if self._chance.random() < self.habits.repeats else 1):
            self._link.say(queue, body, after_s=self.habits.delay_s * self._chance.random())
