"""FTP behind the promise of storages, with real servers: vsftpd, pyftpdlib and aioftp, with and without TLS."""

import asyncio
import os
import secrets
import stat
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from ftp_at_work import ftp, got, listed, on_uvloop, pieces, put, version
from ftp_servers import Certificate, FtpServer, Handler, Pyftpdlib, Tls, Vsftpd, vsftpd
from tespes import errors
from tespes.local.ftp import LocalFTP
from tespes.storage.ftp import Ftp, Login, Server
from tespes.storage.ftp.places import ANONYMOUS, place
from tespes.storage.promise import At, Entry, Manners, Resume

pytestmark = pytest.mark.servers

CONTENT = os.urandom(700_001)
ANTIQUE = ("MLST", "MLSD", "EPSV", "SIZE", "MDTM", "REST")
ODD_NAMES = [
    "with space",
    " before and after ",
    "ümläut ☃",
    ".dot",
    "arrow -> ed",
    "-rf",
    "[x]*?",
    'quo"te',
    "per%cent",
    "#1;2",
]


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return Certificate.made(tmp_path_factory.mktemp("tls"))


@pytest.fixture(
    scope="module",
    params=["vsftpd", "vsftpd explicit", "vsftpd implicit", "pyftpdlib", "pyftpdlib explicit", "pyftpdlib antique"],
)
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, certificate: Certificate
) -> Iterator[FtpServer]:
    name, _, how = request.param.partition(" ")
    directory = tmp_path_factory.mktemp("ftp") / "files"
    tls: Tls = {"explicit": "explicit", "implicit": "implicit"}.get(how, "none")  # type: ignore[assignment]
    secure = certificate if tls != "none" else None
    lacks = ANTIQUE if how == "antique" else ()
    made = Vsftpd(directory, tls, secure) if name == "vsftpd" else Pyftpdlib(directory, tls, secure, lacks=lacks)
    with made:
        yield made


@pytest.fixture
def plain(tmp_path: Path) -> Iterator[Vsftpd]:
    with vsftpd(tmp_path / "files") as server:
        yield server


@pytest.fixture
def folder(server: FtpServer) -> Path:
    """A directory of the test's own, which is not there yet."""
    return server.directory / secrets.token_hex(4)


def known(server: FtpServer) -> dict[str, Server]:
    return {server.host: Server(tls=server.tls)}


def ca_file(server: FtpServer) -> Path | None:
    return server.certificate.ca_file if server.certificate else None


@on_uvloop
async def test_what_is_stored_can_be_fetched_listed_and_replaced(server: FtpServer, folder: Path) -> None:
    """The same bytes, whatever the server; directories are made, a file that is there is replaced, nothing else stays."""
    url = f"{server.url}/{folder.name}"
    async with ftp(known(server), ca_file=ca_file(server), silence_s=5) as storage:
        await put(storage, f"{url}/a/b%20c/file", b"old")
        await put(storage, f"{url}/a/b%20c/file", CONTENT)
        await put(storage, f"{url}/a/none", b"")
        assert await storage.make_directory(At(f"{url}/a/empty", "ada"))
        assert await storage.make_directory(At(f"{url}/a/empty", "ada"))

        assert (folder / "a/b c/file").read_bytes() == CONTENT
        assert await got(storage, f"{url}/a/b%20c/file") == CONTENT
        assert await got(storage, f"{url}/a/none") == b""
        assert sorted(await listed(storage, url), key=lambda entry: entry.name) == [
            Entry("a", None, is_directory=True),
            Entry("a/b c", None, is_directory=True),
            Entry("a/b c/file", len(CONTENT)),
            Entry("a/empty", None, is_directory=True),
            Entry("a/none", 0),
        ]
        assert await listed(storage, f"{url}/a/empty") == []


@on_uvloop
async def test_a_fetch_goes_on_where_it_broke_if_the_file_is_the_same(server: FtpServer, folder: Path) -> None:
    """From that byte on; from the beginning if the file is another, or the server cannot tell."""
    url = f"{server.url}/{folder.name}/file"
    async with ftp(known(server), ca_file=ca_file(server), silence_s=5) as storage:
        await put(storage, url, CONTENT)
        assert await version(storage, url) is None  # it is too new for that
        os.utime(folder / "file", (2, 2))
        first = await version(storage, url)
        if first is None:
            assert isinstance(server, Pyftpdlib)
            assert server.lacks
            assert await got(storage, url, Resume(10, "any")) == CONTENT
            return
        assert await got(storage, url, Resume(300_000, first)) == CONTENT[300_000:]
        assert await got(storage, url, Resume(len(CONTENT), first)) == b""
        await put(storage, url, CONTENT[::-1])
        os.utime(folder / "file", (1, 1))
        async with storage.fetch(At(url, "ada"), Resume(300_000, first)) as fetched:
            assert fetched.start == 0
            assert fetched.size_bytes == len(CONTENT)
            assert fetched.version != first


@on_uvloop
async def test_a_slow_reader_gets_all_bytes(server: FtpServer, folder: Path) -> None:
    """What comes is held back, not dropped, also if the server ends the connection meanwhile."""
    folder.mkdir(parents=True)
    (folder / "file").write_bytes(CONTENT)
    async with ftp(known(server), ca_file=ca_file(server), silence_s=5) as storage:
        for _ in range(10):
            come = b""
            async with storage.fetch(At(f"{server.url}/{folder.name}/file", "ada"), None) as fetched:
                async for piece in fetched.pieces:
                    come += piece
                    await asyncio.sleep(0.005)
            assert come == CONTENT


@on_uvloop
async def test_a_file_is_no_directory_and_a_directory_no_file(server: FtpServer, folder: Path) -> None:
    """That the task has the wrong type is said in words that do not depend on the server; it is not tried again."""
    (folder / "inside").mkdir(parents=True)
    (folder / "file").write_bytes(b"x")
    url = f"{server.url}/{folder.name}"
    async with ftp(known(server), ca_file=ca_file(server), silence_s=5) as storage:
        with pytest.raises(errors.TransferRefused, match=f"{folder.name}: is a directory, a file was declared"):
            await got(storage, url)
        with pytest.raises(errors.TransferRefused, match="inside: is a directory, a file was declared"):
            await put(storage, f"{url}/inside", b"x")
        if "SIZE" not in getattr(server, "lacks", ()):
            with pytest.raises(errors.TransferRefused, match="file: is a file, a directory was declared"):
                await listed(storage, f"{url}/file")
        with pytest.raises(errors.TransferRefused, match="550"):
            await put(storage, f"{url}/file/below", b"x")
        assert sorted(path.name for path in folder.iterdir()) == ["file", "inside"]


@on_uvloop
async def test_what_is_missing_is_refused_in_the_servers_words(server: FtpServer, folder: Path) -> None:
    """Without user and password, and with what the server said."""
    url = f"{server.url}/{folder.name}"
    async with ftp(known(server), ca_file=ca_file(server), silence_s=5) as storage:
        for attempt in (got(storage, f"{url}/missing"), listed(storage, f"{url}/missing")):
            with pytest.raises(errors.TransferRefused, match=rf"^ftps?://{server.host}/.*/missing: 550 \w+") as refused:
                await attempt
            assert server.password not in str(refused.value)


@on_uvloop
async def test_odd_names_arrive_as_they_are(server: FtpServer, folder: Path) -> None:
    """Spaces at either end, arrows, wildcards, leading dots and dashes: in files and directories."""
    for name in ODD_NAMES:
        (folder / name).mkdir(parents=True)
        (folder / name / f"{name}.{name}").write_text(name)
    async with ftp(known(server), ca_file=ca_file(server), silence_s=5) as storage:
        entries = await listed(storage, f"{server.url}/{folder.name}")
        assert {entry.name for entry in entries} == {path for name in ODD_NAMES for path in (name, f"{name}/{name}.{name}")}
        assert {entry.name: entry.size_bytes for entry in entries}["ümläut ☃/ümläut ☃.ümläut ☃"] == len("ümläut ☃".encode())


@on_uvloop
async def test_a_name_may_be_as_long_as_the_file_system_allows(server: FtpServer, folder: Path) -> None:
    """255 bytes: the temporary name is not made of it."""
    async with ftp(known(server), ca_file=ca_file(server), silence_s=5) as storage:
        await put(storage, f"{server.url}/{folder.name}/{'n' * 255}", b"x")
    assert [path.name for path in folder.iterdir()] == ["n" * 255]


@on_uvloop
async def test_links_are_what_they_lead_to(server: FtpServer, folder: Path) -> None:
    """A link to a file is a file, one to a directory a directory; one that leads nowhere is not there."""
    (folder / "real").mkdir(parents=True)
    (folder / "real" / "file").write_bytes(b"12345")
    (folder / "a -> b").symlink_to("real/file")
    (folder / "to a directory").symlink_to("real")
    (folder / "to nowhere").symlink_to("nowhere -> at all")
    async with ftp(known(server), ca_file=ca_file(server), silence_s=5) as storage:
        entries = {entry.name: entry for entry in await listed(storage, f"{server.url}/{folder.name}")}
    assert entries["to a directory"].is_directory
    assert "to a directory/file" in entries
    assert not entries["a -> b"].is_directory
    if "SIZE" not in getattr(server, "lacks", ()):
        assert set(entries) == {"real", "real/file", "a -> b", "to a directory", "to a directory/file"}


@pytest.mark.parametrize("server", ["vsftpd", "pyftpdlib", "pyftpdlib antique"], indirect=True)
@on_uvloop
async def test_a_link_to_a_directory_above_is_found_out(server: FtpServer, folder: Path) -> None:
    """A listing that would never end is refused, soon; and before the system itself refuses to follow so many links."""
    deepest = folder.joinpath(*"abcdefgh")
    deepest.mkdir(parents=True)
    (deepest / "up").symlink_to("/".join(".." for _ in "abcdefgh"))
    (deepest / "up too").symlink_to("/".join(".." for _ in "bcdefgh"))
    async with ftp(known(server), ca_file=ca_file(server), silence_s=5) as storage:
        with pytest.raises(errors.TransferRefused, match=r"more than 64 directories .* a link led to a directory above"):
            await listed(storage, f"{server.url}/{folder.name}")


@pytest.mark.parametrize("server", ["vsftpd", "pyftpdlib", "pyftpdlib antique"], indirect=True)
@pytest.mark.parametrize("target", [".", "..", "../.."])
@on_uvloop
async def test_a_directory_inside_itself_is_found_out(server: FtpServer, folder: Path, target: str) -> None:
    """Before the server follows no more links, which looks like an end: then every file would be there forty times."""
    (folder / "deep" / "deeper").mkdir(parents=True)
    (folder / "deep" / "deeper" / "file").write_bytes(CONTENT)
    (folder / "deep" / "deeper" / "around").symlink_to(target)
    async with ftp(known(server), ca_file=ca_file(server), silence_s=5) as storage:
        with pytest.raises(errors.TransferRefused, match=r"20 times inside itself, as if a link led to a directory above"):
            await listed(storage, f"{server.url}/{folder.name}")


@on_uvloop
async def test_a_storing_that_fails_leaves_nothing(server: FtpServer, folder: Path) -> None:
    """Fewer or more bytes than announced, a cancelation, a source that breaks: neither the file nor a part of it."""

    async def broken() -> AsyncIterator[bytes]:
        yield CONTENT
        raise ZeroDivisionError

    async def endless() -> AsyncIterator[bytes]:
        yield CONTENT
        await asyncio.sleep(3600)

    url = f"{server.url}/{folder.name}/file"
    async with ftp(known(server), ca_file=ca_file(server), silence_s=5) as storage:
        await put(storage, url, b"as it was")
        with pytest.raises(errors.TransferInterrupted, match="announced"):
            await put(storage, url, CONTENT, len(CONTENT) + 1)
        with pytest.raises(errors.TransferInterrupted, match="announced"):
            await put(storage, url, CONTENT, len(CONTENT) - 1)
        with pytest.raises(ZeroDivisionError):
            await storage.store(At(url, "ada"), broken(), 10**9)
        storing = asyncio.create_task(storage.store(At(url, "ada"), endless(), 10**9))
        await asyncio.sleep(0.2)
        storing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await storing
    assert [path.name for path in folder.iterdir()] == ["file"]
    assert (folder / "file").read_bytes() == b"as it was"


@on_uvloop
async def test_a_connection_is_used_again_and_replaced_if_it_is_gone(server: FtpServer, folder: Path) -> None:
    """A login is once for many files; that the server gave the connection up meanwhile is nobody's trouble."""
    url = f"{server.url}/{folder.name}"
    async with ftp(known(server), ca_file=ca_file(server), silence_s=5) as storage:
        for number in range(5):
            await put(storage, f"{url}/{number}", b"x")
        ((_, session),) = storage._pool._idle
        for notices in (True, False):
            before = session._control
            server.stop()
            await asyncio.sleep(0.05 if notices else 0)
            server.start()
            assert await got(storage, f"{url}/3") == b"x"
            ((_, session),) = storage._pool._idle
            assert session._control is not before


@on_uvloop
async def test_directories_that_were_removed_meanwhile_are_made_again(plain: Vsftpd) -> None:
    """What is known to be there is known from a while ago."""
    async with ftp() as storage:
        await put(storage, f"{plain.url}/a/b/one", b"1")
        (plain.directory / "a/b/one").unlink()
        (plain.directory / "a/b").rmdir()
        (plain.directory / "a").rmdir()
        await put(storage, f"{plain.url}/a/b/two", b"2")
    assert (plain.directory / "a/b/two").read_bytes() == b"2"


@on_uvloop
async def test_many_make_the_same_directories_at_a_time(plain: Vsftpd) -> None:
    """That somebody else was faster is fine."""
    async with ftp() as storage:
        await asyncio.gather(*(put(storage, f"{plain.url}/a/b/c/d/{number}", b"x") for number in range(20)))
    assert len(list((plain.directory / "a/b/c/d").iterdir())) == 20


@on_uvloop
async def test_no_more_connections_than_allowed_are_made(tmp_path: Path) -> None:
    """Busy and idle ones together, whoever's they are; vsftpd counts them, and refuses the fourth."""
    with Vsftpd(tmp_path / "files", options=("max_clients=3",)) as server:
        servers = {server.host: Server(owners={name: Login("anonymous", server.password) for name in ("bo",)})}
        general = f"ftp://{server.host}{server.directory}"
        async with ftp(servers, connections=2) as storage:
            await asyncio.gather(*(put(storage, f"{server.url}/{number}", b"x" * 1000) for number in range(30)))
            for number in range(30):
                url = f"{server.url}/{number}" if number % 2 else f"{general}/{number}"
                async with storage.fetch(At(url, "bo"), None) as fetched:
                    assert [piece async for piece in fetched.pieces] == [b"x" * 1000]


@on_uvloop
async def test_who_waits_too_long_for_a_connection_is_put_off(plain: Vsftpd, monkeypatch: pytest.MonkeyPatch) -> None:
    """As many as allowed are busy: nothing is wrong, asking again helps."""
    monkeypatch.setattr("tespes.storage.ftp.pool._PATIENCE_S", 0.2)
    (plain.directory / "file").write_bytes(CONTENT)
    async with ftp(connections=1) as storage, storage.fetch(At(f"{plain.url}/file", "ada"), None):
        with pytest.raises(errors.TransferPostponed, match=r"file: all 1 connections to 127\.0\.0\.1 are busy"):
            await got(storage, f"{plain.url}/file")


@on_uvloop
async def test_idle_connections_end(plain: Vsftpd, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a while, without anybody asking."""
    monkeypatch.setattr("tespes.storage.ftp.pool._IDLE_S", 0.2)
    (plain.directory / "file").write_bytes(b"x")
    async with ftp() as storage:
        await asyncio.gather(got(storage, f"{plain.url}/file"), got(storage, f"{plain.url}/file"))
        assert len(storage._pool._idle) == 2
        await asyncio.sleep(0.5)
        assert not storage._pool._idle


@on_uvloop
async def test_whose_login_is_used(plain: Vsftpd) -> None:
    """The URL's own, else that of the task's owner, else the server's; a wrong one is refused, and never shown."""
    (plain.directory / "file").write_bytes(b"x")
    url = f"ftp://{plain.host}{plain.directory}/file"
    right, wrong = Login(plain.user, plain.password), Login(plain.user, "love-lace")
    async with ftp({plain.host: Server(right)}, silence_s=5) as storage:
        assert await got(storage, url) == b"x"
        with pytest.raises(errors.TransferRefused, match=f"^{url}: 530 Login incorrect") as refused:
            await got(storage, url.replace("://", "://ftp:love-lace@"))
        assert "love-lace" not in str(refused.value)
    async with ftp({plain.host: Server(wrong, owners={"ada": right})}, silence_s=5) as storage:
        assert await got(storage, url) == b"x"
        with pytest.raises(errors.TransferRefused, match="530"):
            async with storage.fetch(At(url, "bo"), None):
                pass
    async with ftp(silence_s=5) as storage:
        with pytest.raises(errors.TransferRefused, match="530"):
            await got(storage, url)


@pytest.mark.parametrize(
    ("url", "known", "is_login_used"),
    [
        ("ftp://host/x", {"host": "none"}, True),
        ("ftp://HOST:21/x", {"host": "none"}, True),
        ("ftp://host:2121/x", {"host": "none"}, False),
        ("ftp://host:990/x", {"host": "none"}, False),
        ("ftp://host:2121/x", {"host:2121": "none"}, True),
        ("ftp://host/x", {"host:2121": "none"}, False),
        ("ftp://host/x", {"host:21": "none"}, True),
        ("ftps://host/x", {"host": "implicit"}, True),
        ("ftps://host:21/x", {"host": "implicit"}, False),
        ("ftps://host:21/x", {"host": "explicit"}, True),
        ("ftp://host:990/x", {"host": "implicit"}, True),
        ("ftp://other/x", {"host": "none"}, False),
    ],
)
def test_a_mere_host_is_its_usual_port(url: str, known: dict[str, Tls], is_login_used: bool) -> None:  # noqa: FBT001
    """Whoever listens at another one may not be who the login is for: it is named with its port, or visited as anonymous."""
    login = Login("ada", "lovelace")
    servers = {host: Server(login, tls=tls) for host, tls in known.items()}
    assert place(At(url, "ada"), servers).account.login == (login if is_login_used else ANONYMOUS)


@on_uvloop
async def test_a_certificate_that_nobody_vouches_for_is_refused(tmp_path: Path, certificate: Certificate) -> None:
    """So is one of another server; asking again does not help."""
    other = Certificate.made(tmp_path / "other", "ftp.example.org")
    cases: tuple[tuple[Tls, Certificate], ...] = (("explicit", certificate), ("implicit", certificate), ("implicit", other))
    for tls, shown in cases:
        with Vsftpd(tmp_path / "files", tls, shown) as server:
            trusted = other.ca_file if shown is other else None
            async with ftp(known(server), ca_file=trusted, silence_s=5) as storage:
                with pytest.raises(errors.TransferRefused, match="the certificate is not good: "):
                    await got(storage, f"{server.url}/file")


@on_uvloop
async def test_a_server_without_tls_is_refused_where_tls_is_wanted(plain: Vsftpd) -> None:
    """A password does not go over the wire in the open."""
    async with ftp({plain.host: Server(tls="explicit")}) as storage:
        with pytest.raises(errors.TransferRefused, match=r"530 .* \(TLS was asked for\)"):
            await got(storage, f"{plain.url}/file")
    async with ftp({plain.host: Server(tls="none")}) as storage:
        with pytest.raises(errors.TransferRefused, match="the settings say that the server has none"):
            await got(storage, f"{plain.url}/file".replace("ftp://", "ftps://"))


@on_uvloop
async def test_the_demos_server_with_tls(tmp_path: Path, certificate: Certificate) -> None:
    """The library aioftp speaks TLS on a data connection before it answers; vsftpd answers first. Both work."""
    async with LocalFTP(tmp_path / "files", tls=certificate.context()) as server, ftp(ca_file=certificate.ca_file) as storage:
        assert server.url.startswith("ftps://")
        await put(storage, f"{server.url}/a/file", CONTENT)
        assert await got(storage, f"{server.url}/a/file") == CONTENT
        assert await listed(storage, server.url) == [Entry("a", None, is_directory=True), Entry("a/file", len(CONTENT))]


async def test_it_works_on_the_standard_loop_too(tmp_path: Path, certificate: Certificate) -> None:
    """TESPES runs on uvloop, but does not need it."""
    with Vsftpd(tmp_path / "files", "explicit", certificate) as server:
        async with ftp(known(server), ca_file=certificate.ca_file, silence_s=5) as storage:
            await put(storage, f"{server.url}/a/file", CONTENT)
            assert await got(storage, f"{server.url}/a/file") == CONTENT


class WithoutOverwriting(Handler):  # type: ignore[misc]
    """As servers on Windows do it."""

    def ftp_RNTO(self, path: str) -> Any:  # noqa: N802 - the library's name
        if Path(path).exists():
            self.respond("550 there is a file of that name")
            return None
        return super().ftp_RNTO(path)


class WithoutRenaming(WithoutOverwriting):
    """Lets nothing have that name but what had it."""

    def ftp_RNTO(self, path: str) -> Any:  # noqa: N802
        if path.endswith("/file") and not self._rnfr.endswith(".old"):
            self.respond("550 not that")
            return None
        return super().ftp_RNTO(path)


@on_uvloop
async def test_a_file_is_replaced_where_a_rename_does_not_overwrite(tmp_path: Path) -> None:
    """The old one is put aside for a moment; nothing stays of it, and a directory is never put aside."""
    with Pyftpdlib(tmp_path / "files", handler=WithoutOverwriting) as server:
        (server.directory / "directory").mkdir()
        async with ftp(silence_s=5) as storage:
            await put(storage, f"{server.url}/file", b"old")
            await put(storage, f"{server.url}/file", b"new")
            with pytest.raises(errors.TransferRefused, match="is a directory"):
                await put(storage, f"{server.url}/directory", b"new")
        assert (server.directory / "file").read_bytes() == b"new"
        assert sorted(path.name for path in server.directory.iterdir()) == ["directory", "file"]


@on_uvloop
async def test_the_old_file_comes_back_if_the_new_one_cannot_have_its_name(tmp_path: Path) -> None:
    """Nothing is lost, and nothing is left."""
    with Pyftpdlib(tmp_path / "files", handler=WithoutRenaming) as server:
        (server.directory / "file").write_bytes(b"old")
        async with ftp(silence_s=5) as storage:
            with pytest.raises(errors.TransferRefused, match="550 not that"):
                await put(storage, f"{server.url}/file", b"new")
        assert (server.directory / "file").read_bytes() == b"old"
        assert [path.name for path in server.directory.iterdir()] == ["file"]


@on_uvloop
async def test_a_file_that_may_not_be_read_is_refused(tmp_path: Path) -> None:
    """It is there, and not for us."""
    with Vsftpd(tmp_path / "files", options=("anon_world_readable_only=YES",)) as server:
        (server.directory / "private").write_bytes(b"x")
        (server.directory / "private").chmod(stat.S_IRUSR)
        async with ftp() as storage:
            with pytest.raises(errors.TransferRefused, match="private: 550"):
                await got(storage, f"{server.url}/private")


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("ftp://host/", "the URL names no file"),
        ("ftp://host", "the URL names no file"),
        ("ftp:///file", "the URL names no server"),
        ("ftp://host:port/file", "the URL cannot be read"),
        ("ftp://host/a/%2e%2e/b", r"\.\. cannot be part of the path"),
        ("ftp://host/a%0d%0aDELE%20b", "a line break or a zero byte"),
        ("ftp://user%0a:x@host/a", "a line break or a zero byte"),
        ("ftp://host/a?b", "%3F"),
        ("ftp://host/a#b", "%23"),
    ],
)
async def test_a_url_that_must_not_be_used_is_refused(url: str, why: str) -> None:
    """Before anybody is asked; nothing of it can become a command of its own."""
    async with ftp() as storage:
        for attempt in (got(storage, url), put(storage, url, b"x")):
            with pytest.raises(errors.TransferRefused, match=why):
                await attempt


async def test_what_can_be_used_is_told_without_secrets() -> None:
    """For service info."""
    login = Login("ada", "lovelace")
    servers = {"a.org": Server(login), "B.org:2121": Server(login, tls="explicit"), "c.org": Server(tls="implicit")}
    storage = Ftp(servers, Manners())
    assert storage.usable() == ("ftp://a.org/", "ftp://b.org:2121/", "ftps://c.org/", "ftp://", "ftps://")
    assert "lovelace" not in repr(servers)
    assert storage.goes_through(At("ftp://a.org/x", "ada"))
    with pytest.raises(errors.TransferRefused):
        await storage.way_in(At("ftp://a.org/x", "ada"))
    with pytest.raises(errors.TransferRefused):
        await storage.way_out(At("ftp://a.org/x", "ada"), 1)
    await storage.close()


async def test_pieces_may_be_of_any_size(tmp_path: Path) -> None:
    """A byte at a time, or all at once."""
    with Pyftpdlib(tmp_path / "files") as server:
        async with ftp(silence_s=5) as storage:
            for size in (1, 10_000_000):
                await storage.store(At(f"{server.url}/file", "ada"), pieces(CONTENT[:5000], size), 5000)
                assert (server.directory / "file").read_bytes() == CONTENT[:5000]
