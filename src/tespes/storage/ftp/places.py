"""Where an ftp or ftps URL points, and as whom TESPES goes there. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import SplitResult, unquote, urlsplit

from tespes import errors
from tespes.storage.promise import At

Tls = Literal["none", "explicit", "implicit"]

_PORTS: Mapping[Tls, int] = {"none": 21, "explicit": 21, "implicit": 990}
_NEVER_IN_A_COMMAND = frozenset("\r\n\0")


@dataclass(frozen=True, slots=True)
class Login:
    """Who TESPES is on a server."""

    user: str
    password: str = field(repr=False)


ANONYMOUS = Login("anonymous", "anonymous@")


@dataclass(frozen=True, slots=True)
class Server:
    """What the settings say about a server.

    :param login: for everybody; :param owners: for the tasks of one, before that
    :param tls: `explicit` asks for it before the login, `implicit` begins with it; None: as the URL's scheme has it
    """

    login: Login | None = None
    owners: Mapping[str, Login] = field(default_factory=dict)
    tls: Tls | None = None


@dataclass(frozen=True, slots=True)
class Account:
    """One login on one server: connections of the same account are interchangeable."""

    host: str
    port: int
    login: Login
    tls: Tls

    @property
    def address(self) -> tuple[str, int]:
        """Of the server."""
        return self.host, self.port


@dataclass(frozen=True, slots=True)
class Place:
    """A file or directory on a server.

    :param path: absolute, normalised, as the server has it; bytes that are no UTF-8 are escaped as Python does
    """

    account: Account
    path: str


def place(at: At, servers: Mapping[str, Server]) -> Place:
    """Where the URL points. Paths are absolute: `ftp://host/a` is `/a`, whatever directory the login begins in.

    :raises errors.TransferRefused: it cannot be read, or must not be used
    """
    try:
        parts = urlsplit(at.url)
        host, port = parts.hostname or "", parts.port
    except ValueError as error:
        raise errors.TransferRefused(f"the URL cannot be read: {error}") from error
    if not host:
        raise errors.TransferRefused("the URL names no server")
    if parts.query or parts.fragment:
        raise errors.TransferRefused("an ftp URL ends with its path: write ? as %3F and # as %23")
    server = _server(parts, servers)
    tls = server.tls or _by_scheme(parts)
    if tls == "none" and parts.scheme.lower() == "ftps":
        raise errors.TransferRefused("TLS is asked for, but the settings say that the server has none")
    login = _login(parts, server, at.owner)
    path = _path(parts)
    if _NEVER_IN_A_COMMAND & set(path + login.user + login.password):
        raise errors.TransferRefused("a line break or a zero byte cannot be part of a name or login")
    return Place(Account(host, port or _PORTS[tls], login, tls), path)


def is_harmless(name: str) -> bool:
    """Whether what a server calls a file may become part of a path."""
    return name not in {"", ".", ".."} and "/" not in name and not _NEVER_IN_A_COMMAND & set(name)


def parent(path: str) -> str:
    """The directory that it is in."""
    return path.rpartition("/")[0] or "/"


def _server(parts: SplitResult, servers: Mapping[str, Server]) -> Server:
    """What the settings say. A mere host is its usual port, and no other one: whoever listens there may not be who the login
    is for.
    """
    usual = _by_scheme(parts)
    exactly = servers.get(f"{parts.hostname}:{parts.port or _PORTS[usual]}")
    general = servers.get(parts.hostname or "", Server())
    return exactly or (general if parts.port in {None, _PORTS[general.tls or usual]} else Server())


def _by_scheme(parts: SplitResult) -> Tls:
    return "implicit" if parts.scheme.lower() == "ftps" else "none"


def _login(parts: SplitResult, server: Server, owner: str) -> Login:
    if parts.username:
        return Login(unquote(parts.username), unquote(parts.password or ""))
    return server.owners.get(owner) or server.login or ANONYMOUS


def _path(parts: SplitResult) -> str:
    names = [name for name in unquote(parts.path, errors="surrogateescape").split("/") if name not in {"", "."}]
    if ".." in names:
        raise errors.TransferRefused(".. cannot be part of the path")
    return "/" + "/".join(names)
