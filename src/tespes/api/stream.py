"""What has happened, live: server-sent events (HTML standard, 9.2), which a browser, curl or any program can follow.

A stream begins where the client says, by `Last-Event-ID` or `after`, and goes over into what comes, without a seam. The id
of an event is its position. While nothing comes, the id alone is sent now and then: it says that the connection lives, and
takes a client that filters past what it does not want, so that it does not go through all of it when it comes again.
"""

import contextlib
from dataclasses import dataclass
from typing import Final

import structlog
from aiohttp import hdrs, web

from tespes import errors
from tespes.api import events, openapi, query, streaming
from tespes.api.problems import problem
from tespes.flow.shown import Wanted
from tespes.flow.subscribe import Feed

LAST_EVENT_ID: Final = "Last-Event-ID"
CONTENT_TYPE: Final = "text/event-stream"
_RETRY_MS: Final = 2000
_FULL_S: Final = 5
_HEADERS = {hdrs.CONTENT_TYPE: CONTENT_TYPE, hdrs.CACHE_CONTROL: "no-store", "X-Accel-Buffering": "no"}

STREAM_EVENTS = openapi.Operation(
    method="GET",
    path="/events/stream",
    operation_id="StreamEvents",
    description="Events as they come, as server-sent events: `id` is the position, `event` the name, `data` a CloudEvent as in"
    " `ListEvents`. Without `after` and `Last-Event-ID`, from now on; with `after=0`, all from the beginning. TESPES's own.",
    parameters=(
        openapi.Parameter("after", events.AFTER.kind, "Events after this position."),
        events.TYPE,
        events.TASK,
        openapi.Parameter(LAST_EVENT_ID, events.AFTER.kind, "The same; goes before `after`.", place="header"),
    ),
    answer=str,
    media_type=CONTENT_TYPE,
    problems=(400, 503),
)

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class StreamRoutes:
    """The handler, with what it needs.

    :param quiet_s: after which a client is told that the connection lives
    :param silence_s: for how long a client may take nothing of what is sent
    """

    feed: Feed
    quiet_s: float
    silence_s: float

    def add_to(self, app: web.Application) -> None:
        """Add the route under every prefix."""
        openapi.add(app, STREAM_EVENTS, self.stream_events)

    async def stream_events(self, request: web.Request) -> web.StreamResponse:
        """Events from where the client wants them on, until it goes or the process ends."""
        wanted = query.wanted(request.query)
        after = _begin(request, await self.feed.head())
        if self.feed.is_full:
            return _full()
        response = web.StreamResponse(headers=_HEADERS)
        response.force_close()  # whoever comes again should not find a connection that is about to end
        await response.prepare(request)
        if request.method == hdrs.METH_HEAD:
            return response
        try:
            async with self.feed.watching():
                await self._send(request, response, wanted, after)
        except TimeoutError:  # the process is about to end: who is not taking anything is not waited for
            if request.transport is not None and request.transport.get_write_buffer_size():
                streaming.break_off(request)
        except ConnectionError:
            pass  # the client has gone
        except errors.TespesError as error:
            _log.warning("a stream of events is broken off", reason=str(error))
            streaming.break_off(request)
        return response

    async def _send(self, request: web.Request, response: web.StreamResponse, wanted: Wanted, after: int) -> None:
        await streaming.write(request, response, b"retry: %d\nid: %d\n\n" % (_RETRY_MS, after), self.silence_s)
        async with contextlib.aclosing(self.feed.stream(wanted, after, self.quiet_s)) as pieces:
            async for piece in pieces:
                text = piece.text or b":\nid: %d\n\n" % piece.position
                await streaming.write(request, response, text, self.silence_s)


def _begin(request: web.Request, head: int) -> int:
    """The position after which the client wants events."""
    after = query.position("after", request.query, head)
    if last := request.headers.get(LAST_EVENT_ID, ""):
        return query.read_position(LAST_EVENT_ID, last, head)
    return head if after is None else after


def _full() -> web.Response:
    answer = problem(503, "Too many streams", "as many clients follow the events as are allowed at a time", retryable=True)
    answer.headers[hdrs.RETRY_AFTER] = str(_FULL_S)
    return answer
