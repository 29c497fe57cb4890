"""Leave without cutting anybody off: what came in is answered, and told that nothing more is taken here."""

import contextlib
import time
from collections.abc import Callable

from aiohttp import ClientConnectionResetError, hdrs, web

from tespes.api.problems import Handler

_CLIENT_HAS_GONE = 499  # as nginx has it: no answer arrived, and that is nobody's fault here


class Requests:
    """The requests that are under way: until their answers, with their bodies, are written.

    Who wants to know is in `answered`, which are called with each request, the status of its answer, and the seconds it took.
    """

    def __init__(self) -> None:
        self.count = 0
        self.answered: list[Callable[[web.Request, int, float], None]] = []
        self._is_leaving = False

    @property
    def are_none(self) -> bool:
        """Whether nothing waits for an answer."""
        return self.count == 0

    def watch(self, app: web.Application) -> None:
        """Count the application's requests."""

        @web.middleware
        async def counted(request: web.Request, handler: Handler) -> web.StreamResponse:
            self.count += 1
            begun, status = time.perf_counter(), web.HTTPInternalServerError.status_code
            try:
                response = await handler(request)
                status = response.status
                with contextlib.suppress(ConnectionError):  # the server finds out by itself
                    await response.prepare(request)
                    await response.write_eof()
            except web.HTTPException as answer:  # a redirect
                status = answer.status
                raise
            except ClientConnectionResetError:
                status = _CLIENT_HAS_GONE
                raise
            else:
                return response
            finally:
                self.count -= 1
                took_s = time.perf_counter() - begun
                for told in self.answered:
                    told(request, status, took_s)

        app.middlewares.insert(0, counted)
        app.on_response_prepare.append(self._say_that_it_leaves)

    def leave(self) -> None:
        """From now on, every answer is the last on its connection."""
        self._is_leaving = True

    async def _say_that_it_leaves(self, _: web.Request, response: web.StreamResponse) -> None:
        if self._is_leaving:
            response.headers[hdrs.CONNECTION] = "close"
            response.force_close()
