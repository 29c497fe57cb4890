"""Objects in S3 stores: the node gets a signed URL for each, right before it is used; bytes never pass through TESPES."""

import asyncio
import hashlib
import importlib
import re
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any

from tespes import errors
from tespes.storage.promise import At, Direct, Entry, Fetched, InParts, Manners, Resume
from tespes.storage.s3.access import Access, Key, Place, place
from tespes.tes import urls

if TYPE_CHECKING:
    from tespes.storage.s3.clients import Clients

_MIB = 2**20
_SMALLEST_PART = 5 * _MIB
_LARGEST_PUT = 5 * 2**30
_LARGEST_OBJECT = 5 * 2**40
_MOST_PARTS = 10_000
_MD5 = re.compile(r"[0-9a-f]{32}")


class S3:
    """See promise.Kind and promise.Parts."""

    def __init__(self, buckets: Mapping[str, Access], hosts: Mapping[str, Access], manners: Manners) -> None:
        """`s3://BUCKET/KEY`, or `s3://HOST[:PORT]/BUCKET/KEY` for a host that is in `hosts`.

        :param buckets: by name; one that ends with `*` stands for all that begin so, the longest match counts
        """
        self._buckets = buckets
        self._hosts = hosts
        self._manners = manners
        self._clients: Clients | None = None
        self._loading = asyncio.Lock()

    def usable(self) -> tuple[str, ...]:
        """See promise.Kind.usable."""
        buckets = [f"s3://{name[:-1]}" if name.endswith("*") else f"s3://{name}/" for name in self._buckets]
        return (*buckets, *(f"s3://{host}/" for host in self._hosts))

    def goes_through(self, at: At) -> bool:  # noqa: ARG002 - the same for all
        """See promise.Kind.goes_through."""
        return False

    async def way_in(self, at: At) -> Direct:
        """See promise.Kind.way_in."""
        where = self._object(at)
        return Direct(await self._signed("get_object", where), where.shown)

    async def way_out(self, at: At, size_bytes: int) -> Direct | InParts:
        """See promise.Kind.way_out. There are at most 10,000 parts, so a huge object has larger ones."""
        where, part_bytes = self._object(at), min(max(self._manners.part_bytes, _SMALLEST_PART), _LARGEST_PUT)
        if size_bytes > _LARGEST_OBJECT:
            raise errors.TransferRefused(f"{where.shown}: {size_bytes:,} bytes, but an object has at most {_LARGEST_OBJECT:,}")
        if size_bytes <= part_bytes:
            return Direct(await self._signed("put_object", where), where.shown)
        least = -(-size_bytes // (_MOST_PARTS * _MIB)) * _MIB
        return InParts(max(part_bytes, least), where.shown)

    async def list(self, at: At) -> AsyncGenerator[Entry]:
        """See promise.Kind.list. An object whose name ends with `/` marks a directory."""
        where = place(at, self._buckets, self._hosts)
        empty = True
        async for found in self._below(where):
            empty = False
            name = found["Key"].removeprefix(where.prefix)
            if name.endswith("/"):
                yield Entry(name[:-1], is_directory=True)
            elif name:
                yield Entry(name, found["Size"])
        if empty and where.prefix:
            await self._refuse(where)

    def fetch(self, at: At, resume: Resume | None) -> AbstractAsyncContextManager[Fetched]:  # noqa: ARG002 - the promise
        """See promise.Kind.fetch: nothing goes through."""
        raise errors.TransferRefused(f"{urls.shown(at.url)}: the node fetches it itself, it does not pass through TESPES")

    async def store(self, at: At, pieces: AsyncIterator[bytes], size_bytes: int) -> None:  # noqa: ARG002 - the promise
        """See promise.Kind.store: nothing goes through."""
        raise errors.TransferRefused(f"{urls.shown(at.url)}: the node stores it itself, it does not pass through TESPES")

    async def make_directory(self, at: At) -> bool:
        """See promise.Kind.make_directory. The bucket itself is there, or nothing is."""
        where = place(at, self._buckets, self._hosts)
        if where.prefix:
            await self._call("put_object", where, Key=where.prefix, Body=b"")
        return True

    async def open(self, at: At) -> str:
        """See promise.Parts.open."""
        return str((await self._call("create_multipart_upload", self._object(at)))["UploadId"])

    async def part_urls(self, at: At, upload_id: str, numbers: Sequence[int]) -> Sequence[str]:
        """See promise.Parts.part_urls."""
        where = self._object(at)
        return [await self._signed("upload_part", where, UploadId=upload_id, PartNumber=number) for number in numbers]

    async def complete(self, at: At, upload_id: str, etags: Sequence[str]) -> None:
        """See promise.Parts.complete."""
        where = self._object(at)
        parts = {"Parts": [{"PartNumber": number, "ETag": etag} for number, etag in enumerate(etags, 1)]}
        operation = "complete_multipart_upload"
        done = await self._call(operation, where, may_miss=True, UploadId=upload_id, MultipartUpload=parts)
        if not done and not await self._is_complete(where, etags):
            raise errors.TransferRefused(f"{where.shown}: 404 NoSuchUpload: the upload in parts is gone")

    async def abort(self, at: At, upload_id: str) -> None:
        """See promise.Parts.abort."""
        await self._call("abort_multipart_upload", self._object(at), may_miss=True, UploadId=upload_id)

    async def close(self) -> None:
        """See promise.Kind.close."""
        if self._clients is not None:
            clients, self._clients = self._clients, None
            await clients.close()

    def _object(self, at: At) -> Place:
        where = place(at, self._buckets, self._hosts)
        if not where.name:
            raise errors.TransferRefused(f"{where.shown}: the URL names a bucket, but no object in it")
        return where

    async def _below(self, where: Place) -> AsyncIterator[dict[str, Any]]:
        """All objects whose names begin with the directory's."""
        page: dict[str, Any] = {"Prefix": where.prefix}
        while True:
            listed = await self._call("list_objects_v2", where, **page)
            for found in listed.get("Contents", ()):
                yield found
            if not listed.get("IsTruncated"):
                return
            following = listed.get("NextContinuationToken")
            if following is None or following == page.get("ContinuationToken"):
                raise errors.TransferRefused(f"{where.shown}: the store's list of objects comes to no end")
            page["ContinuationToken"] = following

    async def _refuse(self, where: Place) -> None:
        """Say why nothing is in the directory."""
        if await self._call("head_object", where, may_miss=True, Key=where.prefix[:-1]):
            raise errors.TransferRefused(f"{where.shown}: is a file, a directory was declared")
        raise errors.TransferRefused(f"{where.shown}: 404 no such directory")

    async def _is_complete(self, where: Place, etags: Sequence[str]) -> bool:
        """Whether the object is there, made of these very parts: the answer to an earlier request was lost."""
        found = await self._call("head_object", where, may_miss=True)
        return bool(found) and str(found.get("ETag", "")).strip('"') == _of_parts(etags)

    async def _signed(self, operation: str, where: Place, **more: Any) -> str:
        clients = await self._library()
        return await clients.signed(operation, where, **more)

    async def _call(self, operation: str, where: Place, *, may_miss: bool = False, **more: Any) -> dict[str, Any]:
        clients = await self._library()
        return await clients.call(operation, where, may_miss=may_miss, **more)

    async def _library(self) -> "Clients":
        """The clients; the library that they are made with is imported now, and only if somebody uses S3."""
        async with self._loading:
            if self._clients is None:
                module = await asyncio.to_thread(importlib.import_module, "tespes.storage.s3.clients")
                self._clients = module.Clients(self._manners)
        return self._clients


def _of_parts(etags: Sequence[str]) -> str | None:
    """The ETag of an object of such parts, where those of the parts are the MD5 of what they hold; None if they are not."""
    parts = [etag.strip('"') for etag in etags]
    if not all(_MD5.fullmatch(part) for part in parts):
        return None
    whole = hashlib.md5(bytes.fromhex("".join(parts)), usedforsecurity=False)
    return f"{whole.hexdigest()}-{len(parts)}"


__all__ = ["S3", "Access", "Key"]
