"""One event on its way to a webhook: signed, posted, and what came of it.

It goes in the structured mode of the CloudEvents HTTP binding: one JSON document with attributes and data. In the binary
mode the attributes would be headers, and the signature of Standard Webhooks covers the body alone: whoever stands in
between could change a type or a sequence, and nobody would notice.
"""

import asyncio
import base64
import contextlib
import hmac
import random
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from types import TracebackType
from typing import Final, Self

import aiohttp
import orjson
import yarl
from aiohttp import hdrs

from tespes import errors
from tespes.events.cloud import CloudEvent
from tespes.flow.webhooks import Webhook
from tespes.storage.http.address import address
from tespes.storage.http.failures import failed, named

CONTENT_TYPE: Final = "application/cloudevents+json; charset=utf-8"
_TAKEN: Final = range(200, 300)
_MOVED: Final = range(300, 400)
_GONE: Final = 410
_REST_BYTES: Final = 2**16
_REST_S: Final = 0.5
_PAUSE_S, _PAUSE_AT_MOST_S = 0.5, 60.0
_ASKED_AT_MOST_S: Final = 300.0  # of patience, whatever `Retry-After` says


@dataclass(frozen=True, slots=True)
class Refused:
    """Whoever something was sent to does not have it, for that reason.

    :param is_final: it says that it will never have it; :param again_s: when it wants to be asked again, if it said
    """

    reason: str
    is_final: bool = False
    again_s: float | None = None


class Post:
    """The way to a webhook: a connection that is kept for the next event. Open as long as the block is not left."""

    def __init__(self, webhook: Webhook) -> None:
        """:raises errors.SetupError: its ca_file cannot be read"""
        self._webhook = webhook
        self._at = address(webhook.url)
        self._trusted = trusted(webhook.ca_file)
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = session(self._trusted, self._webhook.timeout_s, {hdrs.CONTENT_TYPE: CONTENT_TYPE, **self._at.login})
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()

    async def send(self, event: CloudEvent) -> Refused | None:
        """None if the webhook has it. A redirect is an answer that says no: it is not followed."""
        assert self._session is not None  # noqa: S101 - the block was entered
        body = orjson.dumps(event.document())
        url, headers = yarl.URL(self._at.url, encoded=True), signed(self._webhook.key, event.id, int(time.time()), body)
        try:
            with named(self._webhook.shown, self._webhook.timeout_s):
                async with self._session.post(url, data=body, headers=headers, allow_redirects=False) as answer:
                    return await self._understood(answer)
        except errors.TransferError as error:
            return Refused(str(error))

    async def _understood(self, answer: aiohttp.ClientResponse) -> Refused | None:
        if answer.status not in _TAKEN:
            where = ": name the address where it leads" if answer.status in _MOVED else ""
            reason = f"{failed(self._webhook.shown, answer)}{where}"
            return Refused(reason, answer.status == _GONE, pause_s(answer.headers.get(hdrs.RETRY_AFTER, ""), datetime.now(UTC)))
        with contextlib.suppress(TimeoutError, aiohttp.ClientError):  # read to its end, so that the connection can be kept
            async with asyncio.timeout(_REST_S):
                await answer.content.read(_REST_BYTES)
        return None


def session(trusted: ssl.SSLContext, timeout_s: float, headers: Mapping[str, str]) -> aiohttp.ClientSession:
    """One connection, which is kept for the next request, and no cookies."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=1, ssl=trusted),
        timeout=aiohttp.ClientTimeout(total=timeout_s),
        headers={hdrs.USER_AGENT: "tespes", **headers},
        cookie_jar=aiohttp.DummyCookieJar(),
    )


def signed(key: bytes, event_id: str, at: int, body: bytes) -> dict[str, str]:
    """The headers of Standard Webhooks 1.0 that prove who sent this, and when.

    :param event_id: the same whenever the event is sent; :param at: the moment of sending, seconds since 1970
    """
    digest = hmac.digest(key, f"{event_id}.{at}.".encode() + body, "sha256")
    signature = f"v1,{base64.b64encode(digest).decode()}"
    return {"webhook-id": event_id, "webhook-timestamp": str(at), "webhook-signature": signature}


def pause_s(said: str, present: datetime) -> float | None:
    """For how long `Retry-After` asks for patience: seconds, or a moment of HTTP; None if it says nothing that is either."""
    if said.isascii() and said.isdigit():
        return float(said)
    try:
        return max((parsedate_to_datetime(said) - present).total_seconds(), 0.0)
    except (ValueError, TypeError, OverflowError, IndexError):  # whatever the library stumbles over
        return None


def next_try_s(times: int, asked_s: float | None) -> float:
    """Until the next try after so many: twice as long each time, never two at the same moment; or as long as was asked for."""
    if asked_s is not None:
        return min(max(asked_s, _PAUSE_S), _ASKED_AT_MOST_S)
    return min(_PAUSE_S * 2.0 ** min(times - 1, 10), _PAUSE_AT_MOST_S) * random.uniform(0.5, 1)  # noqa: S311 - jitter


def trusted(ca_file: str | None) -> ssl.SSLContext:
    """Trust in the system's certificates, and in those of that file.

    :raises errors.SetupError: it has none
    """
    context = ssl.create_default_context()
    if ca_file is not None:
        try:
            context.load_verify_locations(cafile=ca_file)
        except OSError as error:  # ssl.SSLError is one
            raise errors.SetupError(f"{ca_file}: has no certificates: {error.strerror or error}") from error
    return context
