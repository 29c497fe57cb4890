"""Files on web servers: straight from the node, or through TESPES where the settings have a login for the host."""

import contextlib
import re
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus

import aiohttp

from tespes import errors
from tespes.storage.http import index, ranges
from tespes.storage.http.address import Address, address, basic
from tespes.storage.http.client import Asked, Client
from tespes.storage.http.failures import failed
from tespes.storage.promise import At, Direct, Entry, Fetched, InParts, Manners, Resume
from tespes.tes import urls


@dataclass(frozen=True, slots=True)
class Access:
    """What a web server is to be told: a user and a password (Basic), or a token (Bearer)."""

    user: str | None = None
    password: str | None = field(default=None, repr=False)
    token: str | None = field(default=None, repr=False)

    def headers(self) -> dict[str, str]:
        """That, as it is sent."""
        return {"Authorization": f"Bearer {self.token}"} if self.token else basic(self.user or "", self.password or "")


@dataclass(frozen=True, slots=True)
class Server:
    """What the settings say of a web server.

    :param access: None: it needs none; :param owners: who has another one
    :param through: whether bytes pass through TESPES even so, because nodes cannot reach the server
    """

    access: Access | None = None
    owners: Mapping[str, Access] = field(default_factory=dict)
    through: bool = False

    def access_of(self, owner: str) -> Access | None:
        """What this owner's tasks are to tell it."""
        return self.owners.get(owner, self.access)


class Http:
    """See promise.Kind."""

    def __init__(self, servers: Mapping[str, Server], manners: Manners) -> None:
        """:param servers: by `host:port`, or by `host` for https on its usual port

        :raises errors.SetupError: manners.ca_file cannot be read
        """
        self._servers = {name.lower(): server for name, server in servers.items()}
        self._client = Client(manners)

    def usable(self) -> tuple[str, ...]:
        """See promise.Kind.usable."""
        plain = (f"http://{name}/" for name in self._servers if re.search(r":\d+$", name))
        return (*(f"https://{name}/" for name in self._servers), *plain, "http://", "https://")

    def goes_through(self, at: At) -> bool:
        """See promise.Kind.goes_through; so does the refusal of a URL that cannot be read."""
        try:
            where = address(at.url)
        except errors.TransferRefused:
            return True
        server = self._server(where)
        return server is not None and (server.through or (not where.login and server.access_of(at.owner) is not None))

    async def way_in(self, at: At) -> Direct:
        """See promise.Kind.way_in. A user in the URL itself is the client's, not a secret of TESPES."""
        where = address(at.url)
        return Direct(where.url, urls.shown(at.url), where.login)

    async def way_out(self, at: At, size_bytes: int) -> Direct | InParts:  # noqa: ARG002 - it does not depend on the size
        """See promise.Kind.way_out."""
        return await self.way_in(at)

    def list(self, at: At) -> AsyncGenerator[Entry] | None:
        """See promise.Kind.list."""
        return index.entries(self._client, self._asked(at)) if self.goes_through(at) else None

    @contextlib.asynccontextmanager
    async def fetch(self, at: At, resume: Resume | None) -> AsyncIterator[Fetched]:
        """See promise.Kind.fetch."""
        asked = self._asked(at)
        async with contextlib.AsyncExitStack() as stack:
            response, start = await self._answer(stack, asked, resume)
            if not ranges.tells_its_end(response.headers):
                raise errors.TransferRefused(f"{asked.shown}: the server does not say how long the file is")
            size = ranges.size_bytes(response.status, response.headers)
            version = ranges.version(response.headers) or (resume.version if resume and start else None)
            yield Fetched(self._client.pieces(asked.shown, response), start, size, version)

    async def store(self, at: At, pieces: AsyncIterator[bytes], size_bytes: int) -> None:
        """See promise.Kind.store."""
        await self._client.put(self._asked(at), pieces, size_bytes)

    async def make_directory(self, at: At) -> bool:  # noqa: ARG002 - wherever it is
        """See promise.Kind.make_directory: plain HTTP has none."""
        return False

    async def close(self) -> None:
        """See promise.Kind.close."""
        await self._client.close()

    async def _answer(
        self, stack: contextlib.AsyncExitStack, asked: Asked, resume: Resume | None
    ) -> tuple[aiohttp.ClientResponse, int]:
        """What has bytes that can be used, and where they belong."""
        if resume is not None:
            async with contextlib.AsyncExitStack() as first:
                response = await first.enter_async_context(self._client.get(asked, ranges.wanted(resume)))
                start = ranges.start(response.status, response.headers, resume)
                if start is not None:
                    await stack.enter_async_context(first.pop_all())
                    return response, start
        response = await stack.enter_async_context(self._client.get(asked, {}))
        if response.status != HTTPStatus.OK:
            raise failed(asked.shown, response)
        return response, 0

    def _asked(self, at: At) -> Asked:
        """:raises errors.TransferRefused: TESPES has no business there; whoever asks may not be let in there"""
        where, shown = address(at.url), urls.shown(at.url)
        if not self.goes_through(at):
            raise errors.TransferRefused(f"{shown}: does not pass through TESPES")

        def login(target: Address) -> Mapping[str, str] | None:
            server = self._server(target)
            if server is None or target.login:
                return target.login or None
            access = server.access_of(at.owner)
            return access.headers() if access else {}

        return Asked(shown, where, login)

    def _server(self, where: Address) -> Server | None:
        return next((self._servers[name] for name in where.names if name in self._servers), None)
