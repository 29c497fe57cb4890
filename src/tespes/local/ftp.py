"""A small FTP server on loopback, in the calling process, for the demo and the tests."""

import secrets
import ssl
from pathlib import Path
from typing import Final, Self
from urllib.parse import quote

import aioftp

from tespes import errors
from tespes.local.ports import LOOPBACK

_IDLE_S: Final = 600.0


class LocalFTP:
    """An FTP server for one user who sees one directory; an async context manager.

    Control and passive data connections are on 127.0.0.1, data ports as the system gives them. `..` stops at the
    directory; a link in it that leads out is followed, but FTP has no command that makes one.

    :param directory: what the user sees as `/`; made if missing
    :param user: login name
    :param password: None chooses one at random
    :param port: 0 takes a free one
    :param tls: speaks nothing but TLS, from the first byte on (implicit)
    """

    def __init__(
        self,
        directory: Path,
        *,
        user: str = "tespes",
        password: str | None = None,
        port: int = 0,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.directory = directory.absolute()
        self.user = user
        self.password = password or secrets.token_hex(8)
        self._port = port
        self._tls = tls
        self._server: aioftp.Server | None = None

    @property
    def url(self) -> str:
        """`ftp://user:password@127.0.0.1:port`, without a path; it holds the password, so never log it."""
        scheme = "ftps" if self._tls else "ftp"
        return f"{scheme}://{quote(self.user, safe='')}:{quote(self.password, safe='')}@{LOOPBACK}:{self._port}"

    async def start(self) -> Self:
        """Listen; after a `stop`, on the same port again.

        :raises errors.SetupError: the port is taken
        """
        self.directory.mkdir(parents=True, exist_ok=True)
        server = aioftp.Server(
            [aioftp.User(self.user, self.password, base_path=self.directory)],
            path_io_factory=aioftp.AsyncPathIO,
            idle_timeout=_IDLE_S,
            ssl=self._tls,
        )
        try:
            await server.start(LOOPBACK, self._port)
        except OSError as error:
            raise errors.SetupError(f"the FTP server cannot listen on port {self._port}: {error.strerror}") from error
        self._server, self._port = server, server.server_port
        return self

    async def stop(self) -> None:
        """Close every connection and stop listening."""
        if self._server is not None:
            await self._server.close()
            self._server = None

    async def __aenter__(self) -> Self:
        return await self.start()

    async def __aexit__(self, *_: object) -> None:
        await self.stop()
