"""Where files come from and go to, by the scheme of their URL. Bytes are streamed, never held."""

from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from tespes import errors
from tespes.storage import ftp

SCHEMES = ("ftp",)


@dataclass(frozen=True, slots=True)
class Options:
    """What TESPES knows of storages.

    :param ftp_logins: user and password for each `host` or `host:port`; a URL's own user goes before it
    :param silence_s: how long a server may say nothing
    """

    ftp_logins: Mapping[str, ftp.Login] = field(default_factory=dict)
    silence_s: float = 30.0


class Storage:
    """All storages, with their credentials."""

    def __init__(self, options: Options) -> None:
        self._options = options

    def fetch(self, url: str) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """The file's bytes, in pieces.

        :raises errors.TransferRefused: the storage does not have it or does not give it
        :raises errors.TransferInterrupted: trying again may help
        """
        return ftp.fetch(self._place(url), self._options.silence_s)

    async def store(self, url: str, pieces: AsyncIterator[bytes]) -> None:
        """Put a file there, whole or not at all; raises as `fetch` does."""
        await ftp.store(self._place(url), pieces, self._options.silence_s)

    def _place(self, url: str) -> ftp.Place:
        try:
            scheme = urlsplit(url).scheme
        except ValueError as error:
            raise errors.TransferRefused(f"{shown(url)}: {error}") from error
        if scheme not in SCHEMES:
            named = f"{scheme}:// is" if scheme else "a URL without a scheme is"
            raise errors.TransferRefused(f"{shown(url)}: {named} not supported, {', '.join(SCHEMES)} is")
        return ftp.place(url, self._options.ftp_logins)


def shown(url: str) -> str:
    """A URL for people and logs: without user, password, query and fragment."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        return "a URL that cannot be read"
    return f"{parts.scheme}://{host}{port}{parts.path}" if parts.scheme else parts.path
