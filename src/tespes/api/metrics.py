"""The numbers of this process, for a monitoring that comes by and reads them."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from aiohttp import hdrs, web


@dataclass(frozen=True, slots=True)
class MetricsRoute:
    """The handler, with what it needs. It stands beside the standard, without prefix, in every process.

    :param exposition: the numbers, in the format that the header `Accept` asks for, and the name of the format
    """

    exposition: Callable[[str], Awaitable[tuple[bytes, str]]]

    def add_to(self, app: web.Application) -> None:
        """Add the route."""
        app.router.add_get("/metrics", self.metrics)

    async def metrics(self, request: web.Request) -> web.Response:
        """200 with what is known, whatever TESPES lacks."""
        body, content_type = await self.exposition(request.headers.get(hdrs.ACCEPT, ""))
        return web.Response(body=body, headers={hdrs.CONTENT_TYPE: content_type, hdrs.CACHE_CONTROL: "no-store"})
