"""Files in and out by every kind of storage: through a real Pulsar and the sandbox, and by curl beside it."""

import asyncio
import os
import time
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import psutil

from bench import places, report, serving, tasks
from bench.bench import Bench
from bench.places import Direction, Place
from bench.report import at_least
from bench.serving import Server
from tespes import events, store
from tespes.store import Log, Options

_WITHIN_S = 300.0
_FILE_BYTES = 1024
_SLOTS = 8
_DIRECTIONS: tuple[Direction, ...] = ("in", "out")
_HOW = """\
`tespes serve` with every role on SQLite, RabbitMQ, a Pulsar and the sandbox; nginx, SeaweedFS, vsftpd and all of them on the
same machine and disk. A file of {size_bytes:,} bytes, in turn by curl (its own `time_total`, between the storage and a file)
and by a task. A task's time is that between its events: in from AttemptClaimed to ExecutorStarted, out from the last
ExecutorEnded to AttemptEnded, so it includes whatever else the runner does then ("nothing": an empty file), the SHA-256 of
every byte among it, and out also the removal of the task's files. "of curl" is the ratio of the two speeds in the same round;
"of curl and SHA-256" that to curl and `openssl dgst -sha256` of the file after it. Processor time is that of TESPES (not of
the runner). A directory has {count:,} files of 1 KiB."""


@dataclass(frozen=True, slots=True)
class Moved:
    """What a task took for its files, in seconds.

    :param taken_s: of the clock; :param processor_s: of the processors, for TESPES
    :param over_s: of the clock, after the executor; for a task without outputs: until its files are removed and TESPES knows
    """

    taken_s: float
    over_s: float
    processor_s: float


@dataclass(slots=True)
class _Bench:
    """What is at hand.

    :param file: the large file, as curl sends it; :param fetched: where curl puts it
    :param removals_s: what tasks took to remove a large input
    """

    server: Server
    client: aiohttp.ClientSession
    log: Log
    file: Path
    fetched: Path
    rounds: int
    size_bytes: int
    count: int
    removals_s: list[float] = field(default_factory=list)


async def measure(bench: Bench) -> report.Group:
    """One large file, an empty one, and a directory of small ones."""
    size_bytes, count = (2**26, 200) if bench.quick else (2**30, 2_000)
    group = report.Group("Files in and out", _HOW.format(size_bytes=size_bytes, count=count))
    broker = await bench.rabbitmq()
    await bench.pulsar(broker)
    async with AsyncExitStack() as stack:
        found = stack.enter_context(places.running(bench.fresh()))
        state_dir, directory = bench.fresh(), bench.fresh()
        pulsars = tasks.site("bench", slots=_SLOTS) + places.settings(found)
        server = await stack.enter_async_context(serving.serve(state_dir, {"TESPES_RABBITMQ__URL": broker}, pulsars=pulsars))
        client = await stack.enter_async_context(aiohttp.ClientSession(f"{server.url}/", raise_for_status=True))
        log = (await store.open_store(Options(), state_dir, stack, writable=False)).log
        file = directory / "file"
        await _run("bash", "-c", _making(size_bytes, str(file)))
        here = _Bench(server, client, log, file, directory / "fetched", max(2, bench.rounds), size_bytes, count)
        for place in found:
            await _nothing(here, group, place)
            await _large(here, group, place)
            if not place.kind.endswith("TLS"):
                await _small(here, group, place)
        group.add("end of a task with a large input, in which that is removed", "ms", [each * 1000 for each in here.removals_s])
    return group


async def _nothing(here: _Bench, group: report.Group, place: Place) -> None:
    """The task writes the empty file that it then reads."""
    for direction in _DIRECTIONS[::-1]:
        taken = [(await _moved(here, _file_task(place, "empty", direction, 0))).taken_s * 1000 for _ in range(2 + here.rounds)]
        group.add(f"{place.kind}, {direction}, nothing", "ms", taken[2:])


async def _large(here: _Bench, group: report.Group, place: Place) -> None:
    await _curl(here, place, "out")
    for direction in _DIRECTIONS:
        found = [await _round(here, place, direction) for _ in range(here.rounds)]
        moved, curl, both = zip(*found, strict=True)
        megabytes, what = here.size_bytes / 1e6, f"{place.kind}, {direction}"
        group.add(what, "MB/s", [megabytes / each.taken_s for each in moved])
        group.add(f"{what}: curl", "MB/s", [megabytes / each for each in curl])
        ratios = [theirs / ours.taken_s for ours, theirs in zip(moved, curl, strict=True)]
        group.add(f"{what}: of curl", "", ratios, at_least(place.target) if place.target else None)
        ratios = [theirs / ours.taken_s for ours, theirs in zip(moved, both, strict=True)]
        group.add(f"{what}: of curl and SHA-256", "", ratios)
        group.add(f"{what}: TESPES's processor time", "s/GB", [each.processor_s / megabytes * 1000 for each in moved])


async def _round(here: _Bench, place: Place, direction: Direction) -> tuple[Moved, float, float]:
    """By a task; by curl; by curl, and its SHA-256 after that."""
    curl_s = await _curl(here, place, direction)
    begin = time.perf_counter()
    await _run("openssl", "dgst", "-sha256", str(here.file))
    sum_s = time.perf_counter() - begin
    moved = await _moved(here, _file_task(place, "large", direction, here.size_bytes))
    if direction == "in":
        here.removals_s.append(moved.over_s)
    return moved, curl_s, curl_s + sum_s


async def _small(here: _Bench, group: report.Group, place: Place) -> None:
    """First out: that is what comes in then."""
    script = f"mkdir /out/d; cd /out/d; head -c {here.count * _FILE_BYTES} /dev/urandom | split -a 4 -b {_FILE_BYTES}"
    leave = {"outputs": [{"url": f"{place.url}/many", "path": "/out/d", "type": "DIRECTORY"}]}
    bring = {"inputs": [{"url": f"{place.url}/many", "path": "/in", "type": "DIRECTORY"}]}
    for direction, task in (("out", _task(script, leave)), ("in", _task("true", bring))):
        moved = [await _moved(here, task) for _ in range(2)]
        group.add(f"{place.kind}, {direction}, small files", "files/s", [here.count / each.taken_s for each in moved])
        each_ms = [each.processor_s / here.count * 1000 for each in moved]
        group.add(f"{place.kind}, {direction}, small files: TESPES's processor time", "ms/file", each_ms)


def _file_task(place: Place, name: str, direction: Direction, size_bytes: int) -> dict[str, Any]:
    if direction == "in":
        return _task("true", {"inputs": [{"url": f"{place.url}/{name}", "path": "/data/file"}]})
    outputs = [{"url": f"{place.url}/{name}", "path": "/out/file", "type": "FILE"}]
    return _task(_making(size_bytes, "/out/file"), {"outputs": outputs})


def _task(script: str, files: Mapping[str, Any]) -> dict[str, Any]:
    return {"executors": [{"image": "none", "command": ["bash", "-c", script]}], **files}


def _making(size_bytes: int, path: str) -> str:
    """A command that makes a file of that size, on the disk and in the cache."""
    return f"yes 'a line of the file' | head -c {size_bytes} > {path}; sync {path}"


async def _moved(here: _Bench, task: Mapping[str, Any]) -> Moved:
    """Nothing else is left to be written to the disk when it begins."""
    await asyncio.to_thread(os.sync)
    process = psutil.Process(here.server.pid)
    before = process.cpu_times()
    async with asyncio.timeout(_WITHIN_S):
        async with here.client.post("tasks", json=task) as answer:
            task_id = (await answer.json())["id"]
        while (state := await _state(here, task_id)) in {"QUEUED", "INITIALIZING", "RUNNING"}:  # noqa: ASYNC110 - as clients do
            await asyncio.sleep(0.1)
    after = process.cpu_times()
    if state != "COMPLETE":
        async with here.client.get(f"tasks/{task_id}", params={"view": "FULL"}) as answer:
            raise RuntimeError(f"task {task_id} ended in {state}: {(await answer.json())['logs'][-1].get('system_logs')}")
    ready_s, over_s = await _waits(here, task_id)
    return Moved(ready_s if "inputs" in task else over_s, over_s, after.user + after.system - before.user - before.system)


async def _state(here: _Bench, task_id: str) -> str:
    async with here.client.get(f"tasks/{task_id}") as answer:
        return str((await answer.json())["state"])


async def _waits(here: _Bench, task_id: str) -> tuple[float, float]:
    """Seconds before and after its executor."""
    found = [each for entry in await here.log.read_stream(task_id) for each in events.recorded(entry)]
    (claimed,) = (each.at for each in found if isinstance(each.event, events.AttemptClaimed))
    (started,) = (each.event.at for each in found if isinstance(each.event, events.ExecutorStarted))
    (ended,) = (each.event.ended_at for each in found if isinstance(each.event, events.ExecutorEnded))
    (over,) = (each.at for each in found if isinstance(each.event, events.AttemptEnded))
    return (started - claimed).total_seconds(), (over - ended).total_seconds()


async def _curl(here: _Bench, place: Place, direction: Direction) -> float:
    """Seconds that curl says it took."""
    await asyncio.to_thread(os.sync)
    here.fetched.unlink(missing_ok=True)
    files = ["-o", str(here.fetched)] if direction == "in" else ["-T", str(here.file)]
    url = place.curl_url("large", direction)
    arguments = ["-sS", "-f", *place.options, *files, "-w", "%{stderr}%{time_total}", url]
    said = await _run("curl", *arguments)
    here.fetched.unlink(missing_ok=True)
    return float(said)


async def _run(*command: str) -> str:
    """Its standard error."""
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE)
    _, said = await process.communicate()
    if process.returncode:
        raise RuntimeError(f"{command[0]} failed: {said.decode()}")
    return said.decode()
