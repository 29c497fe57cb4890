"""The follower loop: everything in the log, from a position on, in order, without a hole."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

import structlog

from tespes import errors
from tespes.events import Entry
from tespes.store import Log

_POLL_S = (0.02, 0.5)
_IDLE_S = 5.0
_AGAIN_S = 1.0
_SURE_S = 3.0

_Found = TypeVar("_Found")

_log = structlog.get_logger(__name__)


async def follow(name: str, log: Log, after: int, handle: Callable[[Sequence[Entry]], Awaitable[None]]) -> None:
    """Give every entry after that position to `handle`, batch by batch, until cancelled.

    A batch that cannot be handled because something is away comes again.

    :raises errors.CorruptLog: the log has a hole: nobody may go past it
    """
    poll = _POLL_S[0]
    while True:
        signal = log.signal
        try:
            entries = await log.read(after)
            if entries:
                await handle(entries)
                after, poll = entries[-1].position, _POLL_S[0]
                if after != log.written:  # else: what came since, from here or elsewhere, the signal says
                    continue
        except errors.Unavailable as error:
            _log.warning("a follower waits", follower=name, position=after, reason=str(error))
            await asyncio.sleep(_AGAIN_S)
            continue
        await wait(signal, poll if log.shared else _IDLE_S)
        poll = min(poll * 2, _POLL_S[1])


async def patiently(name: str, look: Callable[[], Awaitable[_Found]]) -> _Found:
    """What that finds, as soon as nothing that it needs is away."""
    while True:
        try:
            return await look()
        except errors.Unavailable as error:
            _log.warning("a follower begins later", follower=name, reason=str(error))
            await asyncio.sleep(_AGAIN_S)


async def is_ahead(log: Log, position: int) -> bool:
    """Whether that position is behind the end of the log, and so of another one.

    A database that was just failed over may not know the end for a moment: it is believed if it says the same for some time.
    """
    begun = time.monotonic()
    while (await log.head()).position < position:
        if not log.shared or time.monotonic() - begun >= _SURE_S:
            return True
        await asyncio.sleep(min(_AGAIN_S, _SURE_S))
    return False


async def wait(signal: asyncio.Event, at_most_s: float) -> bool:
    """Whether it was set in time."""
    try:
        async with asyncio.timeout(at_most_s):
            await signal.wait()
    except TimeoutError:
        return False
    return True
