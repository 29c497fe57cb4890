"""Leave without cutting anybody off: what came in is answered, and told that nothing more is taken here."""

import contextlib

from aiohttp import hdrs, web

from tespes.api.problems import Handler


class Requests:
    """The requests that are under way: until their answers, with their bodies, are written."""

    def __init__(self) -> None:
        self._count = 0
        self._is_leaving = False

    @property
    def are_none(self) -> bool:
        """Whether nothing waits for an answer."""
        return self._count == 0

    def watch(self, app: web.Application) -> None:
        """Count the application's requests."""

        @web.middleware
        async def counted(request: web.Request, handler: Handler) -> web.StreamResponse:
            self._count += 1
            try:
                response = await handler(request)
                with contextlib.suppress(ConnectionError):  # the server finds out by itself
                    await response.prepare(request)
                    await response.write_eof()
                return response
            finally:
                self._count -= 1

        app.middlewares.insert(0, counted)
        app.on_response_prepare.append(self._say_that_it_leaves)

    def leave(self) -> None:
        """From now on, every answer is the last on its connection."""
        self._is_leaving = True

    async def _say_that_it_leaves(self, _: web.Request, response: web.StreamResponse) -> None:
        if self._is_leaving:
            response.headers[hdrs.CONNECTION] = "close"
            response.force_close()
