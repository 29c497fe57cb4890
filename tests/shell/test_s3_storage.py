"""S3: signed URLs, uploads in parts and lists, against two stores of different making."""

import asyncio
import contextlib
import hashlib
import http.client
import os
import socket
import ssl
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import boto3
import botocore.auth
import pytest
import trustme
from aiohttp import web
from aiohttp.test_utils import TestServer

import s3_servers
from s3_servers import S3Server, SeaweedFS
from tespes import errors
from tespes.local.ports import free_port
from tespes.storage.promise import At, Direct, Entry, InParts, Manners
from tespes.storage.s3 import S3, Access, Key
from tespes.storage.s3.access import place

MIB = 2**20
OF_BOTH = hashlib.md5(bytes(16) + b"\xff" * 16, usedforsecurity=False).hexdigest() + "-2"  # as stores make it of two parts
BUCKET = "tests-of-tespes"
OWNER, READER = Key(*s3_servers.OWNER), Key(*s3_servers.READER)
ODD_NAMES = ["a b", "ü/😀", "100%25 sure?", "a#b&c=d+e", "q'\"<>", "tab\tand  spaces ", "~.-_*()!$,:;@"]
MANNERS = Manners(silence_s=5.0, part_bytes=5 * MIB)


class Bucket:
    """A directory of a bucket, as TESPES knows it, as the store's own client does, and as a node does."""

    def __init__(self, server: S3Server) -> None:
        self.port = server.port
        self.directory = uuid.uuid4().hex
        self.url = f"s3://{BUCKET}/{self.directory}"
        self.s3 = S3({BUCKET: Access(server.url, key=OWNER)}, {}, MANNERS)
        names = {"aws_access_key_id": OWNER.access_key, "aws_secret_access_key": OWNER.secret_key}
        self.client: Any = boto3.client("s3", "us-east-1", endpoint_url=server.url, **names)
        if BUCKET not in [bucket["Name"] for bucket in self.client.list_buckets()["Buckets"]]:
            self.client.create_bucket(Bucket=BUCKET)

    async def close(self) -> None:
        """Let go of every connection."""
        await self.s3.close()
        self.client.close()

    def at(self, name: str, owner: str = "somebody") -> At:
        """An object of the test's own."""
        return At(f"{self.url}/{name}", owner)

    def put(self, name: str, content: bytes = b"") -> None:
        """Store an object without TESPES."""
        self.client.put_object(Bucket=BUCKET, Key=f"{self.directory}/{name}", Body=content)

    def signed(self, name: str) -> str:
        """A path to PUT the object to, signed by the store's own client."""
        named = {"Bucket": BUCKET, "Key": f"{self.directory}/{name}"}
        parts = urlsplit(self.client.generate_presigned_url("put_object", Params=named))
        return f"{parts.path}?{parts.query}"

    async def listed(self, name: str) -> list[Entry]:
        """What TESPES finds in the directory."""
        return [entry async for entry in self.s3.list(self.at(name))]

    async def upload(self, name: str, *parts: bytes) -> tuple[str, list[str]]:
        """An upload whose parts are there, not yet complete: its id and their ETags."""
        upload_id = await self.s3.open(self.at(name))
        urls = await self.s3.part_urls(self.at(name), upload_id, range(1, len(parts) + 1))
        return upload_id, [await put(url, part) for url, part in zip(urls, parts, strict=True)]

    def open_uploads(self) -> list[str]:
        """The names of what is being uploaded in parts."""
        found = self.client.list_multipart_uploads(Bucket=BUCKET, Prefix=f"{self.directory}/").get("Uploads", ())
        return [upload["Key"].removeprefix(f"{self.directory}/") for upload in found]


async def ask(method: str, url: str, content: bytes | None = None, **headers: str) -> tuple[int, Any, bytes]:
    """What the store says to a plain HTTP client; the host's name need not be known to anybody."""

    def work() -> tuple[int, Any, bytes]:
        parts = urlsplit(url)
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", parts.port or 80, timeout=30)) as connection:
            connection.request(method, f"{parts.path}?{parts.query}", content, {"Host": parts.netloc, **headers})
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read()

    return await asyncio.to_thread(work)


async def put(url: str, content: bytes) -> str:
    """The ETag of what was put there."""
    status, headers, said = await ask("PUT", url, content)
    assert status == HTTPStatus.OK, said
    return str(headers["ETag"])


async def get(url: str) -> bytes:
    """The object's bytes."""
    status, _, content = await ask("GET", url)
    assert status == HTTPStatus.OK, content
    return content


@pytest.fixture
async def bucket(an_s3: S3Server) -> AsyncIterator[Bucket]:
    """In each of the stores."""
    used = Bucket(an_s3)
    yield used
    await used.close()


@pytest.fixture
async def strict(seaweedfs: SeaweedFS) -> AsyncIterator[Bucket]:
    """In the store that checks signatures."""
    used = Bucket(seaweedfs)
    yield used
    await used.close()


async def refusal(server: S3Server, url: str, key: Key | None = OWNER, **access: Any) -> str:
    """Why TESPES cannot list that, whose settings know the bucket with that key."""
    known = Access(**{"endpoint": server.url, "key": key, **access})
    async with opened({"*": known}) as s3:
        with pytest.raises(errors.TransferRefused) as refused:
            _ = [entry async for entry in s3.list(At(url, "somebody"))]
    return str(refused.value)


@dataclass(frozen=True)
class Said:
    """An answer."""

    status: int
    text: str
    headers: dict[str, str] = field(default_factory=dict)


@contextlib.asynccontextmanager
async def scripted(
    certificate: ssl.SSLContext | None = None, ca_file: Path | None = None, **answers: Said
) -> AsyncIterator[S3]:
    """TESPES at a store that always says the same to each method."""

    async def answer(request: web.Request) -> web.Response:
        said = answers[request.method]
        return web.Response(status=said.status, text=said.text, headers=said.headers, content_type="application/xml")

    store = web.Application()
    store.router.add_route("*", "/{path:.*}", answer)
    server = TestServer(store)
    await server.start_server(ssl=certificate)
    try:
        endpoint = f"http{'s' if certificate else ''}://localhost:{server.port}"
        async with opened({"*": Access(endpoint, key=OWNER)}, replace(MANNERS, ca_file=ca_file)) as s3:
            yield s3
    finally:
        await server.close()


@contextlib.asynccontextmanager
async def opened(buckets: dict[str, Access], manners: Manners = MANNERS) -> AsyncIterator[S3]:
    """TESPES's side, closed afterwards."""
    s3 = S3(buckets, {}, manners)
    try:
        yield s3
    finally:
        await s3.close()


class TestSignedUrls:
    """A node needs nothing but the URL."""

    async def test_what_was_put_is_got(self, bucket: Bucket) -> None:
        """A small object goes there by one PUT and comes by GET; a part of it by a Range."""
        way = await bucket.s3.way_out(bucket.at("x"), 10)
        assert isinstance(way, Direct)
        await put(way.url, b"0123456789")
        found = await bucket.s3.way_in(bucket.at("x"))
        assert await get(found.url) == b"0123456789"
        status, headers, rest = await ask("GET", found.url, Range="bytes=7-")
        assert (status, rest, headers["Content-Range"]) == (HTTPStatus.PARTIAL_CONTENT, b"789", "bytes 7-9/10")

    async def test_people_never_see_the_signature(self, bucket: Bucket) -> None:
        """What may be shown is the URL of the task; no checksum of ours is part of what is signed."""
        way = await bucket.s3.way_in(bucket.at("x"))
        out = await bucket.s3.way_out(bucket.at("x"), 1)
        large = await bucket.s3.way_out(bucket.at("x"), 6 * MIB)
        assert isinstance(out, Direct)
        assert way.shown == out.shown == large.shown == f"{bucket.url}/x"
        asked = parse_qs(urlsplit(out.url).query)
        assert {name for name in asked if not name.startswith("X-Amz-")} == set()
        assert asked["X-Amz-SignedHeaders"] == ["host"]
        assert asked["X-Amz-Expires"] == ["900"]
        assert OWNER.secret_key not in f"{out.url} {OWNER!r}"

    @pytest.mark.parametrize("name", ODD_NAMES)
    async def test_names_are_taken_as_they_are(self, bucket: Bucket, name: str) -> None:
        """Nothing in a name is escaped or means anything, in signed URLs and in lists."""
        way = await bucket.s3.way_out(bucket.at(f"odd/{name}"), 3)
        assert isinstance(way, Direct)
        await put(way.url, b"odd")
        assert await get((await bucket.s3.way_in(bucket.at(f"odd/{name}"))).url) == b"odd"
        stored = bucket.client.get_object(Bucket=BUCKET, Key=f"{bucket.directory}/odd/{name}")
        assert stored["Body"].read() == b"odd"
        assert Entry(name, 3) in await bucket.listed("odd")

    async def test_a_url_is_good_for_its_time_only(self, strict: Bucket) -> None:
        """After that the store refuses it; so it does if somebody changes it."""
        strict.put("x", b"secret")
        async with opened({BUCKET: Access(f"http://localhost:{strict.port}", key=OWNER)}, Manners(url_lifetime_s=1.0)) as s3:
            way = await s3.way_in(strict.at("x"))
        other = way.url.replace(f"{strict.directory}/x", f"{strict.directory}/y")
        assert (await ask("GET", other))[0] == HTTPStatus.FORBIDDEN
        await asyncio.sleep(2.1)
        assert (await ask("GET", way.url))[0] == HTTPStatus.FORBIDDEN

    async def test_the_bucket_may_stand_in_the_host_name(
        self, seaweedfs: SeaweedFS, strict: Bucket, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Virtual style: `http://BUCKET.HOST/KEY`, in signed URLs and in TESPES's own requests."""
        resolve = socket.getaddrinfo
        monkeypatch.setattr(socket, "getaddrinfo", lambda _host, *more, **named: resolve("127.0.0.1", *more, **named))
        strict.put("d/x", b"there")
        async with opened({BUCKET: Access(seaweedfs.url, style="virtual", key=OWNER)}) as s3:
            url = (await s3.way_in(strict.at("d/x"))).url
            assert [entry async for entry in s3.list(strict.at("d"))] == [Entry("x", 5)]
        assert url.startswith(f"http://{BUCKET}.localhost:{seaweedfs.port}/{strict.directory}/d/x?")
        assert await get(url) == b"there"

    async def test_without_a_key_nothing_is_signed(self) -> None:
        """A public bucket's objects have plain URLs."""
        async with opened({"open": Access("http://localhost:9")}) as s3:
            assert (await s3.way_in(At("s3://open/a b", "somebody"))).url == "http://localhost:9/open/a%20b"

    async def test_every_owner_has_a_key(self, seaweedfs: SeaweedFS, strict: Bucket) -> None:
        """The owner's own goes before the general one: here it may read, but not write."""
        known = Access(seaweedfs.url, key=OWNER, owners={"reader": READER})
        strict.put("x", b"for all")
        async with opened({BUCKET: known}) as s3:
            assert await get((await s3.way_in(strict.at("x", "reader"))).url) == b"for all"
            with pytest.raises(errors.TransferRefused, match=f"{strict.url}/y: 403 AccessDenied"):
                await s3.open(strict.at("y", "reader"))
            await s3.abort(strict.at("y"), await s3.open(strict.at("y")))


class TestParts:
    """Large objects."""

    async def test_a_large_object_goes_in_parts(self, bucket: Bucket) -> None:
        """Each has a URL of its own; the object is there when they are put together, and doing that again is fine."""
        parts = (b"a" * 5 * MIB, b"b" * 5 * MIB, b"c")
        way = await bucket.s3.way_out(bucket.at("big"), sum(map(len, parts)))
        assert way == InParts(5 * MIB, f"{bucket.url}/big")
        upload_id, etags = await bucket.upload("big", *parts)
        assert bucket.open_uploads() == ["big"]
        await bucket.s3.complete(bucket.at("big"), upload_id, etags)
        await bucket.s3.complete(bucket.at("big"), upload_id, etags)
        assert await get((await bucket.s3.way_in(bucket.at("big"))).url) == b"".join(parts)
        assert bucket.open_uploads() == []

    async def test_an_upload_that_is_given_up_leaves_nothing(self, bucket: Bucket) -> None:
        """Again is fine."""
        upload_id, _ = await bucket.upload("big", b"part")
        await bucket.s3.abort(bucket.at("big"), upload_id)
        await bucket.s3.abort(bucket.at("big"), upload_id)
        assert bucket.open_uploads() == []

    async def test_an_upload_that_is_gone_is_no_success(self, strict: Bucket) -> None:
        """Nor is an object of that name, however new, if it is not made of these parts."""
        for before in ((b"the only part",), (b"x" * 5 * MIB, b"z")):
            done, parts = await strict.upload("big", *before)
            await strict.s3.complete(strict.at("big"), done, parts)
            gone, etags = await strict.upload("big", b"x" * 5 * MIB, b"y")
            await strict.s3.abort(strict.at("big"), gone)
            with pytest.raises(errors.TransferRefused, match=f"{strict.url}/big: 404 NoSuchUpload"):
                await strict.s3.complete(strict.at("big"), gone, etags)

    @pytest.mark.parametrize(
        ("parts", "whole", "is_success"),
        [
            (("0" * 32, "f" * 32), OF_BOTH, True),
            (("f" * 32, "0" * 32), OF_BOTH, False),
            (("0" * 32, "f" * 32), OF_BOTH.replace("-2", "-3"), False),
            (("0" * 32, "f" * 32), "f" * 32, False),
            (("one", "two"), "abc-2", False),
        ],
    )
    async def test_a_lost_answer_is_no_failure(self, parts: tuple[str, ...], whole: str, is_success: bool) -> None:  # noqa: FBT001
        """The upload is gone, but the object is there, of these very parts: it was completed before.

        Where ETags are no MD5, as under some ways of encryption, nobody can tell.
        """
        gone = Said(404, "<Error><Code>NoSuchUpload</Code><Message>Gone.</Message></Error>")
        async with scripted(POST=gone, HEAD=Said(200, "", {"ETag": f'"{whole}"'})) as s3:
            with contextlib.nullcontext() if is_success else pytest.raises(errors.TransferRefused, match="NoSuchUpload"):
                await s3.complete(At("s3://b/k", "somebody"), "upload", [f'"{part}"' for part in parts])

    @pytest.mark.parametrize(
        ("size_bytes", "part_bytes"),
        [(5 * MIB + 1, 5 * MIB), (10_000 * 5 * MIB, 5 * MIB), (10_000 * 5 * MIB + 1, 6 * MIB), (5 * 2**40, 525 * MIB)],
    )
    async def test_there_are_never_too_many_parts(self, size_bytes: int, part_bytes: int) -> None:
        """At most 10,000: those of huge objects are larger."""
        s3 = S3({"*": Access()}, {}, MANNERS)
        assert await s3.way_out(At("s3://b/k", "x"), size_bytes) == InParts(part_bytes, "s3://b/k")
        assert size_bytes <= part_bytes * 10_000

    async def test_what_no_store_takes_is_refused(self) -> None:
        """More than 5 TiB."""
        with pytest.raises(errors.TransferRefused, match="at most 5,497,558,138,880"):
            await S3({"*": Access()}, {}, MANNERS).way_out(At("s3://b/k", "x"), 5 * 2**40 + 1)


class TestLists:
    """Directories, which an object store has not."""

    async def test_a_directory_is_all_that_begins_with_its_name(self, bucket: Bucket) -> None:
        """With a `/` behind it, at any depth; what merely begins with the same letters is not in it."""
        for name in ("d/a", "d/sub/b", "d/sub/deep/c", "d2/x", "dx"):
            bucket.put(name, b"four")
        found = [Entry("a", 4), Entry("sub/b", 4), Entry("sub/deep/c", 4)]
        assert sorted(await bucket.listed("d"), key=str) == found
        assert sorted(await bucket.listed("d/"), key=str) == found

    async def test_an_empty_directory_is_an_object_that_ends_with_a_slash(self, bucket: Bucket) -> None:
        """TESPES makes it; in a list it is a directory, and its own list is empty. Making it again is fine."""
        for _ in range(2):
            assert await bucket.s3.make_directory(bucket.at("d/empty"))
        bucket.put("d/x", b"1")
        assert sorted(await bucket.listed("d"), key=str) == [Entry("empty", is_directory=True), Entry("x", 1)]
        assert await bucket.listed("d/empty") == []

    async def test_what_is_not_there_is_no_directory(self, bucket: Bucket) -> None:
        """Nothing below the name: there is a file of that name, or nothing at all."""
        bucket.put("file", b"x")
        with pytest.raises(errors.TransferRefused, match=f"{bucket.url}/file: is a file, a directory was declared"):
            await bucket.listed("file")
        with pytest.raises(errors.TransferRefused, match=f"{bucket.url}/nothing: 404 no such directory"):
            await bucket.listed("nothing")

    async def test_names_that_are_no_paths_are_passed_on(self, moto: S3Server) -> None:
        """`//` and `..`: whoever gets them refuses."""
        bucket = Bucket(moto)
        for name in ("d/a//b", "d/../c"):
            bucket.put(name)
        async with contextlib.AsyncExitStack() as stack:
            stack.push_async_callback(bucket.close)
            assert sorted(entry.name for entry in await bucket.listed("d")) == ["../c", "a//b"]

    async def test_long_lists_come_in_pages(self, strict: Bucket) -> None:
        """2,500 objects, each once."""
        names = [f"{number:04}" for number in range(2500)]

        def fill(some: list[str]) -> None:
            with contextlib.closing(http.client.HTTPConnection("127.0.0.1", strict.port)) as connection:
                for name in some:
                    connection.request("PUT", strict.signed(f"many/{name}"), b"", {"Host": f"localhost:{strict.port}"})
                    assert connection.getresponse().read() == b""

        await asyncio.gather(*(asyncio.to_thread(fill, names[start::4]) for start in range(4)))
        assert [entry.name for entry in await strict.listed("many")] == names

    async def test_a_list_that_does_not_end_is_refused(self) -> None:
        """The same token again."""
        more = "<IsTruncated>true</IsTruncated><NextContinuationToken>t</NextContinuationToken>"
        async with scripted(GET=Said(200, f"<ListBucketResult>{more}</ListBucketResult>")) as s3:
            with pytest.raises(errors.TransferRefused, match="s3://b/k: the store's list of objects comes to no end"):
                _ = [entry async for entry in s3.list(At("s3://b/k", "somebody"))]


class TestRefusals:
    """What the store says is what the task's owner reads, with the object's name, and without secrets."""

    async def test_a_user_in_a_url_is_not_shown(self) -> None:
        """S3 has no such URLs, but people write them."""
        s3 = S3({"known": Access()}, {}, MANNERS)
        for url in ("s3://ada:SECRET@known/x", "s3://ada:SECRET@/x"):
            with pytest.raises(errors.TransferRefused, match=r"^s3://\w*/x: ") as refused:
                await s3.way_in(At(url, "ada"))
            assert "SECRET" not in str(refused.value)
        assert (await S3({"*": Access()}, {}, MANNERS).way_out(At("s3://ada:SECRET@b/k", "x"), 2**40)).shown == "s3://b/k"

    async def test_a_key_that_the_store_does_not_know(self, strict: Bucket, seaweedfs: SeaweedFS) -> None:
        """Status, code and message."""
        said = await refusal(seaweedfs, f"{strict.url}/x", Key("NOBODYSACCESSKEY", "nobodyssecret"))
        assert said.startswith(f"{strict.url}/x: 403 InvalidAccessKeyId: ")
        assert "nobody" not in said.lower()

    async def test_a_wrong_secret(self, strict: Bucket, seaweedfs: SeaweedFS) -> None:
        """The signature does not match, and is not shown."""
        said = await refusal(seaweedfs, f"{strict.url}/x", Key(OWNER.access_key, "anothersecret"))
        assert said.startswith(f"{strict.url}/x: 403 SignatureDoesNotMatch: ")
        assert "anothersecret" not in said
        assert "Signature=" not in said

    async def test_a_bucket_that_is_not_there(self, bucket: Bucket, an_s3: S3Server) -> None:
        """Of a store, and of the settings."""
        assert (await refusal(an_s3, "s3://no-such-bucket/x")).startswith("s3://no-such-bucket/x: 404 NoSuchBucket: ")
        with pytest.raises(errors.TransferRefused, match="s3://other/x: the settings have no S3 bucket other"):
            await bucket.s3.way_in(At("s3://other/x", "somebody"))

    async def test_a_clock_that_is_off(self, strict: Bucket, seaweedfs: SeaweedFS, monkeypatch: pytest.MonkeyPatch) -> None:
        """The store refuses what was signed at another time, and TESPES says which thing to look at."""
        monkeypatch.setattr(botocore.auth, "get_current_datetime", lambda: datetime.now(UTC) - timedelta(hours=1))
        said = await refusal(seaweedfs, f"{strict.url}/x")
        assert "403 RequestTimeTooSkewed: " in said
        assert said.endswith("(the clock of this machine or of the store is wrong)")
        way = await strict.s3.way_in(strict.at("x"))
        assert (await ask("GET", way.url))[0] == HTTPStatus.FORBIDDEN

    async def test_a_store_that_is_away_may_come_back(self) -> None:
        """Asking again may help; the text names the store, and nothing of the request."""
        port = free_port()
        async with opened({"*": Access(f"http://localhost:{port}", key=OWNER)}) as s3:
            with pytest.raises(errors.TransferInterrupted, match=f"^s3://b/k: localhost:{port} does not answer: ") as said:
                await s3.open(At("s3://b/k", "somebody"))
        assert "?" not in str(said.value)

    async def test_a_store_that_says_nothing_is_not_waited_for(self) -> None:
        """Longer than the settings have it, a few times."""
        with socket.create_server(("127.0.0.1", 0)) as silent:
            known = {"*": Access(f"http://127.0.0.1:{silent.getsockname()[1]}", key=OWNER)}
            async with opened(known, Manners(silence_s=0.2)) as s3:
                with pytest.raises(errors.TransferInterrupted, match="does not answer"):
                    await asyncio.wait_for(s3.open(At("s3://b/k", "somebody")), 15)

    async def test_a_certificate_must_be_trusted(self, tmp_path: Path) -> None:
        """By the system, or by the file that the settings name."""
        authority = trustme.CA()
        authority.cert_pem.write_to_path(tmp_path / "ca.pem")
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        authority.issue_cert("localhost").configure_cert(context)
        opening = Said(200, "<InitiateMultipartUploadResult><UploadId>id</UploadId></InitiateMultipartUploadResult>")
        async with scripted(context, tmp_path / "ca.pem", POST=opening) as s3:
            assert await s3.open(At("s3://b/k", "somebody")) == "id"
        async with scripted(context, POST=opening) as s3:
            with pytest.raises(errors.TransferRefused, match=r"localhost:.* does not answer: .*CERTIFICATE_VERIFY_FAILED"):
                await s3.open(At("s3://b/k", "somebody"))

    async def test_no_byte_passes_through(self) -> None:
        """Whoever asks for that all the same is refused."""
        s3, at = S3({"*": Access()}, {}, MANNERS), At("s3://b/k", "somebody")
        assert not s3.goes_through(at)
        with pytest.raises(errors.TransferRefused, match="s3://b/k: the node fetches it itself"):
            s3.fetch(at, None)

    @pytest.mark.parametrize("url", ["s3://", "s3:///x", "s3://b", "s3://b/"])
    async def test_a_url_must_name_an_object(self, url: str) -> None:
        """A bucket alone is a directory at best."""
        with pytest.raises(errors.TransferRefused, match=f"^{url}: the URL names "):
            await S3({"*": Access()}, {}, MANNERS).way_in(At(url, "somebody"))

    async def test_what_may_pass_may_be_asked_again(self) -> None:
        """A busy store, a broken gateway, an answer that is none."""

        async def asked(said: Said) -> None:
            async with scripted(POST=said) as s3:
                with pytest.raises(errors.TransferInterrupted, match=r"^s3://b/k: "):
                    await s3.open(At("s3://b/k", "somebody"))

        passing = Said(503, "<Error><Code>SlowDown</Code></Error>"), Said(502, "no XML"), Said(200, "<bad")
        await asyncio.gather(*(asked(said) for said in passing))


class TestSettings:
    """Which entry is meant."""

    def test_the_exact_name_goes_before_the_longest_beginning(self) -> None:
        """And `*` is for all others."""
        known = {name: Access(name) for name in ("*", "lab*", "lab-a*", "lab-ab", "other")}
        found = {
            bucket: place(At(f"s3://{bucket}/k", "x"), known, {}).endpoint for bucket in ("lab-ab", "lab-abc", "labs", "o")
        }
        assert found == {"lab-ab": "lab-ab", "lab-abc": "lab-a*", "labs": "lab*", "o": "*"}

    def test_a_host_may_stand_before_the_bucket(self) -> None:
        """If the settings name it; the endpoint is the host itself, unless they say another."""
        hosts = {"s3.lab:9000": Access(), "s3.other": Access("http://10.0.0.1")}
        first = place(At("s3://s3.lab:9000/bucket/a/b c", "x"), {}, hosts)
        assert (first.endpoint, first.bucket, first.name) == ("https://s3.lab:9000", "bucket", "a/b c")
        second = place(At("s3://s3.other/bucket/", "x"), {}, hosts)
        assert (second.endpoint, second.bucket, second.name) == ("http://10.0.0.1", "bucket", "")

    def test_service_info_says_what_can_be_used(self) -> None:
        """Buckets and hosts that are named; all, if all can be."""
        assert S3({"a": Access(), "b*": Access()}, {"h:9": Access()}, MANNERS).usable() == ("s3://a/", "s3://b", "s3://h:9/")
        assert S3({"*": Access()}, {}, MANNERS).usable() == ("s3://",)
        assert S3({}, {}, MANNERS).usable() == ()

    def test_nothing_of_the_machine_is_looked_at(self, tmp_path: Path) -> None:
        """No variable, no file in the home, no metadata service: what the settings do not say is not so."""
        models = tmp_path / ".aws/models/s3/2006-03-01"
        models.mkdir(parents=True)
        (models / "service-2.json").write_text("{}")
        text = "[default]\naws_access_key_id = HOMEKEY\naws_secret_access_key = x\nregion = xx-home-1\nendpoint_url = http://127.0.0.1:9\n"
        (tmp_path / ".aws/config").write_text(text)
        (tmp_path / ".aws/credentials").write_text(text)
        names = {
            "AWS_ACCESS_KEY_ID": "ENVKEY",
            "AWS_SECRET_ACCESS_KEY": "x",
            "AWS_SESSION_TOKEN": "ENVTOKEN",
            "AWS_PROFILE": "none such",
            "AWS_REGION": "xx-env-1",
            "AWS_DEFAULT_REGION": "xx-env-1",
            "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
            "AWS_ENDPOINT_URL_S3": "http://127.0.0.1:9",
            "AWS_USE_DUALSTACK_ENDPOINT": "true",
            "AWS_USE_FIPS_ENDPOINT": "true",
            "AWS_CA_BUNDLE": "/nowhere",
            "AWS_MAX_ATTEMPTS": "none",
            "AWS_REQUEST_CHECKSUM_CALCULATION": "when_supported",
        }
        environment = {"HOME": str(tmp_path), "PATH": os.environ["PATH"], **names}
        seen = subprocess.run([sys.executable, "-c", _SIGN], env=environment, capture_output=True, text=True, check=False)
        assert seen.returncode == 0, seen.stderr
        unsigned, signed = seen.stdout.split()
        assert unsigned == "https://s3.amazonaws.com/open/k"
        assert signed.startswith("https://s3.eu-west-1.amazonaws.com/mine/k?")
        assert "ENV" not in signed
        assert "HOME" not in signed


_SIGN = """
import asyncio, sys
def look(event, args):
    if event == "open" and ".aws" in str(args[0]) or event == "socket.connect":
        sys.exit(f"{event} {args}")
sys.addaudithook(look)
from tespes.storage.promise import At, Manners
from tespes.storage.s3 import S3, Access, Key
async def main():
    s3 = S3({"open": Access(), "mine": Access(region="eu-west-1", key=Key("MINE", "secret"))}, {}, Manners())
    print((await s3.way_in(At("s3://open/k", "x"))).url)
    print((await s3.way_in(At("s3://mine/k", "x"))).url)
    await s3.close()
asyncio.run(main())
"""
