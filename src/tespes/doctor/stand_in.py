"""Where no TESPES runs, runners of the small job still want an answer: this process gives it while it looks."""

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from aiohttp import web

from tespes import errors, serving
from tespes.pulsar import job
from tespes.settings import Settings

GONE: Final = 410  # what a TESPES says to the runner of a job that is not to run
_NO: Final = 401


@dataclass(frozen=True, slots=True)
class Place:
    """Where TESPES listens, or would.

    :param is_free: no TESPES does, nor anybody else
    """

    url: str
    is_free: bool


@contextlib.asynccontextmanager
async def in_place_of_tespes(settings: Settings, key: bytes) -> AsyncIterator[Place]:
    """Answer there as a TESPES with that key does, until the block is left; unless somebody listens there already."""
    try:
        listening, url = serving.listen(settings.http.host, settings.http.port)
    except errors.SetupError:
        yield Place(serving.address(settings.http.host, settings.http.port), is_free=False)
        return
    with listening:
        application = web.Application()
        application.router.add_post("/runner/{job}/claim", _answer(key))
        runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        try:
            await web.SockSite(runner, listening).start()
            yield Place(url, is_free=True)
        finally:
            await runner.cleanup()


def _answer(key: bytes) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def claim(request: web.Request) -> web.Response:
        is_known = request.headers.get("Authorization") == f"Bearer {job.token(key, request.match_info['job'])}"
        return web.Response(status=GONE if is_known else _NO)

    return claim
