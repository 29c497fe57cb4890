"""Bytes between nodes and TESPES: real connections, with nodes that fall silent and storages that fail at the worst moment."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
import structlog
from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from tespes import errors
from tespes.api import streaming
from tespes.api.drain import Requests
from tespes.api.problems import answer_errors
from tespes.storage import Fetched

SILENCE_S = 0.3
SIZE = 300_000
PUT = b"PUT /file HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nsome"


class Transfer:
    """A server whose one route gives, or takes, a file; `end` is how the last one ended."""

    def __init__(self, *pieces: bytes, failure: Exception | None = None, size_bytes: int | None = None) -> None:
        self._pieces = pieces
        self._failure = failure
        self._size_bytes = size_bytes
        self.end: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

    async def give(self, request: web.Request) -> web.StreamResponse:
        """As the transfer routes do."""
        response = web.StreamResponse()
        try:
            streaming.describe(response, Fetched(self._from_storage(), size_bytes=self._size_bytes))
            await streaming.send(request, response, self._from_storage(), SILENCE_S)
            self.end.set_result(None)
        except errors.TransferError as error:
            self.end.set_result(error)
            streaming.break_off(request)
        return response

    async def take(self, request: web.Request) -> web.StreamResponse:
        """As the transfer routes do."""
        try:
            self.end.set_result(b"".join([piece async for piece in streaming.received(request, SILENCE_S)]))
        except errors.TransferError as error:
            self.end.set_result(error)
            streaming.break_off(request)  # or the server would wait for the rest of the body
        return web.Response(status=204)

    async def _from_storage(self) -> AsyncIterator[bytes]:
        for piece in self._pieces:
            yield piece
        if self._failure is not None:
            raise self._failure


@asynccontextmanager
async def serving(transfer: Transfer) -> AsyncIterator[str]:
    """The URL of its route."""
    app = web.Application()
    app.router.add_get("/file", transfer.give)
    app.router.add_put("/file", transfer.take)
    async with served(app) as url:
        yield url


@asynccontextmanager
async def served(app: web.Application) -> AsyncIterator[str]:
    """The URL of its file, served as TESPES serves: a handler goes on when its client has gone."""
    runner = web.AppRunner(app)
    await runner.setup()
    listening = socket.create_server(("127.0.0.1", 0))
    await web.SockSite(runner, listening).start()
    yield f"http://127.0.0.1:{listening.getsockname()[1]}/file"
    await runner.cleanup()
    listening.close()


def node(url: str, said: bytes) -> socket.socket:
    """A connection that said that, and no more."""
    connection = socket.create_connection(("127.0.0.1", int(url.split(":")[2].partition("/")[0])))
    connection.sendall(said)
    return connection


@pytest.mark.parametrize("size_bytes", [SIZE, None])
async def test_a_failure_after_the_last_byte_is_not_lost(size_bytes: int | None) -> None:
    """A file that changed while it was read, an FTP server that says 451 at the end: the node does not get all of it."""
    failure = errors.TransferInterrupted("changed while it was read")
    transfer = Transfer(b"a" * 200_000, b"b" * 100_000, failure=failure, size_bytes=size_bytes)
    async with serving(transfer) as url, aiohttp.ClientSession() as client:
        with pytest.raises((aiohttp.ClientError, ConnectionError)):
            await (await client.get(url)).read()
        assert await transfer.end is failure


@pytest.mark.parametrize("pieces", [(), (b"",), (b"whole",), (b"", b"who", b"le", b"")])
async def test_what_does_not_fail_arrives(pieces: tuple[bytes, ...]) -> None:
    """Of any length, in any pieces."""
    whole = b"".join(pieces)
    async with serving(Transfer(*pieces, size_bytes=len(whole))) as url, aiohttp.ClientSession() as client:
        assert await (await client.get(url)).read() == whole
    async with serving(transfer := Transfer()) as url, aiohttp.ClientSession() as client:
        await client.put(url, data=whole)
        assert await transfer.end == whole


async def test_a_node_that_takes_nothing_is_given_up() -> None:
    """Nobody else shall wait for the connection to the storage that it holds."""
    transfer = Transfer(*[b"x" * 1_000_000] * 50, size_bytes=50_000_000)
    async with serving(transfer) as url:
        with node(url, b"GET /file HTTP/1.1\r\nHost: x\r\n\r\n"):
            ended = await asyncio.wait_for(transfer.end, 10)
    assert isinstance(ended, errors.TransferInterrupted)
    assert str(ended) == f"nothing was taken for {SILENCE_S:g} s"


@pytest.mark.parametrize("pause_s", [0, 0.01])
async def test_a_node_that_goes_is_no_failure_of_ours(pause_s: float) -> None:
    """They are killed in the middle of a file, whether a piece waits for them or not: nothing is a 5xx, and nothing is told."""
    statuses: list[int] = []
    app, requests = web.Application(middlewares=[answer_errors]), Requests()
    requests.watch(app)
    requests.answered.append(lambda _, status, __: statuses.append(status))

    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield b"x" * 100_000
            await asyncio.sleep(pause_s)

    async def give(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await streaming.send(request, response, endless(), silence_s=10)
        return response

    app.router.add_get("/file", give)
    with structlog.testing.capture_logs() as told:
        async with served(app) as url, aiohttp.ClientSession() as client:
            async with client.get(url) as answer:
                await answer.content.readexactly(100_000)
                answer.close()
            async with asyncio.timeout(10):
                while not statuses:  # noqa: ASYNC110 - nothing tells
                    await asyncio.sleep(0.01)
    assert (statuses, told) == ([499], [])


async def test_a_node_that_sends_nothing_is_given_up() -> None:
    """One that lost its power sends no end."""
    async with serving(transfer := Transfer()) as url:
        with node(url, PUT):
            ended = await asyncio.wait_for(transfer.end, 10)
    assert isinstance(ended, errors.TransferInterrupted)
    assert str(ended) == f"the node sent nothing for {SILENCE_S:g} s"


async def test_a_node_that_hangs_up_is_no_end_of_the_file() -> None:
    """What came before is not the file."""
    async with serving(transfer := Transfer()) as url:
        with node(url, PUT):
            await asyncio.sleep(0.05)
        ended = await asyncio.wait_for(transfer.end, 10)
    assert isinstance(ended, errors.TransferInterrupted)
    assert str(ended) == "the connection to the node broke"


@pytest.mark.parametrize(
    ("span", "version", "start"),
    [
        ("bytes=5-", '"v%201"', 5),
        ("bytes=5-9", '"v"', None),
        ("bytes=-5", '"v"', None),
        ("bytes=5-", "", None),
        ("lines=5-", '"v"', None),
        ("bytes=\u0665-", '"v"', None),
        (f"bytes={'9' * 5000}-", '"v"', None),
        ("", '"v"', None),
    ],
)
def test_where_a_node_goes_on(span: str, version: str, start: int | None) -> None:
    """One place, with the version that it has the beginning of; everything else gets the whole file."""
    found = streaming.resume(make_mocked_request("GET", "/", headers={"Range": span, "If-Range": version}))
    assert (found.start if found else None) == start
    assert found is None or found.version == "v 1"


def test_the_rest_of_nobody_knows_how_much_is_no_whole() -> None:
    """It would be an answer that looks like all of the file."""
    with pytest.raises(errors.TransferInterrupted, match="only the rest of the file came"):
        streaming.describe(web.StreamResponse(), Fetched(nothing(), start=300))


async def nothing() -> AsyncIterator[bytes]:
    """No bytes."""
    return
    yield b""
