"""Who asks, and what a request belongs to, as its client says: an id of the client's choice, and W3C trace context.

Both are on record with whatever the request leads to. What is not in the form that is expected counts as absent, as
the Trace Context recommendation (section 4.3) has it: proxies and frameworks add such headers without being asked.
"""

import re
from typing import Final

from aiohttp import web

from tespes.flow.execute import By

ANONYMOUS: Final = "anonymous"
REQUEST_ID: Final = "X-Request-ID"
_REQUEST_ID: Final = "^[!-~]{1,128}$"
TRACEPARENT: Final = "traceparent"
_TRACEPARENT: Final = "^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$"
_INVALID: Final = re.compile("^ff-|-0{32}-|-0{16}-")  # versions and ids that the recommendation forbids


def by(request: web.Request) -> By:
    """Who gives the command of that request."""
    traceparent = _matching(request, TRACEPARENT, _TRACEPARENT)
    return By(
        ANONYMOUS,
        correlation=_matching(request, REQUEST_ID, _REQUEST_ID),
        traceparent=traceparent if traceparent and not _INVALID.search(traceparent) else None,
    )


def _matching(request: web.Request, name: str, pattern: str) -> str | None:
    said = request.headers.getall(name, ())
    return said[0] if len(said) == 1 and re.fullmatch(pattern, said[0]) else None
