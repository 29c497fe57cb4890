"""A webhook on loopback, in a thread of its own: it takes what comes, or answers as it is told.

Each request's signature is checked with the library of those who made the standard, before anything else.
"""

import asyncio
import base64
import ssl
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import pytest
import standardwebhooks
from aiohttp import web

from servers import Loop
from tespes.flow.follow import wait

KEY = b"what only these two know, really"
SECRET = f"whsec_{base64.b64encode(KEY).decode()}"
Document = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer, after a while."""

    status: int = 204
    headers: Mapping[str, str] = field(default_factory=dict)
    after_s: float = 0.0


NEVER = Answer(after_s=3600.0)


@dataclass(frozen=True, slots=True)
class Offered:
    """A request.

    :param document: the CloudEvent; :param at_s: of a steady clock
    """

    id: str
    document: Document
    headers: Mapping[str, str]
    at_s: float


class Receiver:
    """A webhook.

    :param secret: what it checks signatures with

    `script` has the answers to the next requests; then comes `usual`. `offered` has every request that was genuine, `taken`
    the events that were answered with 2xx; `forged` counts the others.
    """

    def __init__(self, loop: Loop, secret: str = SECRET, tls: ssl.SSLContext | None = None) -> None:
        self.script: deque[Answer] = deque()
        self.usual = Answer()
        self.offered: list[Offered] = []
        self.taken: list[Document] = []
        self.forged = 0
        self._loop = loop
        self._closed = asyncio.Event()
        self._tls = tls
        self._standard = standardwebhooks.Webhook(secret)
        app = web.Application(client_max_size=2**22)
        app.router.add_post("/hook", self._handle)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=2)
        self._port = self._loop.run(self._start())

    @property
    def url(self) -> str:
        """Where it is."""
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self._port}/hook"

    @property
    def sequences(self) -> list[str]:
        """Of what was taken, as it came."""
        return [each["sequence"] for each in self.taken]

    def close(self) -> None:
        """End it; who waits for an answer gets it."""
        self._loop.run(self._end())

    async def _start(self) -> int:
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0, ssl_context=self._tls)
        await site.start()
        port: int = self._runner.addresses[0][1]
        return port

    async def _end(self) -> None:
        self._closed.set()
        await self._runner.cleanup()

    async def _handle(self, request: web.Request) -> web.Response:
        try:
            document = self._standard.verify(await request.read(), dict(request.headers))
        except standardwebhooks.WebhookVerificationError:
            self.forged += 1
            return web.Response(status=401)
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.offered.append(Offered(headers["webhook-id"], document, headers, time.monotonic()))
        answer = self.script.popleft() if self.script else self.usual
        await wait(self._closed, answer.after_s)
        if answer.status in range(200, 300):
            self.taken.append(document)
        return web.Response(status=answer.status, headers=answer.headers)


Receivers = Callable[..., Receiver]


@pytest.fixture
def receivers(loop_thread: Loop) -> Iterator[Receivers]:
    """Makes a webhook; all of them end with the test."""
    with ExitStack() as stack:

        def made(**what: Any) -> Receiver:
            receiver = Receiver(loop_thread, **what)
            stack.callback(receiver.close)
            return receiver

        yield made


@pytest.fixture
def receiver(receivers: Receivers) -> Receiver:
    """A webhook."""
    return receivers()
