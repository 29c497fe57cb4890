"""Files on web servers, through TESPES or past it, against a real server that fails on command."""

import asyncio
import contextlib
import os
import shutil
import time
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tespes import errors
from tespes.local.ports import free_port
from tespes.storage.http import Access, Http, Server
from tespes.storage.http.address import address
from tespes.storage.promise import At, Entry, Fetched, Manners, Resume
from tespes.tes import urls
from web_server import Answer, Chunked, Cut, Failure, Lie, NewVersion, NoRanges, Silent, WebServer, WrongRange, web_server_for

pytestmark = pytest.mark.servers

ADA = Access(user="ada", password="love:lace")  # noqa: S106 - not a real one
TOKEN = Access(token="token-of-the-site")  # noqa: S106 - not a real one
QUICK = Manners(silence_s=0.6)
CONTENT = os.urandom(3_000_000)


@contextlib.asynccontextmanager
async def storage(servers: Mapping[str, Server], manners: Manners = QUICK) -> AsyncIterator[Http]:
    http = Http(servers, manners)
    try:
        yield http
    finally:
        await http.close()


@pytest.fixture
async def http(web_server: WebServer) -> AsyncIterator[Http]:
    """A storage that knows the server, which needs no login."""
    async with storage({name(web_server): Server(through=True)}) as http:
        yield http


def name(server: WebServer) -> str:
    return f"{server.host}:{server.port}"


def at(server: WebServer, path: str, owner: str = "ada") -> At:
    return At(server.url + path, owner)


async def read(http: Http, where: At, resume: Resume | None = None) -> tuple[bytes, Fetched]:
    async with http.fetch(where, resume) as fetched:
        return b"".join([piece async for piece in fetched.pieces]), fetched


async def pieces(content: bytes, then: Exception | None = None) -> AsyncIterator[bytes]:
    for start in range(0, len(content), 100_000):
        yield content[start : start + 100_000]
    if then:
        raise then


async def never() -> AsyncIterator[bytes]:
    raise AssertionError("nothing of the file was to be used up")
    yield b""


async def test_what_the_settings_do_not_name_goes_straight_with_the_login_of_its_own_url() -> None:
    """A user in a URL is the client's, and goes to the node as a header; nothing of it is shown."""
    async with storage({}) as http:
        where = At("https://ada:love%3Alace@Files.example:8443/a%20b.txt?signature=s#part", "ada")
        way = await http.way_in(where)
        assert not http.goes_through(where)
        assert http.list(where) is None
        assert way == await http.way_out(where, 5)
        assert way.url == "https://files.example:8443/a%20b.txt?signature=s"
        assert way.shown == "https://files.example:8443/a%20b.txt"
        assert way.headers == {"Authorization": "Basic YWRhOmxvdmU6bGFjZQ=="}
        assert not await http.make_directory(where)


@pytest.mark.parametrize(
    ("url", "owner", "through"),
    [
        ("https://named.example/x", "ada", True),
        ("https://named.example:443/x", "ada", True),
        ("https://named.example:444/x", "ada", False),
        ("http://named.example/x", "ada", False),
        ("http://named.example:443/x", "ada", False),
        ("http://plain.example/x", "ada", True),
        ("http://plain.example:80/x", "ada", True),
        ("https://plain.example/x", "ada", False),
        ("https://bob:x@named.example/x", "ada", False),
        ("https://owners.example/x", "ada", True),
        ("https://owners.example/x", "bob", False),
        ("http://far.example:81/x", "bob", True),
        ("http://bob:x@far.example:81/x", "bob", True),
        ("http://far.example/x", "bob", False),
        ("http://other.example/x", "ada", False),
        ("http://[broken/x", "ada", True),
    ],
)
async def test_what_goes_through_tespes(url: str, owner: str, through: bool) -> None:  # noqa: FBT001
    """Where the settings have a login for this owner, or nodes cannot go; a user in the URL goes before the settings.

    A mere host is https on its usual port: a login does not go to others, nor in the open.
    """
    known = {
        "Named.example": Server(ADA),
        "owners.example": Server(owners={"ada": ADA}),
        "far.example:81": Server(through=True),
        "plain.example:80": Server(ADA),
    }
    async with storage(known) as http:
        assert http.goes_through(At(url, owner)) is through
        https = ("https://named.example/", "https://owners.example/", "https://far.example:81/", "https://plain.example:80/")
        assert http.usable() == (*https, "http://far.example:81/", "http://plain.example:80/", "http://", "https://")


async def test_a_fetch_uses_the_login_of_the_owner_or_the_general_one(web_server: WebServer) -> None:
    (web_server.directory / "x").write_bytes(CONTENT)
    web_server.protect("/", token="token-of-the-site")  # noqa: S106
    async with storage({name(web_server): Server(TOKEN, owners={"bob": ADA})}) as http:
        content, fetched = await read(http, at(web_server, "/x", "ada"))
        assert content == CONTENT
        assert (fetched.start, fetched.size_bytes) == (0, len(CONTENT))
        with pytest.raises(errors.TransferRefused, match=r"/x: 403 Forbidden$"):
            await read(http, at(web_server, "/x", "bob"))


async def test_a_fetch_goes_on_where_it_broke_if_the_file_is_still_the_same(http: Http, web_server: WebServer) -> None:
    """The version that came with the first bytes is asked for; whatever else comes, comes from the start."""
    (web_server.directory / "x").write_bytes(CONTENT)
    web_server.misbehave("/x", Cut(after_bytes=1_000_000))
    got = b""
    async with http.fetch(at(web_server, "/x"), None) as fetched:
        with contextlib.suppress(errors.TransferInterrupted):
            async for piece in fetched.pieces:
                got += piece
    assert got == CONTENT[:1_000_000]
    resume = Resume(len(got), fetched.version or "")

    rest, going_on = await read(http, at(web_server, "/x"), resume)
    assert got + rest == CONTENT
    assert (going_on.start, going_on.size_bytes, going_on.version) == (1_000_000, len(CONTENT), fetched.version)

    parts = ("bytes 5-9/3000000", "bytes 1000000-2999999/*", "bytes 1000000-1999999/3000000", "nonsense")
    failures: list[Failure] = [NoRanges(), NewVersion(), *map(WrongRange, parts)]
    for failure in failures:
        web_server.misbehave("/x", failure)
        whole, fetched = await read(http, at(web_server, "/x"), resume)
        assert (whole == CONTENT, fetched.start) == (True, 0), failure
    (web_server.directory / "x").write_bytes(b"other")
    assert (await read(http, at(web_server, "/x"), resume))[0] == b"other"


async def test_a_server_that_knows_no_if_range_cannot_mix_two_versions(http: Http, web_server: WebServer) -> None:
    """A part with another ETag is not taken: the whole comes instead."""
    (web_server.directory / "x").write_bytes(b"new content")
    web_server.misbehave("/x", WrongRange("bytes 4-10/11"))
    whole, fetched = await read(http, at(web_server, "/x"), Resume(4, '"old"'))
    assert (whole, fetched.start) == (b"new content", 0)


@pytest.mark.parametrize(("status", "again"), [(404, False), (410, False), (408, True), (425, True), (429, True), (503, True)])
async def test_a_failure_is_told_in_the_servers_words(http: Http, web_server: WebServer, status: int, again: bool) -> None:  # noqa: FBT001
    """Whether asking again may help depends on the status alone."""
    (web_server.directory / "x").write_bytes(b"x")
    web_server.misbehave("/x", Answer(status), times=2)
    for doing in (read(http, at(web_server, "/x?secret=1")), http.store(at(web_server, "/x?secret=1"), never(), 5)):
        with pytest.raises(errors.TransferInterrupted if again else errors.TransferRefused) as raised:
            await doing
        assert str(raised.value).startswith(f"{web_server.url}/x: {status} ")
        assert "secret" not in str(raised.value)


@pytest.mark.parametrize("failure", [Lie(by_bytes=10), Cut(after_bytes=5), Silent(after_bytes=100_000), Silent()])
async def test_a_body_that_does_not_come_whole_is_interrupted(http: Http, web_server: WebServer, failure: Failure) -> None:
    """Too short, or silence for longer than a server may say nothing."""
    (web_server.directory / "x").write_bytes(CONTENT)
    web_server.misbehave("/x", failure)
    with pytest.raises(errors.TransferInterrupted, match=r"/x: (the connection broke|the server was silent for 0\.6 s)"):
        await read(http, at(web_server, "/x"))


async def test_more_bytes_than_were_said_never_become_part_of_the_file(http: Http, web_server: WebServer) -> None:
    (web_server.directory / "x").write_bytes(CONTENT)
    web_server.misbehave("/x", Lie(by_bytes=-10))
    try:
        content, _ = await read(http, at(web_server, "/x"))
        assert content == CONTENT[:-10]
    except errors.TransferInterrupted:
        pass
    assert (await read(http, at(web_server, "/x")))[0] == CONTENT


async def test_a_file_of_unknown_size_comes_whole(http: Http, web_server: WebServer) -> None:
    (web_server.directory / "x").write_bytes(CONTENT)
    web_server.misbehave("/x", Chunked())
    content, fetched = await read(http, at(web_server, "/x"))
    assert (content == CONTENT, fetched.size_bytes) == (True, None)


async def test_an_end_that_may_be_a_cut_is_none() -> None:
    """An answer that has neither length nor chunks just ends: neither a file nor a page is taken from it."""

    async def old(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b'HTTP/1.0 200 OK\r\nContent-Type: text/html\r\n\r\n<a href="x">')
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(old, "127.0.0.1", 0)
    host = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server, storage({host: Server(through=True)}) as http:
        with pytest.raises(errors.TransferRefused, match="/x: the server does not say how long the file is"):
            await read(http, At(f"http://{host}/x", "ada"))
        with pytest.raises(errors.TransferRefused, match="/x/: the server does not say how long the page is"):
            await listed(http, At(f"http://{host}/x", "ada"))


async def test_redirects_stay_among_the_servers_that_the_settings_name(web_server: WebServer, tmp_path: Path) -> None:
    """The request comes from inside the site: a server that is not named might be one that nobody else may reach."""
    async with web_server_for(tmp_path / "other") as other, web_server_for(tmp_path / "inner") as inner:
        for server in (web_server, other, inner):
            (server.directory / "x").write_bytes(server.url.encode())
        web_server.protect("/", token="token-of-the-site")  # noqa: S106
        other.protect("/", user="ada", password="love:lace")  # noqa: S106
        servers = {name(web_server): Server(TOKEN), name(other): Server(ADA)}
        async with storage(servers) as http:
            for location, content in (("/x", web_server.url), (f"//bob:x@{name(other)}/x#part", other.url)):
                web_server.misbehave("/moved", Answer(302, {"Location": location}), times=2)
                assert (await read(http, at(web_server, "/moved")))[0] == content.encode()
                assert (await read(http, at(web_server, "/moved"), Resume(3, '"v"')))[0] == content.encode()
            web_server.misbehave("/moved", Answer(302, {"Location": f"{inner.url}/x"}))
            with pytest.raises(errors.TransferRefused, match=r"/moved: redirects to host 127\.0\.0\.1:\d+, which the settings"):
                await read(http, at(web_server, "/moved"))
            assert inner.seen == []


@pytest.mark.parametrize(
    ("location", "why"),
    [("/loop", "redirects more than 10 times"), ("ftp://files/x", "names no host"), ("http://[x/", "cannot be read")],
)
async def test_redirects_that_lead_nowhere_are_refused(http: Http, web_server: WebServer, location: str, why: str) -> None:
    web_server.misbehave("/loop", Answer(307, {"Location": location}), times=None)
    with pytest.raises(errors.TransferRefused, match=f"/loop: .*{why}"):
        await read(http, at(web_server, "/loop"))
    with pytest.raises(errors.TransferRefused, match=f"/loop: .*{why}"):
        await http.store(at(web_server, "/loop"), never(), 5)


async def test_https_is_believed_with_a_trusted_certificate_only(https_server: WebServer, ca_file: Path) -> None:
    """And a server does not lead from https to http."""
    (https_server.directory / "x").write_bytes(CONTENT)
    known = {name(https_server): Server(ADA)}
    async with storage(known, Manners(ca_file=ca_file)) as http:
        assert (await read(http, at(https_server, "/x")))[0] == CONTENT
        await http.store(at(https_server, "/y"), pieces(CONTENT), len(CONTENT))
        assert (https_server.directory / "y").read_bytes() == CONTENT
        https_server.misbehave("/x", Answer(301, {"Location": f"http://{name(https_server)}/x"}))
        with pytest.raises(errors.TransferRefused, match="/x: redirects from https to http:"):
            await read(http, at(https_server, "/x"))
    async with storage(known) as http:
        with pytest.raises(errors.TransferRefused, match=r"/x: the certificate is not trusted: .*issuer"):
            await read(http, at(https_server, "/x"))


def test_certificates_that_cannot_be_read_are_said_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(errors.SetupError, match=r"ca\.pem: has no certificates: No such file"):
        Http({}, Manners(ca_file=tmp_path / "ca.pem"))
    (tmp_path / "ca.pem").write_text("nonsense")
    with pytest.raises(errors.SetupError, match=r"ca\.pem: has no certificates"):
        Http({}, Manners(ca_file=tmp_path / "ca.pem"))


async def test_a_server_that_is_away_may_come_back() -> None:
    """No name, nobody who listens, or somebody who speaks no HTTP."""
    talkers: list[asyncio.Task[Any] | None] = []

    async def mumble(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        talkers.append(asyncio.current_task())
        await reader.readline()
        writer.write(b"220 welcome ?secret=1\r\n")
        writer.close()
        await writer.wait_closed()

    talker = await asyncio.start_server(mumble, "127.0.0.1", 0)
    hosts = [f"127.0.0.1:{talker.sockets[0].getsockname()[1]}", f"127.0.0.1:{free_port()}", "no-such-host.invalid:80"]
    async with talker, storage({host: Server(ADA) for host in hosts}) as http:
        for host in hosts:
            for doing in (
                read(http, At(f"http://{host}/x?secret=1", "ada")),
                http.store(At(f"http://{host}/x?secret=1", "ada"), never(), 5),
            ):
                with pytest.raises(errors.TransferInterrupted) as raised:
                    await doing
                assert str(raised.value).startswith(f"http://{host}/x: ")
                assert not any(secret in str(raised.value) for secret in ("secret", "love", "Basic"))
    await asyncio.gather(*(task for task in talkers if task))


async def test_a_file_is_stored_with_the_login_and_its_size(web_server: WebServer) -> None:
    web_server.protect("/", user="ada", password="love:lace")  # noqa: S106
    async with storage({name(web_server): Server(ADA)}) as http:
        for size in (len(CONTENT), 1, 0):
            await http.store(at(web_server, f"/new/{size}"), pieces(CONTENT[:size]), size)
            assert (web_server.directory / "new" / str(size)).read_bytes() == CONTENT[:size]
        assert [seen.headers["Content-Length"] for seen in web_server.asked("PUT")] == [str(len(CONTENT)), "1", "0"]
        assert web_server.connections == 1


@pytest.mark.parametrize("end", [errors.AttemptGone("canceled"), OSError("the node is away")])
async def test_a_file_whose_end_fails_is_not_stored(http: Http, web_server: WebServer, end: Exception) -> None:
    """Whoever brings the pieces may take it all back until the last moment."""
    for content in (CONTENT, b"x", b""):
        with pytest.raises((type(end), errors.TransferInterrupted)):
            await http.store(at(web_server, "/x"), pieces(content, then=end), len(content))
    assert not (web_server.directory / "x").exists()


@pytest.mark.parametrize("said", [len(CONTENT) + 1, len(CONTENT) - 1, 1, 0])
async def test_a_file_of_another_size_than_was_said_is_not_stored(http: Http, web_server: WebServer, said: int) -> None:
    with pytest.raises(errors.TransferInterrupted, match=r"/x: .*to be stored"):
        await http.store(at(web_server, "/x"), pieces(CONTENT), said)
    assert not (web_server.directory / "x").exists()


async def test_a_refusal_or_redirect_comes_before_the_file_is_sent(http: Http, web_server: WebServer) -> None:
    """Of a large file that is not wanted, not a byte goes on its way; where it is wanted instead, it goes."""
    web_server.misbehave("/x", Answer(413, hang_up=True))
    with pytest.raises(errors.TransferRefused, match="/x: 413 Request Entity Too Large"):
        await http.store(at(web_server, "/x"), never(), 10**12)
    web_server.misbehave("/x", Answer(307, {"Location": "/y"}))
    await http.store(at(web_server, "/x"), pieces(CONTENT), len(CONTENT))
    assert (web_server.directory / "y").read_bytes() == CONTENT


async def test_a_server_that_takes_no_more_is_not_waited_for(http: Http, web_server: WebServer) -> None:
    """Silence in the middle of a file, or after all of it; but the node may take its time."""
    web_server.misbehave("/x", Silent(after_bytes=1000))
    with pytest.raises(errors.TransferInterrupted, match=r"/x: the server was silent for 0\.6 s"):
        await http.store(at(web_server, "/x"), pieces(CONTENT * 20), len(CONTENT) * 20)
    await asyncio.to_thread(web_server.stop)  # what could not be sent would keep a connection open for a while
    await asyncio.to_thread(web_server.start)
    web_server.misbehave("/x", Cut(after_bytes=1_000_000))
    with pytest.raises(errors.TransferInterrupted, match="/x: "):
        await http.store(at(web_server, "/x"), pieces(CONTENT), len(CONTENT))

    async def slow() -> AsyncIterator[bytes]:
        for _ in range(2):
            await asyncio.sleep(0.8)
            yield b"x"

    await http.store(at(web_server, "/slow"), slow(), 2)
    assert (web_server.directory / "slow").read_bytes() == b"xx"


async def test_a_server_that_knows_no_expectation_gets_the_file_all_the_same() -> None:
    """It waits for the file, TESPES for its word: once, then it is known."""
    stored: list[bytes] = []
    talkers: list[asyncio.Task[Any] | None] = []

    async def old(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        talkers.append(asyncio.current_task())
        with contextlib.suppress(asyncio.IncompleteReadError):
            head = await reader.readuntil(b"\r\n\r\n")
            size = next(int(line.split()[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length"))
            stored.append(await reader.readexactly(size))
            writer.write(b"HTTP/1.0 200 OK\r\n\r\n")
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(old, "127.0.0.1", 0)
    host = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server, storage({host: Server(ADA)}, Manners(silence_s=10)) as http:
        await http.store(At(f"http://{host}/x", "ada"), pieces(CONTENT), len(CONTENT))
        began = time.monotonic()
        await http.store(At(f"http://{host}/y", "ada"), pieces(b"again"), 5)
        assert time.monotonic() - began < 1
    await asyncio.gather(*(task for task in talkers if task))
    assert stored == [CONTENT, b"again"]


async def test_more_transfers_than_a_host_may_have_are_put_off(web_server: WebServer) -> None:
    """Each waits a while for its turn; connections are used again, however many files there are."""
    (web_server.directory / "x").write_bytes(CONTENT)
    (web_server.directory / "small").write_bytes(b"x")
    async with storage({name(web_server): Server(through=True)}, Manners(connections=2, silence_s=1.5)) as http:
        await asyncio.gather(*(read(http, at(web_server, "/small")) for _ in range(20)))
        assert web_server.connections == 2
        async with http.fetch(at(web_server, "/x"), None), http.fetch(at(web_server, "/x"), None):
            with pytest.raises(errors.TransferPostponed, match=r"/x: 2 files move from or to 127\.0\.0\.1 already"):
                await read(http, at(web_server, "/x"))
        assert (await read(http, at(web_server, "/x")))[0] == CONTENT


async def test_tespes_goes_only_where_the_settings_send_it(web_server: WebServer) -> None:
    """Whatever asks for it: another server is the node's to visit."""
    async with storage({}) as http:
        with pytest.raises(errors.TransferRefused, match="/x: does not pass through TESPES"):
            await read(http, at(web_server, "/x"))
        with pytest.raises(errors.TransferRefused, match="/x: does not pass through TESPES"):
            await http.store(at(web_server, "/x"), never(), 5)
    assert web_server.seen == []


async def listed(http: Http, where: At) -> list[Entry]:
    entries = http.list(where)
    assert entries is not None
    return [entry async for entry in entries]


async def test_index_pages_show_all_that_is_below_them(http: Http, web_server: WebServer) -> None:
    """With odd names, directories before what is in them; not the page itself in another order, nor what is above."""
    names = ["a.txt", "b c&d.txt", "x:y", "100%", "ünï", "sub/deep/er", 'sub/"quoted"?#', "sub2/a"]
    for each in names:
        file = web_server.directory / "top dir" / each
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"x")
    expected = {*names, "sub", "sub/deep", "sub2"}
    for url in ("/top%20dir", "/top%20dir/", "/top%20dir/?key=1"):
        entries = await listed(http, at(web_server, url))
        assert {entry.name for entry in entries} == expected
        assert len(entries) == len(expected)
        assert {entry.name for entry in entries if entry.is_directory} == {"sub", "sub/deep", "sub2"}
        order = [entry.name for entry in entries]
        assert order.index("sub") < order.index("sub/deep") < order.index("sub/deep/er")


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (Answer(404), "/d/: 404 Not Found"),
        (Answer(200, {"Content-Type": "text/plain"}), "/d/: is not a page with links"),
        (Answer(200, {"Content-Type": "text/html"}, '<a href="a%2Fb">'), "/d/: 'a%2Fb' is not the name"),
        (Answer(200, {"Content-Type": "text/html"}, '<a href="%FF">'), "/d/: the name '%FF' is not UTF-8"),
        (Answer(200, {"Content-Type": "text/html"}, b'<a href="a\xffb">'), r"/d/: the name 'a\\udcffb' is not UTF-8"),
        (Answer(200, {"Content-Type": "text/html"}, '<a href="deeper/">'), "more than 64 directories deep"),
        (Answer(200, {"Content-Type": "text/html"}, "<a>" * 6_000_000), "more than 16,777,216 bytes"),
    ],
)
async def test_what_is_no_index_page_is_refused(http: Http, web_server: WebServer, answer: Answer, why: str) -> None:
    web_server.misbehave("*", answer, times=None)
    with pytest.raises(errors.TransferRefused, match=why):
        await listed(http, at(web_server, "/d"))


NGINX = """
daemon off; worker_processes 1; pid {directory}/pid; error_log {directory}/errors; user root;
events {{}}
http {{
  access_log off; client_body_temp_path {directory}/body; client_max_body_size 1g;
  server {{
    listen 127.0.0.1:{port}; root {directory}/files; autoindex on;
    dav_methods PUT; create_full_put_path on;
  }}
}}
"""


@contextlib.asynccontextmanager
async def nginx(directory: Path) -> AsyncIterator[str]:
    """Another maker's server, that shows directories and takes files; gives `host:port`."""
    program = shutil.which("nginx", path="/usr/sbin:/usr/bin")
    assert program, "no nginx: install Debian's nginx-light"
    port = free_port()
    (directory / "files").mkdir(parents=True)
    (directory / "conf").write_text(NGINX.format(directory=directory, port=port))
    process = await asyncio.create_subprocess_exec(program, "-c", directory / "conf", "-p", directory)
    try:
        async with asyncio.timeout(10):
            while True:
                with contextlib.suppress(OSError):
                    _, writer = await asyncio.open_connection("127.0.0.1", port)
                    writer.close()
                    await writer.wait_closed()
                    break
                await asyncio.sleep(0.05)
        yield f"127.0.0.1:{port}"
    finally:
        process.terminate()
        await process.wait()


async def test_nginx_is_understood(tmp_path: Path) -> None:
    """Its index pages, its ranges, its PUT and its refusals."""
    async with nginx(tmp_path / "nginx") as host, storage({host: Server(through=True)}, Manners(silence_s=10)) as http:
        top = f"http://{host}/top"
        names = {"a.txt", "b c&d.txt", "x:y", "100%", "ünï", "sub/deep/er", 'sub/"quoted"?#', "a" * 100}
        for each in names:
            await http.store(At(urls.below(top, each), "ada"), pieces(CONTENT), len(CONTENT))
        assert {entry.name for entry in await listed(http, At(top, "ada"))} == {*names, "sub", "sub/deep"}
        for each in names:
            content, fetched = await read(http, At(urls.below(top, each), "ada"))
            assert (content == CONTENT, fetched.size_bytes) == (True, len(CONTENT))
            assert fetched.version is not None
            rest, fetched = await read(http, At(urls.below(top, each), "ada"), Resume(1000, fetched.version))
            assert (rest == CONTENT[1000:], fetched.start) == (True, 1000)
        with pytest.raises(errors.TransferRefused, match="/top/missing: 404 Not Found"):
            await read(http, At(f"{top}/missing", "ada"))
        with pytest.raises(errors.TransferRefused, match="/top/big: 413 Request Entity Too Large"):
            await http.store(At(f"{top}/big", "ada"), never(), 2**31)


async def test_nobody_sees_a_secret_by_chance() -> None:
    """In a log or a traceback, say."""
    async with storage({}) as http:
        way = await http.way_in(At("https://ada:love%3Alace@files.example/x?signature=love:lace", "ada"))
    for each in (ADA, TOKEN, Server(TOKEN, owners={"bob": ADA}), address("http://a:love%3Alace@b/c?love:lace"), way):
        assert not any(secret in repr(each) for secret in ("love:lace", "token-of-the-site", "Basic", "YWRhOmxvdmU6bGFjZQ"))


@given(url=st.text() | st.from_regex(r"https?://[^/]{0,12}/\S{0,12}"))
def test_every_url_is_understood_or_refused(url: str) -> None:
    """And what is sent is ASCII without spaces, whatever the client wrote."""
    try:
        sent = address(url).url
    except errors.TransferRefused:
        return
    assert sent.isascii()
    assert sent.isprintable()
    assert " " not in sent
