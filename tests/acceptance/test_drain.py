"""A process that is told to stop (SIGTERM) cuts nobody off: what came in is answered, and what was answered is in the log."""

import asyncio
import http.client
import json
import os
import signal
import socket
import sys
import threading
import time
import urllib.error
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

import stores
from servers import Loop, Tespes, until
from tespes import serving
from tespes.api.drain import Requests
from tespes.local.mongodb import LocalMongoDB
from tespes.local.rabbitmq import PrivateRabbitMQ

pytestmark = pytest.mark.servers

TASK = json.dumps({"executors": [{"image": "any", "command": ["true"]}]})
WITHIN_S = 10
CLIENTS = 8


def test_under_load_every_answer_is_a_task(alone: Tespes, tmp_path: Path) -> None:
    """Clients post without a pause, on connections that are kept alive. Each is answered until it is refused to connect."""
    posted = threading.Event()

    def post() -> tuple[list[str], list[str]]:
        """The ids of the tasks, and what went wrong otherwise."""
        ids: list[str] = []
        connection = http.client.HTTPConnection("127.0.0.1", alone.port, timeout=30)
        with closing(connection):
            while True:
                try:
                    connection.connect() if connection.sock is None else None
                except ConnectionRefusedError:
                    return ids, []
                try:
                    connection.request("POST", "/v1/tasks", TASK, {"Content-Type": "application/json"})
                    answer = connection.getresponse()
                    ids.append(json.loads(answer.read())["id"])
                except (OSError, http.client.HTTPException, KeyError) as error:
                    return ids, [repr(error)]
                posted.set()

    with ThreadPoolExecutor(CLIENTS) as threads:
        clients = [threads.submit(post) for _ in range(CLIENTS)]
        assert posted.wait(10)
        time.sleep(0.5)
        begun = time.monotonic()
        assert alone.stop() == 0
        assert time.monotonic() - begun < WITHIN_S
        answers = [client.result(timeout=30) for client in clients]
    assert [trouble for _, trouble in answers if trouble] == []
    created = {entry["stream"] for entry in stores.in_sqlite(tmp_path / "alone").stored()}
    assert {task_id for ids, _ in answers for task_id in ids} == created


def test_a_body_that_comes_after_the_signal_is_read(alone: Tespes) -> None:
    """Half of a request was there: the rest is waited for, the answer comes, and it is the last of its connection."""
    with socket.create_connection(("127.0.0.1", alone.port), timeout=10) as connection:
        head = f"POST /v1/tasks HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(TASK)}\r\n\r\n"
        connection.sendall((head + TASK[:10]).encode())
        time.sleep(0.3)
        alone.signal(signal.SIGTERM)
        until(lambda: not listens(alone.port))
        time.sleep(1)
        connection.sendall(TASK[10:].encode())
        answer = http.client.HTTPResponse(connection)
        answer.begin()
        assert (answer.status, answer.headers["Connection"]) == (200, "close")
        assert len(json.loads(answer.read())["id"]) == 32
    assert alone.wait() == 0


def test_a_request_on_a_kept_connection_is_answered_once_more(alone: Tespes) -> None:
    """It comes right after the signal; the connection is closed after its answer."""
    with closing(http.client.HTTPConnection("127.0.0.1", alone.port, timeout=10)) as connection:
        connection.request("GET", "/service-info")
        connection.getresponse().read()
        alone.signal(signal.SIGTERM)
        time.sleep(0.2)
        connection.request("GET", "/service-info")
        answer = connection.getresponse()
        assert (answer.status, answer.headers["Connection"]) == (200, "close")
    assert alone.wait() == 0


def test_a_client_that_says_nothing_more_is_not_waited_for_long(tmp_path: Path, rabbitmq: PrivateRabbitMQ) -> None:
    """An unfinished request, and connections that nobody uses, hold nothing up beyond the time to leave."""
    hurried = Tespes(tmp_path, {"TESPES_RABBITMQ__URL": rabbitmq.url, "TESPES_HTTP__DRAIN_S": "2"})
    hurried.start()
    with (
        socket.create_connection(("127.0.0.1", hurried.port), timeout=10) as unfinished,
        socket.create_connection(("127.0.0.1", hurried.port), timeout=10),
    ):
        unfinished.sendall(b"POST /v1/tasks HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
        time.sleep(0.2)
        begun = time.monotonic()
        assert hurried.stop() == 0
        assert time.monotonic() - begun < WITHIN_S


def test_who_follows_events_holds_nothing_up(tmp_path: Path, rabbitmq: PrivateRabbitMQ) -> None:
    """A stream ends properly, one that nobody reads is cut off: the process is gone long before it would have to be."""
    patient = Tespes(tmp_path, {"TESPES_RABBITMQ__URL": rabbitmq.url, "TESPES_HTTP__DRAIN_S": "60"})
    patient.start()
    asked = "GET /v1/events/stream?after={after} HTTP/1.1\r\nHost: x\r\n\r\n"
    with socket.socket() as reads_not, socket.socket() as reads:
        for _ in range(60):  # more than the system keeps for somebody who does not read
            patient.submit(json.loads(TASK) | {"description": "x" * 200_000})
        reads_not.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2**12)
        for each, after in ((reads_not, "0"), (reads, "")):
            each.connect(("127.0.0.1", patient.port))
            each.sendall(asked.format(after=after).encode())
        answer = http.client.HTTPResponse(reads)
        answer.begin()
        time.sleep(1)  # until all is sent that can be
        begun = time.monotonic()
        assert patient.stop() == 0
        assert time.monotonic() - begun < WITHIN_S
        assert answer.read().startswith(b"retry: ")


def test_a_database_that_hangs_delays_nobody(loop_thread: Loop, rabbitmq: PrivateRabbitMQ, tmp_path: Path) -> None:
    """Everything that has something to finish shares the time to leave: the process is gone within it."""
    server = LocalMongoDB(tmp_path / "mongodb", program=Path(sys.executable).with_name("secantusd-py"))
    loop_thread.run(server.start())
    variables = {"TESPES_RABBITMQ__URL": rabbitmq.url, "TESPES_STORE__MONGODB_URI": server.uri, "TESPES_HTTP__DRAIN_S": "3"}
    hurried = Tespes(tmp_path / "tespes", variables)
    try:
        hurried.start()
        hurried.submit(json.loads(TASK))
        assert server.pid is not None
        os.kill(server.pid, signal.SIGSTOP)
        try:
            hurried.signal(signal.SIGTERM)
            assert hurried.process is not None
            assert hurried.process.wait(WITHIN_S) == 0
        finally:
            os.kill(server.pid, signal.SIGCONT)
    finally:
        hurried.stop()
        loop_thread.run(server.stop())


async def test_who_reads_slowly_gets_the_whole_answer() -> None:
    """The end comes in the middle of a body: it is written to its end first."""
    body, requests = b"x" * 8 * 2**20, Requests()

    async def whole(_: web.Request) -> web.Response:
        return web.Response(body=body)

    async def stream(request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse()
        await answer.prepare(request)
        for start in range(0, len(body), 2**16):
            await answer.write(body[start : start + 2**16])
        return answer

    application = web.Application()
    application.router.add_get("/whole", whole)
    application.router.add_get("/stream", stream)
    requests.watch(application)
    listening, url = serving.listen("127.0.0.1", 0)
    begun = asyncio.Event()

    async def read(path: str) -> int:
        async with aiohttp.ClientSession(read_bufsize=2**12) as session, session.get(url + path) as answer:
            size = 0
            async for piece in answer.content.iter_chunked(2**16):
                size += len(piece)
                begun.set()
                await asyncio.sleep(0.01)
            return size

    async with serving.served(listening, application, requests, lambda: None, drain_s=20, cut_s=1):
        readers = [asyncio.ensure_future(read(path)) for path in ("/whole", "/stream")]
        await begun.wait()
    assert await asyncio.gather(*readers) == [len(body), len(body)]


def test_it_says_whether_it_can_serve(alone: Tespes) -> None:
    """`/healthz` and `/readyz`, beside the standard: without prefix, never kept by anybody."""
    assert alone.get("/healthz") == {"status": "alive"}
    ready = alone.get("/readyz")
    assert (ready["status"], ready["roles"]) == ("ready", ["api", "dispatch", "listen", "project", "publish"])
    assert {"store", "writing", "list", "disk", "clock"} <= ready["checks"].keys()
    with pytest.raises(urllib.error.HTTPError, match="404"), alone.get("/v1/healthz"):
        pass


def listens(port: int) -> bool:
    """Whether anybody does."""
    with socket.socket() as trying:
        trying.settimeout(1)
        return trying.connect_ex(("127.0.0.1", port)) == 0
