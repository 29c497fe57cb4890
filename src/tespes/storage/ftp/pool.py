"""Connections to FTP servers that are kept for the next file: a login takes longer than a small file."""

import asyncio
import contextlib
import ssl
import weakref
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Final

from tespes import errors
from tespes.storage.ftp.places import Account
from tespes.storage.ftp.session import Session
from tespes.storage.ftp.tls import trusting
from tespes.storage.promise import Manners

_PATIENCE_S: Final = 20.0
_IDLE_S: Final = 30.0


Address = tuple[str, int]


class Pool:
    """Logged-in connections by account, at most `manners.connections` to one server at a time."""

    def __init__(self, manners: Manners) -> None:
        self._manners = manners
        self._turns: weakref.WeakValueDictionary[Address, asyncio.Semaphore] = weakref.WeakValueDictionary()
        self._busy: Counter[Address] = Counter()
        self._idle: list[tuple[float, Session]] = []
        self._timer: asyncio.TimerHandle | None = None
        self._trust: ssl.SSLContext | None = None
        self._is_closed = False

    @contextlib.asynccontextmanager
    async def turn(self, account: Account) -> AsyncIterator["Turn"]:
        """One of the connections that the server may have; kept for another if it is `is_clean` at the end.

        :raises errors.TransferPostponed: all are busy; :raises Broken, Answered: it cannot be made
        """
        address = account.address
        async with self._counted(address):
            session = self._rested(account) or await self.opened(account)
            turn = Turn(self, session)
            try:
                yield turn
            finally:
                self._put_back(turn.session) if turn.is_clean else turn.session.abort()

    async def opened(self, account: Account) -> Session:
        """A new connection, logged in. An idle one of another account makes room for it."""
        address = account.address
        while self._busy[address] + len(self._at(address)) > self._manners.connections and self._at(address):
            self._idle.remove(oldest := self._at(address)[0])
            oldest[1].close()
        session = Session(account, self._manners.silence_s, self._context)
        try:
            await session.open()
        except BaseException:
            session.abort()
            raise
        return session

    async def close(self) -> None:
        """Let go of every connection, also of those that are busy now, when they are not any more."""
        self._is_closed = True
        if self._timer is not None:
            self._timer.cancel()
        for _, session in self._idle:
            session.close()
        await asyncio.gather(*(session.gone() for _, session in self._idle))
        self._idle.clear()

    @contextlib.asynccontextmanager
    async def _counted(self, address: Address) -> AsyncIterator[None]:
        most = self._manners.connections
        turns = self._turns.setdefault(address, asyncio.Semaphore(most))
        try:
            async with asyncio.timeout(_PATIENCE_S):
                await turns.acquire()
        except TimeoutError:
            raise errors.TransferPostponed(f"all {most} connections to {address[0]} are busy") from None
        self._busy[address] += 1
        try:
            yield
        finally:
            self._busy[address] -= 1
            if not self._busy[address]:
                del self._busy[address]
            turns.release()

    def _rested(self, account: Account) -> Session | None:
        """The one that was used last: the others may end of age."""
        for each in reversed(self._idle):
            session = each[1]
            if session.account == account:
                self._idle.remove(each)
                if session.is_usable:
                    session.is_reused = True
                    return session
                session.abort()
        return None

    def _put_back(self, session: Session) -> None:
        if self._is_closed or not session.is_usable:
            session.close()
            return
        loop = asyncio.get_running_loop()
        self._idle.append((loop.time(), session))
        if self._timer is None:
            self._timer = loop.call_later(_IDLE_S, self._expire)

    def _expire(self) -> None:
        loop = asyncio.get_running_loop()
        old = [each for each in self._idle if each[0] + _IDLE_S <= loop.time()]
        for each in old:
            self._idle.remove(each)
            each[1].close()
        self._timer = loop.call_at(self._idle[0][0] + _IDLE_S, self._expire) if self._idle else None

    def _at(self, address: Address) -> list[tuple[float, Session]]:
        return [each for each in self._idle if each[1].account.address == address]

    def _context(self) -> ssl.SSLContext:
        self._trust = self._trust or trusting(self._manners.ca_file)
        return self._trust


@dataclass
class Turn:
    """A connection for one file.

    :param is_clean: whether the next file may use it
    """

    pool: Pool
    session: Session
    is_clean: bool = False

    async def anew(self) -> Session:
        """Another connection instead, whatever became of this one.

        :raises Broken, Answered: there is none
        """
        self.session.abort()
        self.session = await self.pool.opened(self.session.account)
        return self.session
