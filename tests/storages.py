"""Places where files of tasks are: one of each kind of storage, with TESPES's settings for all of them."""

import functools
import os
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import boto3
import botocore.config
import pytest

from ftp_servers import Certificate, Vsftpd
from s3_servers import OWNER, Moto, S3Server, SeaweedFS
from tespes.local.ftp import LocalFTP
from web_server import WebServer

Tree = dict[str, bytes | None]


class Place(Protocol):
    """A directory on a storage."""

    @property
    def url(self) -> str:
        """Of the directory, without a login and without a slash at its end."""

    def put(self, name: str, content: bytes | None) -> None:
        """A file is there; None makes an empty directory."""

    def tree(self, below: str = "") -> Tree:
        """All files, and the empty directories, by their names below that."""


@dataclass(frozen=True)
class OnDisk:
    """A directory that a server of ours shows."""

    url: str
    directory: Path

    def put(self, name: str, content: bytes | None) -> None:
        """See Place."""
        path = self.directory / name
        (path if content is None else path.parent).mkdir(parents=True, exist_ok=True)
        if content is not None:
            path.write_bytes(content)

    def tree(self, below: str = "") -> Tree:
        """See Place."""
        found: Tree = {}
        top = self.directory / below
        for directory, directories, files in os.walk(top):
            here = Path(directory)
            if not directories and not files and here != top:
                found[str(here.relative_to(top))] = None
            found |= {str((here / name).relative_to(top)): (here / name).read_bytes() for name in files}
        return found


@dataclass(frozen=True)
class InBucket:
    """Part of a bucket."""

    url: str
    server: S3Server
    bucket: str
    prefix: str

    @functools.cached_property
    def client(self) -> Any:
        """Somebody who may do everything."""
        config = botocore.config.Config(s3={"addressing_style": "path"}, request_checksum_calculation="when_required")
        return boto3.client(
            "s3",
            endpoint_url=self.server.url,
            region_name="us-east-1",
            aws_access_key_id=OWNER.access_key,
            aws_secret_access_key=OWNER.secret_key,
            config=config,
        )

    def put(self, name: str, content: bytes | None) -> None:
        """See Place."""
        key = f"{self.prefix}/{name}" + ("/" if content is None else "")
        self.client.put_object(Bucket=self.bucket, Key=key, Body=content or b"")

    def tree(self, below: str = "") -> Tree:
        """See Place."""
        client, prefix = self.client, "/".join(filter(None, (self.prefix, below))) + "/"
        found: Tree = {}
        for page in client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=prefix):
            for each in page.get("Contents", ()):
                name = each["Key"].removeprefix(prefix)
                if name:
                    found[name.removesuffix("/")] = None if name.endswith("/") else b""

        def read(name: str) -> bytes:
            content: bytes = client.get_object(Bucket=self.bucket, Key=prefix + name)["Body"].read()
            return content

        files = [name for name, content in found.items() if content is not None]
        with ThreadPoolExecutor(8) as pool:
            found |= zip(files, pool.map(read, files), strict=True)
        return {name: content for name, content in found.items() if content is not None or _is_empty(name, found)}

    def uploads(self) -> list[str]:
        """The keys that are being uploaded in parts."""
        return [each["Key"] for each in self.client.list_multipart_uploads(Bucket=self.bucket).get("Uploads", ())]


def _is_empty(name: str, found: Tree) -> bool:
    return not any(other.startswith(f"{name}/") for other in found)


@dataclass(frozen=True)
class Places:
    """All of them, by the name of their kind."""

    by_kind: Mapping[str, Place]
    settings: str
    web: WebServer
    ca_file: Path
    root: Path = field(default=Path("/"))

    def __getitem__(self, kind: str) -> Place:
        return self.by_kind[kind]


TOKEN = "a token of TESPES"  # noqa: S105 - it opens nothing but a server of these tests
KINDS = ("ftp", "ftps", "vsftpd", "http", "http with a login", "file", "s3", "moto")


@pytest.fixture(scope="session")
def places(tmp_path_factory: pytest.TempPathFactory, ftp: LocalFTP, seaweedfs: SeaweedFS, moto: Moto) -> Iterator[Places]:
    """One of each kind."""
    directory = tmp_path_factory.mktemp("places")
    certificate = Certificate.made(directory / "certificate")
    buckets: dict[str, S3Server] = {"seaweed-data": seaweedfs, "moto-data": moto}
    web = WebServer(directory / "web")
    web.protect("/private", token=TOKEN)
    secure = Vsftpd(directory / "ftps", tls="explicit", certificate=certificate)
    plain = Vsftpd(directory / "vsftpd")
    with web, secure, plain:
        by_kind: dict[str, Place] = {
            "ftp": OnDisk(f"ftp://{ftp.url.rpartition('@')[2]}/places", ftp.directory / "places"),
            "ftps": OnDisk(_without_login(secure.url), secure.directory),
            "vsftpd": OnDisk(_without_login(plain.url), plain.directory),
            "http": OnDisk(f"{web.url}/public", web.directory / "public"),
            "http with a login": OnDisk(f"http://localhost:{web.port}/private", web.directory / "private"),
            "file": OnDisk(f"file://{directory}/files", directory / "files"),
        }
        for kind, (bucket, server) in zip(("s3", "moto"), buckets.items(), strict=True):
            by_kind[kind] = in_bucket = InBucket(f"s3://{bucket}/some/where", server, bucket, "some/where")
            in_bucket.client.create_bucket(Bucket=bucket)
        for place in by_kind.values():
            if isinstance(place, OnDisk):
                place.directory.mkdir(parents=True, exist_ok=True)
        text = "".join(
            [
                f'[default.storage]\nca_file = "{certificate.ca_file}"\n',
                _login(ftp.url.rpartition("@")[2], ftp.user, ftp.password, ""),
                _login(secure.host, secure.user, secure.password, 'tls = "explicit"\n'),
                _login(plain.host, plain.user, plain.password, ""),
                f'[default.storage.http."localhost:{web.port}"]\ntoken = "{TOKEN}"\n',
                f'[default.storage.file]\nwrite = ["{directory}/files"]\n',
                *(_bucket(name, server.url) for name, server in buckets.items()),
            ]
        )
        yield Places(by_kind, text, web, certificate.ca_file, directory)


def _without_login(url: str) -> str:
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{rest.rpartition('@')[2]}".rstrip("/")


def _login(host: str, user: str, password: str, more: str) -> str:
    return f'[default.storage.ftp."{host}"]\nuser = "{user}"\npassword = "{password}"\n{more}'


def _bucket(name: str, endpoint: str) -> str:
    keys = f'access_key = "{OWNER.access_key}"\nsecret_key = "{OWNER.secret_key}"\n'
    return f'[default.storage.s3.buckets."{name}"]\nendpoint = "{endpoint}"\n{keys}'
