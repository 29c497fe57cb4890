"""What an http(s) URL says: which server, what is asked of it, and as whom. Pure."""

import base64
import string
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import quote, unquote, urljoin, urlsplit

from tespes import errors
from tespes.tes import urls

PORTS: Final = {"http": 80, "https": 443}
_OF_HOSTS: Final = frozenset(string.ascii_lowercase + string.digits + "-._")


@dataclass(frozen=True, slots=True)
class Address:
    """What is asked of which server.

    :param url: as it is sent: ASCII, without user and fragment
    :param host: in lower case, an IPv6 address in its brackets
    :param login: headers that the URL's own user makes
    """

    url: str = field(repr=False)
    scheme: str
    host: str
    port: int
    login: Mapping[str, str] = field(repr=False)

    @property
    def origin(self) -> tuple[str, str, int]:
        """What must be equal for two URLs to be of one server."""
        return self.scheme, self.host, self.port

    @property
    def names(self) -> tuple[str, ...]:
        """What the settings may call the server, the closer one first. A mere host is https on its usual port: whoever listens
        at another may not be who the login is for, and without TLS everybody on the way could read it.
        """
        named = f"{self.host}:{self.port}"
        return (named, self.host) if (self.scheme, self.port) == ("https", PORTS["https"]) else (named,)


def address(url: str) -> Address:
    """The address in a URL.

    :raises errors.TransferRefused: it cannot be read, or names no host
    """
    try:
        parts = urlsplit(url)
        host, port = _host(parts.hostname or ""), parts.port
    except ValueError as error:
        raise errors.TransferRefused(f"a URL cannot be read: {error}") from error
    if parts.scheme not in PORTS or not host:
        raise errors.TransferRefused(f"{urls.shown(url)}: the URL names no host")
    at = f"{host}:{port}" if port else host
    asked = _ascii(parts.path or "/") + (f"?{_ascii(parts.query)}" if parts.query else "")
    login = basic(unquote(parts.username), unquote(parts.password or "")) if parts.username else {}
    return Address(f"{parts.scheme}://{at}{asked}", parts.scheme, host, port or PORTS[parts.scheme], login)


def redirected(at: Address, location: str) -> Address:
    """Where a server sends whoever asked; a user in its URL is not believed.

    :raises errors.TransferRefused: that cannot be read, or is not to be followed from https
    """
    try:
        target = address(urljoin(at.url, location))
    except ValueError as error:
        raise errors.TransferRefused(f"redirects to a URL that cannot be read: {error}") from error
    if at.scheme == "https" and target.scheme != "https":
        raise errors.TransferRefused(f"redirects from https to {urls.shown(target.url)}")
    return Address(target.url, target.scheme, target.host, target.port, {})


def basic(user: str, password: str) -> dict[str, str]:
    """The header for a user and a password."""
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}


def _ascii(part: str) -> str:
    """Escapes what cannot be sent as it is, and nothing that is escaped already."""
    return quote(part, safe=string.punctuation)


def _host(name: str) -> str:
    """:raises ValueError: it cannot be the name of a host"""
    if ":" in name:
        return f"[{name}]"
    ascii_name = name if name.isascii() else name.encode("idna").decode()
    if not set(ascii_name) <= _OF_HOSTS:
        raise ValueError("a host is not called so")
    return ascii_name
