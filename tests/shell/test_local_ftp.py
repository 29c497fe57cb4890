"""The FTP server of the demo and the tests."""

import os
from collections.abc import AsyncIterator
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

import aioftp
import psutil
import pytest
import pytest_asyncio

from tespes.local.ftp import LocalFTP
from tespes.local.ports import LOOPBACK

pytestmark = pytest.mark.servers


@pytest_asyncio.fixture
async def server(tmp_path: Path) -> AsyncIterator[LocalFTP]:
    (tmp_path / "outside.txt").write_text("secret")
    async with LocalFTP(tmp_path / "files", user="ada", password="love/lace@1") as server:  # noqa: S106
        yield server


@pytest_asyncio.fixture
async def client(server: LocalFTP) -> AsyncIterator[aioftp.Client]:
    port = urlsplit(server.url).port
    async with aioftp.Client.context(LOOPBACK, port or 0, server.user, server.password) as client:
        yield client


async def read(client: aioftp.Client, path: str) -> bytes:
    async with client.download_stream(path) as stream:
        content: bytes = await stream.read()
        return content


async def write(client: aioftp.Client, path: str, content: bytes) -> None:
    async with client.upload_stream(path) as stream:
        await stream.write(content)


async def test_what_is_uploaded_can_be_downloaded(server: LocalFTP, client: aioftp.Client) -> None:
    """Files, directories and renames, in the given directory and with the same bytes."""
    content = os.urandom(300_000)
    await client.make_directory("results")
    await write(client, "results/part", content)
    await client.rename("results/part", "results/all")

    assert (server.directory / "results/all").read_bytes() == content
    assert await read(client, "results/all") == content
    assert [path async for path, _ in client.list("results")] == [PurePosixPath("results/all")]


@pytest.mark.parametrize("path", ["../outside.txt", "/../outside.txt", "/a/../../outside.txt", "/etc/passwd"])
async def test_a_path_out_of_the_directory_is_refused(client: aioftp.Client, path: str) -> None:
    """The user sees one directory and nothing above it: such a file can neither be looked at nor removed."""
    for command in ("MLST", "DELE"):
        with pytest.raises(aioftp.StatusCodeError, match="550"):
            await client.command(f"{command} {path}", "250")


async def test_an_upload_stays_in_the_directory(server: LocalFTP, client: aioftp.Client) -> None:
    """`..` stops at the directory for writing too."""
    await write(client, "../../outside.txt", b"mine")

    assert (server.directory / "outside.txt").read_bytes() == b"mine"
    assert (server.directory.parent / "outside.txt").read_text() == "secret"


async def test_a_wrong_password_is_refused(server: LocalFTP) -> None:
    """There is no anonymous user, and one password."""
    client = aioftp.Client()
    await client.connect(LOOPBACK, urlsplit(server.url).port or 0)
    with pytest.raises(aioftp.StatusCodeError):
        await client.login("ada", "wrong")
    client.close()


async def test_every_port_is_on_loopback(client: aioftp.Client) -> None:
    """Control and data connections alike."""
    async with client.upload_stream("open") as stream:
        await stream.write(b"x")
        listening = [one for one in psutil.Process().net_connections("tcp") if one.status == psutil.CONN_LISTEN]
        assert {one.laddr.ip for one in listening} == {LOOPBACK}


async def test_it_comes_back_on_the_same_port(server: LocalFTP) -> None:
    """A stop and a start give the same URL: a storage that was away for a while."""
    url = server.url
    await server.stop()
    await server.start()

    assert server.url == url
