"""Where files come from and go to, by the scheme of their URL (see `promise`)."""

from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Final

from tespes import errors
from tespes.storage import ftp, http, local, s3
from tespes.storage.ftp import Server as FtpServer
from tespes.storage.http import Server as HttpServer
from tespes.storage.promise import At, Direct, Entry, Fetched, InParts, Kind, Manners, Resume
from tespes.tes import urls
from tespes.tes.urls import below, shown

_IN: Final = "in"
_OUT: Final = "out"


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What TESPES knows of storages: see each kind."""

    ftp: Mapping[str, FtpServer] = field(default_factory=dict)
    http: Mapping[str, HttpServer] = field(default_factory=dict)
    s3_buckets: Mapping[str, s3.Access] = field(default_factory=dict)
    s3_hosts: Mapping[str, s3.Access] = field(default_factory=dict)
    file: local.Roots = field(default_factory=local.Roots)
    manners: Manners = field(default_factory=Manners)


class Storage:
    """All storages, with their logins. For what the methods do and raise, see promise.Kind.

    `moved_bytes` counts what has passed through this process since its start, by direction and scheme.
    """

    def __init__(self, options: Options) -> None:
        manners = options.manners
        ftp_servers = ftp.Ftp(options.ftp, manners)
        web_servers = http.Http(options.http, manners)
        self._s3 = s3.S3(options.s3_buckets, options.s3_hosts, manners)
        files = local.Local(options.file, manners)
        self._kinds: dict[str, Kind] = {
            "ftp": ftp_servers,
            "ftps": ftp_servers,
            "http": web_servers,
            "https": web_servers,
            "s3": self._s3,
            "file": files,
        }
        self.moved_bytes = Counter({(way, scheme): 0 for way in (_IN, _OUT) for scheme in self._kinds})

    def usable(self) -> tuple[str, ...]:
        """Beginnings of URLs that can be used, for service info."""
        return tuple(dict.fromkeys(each for kind in self._kinds.values() for each in kind.usable()))

    def goes_through(self, at: At) -> bool:
        """Whether the bytes pass through TESPES; so does the refusal of a URL that nobody understands."""
        kind = self._kinds.get(urls.scheme(at.url))
        return kind is None or kind.goes_through(at)

    async def way_in(self, at: At) -> Direct:
        """See promise.Kind.way_in."""
        return await self._kind(at).way_in(at)

    async def way_out(self, at: At, size_bytes: int) -> Direct | InParts:
        """See promise.Kind.way_out."""
        return await self._kind(at).way_out(at, size_bytes)

    def list(self, at: At) -> AsyncGenerator[Entry] | None:
        """See promise.Kind.list."""
        return self._kind(at).list(at)

    @asynccontextmanager
    async def fetch(self, at: At, resume: Resume | None = None) -> AsyncIterator[Fetched]:
        """See promise.Kind.fetch."""
        async with (
            self._kind(at).fetch(at, resume) as fetched,
            aclosing(self._counted(_IN, at, fetched.pieces)) as pieces,
        ):
            yield replace(fetched, pieces=pieces)

    async def store(self, at: At, pieces: AsyncIterator[bytes], size_bytes: int) -> None:
        """See promise.Kind.store."""
        kind = self._kind(at)
        async with aclosing(self._counted(_OUT, at, pieces)) as counted:
            await kind.store(at, counted, size_bytes)

    async def make_directory(self, at: At) -> bool:
        """See promise.Kind.make_directory."""
        return await self._kind(at).make_directory(at)

    async def open_upload(self, at: At) -> str:
        """See promise.Parts.open."""
        return await self._s3.open(at)

    async def part_urls(self, at: At, upload_id: str, numbers: Sequence[int]) -> Sequence[str]:
        """See promise.Parts.part_urls."""
        return await self._s3.part_urls(at, upload_id, numbers)

    async def complete_upload(self, at: At, upload_id: str, etags: Sequence[str]) -> None:
        """See promise.Parts.complete."""
        await self._s3.complete(at, upload_id, etags)

    async def abort_upload(self, at: At, upload_id: str) -> None:
        """See promise.Parts.abort."""
        await self._s3.abort(at, upload_id)

    async def close(self) -> None:
        """Let go of every connection."""
        for kind in dict.fromkeys(self._kinds.values()):
            await kind.close()

    async def _counted(self, way: str, at: At, pieces: AsyncIterator[bytes]) -> AsyncGenerator[bytes]:
        scheme = urls.scheme(at.url)
        async for piece in pieces:
            self.moved_bytes[way, scheme] += len(piece)
            yield piece

    def _kind(self, at: At) -> Kind:
        scheme = urls.scheme(at.url)
        kind = self._kinds.get(scheme)
        if kind is None:
            named = f"{scheme}:// is" if scheme else "a URL without a scheme is"
            raise errors.TransferRefused(f"{shown(at.url)}: {named} not supported, {', '.join(self._kinds)} are")
        return kind


__all__ = ["At", "Direct", "Entry", "Fetched", "InParts", "Manners", "Options", "Resume", "Storage", "below", "shown"]
