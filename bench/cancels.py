"""From the request of a cancel to the end of what ran: a real Pulsar, the sandbox and a private Docker engine."""

import asyncio
import time
from collections.abc import Awaitable, Callable

import aiohttp
import psutil

from bench import report, serving
from bench.bench import Bench
from bench.report import at_most
from bench.serving import Server

_SECONDS = "271828182"
_WITHIN_S = 60.0
_HOW = """\
`tespes serve` with every role on SQLite, RabbitMQ and a Pulsar on the same machine; the command is `sleep`. In the
sandbox the end is that no such process is there any more; in Docker that `docker ps --all` is empty, whose call takes
some 30 ms itself. The request is answered when the task is CANCELED."""


async def measure(bench: Bench) -> report.Group:
    """Sandbox, then Docker."""
    group = report.Group("Cancel of a running task", _HOW)
    broker = await bench.rabbitmq()
    await bench.pulsar(broker)
    environment = {"TESPES_RABBITMQ__URL": broker}
    count = 5 if bench.quick else 20
    async with serving.serve(bench.fresh(), environment, pulsars=_site('{kind = "sandbox"}')) as server:
        _report(group, "sandbox: process", [await _one(server, "none", _no_sleeper) for _ in range(count)])
    engine = bench.docker()
    docker = f'{{kind = "docker", network = "none", host = "{engine.host}"}}'

    async def no_container() -> bool:
        return not await asyncio.to_thread(engine.docker, "ps", "--all", "--quiet")

    async with serving.serve(bench.fresh(), environment, pulsars=_site(docker)) as server:
        _report(group, "docker: container", [await _one(server, engine.image, no_container) for _ in range(count)])
    return group


def _site(runtime: str) -> str:
    return f"[default.pulsars.bench]\nruntime = {runtime}\n"


def _report(group: report.Group, what: str, taken: list[float]) -> None:
    group.add(f"{what} gone, {len(taken)} cancels: p50", "s", [report.percentile(taken, 50)], at_most(2))
    group.add(f"{what} gone, {len(taken)} cancels: max", "s", [max(taken)], at_most(2))


async def _one(server: Server, image: str, gone: Callable[[], Awaitable[bool]]) -> float:
    """Seconds from the request to the end; looking costs a few milliseconds itself."""
    task = {"executors": [{"image": image, "command": ["sleep", _SECONDS]}]}
    async with asyncio.timeout(_WITHIN_S), aiohttp.ClientSession(f"{server.url}/", raise_for_status=True) as client:
        async with client.post("tasks", json=task) as answer:
            task_id = (await answer.json())["id"]
        while await _no_sleeper():  # noqa: ASYNC110 - a process tells nobody that it began
            await asyncio.sleep(0.02)
        await asyncio.sleep(1)
        began = time.perf_counter()
        cancel = asyncio.create_task(client.post(f"tasks/{task_id}:cancel"))
        while not await gone():  # noqa: ASYNC110 - nor that it ended
            await asyncio.sleep(0.005)
        taken = time.perf_counter() - began
        (await cancel).release()
        return taken


async def _no_sleeper() -> bool:
    return not any(_SECONDS in (each.info["cmdline"] or ()) for each in psutil.process_iter(["cmdline"]))
