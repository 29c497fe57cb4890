"""A file goes to an FTP server: under a temporary name first, so that its own appears only when it is whole."""

import asyncio
import contextlib
from collections import OrderedDict
from collections.abc import AsyncIterator
from typing import Final

from tespes import errors
from tespes.storage import unfinished
from tespes.storage.ftp.data import Data
from tespes.storage.ftp.places import Account, parent
from tespes.storage.ftp.pool import Turn
from tespes.storage.ftp.session import Session
from tespes.storage.ftp.wire import Answered, Broken

_MOST_KNOWN: Final = 10_000
_REMOVE_AFTER_S: Final = (0.0, 0.1, 0.5)
_REMOVING_S: Final = 20.0


class Directories:
    """Those that are there, as far as is known: the last ten thousand that were made or seen."""

    def __init__(self) -> None:
        self._known: OrderedDict[tuple[Account, str], None] = OrderedDict()

    def knows(self, account: Account, path: str) -> bool:
        """Whether it was there a while ago."""
        if path != "/" and (account, path) not in self._known:
            return False
        if path != "/":
            self._known.move_to_end((account, path))
        return True

    def forget(self, account: Account) -> None:
        """Somebody removed some."""
        for known in [known for known in self._known if known[0] == account]:
            del self._known[known]

    async def make(self, session: Session, path: str) -> None:
        """Make it, and those above; that somebody else did a moment before is fine.

        :raises Answered: it cannot be made
        """
        missing = []
        while not self.knows(session.account, path) and not await session.is_directory(path):
            missing.append(path)
            path = parent(path)
        self._remember(session.account, path)
        for each in reversed(missing):
            try:
                await session.ask(f"MKD {each}")
            except Answered:
                if not await session.is_directory(each):
                    raise
            self._remember(session.account, each)

    def _remember(self, account: Account, path: str) -> None:
        self._known[account, path] = None
        if len(self._known) > _MOST_KNOWN:
            self._known.popitem(last=False)


async def upload(turn: Turn, path: str, pieces: AsyncIterator[bytes], size_bytes: int, directories: Directories) -> None:
    """Put a file there, whole or not at all.

    :raises errors.TransferError, Answered, Broken: it is not there, and nothing half-written is
    """
    temporary = f"{parent(path).rstrip('/')}/{unfinished.new()}"
    data = None
    try:
        data = await _begin(turn.session, path, temporary, directories)
        await _send(turn.session, data, pieces, size_bytes)
        await _check(turn.session, temporary, size_bytes)
        await _rename(turn, temporary, path)
    except BaseException as error:
        if data is not None or not isinstance(error, Answered):
            await _remove(turn, temporary)
        raise
    turn.is_clean = True


async def _begin(session: Session, path: str, temporary: str, directories: Directories) -> Data:
    directory = parent(path)
    if directories.knows(session.account, directory):
        try:
            return await session.begin(f"STOR {temporary}")
        except Answered as error:
            if error.is_for_now:
                raise
            directories.forget(session.account)
    await directories.make(session, directory)
    return await session.begin(f"STOR {temporary}")


async def _send(session: Session, data: Data, pieces: AsyncIterator[bytes], size_bytes: int) -> None:
    sent = 0
    try:
        async for piece in pieces:
            sent += len(piece)
            if sent > size_bytes:
                break
            await data.write(piece)
        if sent != size_bytes:
            more = "more" if sent > size_bytes else f"{sent:,}"
            raise errors.TransferInterrupted(f"{size_bytes:,} bytes were announced, {more} came")
        await data.flush()
    except Broken as error:
        raise await session.why(error) from error
    await session.end()


async def _check(session: Session, temporary: str, size_bytes: int) -> None:
    """A connection that was cut looks to the server like the end of a file."""
    there = await session.size_bytes(temporary)
    if there is not None and there != size_bytes:
        raise errors.TransferInterrupted(f"of {size_bytes:,} bytes the server has {there:,}")


async def _rename(turn: Turn, temporary: str, final: str) -> None:
    """Some servers do not rename onto a file that is there: it is put aside, and back if that did not help."""
    session, aside = turn.session, f"{temporary.removesuffix('.part')}.old"
    try:
        await session.rename(temporary, final)
    except Answered as error:
        found = None if error.is_for_now else await session.find(final)
        if found is not None and found.type == "directory":
            raise errors.TransferRefused("is a directory, a file was declared") from error
        if found is None:
            raise
        await session.rename(final, aside)
        try:
            await session.rename(temporary, final)
        except BaseException:
            await _put_back(turn, aside, final)
            raise
        try:
            await session.ask(f"DELE {aside}")
        except (Answered, Broken):
            await _remove(turn, aside)


async def _put_back(turn: Turn, aside: str, final: str) -> None:
    with contextlib.suppress(Answered, Broken):
        session = await turn.anew()
        await session.rename(aside, final)


async def _remove(turn: Turn, path: str) -> None:
    """Remove what may be there, in a connection of its own: the one that failed may be in the middle of something.

    Asked again after a while, as the server may only be about to make the file.
    """
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_REMOVING_S):
            for pause_s in _REMOVE_AFTER_S:
                await asyncio.sleep(pause_s)
                with contextlib.suppress(Answered, Broken):
                    session = await turn.anew()
                    await session.ask(f"DELE {path}")
                    return
