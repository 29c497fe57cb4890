"""Bytes between a node and TESPES, either way: as slow as they like, but not silent, and never taken for whole too early."""

import asyncio
from collections.abc import AsyncIterator
from typing import Final
from urllib.parse import quote, unquote

import aiohttp
from aiohttp import hdrs, http_exceptions, web

from tespes import errors
from tespes.storage import Fetched, Resume

_DIGITS: Final = 18
_BROKEN: Final = (ConnectionError, aiohttp.ClientError, http_exceptions.HttpProcessingError)


def describe(response: web.StreamResponse, fetched: Fetched) -> None:
    """Status and headers: how long it is, where it begins, and what it can be resumed by."""
    if fetched.version is not None:
        response.headers[hdrs.ETAG] = f'"{quote(fetched.version, safe="")}"'
    if fetched.size_bytes is None:
        if fetched.start:
            raise errors.TransferInterrupted("only the rest of the file came, and not how long the whole is")
        response.enable_chunked_encoding()
        return
    response.content_length = fetched.size_bytes - fetched.start
    if fetched.start:
        response.set_status(web.HTTPPartialContent.status_code)
        response.headers[hdrs.CONTENT_RANGE] = f"bytes {fetched.start}-{fetched.size_bytes - 1}/{fetched.size_bytes}"


def resume(request: web.Request) -> Resume | None:
    """Where a runner wants to go on (RFC 9110, Range with If-Range); None for anything else: then it gets all."""
    unit, _, span = request.headers.get(hdrs.RANGE, "").partition("=")
    version = request.headers.get(hdrs.IF_RANGE, "").strip('"')
    start = span.removesuffix("-")
    is_start = start != span and start.isascii() and start.isdecimal() and len(start) <= _DIGITS
    return Resume(int(start), unquote(version)) if unit == "bytes" and version and is_start else None


async def send(request: web.Request, response: web.StreamResponse, pieces: AsyncIterator[bytes], silence_s: float) -> None:
    """All the pieces, and the end. The last piece is kept back until it is sure that nothing failed after it.

    :raises errors.TransferInterrupted: nothing was taken for so long; whatever `pieces` raises
    """
    held = b""
    async for piece in pieces:
        if held:
            await write(request, response, held, silence_s)
        held = piece
    await write(request, response, held, silence_s)
    await response.write_eof()


async def write(request: web.Request, response: web.StreamResponse, piece: bytes, silence_s: float) -> None:
    """One piece; raises as `send` does.

    :raises aiohttp.ClientConnectionResetError: whoever should get it has gone
    """
    if not response.prepared:
        await response.prepare(request)
    try:
        async with asyncio.timeout(silence_s):
            await response.write(piece)
    except TimeoutError:
        raise errors.TransferInterrupted(f"nothing was taken for {silence_s:g} s") from None
    except ConnectionError as error:  # if it breaks while the library waits, it has another word for that
        raise aiohttp.ClientConnectionResetError("the client has gone") from error


async def received(request: web.Request, silence_s: float) -> AsyncIterator[bytes]:
    """The body, piece by piece.

    :raises errors.TransferInterrupted: the node sent nothing for so long, or the connection to it broke
    """
    coming = request.content.iter_any()
    while True:
        try:
            async with asyncio.timeout(silence_s):
                piece = await anext(coming, None)
        except TimeoutError:
            raise errors.TransferInterrupted(f"the node sent nothing for {silence_s:g} s") from None
        except _BROKEN as error:
            raise errors.TransferInterrupted("the connection to the node broke") from error
        if piece is None:
            return
        yield piece


def break_off(request: web.Request) -> None:
    """Break the connection, so that nobody takes for whole what is not."""
    if request.transport is not None:
        request.transport.abort()
