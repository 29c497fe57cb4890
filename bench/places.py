"""Real storages on this machine, each with its settings for TESPES and with what curl needs to use it."""

import getpass
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import boto3
from botocore.config import Config

from ftp_servers import Certificate, FtpServer, Vsftpd
from s3_servers import OWNER, SeaweedFS
from tespes.local.ports import LOOPBACK, free_port

_BUCKET = "bench"
_DIRECT, _THROUGH = 0.9, 0.5  # of curl
_NGINX = """\
daemon off;
user {user};
pid {directory}/pid;
error_log {directory}/errors;
events {{ worker_connections 256; }}
http {{
  access_log off;
  sendfile on;
  tcp_nopush on;
  keepalive_requests 1000000;
  client_max_body_size 0;
  client_body_buffer_size 256k;
  client_body_temp_path {directory}/uploads;
  server {{
    listen {host}:{port};
    root {directory}/files;
    autoindex on;
    dav_methods PUT;
    create_full_put_path on;
  }}
}}
"""

Direction = Literal["in", "out"]


@dataclass(frozen=True, slots=True)
class Place:
    """A directory on a storage.

    :param url: as tasks name it; :param settings: what TESPES has to know of it
    :param target: what part of curl's speed TESPES should reach
    :param curl_url: as curl names a file in it, to get it or to put it there; :param options: what else curl needs
    """

    kind: str
    url: str
    settings: str
    target: float | None
    curl_url: Callable[[str, Direction], str]
    options: tuple[str, ...] = ()


@contextmanager
def running(directory: Path) -> Iterator[list[Place]]:
    """All of them, in that directory."""
    (directory / "file").mkdir()
    certificate = Certificate.made(directory / "certificate")
    with (
        nginx(directory / "nginx") as web,
        seaweedfs() as store,
        Vsftpd(directory / "ftp") as plain,
        Vsftpd(directory / "ftps", tls="explicit", certificate=certificate) as secure,
    ):
        trust = ("--ssl-reqd", "--cacert", str(certificate.ca_file))
        yield [
            Place("http", web, "", _DIRECT, lambda name, _: f"{web}/{name}"),
            _in_bucket(store),
            _by_ftp("ftp", plain, "none"),
            _by_ftp("ftp with TLS", secure, "explicit", *trust),
            _on_disk(directory / "file"),
        ]


def settings(places: list[Place]) -> str:
    """What TESPES has to know of all of them."""
    ca_file = next(place.options[2] for place in places if "--cacert" in place.options)
    return "".join([f'[default.storage]\nca_file = "{ca_file}"\n', *(place.settings for place in places)])


@contextmanager
def nginx(directory: Path) -> Iterator[str]:
    """The URL of a web server that takes files by PUT."""
    port = free_port()
    (directory / "files").mkdir(parents=True)
    configuration = directory / "nginx.conf"
    configuration.write_text(_NGINX.format(directory=directory, host=LOOPBACK, port=port, user=getpass.getuser()))
    errors = directory / "errors"
    with errors.open("ab") as log:
        arguments = ["nginx", "-e", str(errors), "-p", str(directory), "-c", str(configuration)]
        process = subprocess.Popen(arguments, stdout=log, stderr=log)
    try:
        _until_it_listens(port, process, errors)
        yield f"http://{LOOPBACK}:{port}"
    finally:
        process.terminate()
        process.wait(10)


@contextmanager
def seaweedfs() -> Iterator[SeaweedFS]:
    """A store with a bucket."""
    with ExitStack() as stack:
        store = SeaweedFS()
        stack.callback(store.remove)
        store.start()
        _client(store).create_bucket(Bucket=_BUCKET)
        yield store


def _in_bucket(store: SeaweedFS) -> Place:
    client = _client(store)

    def signed(name: str, direction: Direction) -> str:
        method = "get_object" if direction == "in" else "put_object"
        return str(client.generate_presigned_url(method, Params={"Bucket": _BUCKET, "Key": name}))

    access = f'access_key = "{OWNER.access_key}"\nsecret_key = "{OWNER.secret_key}"\n'
    text = f'[default.storage.s3.buckets."{_BUCKET}"]\nendpoint = "{store.url}"\n{access}'
    return Place("s3", f"s3://{_BUCKET}", text, _DIRECT, signed)


def _by_ftp(kind: str, server: FtpServer, tls: str, *options: str) -> Place:
    """To TESPES a path begins at the root; to curl it does so after two slashes."""
    text = f'[default.storage.ftp."{server.host}"]\nuser = "{server.user}"\npassword = "{server.password}"\ntls = "{tls}"\n'
    login = ("--user", f"{server.user}:{server.password}")
    url = f"ftp://{server.host}{server.directory}"
    curl_url = f"ftp://{server.host}/{server.directory}"
    return Place(kind, url, text, _THROUGH, lambda name, _: f"{curl_url}/{name}", (*options, *login))


def _on_disk(directory: Path) -> Place:
    text = f'[default.storage.file]\nwrite = ["{directory}"]\n'
    return Place("file", f"file://{directory}", text, None, lambda name, _: f"file://{directory}/{name}")


def _client(store: SeaweedFS) -> Any:
    config = Config(signature_version="s3v4", s3={"addressing_style": "path"}, request_checksum_calculation="when_required")
    return boto3.client(
        "s3",
        endpoint_url=store.url,
        region_name="us-east-1",
        aws_access_key_id=OWNER.access_key,
        aws_secret_access_key=OWNER.secret_key,
        config=config,
    )


def _until_it_listens(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + 10
    while process.poll() is None and time.monotonic() < until:
        with suppress(OSError), socket.create_connection((LOOPBACK, port), 1):
            return
        time.sleep(0.02)
    raise RuntimeError(f"nginx does not listen: {log.read_text()[-1000:]}")
