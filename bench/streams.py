"""Events to clients that follow them (GET /events/stream): how soon they come, and what the clients cost."""

import asyncio
import contextlib
import json
import statistics
import sys
import time
import uuid
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import aiohttp

from bench import load, memory, report, serving
from bench.bench import README_TASK, Bench
from bench.report import at_least, at_most
from bench.serving import API_AND_VIEW, NO_BROKER, Server

_CLIENTS = 200
_MIB = 2**20 / 1e6
_HOW = f"""\
`tespes serve --roles api,project` on SQLite. Time: from the moment at which POST /tasks is sent until a client that follows
in another process has the event, a task at a time; so the append to disk is in it. Cost: {_CLIENTS} clients in another
process, that read all they get, while wrk posts tasks on 64 connections; without clients, with clients that each follow a
task of their own, with clients that each follow everything; in turns. The rate is that of answers."""


async def measure(bench: Bench) -> report.Group:
    """How soon, and what it costs."""
    group = report.Group("GET /events/stream", _HOW)
    await _times(bench, group)
    await _costs(bench, group)
    return group


async def _times(bench: Bench, group: report.Group) -> None:
    p50, p99 = [], []
    async with serving.serve(bench.fresh(), _ENVIRONMENT, roles=API_AND_VIEW) as server:
        for _ in range(bench.rounds):
            took_ms = await _took_ms(server.url, 200 if bench.quick else 1000)
            p50.append(statistics.median(took_ms))
            p99.append(report.percentile(took_ms, 99))
    group.add("POST sent to event received: p50", "ms", p50, at_most(5))
    group.add("POST sent to event received: p99", "ms", p99, at_most(25))


async def _took_ms(url: str, tasks: int) -> list[float]:
    """Of each task, one after the other."""
    found = []
    timeout = aiohttp.ClientTimeout(sock_read=30)
    async with aiohttp.ClientSession(timeout=timeout) as client, client.get(f"{url}/events/stream") as stream:
        for _ in range(2):
            await stream.content.readuntil(b"\n\n")
        for _ in range(tasks):
            begin = time.perf_counter()
            async with client.post(f"{url}/tasks", json=README_TASK) as answer:
                task_id = (await answer.json())["id"].encode()
            while task_id not in (line := await stream.content.readuntil(b"\n\n")):
                pass
            found.append((time.perf_counter() - begin) * 1000)
            assert b"TaskCreated" in line  # noqa: S101 - else it measures something else
            await asyncio.sleep(0.005)
    return found


async def _costs(bench: Bench, group: report.Group) -> None:
    state_dir = bench.fresh()
    body = state_dir / "task.json"
    body.write_text(json.dumps(README_TASK))
    own = [f"task={uuid.uuid4().hex}" for _ in range(_CLIENTS)]
    kinds: dict[str, Sequence[str]] = {"nobody": (), "own task": own, "everything": ["after="] * _CLIENTS}
    rates: dict[str, list[float]] = {kind: [] for kind in kinds}
    grown: dict[str, list[float]] = {kind: [] for kind in kinds}
    sent: list[float] = []
    async with serving.serve(state_dir, _ENVIRONMENT, roles=API_AND_VIEW) as server:
        await _posted(server, body, 2)
        for _ in range(bench.rounds):
            for kind, queries in kinds.items():
                before = memory.resident_mb(server.pid)
                async with _followers(server, queries) as followers:
                    rates[kind].append(await _posted(server, body, 2 if bench.quick else 5))
                    grown[kind].append(memory.resident_mb(server.pid) - before)
                if kind == "everything":
                    sent.append(followers[0] / 1e6)
    nobody = statistics.median(rates["nobody"])
    group.add("POST /tasks, nobody follows", "tasks/s", rates["nobody"])
    for kind in ("own task", "everything"):
        what = f"POST /tasks, {_CLIENTS} clients follow {'a task of their own' if kind == 'own task' else kind}"
        group.add(what, "tasks/s", rates[kind], at_least(0.9 * nobody))
        group.add(f"{what}: memory grown by", "MB", grown[kind], at_most(100 * _MIB))
    group.add("sent to the clients that follow everything", "MB", sent)


async def _posted(server: Server, body: Path, seconds: int) -> float:
    """Tasks in a second."""
    return (await load.run("post.lua", f"{server.url}/tasks", body, connections=64, seconds=seconds)).rate


@contextlib.asynccontextmanager
async def _followers(server: Server, queries: Sequence[str]) -> AsyncIterator[list[int]]:
    """Clients with these queries, in a process of their own; at the end, how many bytes they got."""
    received: list[int] = []
    host, _, port = server.url.removeprefix("http://").partition("/")[0].partition(":")
    command = [sys.executable, str(Path(__file__).with_name("followers.py")), host, port, *queries]
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe)
    assert process.stdin is not None  # noqa: S101 - for the type checker
    assert process.stdout is not None  # noqa: S101 - for the type checker
    await process.stdout.readline()
    yield received
    process.stdin.write(b"\n")
    received.append(int(await process.stdout.readline()))
    await process.wait()


_ENVIRONMENT = {"TESPES_RABBITMQ__URL": NO_BROKER}
