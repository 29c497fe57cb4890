"""Tasks from POST to COMPLETE: a real Pulsar, a real RabbitMQ, the sandbox."""

import asyncio
import time

import aiohttp

from bench import report, serving
from bench.bench import Bench
from bench.report import at_least, at_most
from bench.serving import Server

_TRUE = {"executors": [{"image": "none", "command": ["true"]}]}
_OVER = frozenset({"COMPLETE", "EXECUTOR_ERROR", "SYSTEM_ERROR", "CANCELED", "PREEMPTED"})
_WITHIN_S = 120.0
_HOW = """\
`tespes serve` with every role on SQLite, RabbitMQ, and a Pulsar (min_polling_interval 0.1) with {slots} places, on the same
machine; the task is the command `true` in the sandbox. Completion is seen by GET."""
_SLOTS = 8


def site(name: str, *, slots: int) -> str:
    """A Pulsar in a settings file: manager `_default_`, sandbox."""
    return f'[default.pulsars.{name}]\nslots = {slots}\nruntime = {{kind = "sandbox"}}\n'


async def measure(bench: Bench) -> report.Group:
    """One after the other, and many at once."""
    group = report.Group("Tasks of `true` from POST to COMPLETE", _HOW.format(slots=_SLOTS))
    broker = await bench.rabbitmq()
    await bench.pulsar(broker)
    environment = {"TESPES_RABBITMQ__URL": broker}
    count = 10 if bench.quick else 50
    async with serving.serve(bench.fresh(), environment, pulsars=site("bench", slots=_SLOTS)) as server:
        await _one(server)
        taken = [await _one(server) for _ in range(count)]
        group.add(f"{count} tasks one after the other: p50", "s", [report.percentile(taken, 50)], at_most(0.5))
        group.add(f"{count} tasks one after the other: p99", "s", [report.percentile(taken, 99)])
        rates = [await _many(server, count) for _ in range(bench.rounds)]
        group.add(f"{count} tasks at once", "tasks/s", rates, at_least(10))
    return group


async def _one(server: Server) -> float:
    """Seconds to COMPLETE."""
    async with asyncio.timeout(_WITHIN_S), aiohttp.ClientSession() as client:
        begin = time.perf_counter()
        task_id = await _post(client, server)
        await _until_complete(client, server, task_id, every_s=0.005)
        return time.perf_counter() - begin


async def _many(server: Server, count: int) -> float:
    """Tasks in a second."""
    async with asyncio.timeout(_WITHIN_S), aiohttp.ClientSession() as client:
        begin = time.perf_counter()
        ids = await asyncio.gather(*(_post(client, server) for _ in range(count)))
        for task_id in ids:
            await _until_complete(client, server, task_id, every_s=0.02)
        return count / (time.perf_counter() - begin)


async def _post(client: aiohttp.ClientSession, server: Server) -> str:
    async with client.post(f"{server.url}/tasks", json=_TRUE) as answer:
        answer.raise_for_status()
        return str((await answer.json())["id"])


async def _state(client: aiohttp.ClientSession, server: Server, task_id: str) -> str:
    async with client.get(f"{server.url}/tasks/{task_id}") as answer:
        return str((await answer.json())["state"])


async def _until_complete(client: aiohttp.ClientSession, server: Server, task_id: str, *, every_s: float) -> None:
    while (state := await _state(client, server, task_id)) not in _OVER:  # noqa: ASYNC110 - a client can only ask
        await asyncio.sleep(every_s)
    if state != "COMPLETE":
        raise RuntimeError(f"task {task_id} ended in {state}")
