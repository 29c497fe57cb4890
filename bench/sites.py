"""A thousand tasks over two Pulsars that are played: what TESPES itself costs, and where the time goes."""

import asyncio
import os
import time
from datetime import datetime
from pathlib import Path

import aiohttp
import psutil

from bench import report, seed, serving
from bench.bench import Bench
from bench.serving import Server
from simulated import SimulatedPulsar
from tespes import events
from tespes.store import Options, Store

_TRUE = {"executors": [{"image": "none", "command": ["true"]}]}
_NAMES = ("north", "south")
_SLOTS = 32
_AT_ONCE = 32
_WITHIN_S = 120.0
_OVER = frozenset({"COMPLETE", "EXECUTOR_ERROR", "SYSTEM_ERROR", "CANCELED", "PREEMPTED"})
_HOW = """\
`tespes serve` with every role on SQLite, RabbitMQ, and two Pulsars of {slots} places each that the benchmark plays: it takes
the setup messages, and each job claims, reports and delivers by HTTP as the runner does, in no time. {count:,} tasks of `true`
are submitted by {at_once} callers; the rate is that from the first POST until the last task is COMPLETE. The steps are
the times between the events of the log."""
_RUNTIME = 'runtime = {kind = "sandbox"}'
_STEPS = {
    "waiting for a place": (events.TaskCreated, events.AttemptScheduled),
    "from the place to the claim (RabbitMQ, Pulsar, the runner's first request)": (
        events.AttemptScheduled,
        events.AttemptClaimed,
    ),
    "from the claim to the start of the executor": (events.AttemptClaimed, events.ExecutorStarted),
    "from there to its end": (events.ExecutorStarted, events.ExecutorEnded),
    "from there to COMPLETE": (events.ExecutorEnded, events.TaskCompleted),
}


async def measure(bench: Bench) -> report.Group:
    """Rounds of a thousand tasks; a smaller one warms up."""
    count = 200 if bench.quick else 1_000
    how = _HOW.format(slots=_SLOTS, count=count, at_once=_AT_ONCE)
    group = report.Group("A thousand tasks over two simulated Pulsars", how)
    state_dir = bench.fresh()
    await _rounds(bench, group, state_dir, count)
    async with seed.opened(Options(), state_dir) as found:
        for step, taken in (await _steps(found, bench.rounds * count)).items():
            group.add(f"{step}: p50", "ms", [report.percentile(taken, 50)])
            group.add(f"{step}: p99", "ms", [report.percentile(taken, 99)])
    return group


async def _rounds(bench: Bench, group: report.Group, state_dir: Path, count: int) -> None:
    broker = await bench.rabbitmq()
    settings = "".join(f'[default.pulsars.{name}]\nmanager = "{name}"\nslots = {_SLOTS}\n{_RUNTIME}\n' for name in _NAMES)
    rates, served, played = [], [], []
    async with (
        serving.serve(state_dir, {"TESPES_RABBITMQ__URL": broker}, pulsars=settings) as server,
        SimulatedPulsar(broker, manager=_NAMES[0]),
        SimulatedPulsar(broker, manager=_NAMES[1]),
    ):
        await _round(server, count // 4)
        for _ in range(bench.rounds):
            before = _cpu_ms(server.pid), _cpu_ms(os.getpid())
            rates.append(await _round(server, count))
            served.append((_cpu_ms(server.pid) - before[0]) / count)
            played.append((_cpu_ms(os.getpid()) - before[1]) / count)
    group.add(f"{count:,} tasks, POST to COMPLETE", "tasks/s", rates)
    group.add("processor time of TESPES for a task", "ms", served)
    group.add("processor time of the clients and the two Pulsars for a task", "ms", played)


async def _steps(found: Store, count: int) -> dict[str, list[float]]:
    """How long each step of the last tasks took, in milliseconds, by the log."""
    happened: dict[str, dict[type[events.Event], datetime]] = {}
    after = 0
    while entries := await found.log.read(after):
        for entry in entries:
            for recorded in events.recorded(entry):
                happened.setdefault(entry.commit.stream, {}).setdefault(type(recorded.event), recorded.at)
        after = entries[-1].position
    tasks = [times for times in happened.values() if events.TaskCompleted in times][-count:]
    return {
        step: [(times[end] - times[begin]).total_seconds() * 1000 for times in tasks] for step, (begin, end) in _STEPS.items()
    }


async def _round(server: Server, count: int) -> float:
    """Tasks in a second."""
    gate = asyncio.Semaphore(_AT_ONCE)
    async with asyncio.timeout(_WITHIN_S), aiohttp.ClientSession(raise_for_status=True) as client:

        async def post() -> str:
            async with gate, client.post(f"{server.url}/tasks", json=_TRUE) as answer:
                return str((await answer.json())["id"])

        begin = time.perf_counter()
        ids = await asyncio.gather(*(post() for _ in range(count)))
        for task_id in reversed(ids):
            await _until_complete(client, server, task_id)
        return count / (time.perf_counter() - begin)


async def _until_complete(client: aiohttp.ClientSession, server: Server, task_id: str) -> None:
    while True:
        async with client.get(f"{server.url}/tasks/{task_id}") as answer:
            state = (await answer.json())["state"]
        if state in _OVER:
            break
        await asyncio.sleep(0.05)
    if state != "COMPLETE":
        raise RuntimeError(f"task {task_id} ended in {state}")


def _cpu_ms(pid: int) -> float:
    times = psutil.Process(pid).cpu_times()
    return float(times.user + times.system) * 1000
