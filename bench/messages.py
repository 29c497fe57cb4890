"""From a status message of a Pulsar in RabbitMQ to the state that a client sees."""

import asyncio
import json
import time

import aio_pika
import aiohttp
from aio_pika.abc import AbstractChannel

from bench import report, serving
from bench.bench import Bench
from bench.report import at_most
from bench.serving import Server

_MANAGER = "nobody"
_PREFIX = f"pulsar_{_MANAGER}_"
_WITHIN_S = 120.0
_AT_ONCE = 32
_HOW = """\
`tespes serve` with every role on SQLite and RabbitMQ; {count:,} tasks are scheduled at a Pulsar that nobody plays. For each
of them, one after the other, a status message `running` is published, and the task is asked for until it is INITIALIZING:
from the publishing to the answer that shows it. Then {many:,} more, {rate} a second,
whatever has become of the ones before; each of those is asked for every {pause_ms:g} ms, so that questions do not take
what is measured."""
_RATE = 200
_PAUSE_S = 0.005


async def measure(bench: Bench) -> report.Group:
    """One message at a time, then many a second."""
    count, burst = (200, 200) if bench.quick else (1_000, 600)
    many = burst * (bench.rounds + 1)
    group = report.Group(
        "Status message to visible state", _HOW.format(count=count, many=many, rate=_RATE, pause_ms=_PAUSE_S * 1000)
    )
    broker = await bench.rabbitmq()
    pulsars = f'[default.pulsars.bench]\nmanager = "{_MANAGER}"\nslots = {2 * (count + many)}\nruntime = {{kind = "sandbox"}}\n'
    async with (
        serving.serve(bench.fresh(), {"TESPES_RABBITMQ__URL": broker}, pulsars=pulsars) as server,
        await aio_pika.connect(broker) as connection,
        aiohttp.ClientSession() as client,
    ):
        channel = await connection.channel(publisher_confirms=False)
        ids = await _scheduled(server, client, channel, count + many)
        each = count // (bench.rounds + 1)
        rounds = [
            [await _seen(server, client, channel, task_id) for task_id in ids[start : start + each]]
            for start in range(0, each * (bench.rounds + 1), each)
        ]
        bursts = [
            await _seen_at_a_rate(server, client, channel, ids[start : start + burst])
            for start in range(count, count + many, burst)
        ]
    group.add("p50", "ms", [report.percentile(taken, 50) * 1000 for taken in rounds[1:]], at_most(5))
    group.add("p99", "ms", [report.percentile(taken, 99) * 1000 for taken in rounds[1:]], at_most(25))
    at_a_rate = f"{_RATE} messages a second"
    group.add(f"{at_a_rate}: p50", "ms", [report.percentile(taken, 50) * 1000 for taken in bursts[1:]])
    group.add(f"{at_a_rate}: p99", "ms", [report.percentile(taken, 99) * 1000 for taken in bursts[1:]], at_most(50))
    return group


async def _scheduled(server: Server, client: aiohttp.ClientSession, channel: AbstractChannel, count: int) -> list[str]:
    """That many tasks; their jobs wait in the queue of a Pulsar that does not exist."""
    gate = asyncio.Semaphore(_AT_ONCE)
    body = {"executors": [{"image": "none", "command": ["true"]}]}

    async def post() -> str:
        async with gate, client.post(f"{server.url}/tasks", json=body) as answer:
            answer.raise_for_status()
            return str((await answer.json())["id"])

    ids = await asyncio.gather(*(post() for _ in range(count)))
    async with asyncio.timeout(_WITHIN_S):
        while True:
            queue = await channel.declare_queue(f"{_PREFIX}_setup", durable=True, passive=True)
            if queue.declaration_result.message_count == count:
                return ids
            await asyncio.sleep(0.1)


async def _seen_at_a_rate(
    server: Server, client: aiohttp.ClientSession, channel: AbstractChannel, ids: list[str]
) -> list[float]:
    """Seconds for each; the next message leaves when its time has come."""
    begin, asked = time.perf_counter(), []
    for number, task_id in enumerate(ids):
        await asyncio.sleep(begin + number / _RATE - time.perf_counter())
        asked.append(asyncio.ensure_future(_seen(server, client, channel, task_id, _PAUSE_S)))
    return await asyncio.gather(*asked)


async def _seen(
    server: Server, client: aiohttp.ClientSession, channel: AbstractChannel, task_id: str, pause_s: float = 0.0
) -> float:
    """Seconds from the publishing to the answer."""
    body = json.dumps({"job_id": f"{task_id}-1", "status": "running", "complete": "false"}).encode()
    message = aio_pika.Message(body, content_type="application/json", delivery_mode=aio_pika.DeliveryMode.PERSISTENT)
    exchange = await channel.get_exchange("pulsar", ensure=False)
    async with asyncio.timeout(_WITHIN_S):
        begin = time.perf_counter()
        await exchange.publish(message, routing_key=f"{_PREFIX}_status_update", mandatory=False)
        while True:
            async with client.get(f"{server.url}/tasks/{task_id}") as answer:
                if (await answer.json())["state"] == "INITIALIZING":
                    return time.perf_counter() - begin
            if pause_s:
                await asyncio.sleep(pause_s)
