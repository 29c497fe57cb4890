"""A small world for faults: TESPES in this process, simulated Pulsars, and ways between all of them that can be cut.

Everything that can be waited for is scaled down, so that what takes minutes in a service takes a second here.
"""

import asyncio
import random
import uuid
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any, Self
from urllib.parse import urlsplit

import aiohttp

import oracle
from faults import laws, waiting, wall_clock
from faults.in_process import Crashable
from simulated import Record, SimulatedPulsar, Way
from simulated.pulsar import Kind
from stores import Place
from tespes.projections import TASK_VIEW

Object = dict[str, Any]

ANSWER_WITHIN_S = 5.0
ENDED_WITHIN_S = 25.0
OK = 200

SETTINGS: Object = {
    "http": {"port": 0, "cancel_wait_s": 0.1},
    "runner": {
        "key": "the same in all processes of the tests",
        "claim_timeout_s": 5.0,
        "report_patience_s": 5.0,
        "heartbeat_s": 0.3,
    },
    "patience": {
        "ask_after_s": 0.4,
        "ask_at_most_s": 1.0,
        "runner_hears_s": 0.3,
        "runner_stops_s": 1.0,
        "kill_every_s": 0.2,
        "silence_s": 1.5,
        "unreceived_s": 1.0,
        "withdraw_s": 3.0,
        "staging_s": 3.0,
        "unanswered_s": 2.0,
        "abandon_s": 4.0,
    },
    "lease": {"expires_s": 1.5},
}


@dataclass
class Seen:
    """What is stored: the log, and the views, which are as of `position`."""

    entries: list[oracle.Stored]
    views: dict[str, Any]
    position: int

    @property
    def is_whole(self) -> bool:
        """Whether every task has ended and every view shows it."""
        told = [oracle.told(of) for of in laws.streams(self.entries).values()]
        return self.position == len(self.entries) and all(each.state in oracle.ENDS.values() for each in told)

    def types(self, task_id: str) -> list[str]:
        """What happened to a task."""
        return [event["type"] for entry in self.entries if entry["stream"] == task_id for event in entry["events"]]


@dataclass
class Site:
    """A simulated Pulsar, and what is around it.

    :param amqp: its way to RabbitMQ; :param http: its nodes' way to TESPES
    """

    pulsar: SimulatedPulsar
    amqp: Way
    http: Way
    settings: Object


@dataclass
class World:
    """An async context manager. First `add_site`, then `start`; at the end `mend` and `check`.

    :param place: where the log is; :param mongodb_port: of its server, or None for SQLite
    :param front: where clients find every TESPES that is alive; :param accepted: the ids that clients were told
    :param standstill: where everything waited when time was up
    """

    place: Place
    broker_url: str
    mongodb_port: int | None = None
    settings: Object = field(default_factory=lambda: SETTINGS)
    front: Way = field(default_factory=Way)
    record: Record = field(default_factory=Record)
    clock: wall_clock.WallClock = field(default_factory=wall_clock.WallClock)
    sites: dict[str, Site] = field(default_factory=dict)
    processes: list[Crashable] = field(default_factory=list)
    accepted: list[str] = field(default_factory=list)
    standstill: list[str] = field(default_factory=list)
    _stack: AsyncExitStack = field(default_factory=AsyncExitStack)

    async def __aenter__(self) -> Self:
        wall_clock.use(self.clock)
        await self._stack.enter_async_context(self.front)
        limit = aiohttp.ClientTimeout(total=ANSWER_WITHIN_S)
        session = aiohttp.ClientSession(timeout=limit, connector=aiohttp.TCPConnector(limit=0))
        self._session = await self._stack.enter_async_context(session)
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._stack.aclose()

    async def add_site(
        self, kind: Kind = "queued_python", *, runtime: str = "sandbox", slots: int = 4, chance: random.Random | None = None
    ) -> Site:
        """One more Pulsar; TESPES knows it from its next start on."""
        name = f"site{len(self.sites)}"
        amqp = await self._stack.enter_async_context(Way(urlsplit(self.broker_url).port or 0))
        http = await self._stack.enter_async_context(Way(self.front.port))
        manager = f"{name}{uuid.uuid4().hex[:12]}"
        url = _through(self.broker_url, amqp)
        pulsar = SimulatedPulsar(url, manager=manager, kind=kind, record=self.record, chance=chance)
        await self._stack.enter_async_context(pulsar)
        callback = f"http://127.0.0.1:{http.port}"
        settings = {"manager": manager, "slots": slots, "runtime": {"kind": runtime}, "callback_url": callback}
        self.sites[name] = Site(pulsar, amqp, http, settings)
        return self.sites[name]

    async def start(self, processes: int = 1) -> None:
        """So many TESPES, all with the same settings."""
        database = {"mongodb_database": self.place.options.mongodb_database}
        for _ in range(processes):
            process = Crashable(self.place.state_dir, self.broker_url, self.front, self.mongodb_port, {})
            process.settings = {**self.settings, "store": database, "pulsars": self._pulsars()}
            self._stack.push_async_callback(process.bury)
            self.processes.append(process)
            await process.start()

    async def restart(self, without: str | None = None) -> None:
        """Crash all processes and start them again; without one of the Pulsars in the settings, if that is named."""
        for process in self.processes:
            await process.crash()
            process.settings = {**process.settings, "pulsars": self._pulsars(without)}
        for process in self.processes:
            await process.start()

    async def submit(self, *command: str, executors: int = 1, **fields: Any) -> str:
        """The id of a new task, once TESPES has accepted it; asked again until it answers."""
        task = {"executors": [{"image": "any", "command": list(command)}] * executors, **fields}
        headers = {"Idempotency-Key": f'"{uuid.uuid4()}"'}
        answer = await self._insist("/v1/tasks", json=task, headers=headers)
        task_id = str(answer["id"])
        self.accepted.append(task_id)
        return task_id

    async def cancel(self, task_id: str) -> None:
        """Cancel it, once TESPES answers."""
        await self._insist(f"/v1/tasks/{task_id}:cancel")

    async def get(self, task_id: str, view: str = "FULL") -> Object:
        """The task, once TESPES answers."""
        return await self._insist(f"/v1/tasks/{task_id}?view={view}", method="GET")

    async def state(self, task_id: str) -> str:
        """Its state."""
        return str((await self.get(task_id, "MINIMAL"))["state"])

    async def becomes(self, task_id: str, *states: str) -> Object:
        """The task, once it is in one of these states; in a terminal one if none is named."""
        wanted = states or tuple(oracle.ENDS.values())
        async with asyncio.timeout(ENDED_WITHIN_S):
            while await self.state(task_id) not in wanted:  # noqa: ASYNC110 - only asking tells
                await asyncio.sleep(0.02)
        return await self.get(task_id)

    async def until(self, true: Callable[[], Any]) -> None:
        """Wait until that is true."""
        async with asyncio.timeout(ENDED_WITHIN_S):
            while not true():  # noqa: ASYNC110 - a record is no event
                await asyncio.sleep(0.01)

    async def runs(self, task_id: str, count: int = 1) -> None:
        """Wait until that many containers of the task have begun."""
        await self.until(lambda: sum(len(run.containers) for run in self.record.of(task_id)) >= count)

    async def mend(self) -> None:
        """Everything is as it should be. A Pulsar that had lost a consumer was started again by somebody."""
        for site in self.sites.values():
            site.amqp.open()
            site.http.open()
            await site.pulsar.restart()
        for process in self.processes:
            if process.life is None:
                await process.start()

    async def check(self) -> Seen:
        """Wait for the end of every task, then check the laws; what is stored."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + ENDED_WITHIN_S
        while True:
            for process in self.processes:
                await process.is_well()
            seen = await self.look()
            if loop.time() > deadline or (seen.is_whole and not self.record.alive()):
                break
            await asyncio.sleep(0.1)
        self.standstill = [] if seen.is_whole else waiting.places()
        laws.check(seen.entries, seen.views, self.record, self.accepted, laws.told_by(self.clock.told))
        return seen

    async def look(self) -> Seen:
        """The stored log and views."""
        async with self.place.open(writable=False) as opened:
            position = await opened.documents.position(TASK_VIEW)
            entries = await asyncio.to_thread(self.place.stored)
            ids = [entry["stream"] for entry in entries if entry["version"] == 1 and ":" not in entry["stream"]]
            views = await opened.documents.load(TASK_VIEW, ids)
        return Seen(entries, views, position)

    def _pulsars(self, without: str | None = None) -> Object:
        return {name: site.settings for name, site in self.sites.items() if name != without}

    async def _insist(self, path: str, *, method: str = "POST", **content: Any) -> Object:
        """The answer, when there is one: outages are what this is about."""
        status = 0
        async with asyncio.timeout(ENDED_WITHIN_S):
            while True:
                try:
                    async with self._session.request(method, f"http://127.0.0.1:{self.front.port}{path}", **content) as answer:
                        status, said = answer.status, await answer.json()
                except (aiohttp.ClientError, OSError, TimeoutError, ValueError):
                    status = 0
                if status == OK:
                    return dict(said)
                assert status in {0, 503}, f"{method} {path}: {status} {said}"
                await asyncio.sleep(0.1)


def _through(url: str, way: Way) -> str:
    """The same URL, by that way."""
    parts = urlsplit(url)
    return parts._replace(netloc=f"{parts.username}:{parts.password}@127.0.0.1:{way.port}").geturl()
