"""Who may use a storage now: not more at a time than the settings allow."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

from tespes import errors
from tespes.storage.promise import Manners


@contextlib.asynccontextmanager
async def turn(slots: asyncio.Semaphore, manners: Manners, shown: str, place: str) -> AsyncIterator[None]:
    """One of the turns, as soon as one is free.

    :param slots: as many as `manners.connections`; :param shown: the URL for people; :param place: what they are turns at
    :raises errors.TransferPostponed: none was free for a while
    """
    try:
        async with asyncio.timeout(manners.silence_s * 2 / 3):  # before whoever waits for TESPES gives up
            await slots.acquire()
    except TimeoutError as error:
        raise errors.TransferPostponed(f"{shown}: {manners.connections} files move from or to {place} already") from error
    try:
        yield
    finally:
        slots.release()
