"""What TESPES holds does not grow with the tasks that it has seen."""

import asyncio
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from servers import TERMINAL, Tespes
from simulated import SimulatedPulsar
from tespes.local.rabbitmq import PrivateRabbitMQ

WAVES = 10
WAVE = 1_000
SETTLED_AFTER = 5  # waves: two memories of streams, of 8 MiB of events each, are full after some 4,000 such tasks
AT_ONCE = 32
WAVE_WITHIN_S = 180
GROWTH_BYTES = 16 * 2**20
GROWTH_FILES = 40  # connections of clients and runners come and go
SETTINGS = '[default.pulsars.played]\nmanager = "flat"\nslots = 64\nruntime = {kind = "sandbox"}\n'
TRUE = {"executors": [{"image": "none", "command": ["true"]}]}


@pytest.fixture
def serving(tmp_path: Path, rabbitmq: PrivateRabbitMQ) -> Iterator[Tespes]:
    """TESPES, with a Pulsar that is played, its log in SQLite."""
    running = Tespes(tmp_path / "tespes", {"TESPES_RABBITMQ__URL": rabbitmq.url}, SETTINGS)
    running.start()
    yield running
    running.stop()


def held(tespes: Tespes) -> tuple[int, int]:
    """Its resident memory, in bytes, and its open files."""
    assert tespes.process is not None
    place = Path(f"/proc/{tespes.process.pid}")
    resident = re.search(r"^VmRSS:\s*(\d+) kB$", (place / "status").read_text(), re.MULTILINE)
    assert resident is not None
    return int(resident.group(1)) * 1024, len(list((place / "fd").iterdir()))


async def run_a_wave(client: aiohttp.ClientSession, tespes: Tespes) -> None:
    """A thousand tasks, from their submission to their end."""
    gate = asyncio.Semaphore(AT_ONCE)

    async def run() -> str:
        async with gate, client.post(f"{tespes.url}/v1/tasks", json=TRUE) as answer:
            task_id = (await answer.json())["id"]
        while (found := await task(client, f"{tespes.url}/v1/tasks/{task_id}"))["state"] not in TERMINAL:  # noqa: ASYNC110 - a client can only ask
            await asyncio.sleep(1)
        return str(found["state"])

    async with asyncio.timeout(WAVE_WITHIN_S):
        assert set(await asyncio.gather(*(run() for _ in range(WAVE)))) == {"COMPLETE"}


async def task(client: aiohttp.ClientSession, url: str) -> dict[str, Any]:
    """A task as it is now."""
    async with client.get(url) as answer:
        found: dict[str, Any] = await answer.json()
        return found


@pytest.mark.slow
async def test_memory_and_open_files_are_flat_over_ten_thousand_tasks(serving: Tespes, rabbitmq: PrivateRabbitMQ) -> None:
    """What belongs to a task goes with it; what is kept for speed is bounded."""
    measured = []
    async with SimulatedPulsar(rabbitmq.url, manager="flat") as pulsar, aiohttp.ClientSession(raise_for_status=True) as client:
        for number in range(WAVES):
            await run_a_wave(client, serving)
            pulsar.jobs.clear()
            measured.append(held(serving))
            memory, files = measured[-1]
            print(f"\n{(number + 1) * WAVE:,} tasks: {memory / 2**20:.1f} MiB, {files} open files")  # noqa: T201 - for `pytest -s`
    settled = measured[SETTLED_AFTER - 1 :]
    assert max(memory for memory, _ in settled) - settled[0][0] < GROWTH_BYTES, measured
    assert max(files for _, files in settled) - settled[0][1] < GROWTH_FILES, measured
