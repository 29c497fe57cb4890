"""A random schedule of faults: what a seed says, done to a world. At its end everything is mended, and every task must end."""

import asyncio
import random
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from faults.in_process import Crashable, Life
from faults.world import World
from simulated import SimulatedPulsar, Way
from simulated.pulsar import Kind

TASKS = (3, 6)
FAULTS = (6, 12)
FAULTS_WITHIN_S = 2.5
LATE_S = 0.6
STALL_S = 2.0  # longer than a lease lasts
KINDS: tuple[Kind, ...] = ("queued_python", "queued_cli", "unqueued", "queued_condor")
RUNTIMES = ("sandbox", "sandbox", "docker")
STAGING = ((0.0, 0.0), (0.2, 0.0), (0.0, 0.2))
COMMANDS = (["true"], ["true"], ["false"], ["sleep", "0.2"], ["sleep", "0.5"], ["sleep", "1"])

Fault = Callable[[], Coroutine[Any, Any, str]]


@dataclass
class Schedule:
    """One seed's schedule. `done` tells what was done, with the second when it was."""

    seed: int
    world: World
    done: list[str] = field(default_factory=list)

    async def run(self) -> None:
        """Do it, mend everything, and check the laws.

        :raises AssertionError: a law does not hold
        """
        self._chance = random.Random(self.seed)
        self._began = asyncio.get_running_loop().time()
        async with self.world:
            await self._build()
            async with asyncio.TaskGroup() as group:
                for at, happening in self._happenings():
                    group.create_task(self._happen(at, happening))
            self._say("everything is mended")
            await self.world.mend()
            await self.world.check()

    @property
    def _processes(self) -> list[Crashable]:
        return self.world.processes

    @property
    def _pulsars(self) -> list[SimulatedPulsar]:
        return [site.pulsar for site in self.world.sites.values()]

    async def _build(self) -> None:
        chance = self._chance
        for number in range(chance.randint(1, 2)):
            kind, runtime = chance.choice(KINDS), chance.choice(RUNTIMES)
            own = random.Random(chance.random())
            site = await self.world.add_site(kind, runtime=runtime, slots=chance.randint(1, 4), chance=own)
            assert site.pulsar.node is not None
            site.pulsar.node.staging_in_s, site.pulsar.node.staging_out_s = chance.choice(STAGING)
            self._say(f"site{number} is {kind} with {runtime}")
        await self.world.start(2 if self.world.mongodb_port else 1)

    def _happenings(self) -> list[tuple[float, Fault]]:
        """What happens, and when."""
        chance = self._chance
        faults: list[Fault] = [self._crash, self._crash, self._crash_pulsar, self._crash_pulsar, self._cut_pulsar]
        faults += [self._cut_broker, self._shut_broker, self._shut_front, self._slow, self._chatter, self._silence]
        faults += [self._cancel, self._cancel, self._cancel, self._set_clock, self._kill_job, self._lose_consumer]
        faults += [self._shut_database, self._stall] if self.world.mongodb_port else []
        happenings = [(chance.uniform(0, 1.0), self._submit) for _ in range(chance.randint(*TASKS))]
        happenings += [(chance.uniform(0.1, FAULTS_WITHIN_S), chance.choice(faults)) for _ in range(chance.randint(*FAULTS))]
        return sorted(happenings, key=lambda each: each[0])

    async def _happen(self, at: float, happening: Fault) -> None:
        await asyncio.sleep(at)
        begun = self._seconds()
        said = await happening()
        self._say(f"{happening.__name__.strip('_')} since {begun:.2f}: {said}")

    async def _submit(self) -> str:
        command, executors = self._chance.choice(COMMANDS), self._chance.choice([1, 1, 2])
        resources = self._chance.choice([{}, {}, {"preemptible": True}])
        task_id = await self.world.submit(*command, executors=executors, resources=resources)
        return f"{task_id[:8]} {command} {resources}"

    async def _cancel(self) -> str:
        if not self.world.accepted:
            return "nothing"
        task_id = self._chance.choice(self.world.accepted)
        await self.world.cancel(task_id)
        return task_id[:8]

    async def _crash(self) -> str:
        process = self._chance.choice(self._processes)
        if process.life is None:
            return "it is down already"
        await process.crash()
        await self._pause()
        await process.start()
        return "and started again"

    async def _crash_pulsar(self) -> str:
        pulsar = self._chance.choice(self._pulsars)
        await pulsar.kill()
        await self._pause()
        await pulsar.start()
        return "and started again"

    async def _cut_pulsar(self) -> str:
        return await self._shut(self._chance.choice(list(self.world.sites.values())).amqp)

    async def _cut_broker(self) -> str:
        for process in self._processes:
            if process.life is not None:
                process.life.amqp.cut()
        return "once"

    async def _shut_broker(self) -> str:
        return await self._shut_of_a_process(lambda life: life.amqp)

    async def _shut_database(self) -> str:
        return await self._shut_of_a_process(lambda life: life.database)

    async def _shut_of_a_process(self, of: Callable[[Life], Way | None]) -> str:
        life = self._chance.choice(self._processes).life
        way = of(life) if life is not None else None
        return "it is down already" if way is None else await self._shut(way)

    async def _shut_front(self) -> str:
        return await self._shut(self.world.front)

    async def _shut(self, way: Way) -> str:
        way.shut()
        await self._pause()
        way.open()
        return "and opened again"

    async def _slow(self) -> str:
        ways = [way for process in self._processes if process.life is not None for way in process.life.ways()]
        await self._delayed(ways, 0.05, self._chance.uniform(0.1, 0.8))
        return "all ways of all processes"

    async def _stall(self) -> str:
        """A process is cut off without noticing, for longer than its leases last; then everything it said arrives."""
        life = self._chance.choice(self._processes).life
        if life is None:
            return "it is down already"
        await self._delayed(life.ways(), STALL_S, STALL_S)
        return "one process"

    async def _delayed(self, ways: list[Way], delay_s: float, for_s: float) -> None:
        for way in ways:
            way.delay_s = delay_s
        await asyncio.sleep(for_s)
        for way in ways:
            way.delay_s = 0.0

    async def _chatter(self) -> str:
        """Everything late, out of order, and often twice."""
        habits = self._chance.choice(self._pulsars).habits
        habits.delay_s, habits.repeats = LATE_S, 0.5
        await self._pause()
        habits.delay_s, habits.repeats = 0.0, 0.0
        return "late, mixed up and twice"

    async def _silence(self) -> str:
        habits = self._chance.choice(self._pulsars).habits
        habits.is_silent = True
        await self._pause()
        habits.is_silent = False
        return "for a while"

    async def _set_clock(self) -> str:
        hours = self._chance.choice([-1, 1])
        self.world.clock.offset += timedelta(hours=hours)
        return f"{hours} h"

    async def _kill_job(self) -> str:
        """The node kills what a job runs."""
        pulsar = self._chance.choice(self._pulsars)
        alive = [job.id for job in pulsar.jobs.values() if job.lives]
        if not alive:
            return "nothing"
        job_id = self._chance.choice(alive)
        pulsar.kill_process(job_id)
        return job_id[:8]

    async def _lose_consumer(self) -> str:
        """Until somebody starts the Pulsar again."""
        queue = self._chance.choice(["setup", "kill", "status"])
        self._chance.choice(self._pulsars).lose_consumer(queue)
        return queue

    async def _pause(self) -> None:
        await asyncio.sleep(self._chance.uniform(0.1, 0.8))

    def _seconds(self) -> float:
        return asyncio.get_running_loop().time() - self._began

    def _say(self, what: str) -> None:
        self.done.append(f"{self._seconds():6.2f} {what}")


def report(schedule: Schedule, logged: list[str]) -> str:
    """What a failed schedule did, for whoever looks for the cause."""
    store = "MongoDB" if schedule.world.mongodb_port else "SQLite"
    begin = f"seed {schedule.seed} on {store}; run it alone with TESPES_TEST_SEED={schedule.seed}"
    return "\n".join([begin, *schedule.done, "", *logged[-80:], "", *schedule.world.standstill])
