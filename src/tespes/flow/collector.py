"""The way to an OpenTelemetry collector: OTLP over HTTP, whatever is in it."""

import asyncio
import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import TracebackType
from typing import Final, Self

import aiohttp
import yarl
from aiohttp import hdrs

from tespes import errors
from tespes.flow.post import Refused, pause_s, session, trusted
from tespes.storage.http.address import address
from tespes.storage.http.failures import failed, named
from tespes.tes import urls

NAME: Final = "traces"  # of the follower that tells it, of its lease and its checkpoint
_PATH: Final = "/v1/traces"
_CONTENT_TYPE: Final = "application/x-protobuf"
_TAKEN: Final = range(200, 300)
_MOVED: Final = range(300, 400)
_NOT_THIS: Final = {400, 413, 422, 500}  # about what was sent; all else is about who sends, or passes
_ANSWER_BYTES: Final = 2**16
_ANSWER_S: Final = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """Where traces go.

    :param url: of the collector; if it has no path, `/v1/traces` is meant
    :param headers: that it wants to see with each request, such as a token
    :param timeout_s: in which it has to answer; :param ca_file: certificates that are trusted beside the system's
    """

    url: str = field(repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    timeout_s: float = 10.0
    ca_file: str | None = None


class Collector:
    """A connection to a collector that is kept. Open as long as the block is not left."""

    def __init__(self, endpoint: Endpoint) -> None:
        """:raises errors.SetupError: its ca_file cannot be read"""
        at = address(endpoint.url)
        url = yarl.URL(at.url, encoded=True)
        self.shown = urls.origin(endpoint.url)
        self._url = url.with_path(_PATH, keep_query=True) if url.path == "/" else url
        self._headers = {hdrs.CONTENT_TYPE: _CONTENT_TYPE, **at.login, **endpoint.headers}
        self._timeout_s = endpoint.timeout_s
        self._trusted = trusted(endpoint.ca_file)
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = session(self._trusted, self._timeout_s, self._headers)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()

    async def send(self, body: bytes) -> bytes | Refused:
        """The collector's answer, if it took them; else why it did not.

        `Refused.is_final`: because of what was sent, as far as can be known.
        """
        assert self._session is not None  # noqa: S101 - the block was entered
        try:
            with named(self.shown, self._timeout_s):
                async with self._session.post(self._url, data=body, allow_redirects=False) as answer:
                    if answer.status in _TAKEN:
                        return await _said(answer)
                    return self._refused(answer)
        except errors.TransferError as error:
            return Refused(str(error))

    def _refused(self, answer: aiohttp.ClientResponse) -> Refused:
        where = ": name the address where it leads" if answer.status in _MOVED else ""
        again_s = pause_s(answer.headers.get(hdrs.RETRY_AFTER, ""), datetime.now(UTC))
        return Refused(f"{failed(self.shown, answer)}{where}", answer.status in _NOT_THIS, again_s)


async def _said(answer: aiohttp.ClientResponse) -> bytes:
    """What it says, as far as that comes soon: it has taken them in any case."""
    said = bytearray()
    with contextlib.suppress(TimeoutError, aiohttp.ClientError):
        async with asyncio.timeout(_ANSWER_S):
            async for piece in answer.content.iter_any():
                said += piece
                if len(said) > _ANSWER_BYTES:
                    break
    return bytes(said)
