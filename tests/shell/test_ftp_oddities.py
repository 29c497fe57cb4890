"""FTP servers and networks that misbehave: silence, lies, garbage, cut connections."""

import asyncio
import contextlib
import os
import random
import re
import time
import tracemalloc
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from ftp_at_work import SILENCE_S, ftp, got, listed, on_uvloop, put, version
from ftp_oddities import Gate, OddServer
from ftp_servers import Pyftpdlib, Vsftpd
from tespes import errors
from tespes.storage.ftp import Ftp, Server
from tespes.storage.promise import At, Resume

pytestmark = pytest.mark.servers

CONTENT = os.urandom(500_000)
STEPS = ["greeting", "USER", "PASS", "TYPE", "SIZE", "MDTM", "EPSV", "RETR", "RETR end"]


@on_uvloop
async def test_the_odd_server_is_not_odd_by_itself() -> None:
    """The tests below change one thing each."""
    async with OddServer(CONTENT) as server, ftp() as storage:
        assert await got(storage, f"{server.url}/file") == CONTENT
        first = await version(storage, f"{server.url}/file")
        assert first is not None
        assert await got(storage, f"{server.url}/file", Resume(1000, first)) == CONTENT[1000:]
        await put(storage, f"{server.url}/file", CONTENT)
        assert server.received == CONTENT
        assert server.connections == 1


@on_uvloop
async def test_silence_at_any_step_is_noticed() -> None:
    """After as long as the settings say, and with words; asking again may help."""

    async def silent_at(step: str) -> None:
        async with OddServer(CONTENT, {step: ""}) as server, ftp() as storage:
            with pytest.raises(errors.TransferInterrupted, match=f"file: the server said nothing for {SILENCE_S} s"):
                await got(storage, f"{server.url}/file")

    began = time.monotonic()
    await asyncio.gather(*(silent_at(step) for step in STEPS))
    assert time.monotonic() - began < 4 * SILENCE_S


@on_uvloop
async def test_a_server_that_will_always_be_ready_soon_is_not_waited_for() -> None:
    """All of its greeting has to come in time: nobody else can use the connection meanwhile."""
    talkers: list[asyncio.Task[None] | None] = []

    async def soon(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        talkers.append(asyncio.current_task())
        with contextlib.suppress(OSError):
            while not reader.at_eof():
                writer.write(b"120 soon\r\n")
                await writer.drain()
                await asyncio.sleep(0.05)
        writer.close()

    server = await asyncio.start_server(soon, "127.0.0.1", 0)
    async with server, ftp() as storage, asyncio.timeout(10 * SILENCE_S):
        with pytest.raises(errors.TransferInterrupted, match=f"file: the server was not ready in {SILENCE_S} s"):
            await got(storage, f"ftp://127.0.0.1:{server.sockets[0].getsockname()[1]}/file")
        await asyncio.gather(*(task for task in talkers if task))


@pytest.mark.parametrize(
    ("age", "is_sure"),
    [
        (timedelta(minutes=2), True),
        (timedelta(seconds=30), False),
        (timedelta(hours=-2), False),
        ("20200101000000.123", True),
        ("2020", False),
        ("20209999999999", False),
    ],
)
@on_uvloop
async def test_a_file_that_changed_a_moment_ago_may_change_in_the_same_second(age: timedelta | str, is_sure: bool) -> None:  # noqa: FBT001
    """Its version would be that of another file then. A time in the future is that of a clock that goes wrong."""
    changed = age if isinstance(age, str) else (datetime.now(UTC) - age).strftime("%Y%m%d%H%M%S")
    async with OddServer(CONTENT, {"MDTM": f"213 {changed}"}) as server, ftp() as storage:
        found = await version(storage, f"{server.url}/file")
        assert found == (f"{len(CONTENT)} {changed}" if is_sure else None)


@on_uvloop
async def test_silence_in_the_middle_of_a_file_is_noticed() -> None:
    """The data connection is there, and nothing comes."""
    async with OddServer(CONTENT, {"data": "SILENCE"}) as server, ftp() as storage:
        with pytest.raises(errors.TransferInterrupted, match="said nothing"):
            await got(storage, f"{server.url}/file")
        with pytest.raises(errors.TransferInterrupted, match="said nothing"):
            await listed(storage, f"{server.url}/directory")


@on_uvloop
async def test_a_server_that_takes_nothing_any_more_is_noticed() -> None:
    """A file that goes, and then does not."""
    async with OddServer(says={"data": "CUT", "STOR end": "", "DELE": "250 gone"}) as server, ftp() as storage:
        with pytest.raises(errors.TransferInterrupted):
            await put(storage, f"{server.url}/file", os.urandom(20_000_000))
        assert any(command.startswith("DELE /.") for command in server.commands)


@on_uvloop
async def test_a_connection_that_closes_at_any_step_is_no_refusal() -> None:
    """Asking again may help."""
    for step in STEPS:
        async with OddServer(CONTENT, {step: "CLOSE"}) as server, ftp() as storage:
            with pytest.raises(errors.TransferInterrupted, match=r"closed the connection|reset"):
                await got(storage, f"{server.url}/file")


@on_uvloop
async def test_fewer_bytes_than_announced_are_no_file() -> None:
    """A cut data connection looks like an end, and the server may even say that all is well."""
    async with OddServer(CONTENT, {"data": "CUT"}) as server, ftp() as storage:
        with pytest.raises(errors.TransferInterrupted, match="the server said 500,000 bytes, 250,000 came"):
            await got(storage, f"{server.url}/file")
    async with OddServer(CONTENT, {"SIZE": "213 499999"}) as server, ftp() as storage:
        with pytest.raises(errors.TransferInterrupted, match="the server said 499,999 bytes, more came"):
            await got(storage, f"{server.url}/file")


@on_uvloop
async def test_fewer_bytes_on_the_server_than_were_sent_are_no_file() -> None:
    """It is asked before the file gets its name."""
    async with OddServer(says={"SIZE": "213 499999"}) as server, ftp() as storage:
        with pytest.raises(errors.TransferInterrupted, match="of 500,000 bytes the server has 499,999"):
            await put(storage, f"{server.url}/file", CONTENT)
        assert not [command for command in server.commands if command.startswith("RNTO")]
        assert any(command.startswith("DELE /.") for command in server.commands)


@on_uvloop
async def test_a_server_that_lies_about_going_on_is_not_asked_to_any_more() -> None:
    """It says yes to REST and begins at the beginning: after that, whole files come, and nobody tries to go on."""
    async with OddServer(CONTENT, rest=False) as server, ftp() as storage:
        first = await version(storage, f"{server.url}/file")
        assert first is not None
        with pytest.raises(errors.TransferInterrupted, match="more came"):
            await got(storage, f"{server.url}/file", Resume(1000, first))
        for start in (1000, len(CONTENT)):
            assert await got(storage, f"{server.url}/file", Resume(start, first)) == CONTENT


@pytest.mark.parametrize(
    ("says", "kind", "why"),
    [
        ({"greeting": "421 too many users"}, errors.TransferInterrupted, "421 too many users"),
        ({"USER": "530 Sorry, the maximum number of clients"}, errors.TransferInterrupted, "530 Sorry"),
        ({"PASS": "530 who?"}, errors.TransferRefused, "530 who[?]"),
        ({"RETR": "450 busy"}, errors.TransferInterrupted, "450 busy"),
        ({"RETR": "550 no such file"}, errors.TransferRefused, "550 no such file"),
        ({"RETR end": "451 disk trouble"}, errors.TransferInterrupted, "451 disk trouble"),
        ({"SIZE": "450 locked"}, errors.TransferInterrupted, "450 locked"),
        ({"EPSV": "425 no port"}, errors.TransferInterrupted, "425 no port"),
        ({"greeting": "SSH-2.0-OpenSSH_9.2"}, errors.TransferInterrupted, "that is no FTP$"),
        ({"TYPE": "\x00\xff"}, errors.TransferInterrupted, "that is no FTP$"),
        ({"greeting": "220-\r\n" * 400_000}, errors.TransferInterrupted, "does not end"),
        ({"greeting": "x" * 3_000_000}, errors.TransferInterrupted, "does not end"),
        ({"EPSV": "229 (|||0|)"}, errors.TransferInterrupted, "the server names port 0"),
        ({"EPSV": "229 (|||99999|)"}, errors.TransferInterrupted, "the server names port 99999"),
        ({"EPSV": "502 what?", "PASV": "227 so"}, errors.TransferInterrupted, "names no port"),
        ({"EPSV": "229 (|||1|)"}, errors.TransferInterrupted, "Connect call failed|refused"),
    ],
    ids=lambda value: str(value)[:40] if isinstance(value, dict) else "",
)
@on_uvloop
async def test_what_a_server_says_decides_whether_asking_again_helps(
    says: dict[str, str], kind: type[errors.TransferError], why: str
) -> None:
    """4xx and nonsense: perhaps; 5xx: no. Its words are part of the reason."""
    async with OddServer(CONTENT, says) as server, ftp() as storage:
        with pytest.raises(kind, match=f"{re.escape(server.url)}/file: .*{why}"):
            await got(storage, f"{server.url}/file")


@on_uvloop
async def test_nobody_there_may_be_there_later() -> None:
    """Nobody listens, or the name is unknown."""
    async with ftp() as storage:
        for host in ("127.0.0.1:1", "nobody.invalid"):
            with pytest.raises(errors.TransferInterrupted, match=rf"^ftp://{host}/file: \w+"):
                await got(storage, f"ftp://{host}/file")


@on_uvloop
async def test_data_comes_from_the_host_that_was_asked() -> None:
    """The address in the answer to PASV is one behind NAT, or somebody else's: it is not used."""
    async with OddServer(CONTENT, {"EPSV": "500 what?"}) as server, ftp() as storage:
        assert await got(storage, f"{server.url}/file") == CONTENT
        assert await got(storage, f"{server.url}/file") == CONTENT
        assert server.commands.count("EPSV") == 1
        assert server.commands.count("PASV") == 2


@on_uvloop
async def test_a_disk_that_is_full_is_told_in_the_servers_words() -> None:
    """The data connection breaks, and the control connection says why."""
    async with OddServer(says={"data": "CUT", "STOR end": "452 no space left"}) as server, ftp() as storage:
        with pytest.raises(errors.TransferInterrupted, match="452 no space left"):
            await put(storage, f"{server.url}/file", os.urandom(20_000_000))


@on_uvloop
async def test_a_file_that_is_in_the_way_of_a_rename_is_put_aside() -> None:
    """Some servers do not rename onto a file; if the second try fails as well, the old file comes back."""
    async with OddServer(says={"RNTO": "553 there is one"}) as server, ftp() as storage:
        with pytest.raises(errors.TransferRefused, match="553 there is one"):
            await put(storage, f"{server.url}/file", b"")
        assert "RNFR /file" in server.commands


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("type=file;size=1; a/b", "a name that cannot be used"),
        ("type=dir; ../..", "a name that cannot be used"),
        ("type=file; a\0b", "a name that cannot be used"),
        ("type=file; \udce9t\udce9", r"a name that cannot be used: 'type=file; \\\\xe9t\\\\xe9'"),
        ("type=file; ", "a name that cannot be used"),
        ("what is this", "the listing has a line that cannot be read: 'what is this'"),
    ],
)
@on_uvloop
async def test_a_listing_that_cannot_be_trusted_is_refused(line: str, why: str) -> None:
    """A name that leads elsewhere, or none at all; and no such name gets into a command."""
    async with OddServer(f"{line}\r\n".encode(errors="surrogateescape")) as server, ftp() as storage:
        with pytest.raises(errors.TransferRefused, match=f"{server.url}/directory: {why}"):
            await listed(storage, f"{server.url}/directory")
        assert {command.partition(" ")[2] for command in server.commands if command[:3] == "CWD"} == {"/directory"}


@on_uvloop
async def test_what_was_left_behind_is_in_no_listing() -> None:
    """A file that was being stored when TESPES died; whatever merely looks like it is somebody's file."""
    names = [".0123456789abcdef.part", ".0123456789abcdef.old", "0123456789abcdef.part", ".0123456789abcdef.part2"]
    lines = "".join(f"type=file;size=1; {name}\r\n" for name in names)
    async with OddServer(lines.encode()) as server, ftp() as storage:
        assert [entry.name for entry in await listed(storage, f"{server.url}/directory")] == names[1:]


@on_uvloop
async def test_a_directory_of_many_files_keeps_nobody_waiting() -> None:
    """Its listing is read beside everything else."""
    longest, last = 0.0, time.monotonic()

    async def ticks() -> None:
        nonlocal longest, last
        while True:
            longest, last = max(longest, time.monotonic() - last), time.monotonic()
            await asyncio.sleep(0.001)

    lines = b"".join(
        b"-rw-r--r--    1 ftp      ftp            12 Jan 01 00:00 file number %d\r\n" % number for number in range(60_000)
    )
    async with OddServer(lines, {"MLSD": "502 what?"}) as server, ftp(silence_s=10) as storage:
        ticking = asyncio.create_task(ticks())
        entries = storage.list(At(f"{server.url}/directory", "ada"))
        began = time.monotonic()
        assert (await anext(entries)).name == "file number 0"
        took = time.monotonic() - began
        await asyncio.sleep(0.01)
        ticking.cancel()
        await entries.aclose()
    assert longest < took / 2


@on_uvloop
async def test_a_carriage_return_in_a_listing_gets_into_no_command() -> None:
    """Nor does anything after it."""
    async with OddServer(b"type=dir; a\rDELE /b\r\n") as server, ftp() as storage:
        with pytest.raises(errors.TransferRefused, match="a name that cannot be used"):
            await listed(storage, f"{server.url}/directory")
        assert not [command for command in server.commands if "DELE" in command]


@on_uvloop
async def test_a_listing_without_end_is_refused() -> None:
    """Every directory holds another."""
    async with OddServer(b"type=dir; again\r\n") as server, ftp() as storage:
        with pytest.raises(errors.TransferRefused, match="the same directory 20 times inside itself"):
            await listed(storage, f"{server.url}/directory")


@on_uvloop
async def test_a_directory_that_may_not_be_read_is_not_empty() -> None:
    """Though vsftpd says so in the words of a success only."""
    says = {"MLSD": "502 what?", "LIST end": "226 Transfer done (but failed to open directory)."}
    async with OddServer(says=says) as server, ftp() as storage:
        with pytest.raises(errors.TransferRefused, match="failed to open directory"):
            await listed(storage, f"{server.url}/directory")


@on_uvloop
async def test_words_in_an_old_character_set_are_shown_as_text() -> None:
    """A reason becomes JSON, and nobody's terminal obeys it."""
    async with OddServer(says={"SIZE": "450 gel\udcf6scht \x1b[2J"}) as server, ftp() as storage:
        with pytest.raises(errors.TransferInterrupted, match=r"450 gel\ufffdscht \?\[2J$"):
            await got(storage, f"{server.url}/file")


@on_uvloop
async def test_an_empty_directory_is_no_error() -> None:
    """Though some servers call it one."""
    async with OddServer(says={"MLSD": "550 No files found"}) as server, ftp() as storage:
        assert await listed(storage, f"{server.url}/directory") == []


@pytest.mark.parametrize("seed", [1, 2])
@on_uvloop
async def test_after_any_cut_the_bytes_are_right(tmp_path: Path, seed: int) -> None:
    """Control and data connections are cut after random numbers of bytes; who goes on where it broke gets the file."""
    chance = random.Random(seed)
    kind = Vsftpd if seed == 1 else Pyftpdlib
    with kind(tmp_path / "files") as server:
        (server.directory / "file").write_bytes(CONTENT)
        os.utime(server.directory / "file", (1, 1))
        async with Gate(server.port, chance, most_bytes=300_000) as gate, ftp(silence_s=2) as storage:
            url = server.url.replace(f":{server.port}", f":{gate.port}")
            gate.is_open = False
            started_at: list[int] = []
            while gate.cuts < 25:
                assert await _persistently(storage, f"{url}/file", started_at) == CONTENT
            assert any(started_at)
        assert [path.name for path in server.directory.iterdir()] == ["file"]


async def _persistently(storage: Ftp, url: str, started_at: list[int]) -> bytes:
    whole, resume = b"", None
    while True:
        try:
            async with storage.fetch(At(url, "ada"), resume) as fetched:
                started_at.append(fetched.start)
                whole = whole[: fetched.start]
                async for piece in fetched.pieces:
                    whole += piece
                    resume = Resume(len(whole), fetched.version or "")
                return whole
        except errors.TransferInterrupted:
            continue


@on_uvloop
async def test_after_any_cut_a_stored_file_is_whole_or_not_there(tmp_path: Path) -> None:
    """Under its own name there is never a part of it."""
    with Vsftpd(tmp_path / "files") as server:
        async with Gate(server.port, random.Random(3), most_bytes=600_000) as gate, ftp(silence_s=2) as storage:
            url = server.url.replace(f":{server.port}", f":{gate.port}")
            gate.is_open = False
            for number in range(15):
                try:
                    await put(storage, f"{url}/{number}", CONTENT)
                except errors.TransferInterrupted:
                    continue
                assert (server.directory / f"{number}").read_bytes() == CONTENT
            assert gate.cuts > 5
        for path in server.directory.iterdir():
            assert path.name.startswith(".") or path.read_bytes() == CONTENT


@pytest.mark.slow
@on_uvloop
async def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    """Neither if the other end is slow."""
    size_bytes = 200 * 2**20

    async def source() -> AsyncIterator[bytes]:
        for _ in range(size_bytes // 2**16):
            yield bytes(2**16)

    with Vsftpd(tmp_path / "files") as server:
        async with ftp({server.host: Server()}, silence_s=10) as storage:
            tracemalloc.start()
            await storage.store(At(f"{server.url}/file", "ada"), source(), size_bytes)
            come = 0
            async with storage.fetch(At(f"{server.url}/file", "ada"), None) as fetched:
                async for piece in fetched.pieces:
                    come += len(piece)
                    if come < 10 * 2**20:
                        await asyncio.sleep(0.005)
            assert come == size_bytes
            assert tracemalloc.get_traced_memory()[1] < 8 * 2**20
            tracemalloc.stop()
