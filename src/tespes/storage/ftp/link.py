"""A connection to an FTP server that is logged in: commands, and data connections for those that need one."""

import asyncio
import contextlib
import re
import socket
import ssl
from collections.abc import Callable
from typing import Final, TypeVar

from tespes.storage.ftp.data import Data
from tespes.storage.ftp.places import Account
from tespes.storage.ftp.tls import SameSession
from tespes.storage.ftp.wire import GOODBYE_S, Answer, Answered, Broken, Control, reason, silent

Wire = TypeVar("Wire", Control, Data)

_REUSED_SILENCE_S: Final = 5.0
_WHY_S: Final = 5.0
_KEEPALIVE_S: Final = 60
_EPSV = re.compile(r"\((.)\1\1(\d{1,5})\1\)")
_PASV = re.compile(r"\d+,\d+,\d+,\d+,(\d+),(\d+)")


class Link:
    """A connection that is logged in; whoever has it is alone with it.

    :param context: makes the TLS context, for accounts that need one
    """

    def __init__(self, account: Account, silence_s: float, context: Callable[[], ssl.SSLContext]) -> None:
        self.account = account
        self.is_reused = False
        self.lacks: set[str] = set()  # commands that the server does not know
        self._silence_s = silence_s
        self._context = context
        self._control = Control()
        self._data: Data | None = None

    @property
    def is_usable(self) -> bool:
        """Whether it may be used again after a rest."""
        return self._control.is_quiet

    async def open(self) -> None:
        """Connect and log in.

        :raises Broken, Answered: that fails
        """
        self._control = await self._connect(self.account.host, self.account.port, Control())
        if self.account.tls == "implicit":
            await self._secure()
        await self._greeted()
        if self.account.tls == "explicit":
            try:
                await self._ask("AUTH TLS", "2")
            except Answered as error:
                raise Answered(error.code, f"{error.words} (TLS was asked for)") from error
            await self._secure()
        await self._log_in()
        if self.account.tls != "none":
            await self._ask("PBSZ 0", "2")
            await self._ask("PROT P", "2")
        await self._ask("TYPE I", "2")

    def close(self) -> None:
        """Say good-bye and let go."""
        self._let_go_of_data()
        self._control.close()

    async def gone(self) -> None:
        """Wait until it is closed, or for a moment."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(GOODBYE_S):
                await self._control.gone.wait()
        self.abort()

    def abort(self) -> None:
        """Let go at once: it may be in the middle of something."""
        self._let_go_of_data()
        self._control.abort()

    async def ask(self, command: str, expected: str = "2") -> Answer:
        """The answer, if its code begins as expected.

        The first command of a reused connection finds out whether the server still has it; if not, it is made anew.

        :raises Answered: it is another; :raises Broken: there is none
        """
        if not self.is_reused:
            return await self._ask(command, expected)
        self.is_reused = False
        try:
            return await self._ask(command, expected, min(self._silence_s, _REUSED_SILENCE_S))
        except (Broken, Answered) as error:
            if isinstance(error, Answered) and error.code != 421:  # noqa: PLR2004 - the server closes the connection
                raise
            self.abort()
            await self.open()
            return await self._ask(command, expected)

    async def if_able(self, command: str, argument: str, expected: str = "2") -> Answer | None:
        """The answer; None: the server does not know the command, or said no.

        :raises Answered: no for now
        """
        if command in self.lacks:
            return None
        try:
            return await self.ask(f"{command} {argument}", expected)
        except Answered as error:
            if error.is_unknown_command:
                self.lacks.add(command)
            elif error.is_for_now:
                raise
            return None

    async def begin(self, command: str, start: int = 0) -> Data:
        """The data connection for that command; from `start` on, if the server can do that.

        :raises Answered: the server does not want to; :raises Broken: the connection broke
        """
        data = self._data = await self._connect_for_data()
        if start and await self.if_able("REST", str(start), "3"):
            data.start = start
        self._control.send(command)
        try:
            await self._begun(data)
        except Answered:
            self._let_go_of_data()
            raise
        return data

    async def end(self) -> str:
        """Close the data connection; the server's words if it says that all is well.

        :raises Answered: it does not
        """
        if self._data is not None:
            self._data.finish()
        farewell = expect(await self._control.answer(self._silence_s), "2")
        self._let_go_of_data()
        return farewell.words

    async def why(self, error: Broken) -> Broken | Answered:
        """Why the data connection broke: the server may have said it."""
        self._let_go_of_data()
        try:
            answer = await self._control.answer(min(self._silence_s, _WHY_S))
        except Broken:
            return error
        return answer.refusal() if answer.code >= 400 else error  # noqa: PLR2004

    async def _begun(self, data: Data) -> None:
        """Wait for the server's word. Some servers want TLS before they say it, some after."""
        securing = asyncio.create_task(data.secure(self._data_context(), self.account.host)) if self._is_secure else None
        try:
            expect(await self._control.answer(self._silence_s), "1")
            if securing is not None:
                await securing
        finally:
            if securing is not None:
                securing.cancel()
                await asyncio.gather(securing, return_exceptions=True)

    async def _greeted(self) -> None:
        """However often the server says that it will be ready soon, it has to be in time."""
        greeting = await self._control.answer(self._silence_s)
        try:
            async with asyncio.timeout(self._silence_s):
                while greeting.code == 120:  # noqa: PLR2004 - ready in some minutes
                    greeting = await self._control.answer(self._silence_s)
        except TimeoutError:
            raise Broken(f"the server was not ready in {self._silence_s:g} s") from None
        expect(greeting, "2")

    async def _ask(self, command: str, expected: str, silence_s: float | None = None) -> Answer:
        self._control.send(command)
        return expect(await self._control.answer(silence_s or self._silence_s), expected)

    async def _log_in(self) -> None:
        login = self.account.login
        answer = await self._ask(f"USER {login.user}", "23")
        if answer.code == 331:  # noqa: PLR2004 - a password is wanted
            answer = await self._ask(f"PASS {login.password}", "23")
        expect(answer, "2")

    async def _secure(self) -> None:
        try:
            async with asyncio.timeout(self._silence_s):
                await self._control.secure(self._context(), self.account.host)
        except TimeoutError:
            raise silent(self._silence_s) from None

    def _data_context(self) -> ssl.SSLContext:
        control = self._control.transport.get_extra_info("ssl_object") if self._control.transport else None
        return SameSession(control) if control is not None else self._context()

    async def _connect_for_data(self) -> Data:
        """To the host of the control connection, whatever the server says: behind NAT it may name an address of its own,
        and a wicked one would have TESPES connect to somebody else.
        """
        port = await self._passive_port()
        peer = self._control.transport.get_extra_info("peername") if self._control.transport else None
        return await self._connect(peer[0] if peer else self.account.host, port, Data(self._silence_s))

    async def _passive_port(self) -> int:
        if "EPSV" not in self.lacks:
            try:
                extended = _EPSV.search((await self.ask("EPSV")).words)
            except Answered as error:
                if error.is_for_now:
                    raise
                extended = None
            if extended is not None:
                return _port(int(extended[2]))
            self.lacks.add("EPSV")
        passive = _PASV.search((await self.ask("PASV")).words)
        if passive is None:
            raise Broken("the server's answer to PASV names no port")
        return _port(int(passive[1]) * 256 + int(passive[2]))

    async def _connect(self, host: str, port: int, protocol: Wire) -> Wire:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self._silence_s):
                transport, _ = await loop.create_connection(lambda: protocol, host, port)
        except TimeoutError:
            raise silent(self._silence_s) from None
        except (OSError, UnicodeError) as error:
            raise reason(error) from error
        # During a long transfer nothing is said on the control connection: firewalls forget it unless it shows life.
        connection = transport.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, _KEEPALIVE_S)
        return protocol

    def _let_go_of_data(self) -> None:
        if self._data is not None:
            self._data.abort()
            self._data = None

    @property
    def _is_secure(self) -> bool:
        return self.account.tls != "none"


def expect(answer: Answer, first_digits: str) -> Answer:
    """The answer, if its code begins with one of these.

    :raises Answered: it does not
    """
    if str(answer.code)[0] not in first_digits:
        raise answer.refusal()
    return answer


def _port(number: int) -> int:
    if not 0 < number < 1 << 16:
        raise Broken(f"the server names port {number}")
    return number
