"""The REST API under load, over HTTP from a second process (wrk)."""

import asyncio
import json
import shutil
import time
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import aiohttp

from bench import load, report, serving
from bench.bench import README_TASK, Bench
from bench.load import Load
from bench.report import at_least, at_most
from bench.serving import API_AND_VIEW, NO_BROKER, Server

_WITHIN_S = 60.0
_POST_HOW = """\
`tespes serve --roles api,project`: every task is durable when it is answered, and its view is made, but nothing is
dispatched. A round ends when the last task is in the view, so the rate is that of tasks created and visible; p50 and p99
are those of the answers. The log lines (one for each event) go to a file."""
_GET_HOW = """\
`tespes serve --roles api,project` on SQLite, with {tasks:,} complete tasks of eight events; 64 callers. A tenth of the tasks
in turn: what clients do that wait for their tasks; each is in memory and validated by one look-up. All of them in turn: as
many as, or more than, are kept in memory, so that many answers are made from the task's events."""


async def measure_post(bench: Bench) -> report.Group:
    """POST /tasks."""
    group = report.Group("POST /tasks", _POST_HOW)
    for callers in (1, 16, 64):
        await _post(bench, group, "SQLite", {}, callers)
    uri = await bench.mongodb()
    for callers in (1, 16, 64):
        place = {"TESPES_STORE__MONGODB_URI": uri, "TESPES_STORE__MONGODB_DATABASE": f"bench_post_{callers}"}
        await _post(bench, group, "MongoDB wire server", place, callers)
    return group


async def measure_get(bench: Bench) -> report.Group:
    """GET /tasks/{id}, all tasks in turn."""
    group = report.Group("GET /tasks/{id}", _GET_HOW.format(tasks=bench.tasks))
    state_dir = await _copy_of_seeded(bench)
    async with _serving(state_dir) as server:
        ids = await _ids(server, bench.tasks)
        for view, target in (("MINIMAL", 5_000), ("FULL", 3_000)):
            for some in (ids[: bench.tasks // 10], ids):
                paths = state_dir / "paths"
                paths.write_text("".join(f"/tasks/{each}?view={view}\n" for each in some))
                await load.run("get.lua", server.url, paths, connections=64, seconds=2)
                found = [
                    await load.run("get.lua", server.url, paths, connections=64, seconds=_seconds(bench))
                    for _ in range(bench.rounds)
                ]
                what = f"{view}, {len(some):,} tasks in turn"
                group.add(what, "answers/s", [each.rate for each in found], at_least(target))
                _add_times(group, what, found)
    return group


async def _post(bench: Bench, group: report.Group, name: str, place: Mapping[str, str], callers: int) -> None:
    state_dir = bench.fresh()
    body = state_dir / "task.json"
    body.write_text(json.dumps(README_TASK))
    rates, behind, found = [], [], []
    async with serving.serve(state_dir, _environment(place), roles=API_AND_VIEW) as server:
        url = f"{server.url}/tasks"
        await load.run("post.lua", url, body, connections=callers, seconds=1)
        await _until_visible(server)
        for _ in range(bench.rounds):
            found.append(await load.run("post.lua", url, body, connections=callers, seconds=_seconds(bench)))
            late_s = await _until_visible(server)
            behind.append(late_s * 1000)
            rates.append(found[-1].requests / (found[-1].duration_s + late_s))
    targeted = callers == 64 and not place
    what = f"{name}, {callers} caller{'s' if callers > 1 else ''}"
    group.add(what, "tasks/s", rates, at_least(2_500) if targeted else None)
    _add_times(group, what, found, at_most(60) if targeted else None)
    group.add(f"{what}: view behind at the end", "ms", behind)


def _add_times(group: report.Group, what: str, found: list[Load], p99: report.Target | None = None) -> None:
    group.add(f"{what}: p50", "ms", [each.p50 for each in found])
    group.add(f"{what}: p99", "ms", [each.p99 for each in found], p99)


async def _until_visible(server: Server) -> float:
    """Seconds until a task that is posted now is in the view: what came before it then is, too."""
    async with asyncio.timeout(_WITHIN_S), aiohttp.ClientSession() as client:
        begin = time.perf_counter()
        async with client.post(f"{server.url}/tasks", json=README_TASK) as answer:
            task_id = (await answer.json())["id"]
        while True:
            async with client.get(f"{server.url}/tasks", params={"page_size": "1"}) as answer:
                if (await answer.json())["tasks"][0]["id"] == task_id:
                    return time.perf_counter() - begin
            await asyncio.sleep(0.005)


async def _ids(server: Server, count: int) -> list[str]:
    ids: list[str] = []
    query = {"page_size": "2000"}
    async with aiohttp.ClientSession() as client:
        while len(ids) < count:
            async with client.get(f"{server.url}/tasks", params=query) as answer:
                page = await answer.json()
            ids += [task["id"] for task in page["tasks"]]
            query["page_token"] = page.get("next_page_token", "")
    return ids


async def _copy_of_seeded(bench: Bench) -> Path:
    state_dir = bench.fresh()
    shutil.copytree(await bench.seeded(), state_dir, dirs_exist_ok=True)
    return state_dir


def _serving(state_dir: Path) -> AbstractAsyncContextManager[Server]:
    return serving.serve(state_dir, _environment({}), roles=API_AND_VIEW)


def _environment(more: Mapping[str, str]) -> dict[str, str]:
    return {"TESPES_RABBITMQ__URL": NO_BROKER, **more}


def _seconds(bench: Bench) -> int:
    return 2 if bench.quick else 3
