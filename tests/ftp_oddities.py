"""FTP as it goes wrong: a gate that cuts connections, and a server that does as a test says."""

import asyncio
import contextlib
import math
import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

from tespes.local.ports import LOOPBACK


class Gate:
    """A way to a server on which each connection is cut after a random number of bytes; an async context manager.

    It reads an FTP server's answers to EPSV and puts a gate before each data connection too.

    :param port: the server's
    :param most_bytes: that a connection lives for
    :param most_cuts: after these, every connection lives
    """

    def __init__(self, port: int, chance: random.Random, most_bytes: int, most_cuts: float = math.inf) -> None:
        self.cuts = 0
        self.is_open = True  # as long as it is, nothing is cut
        self._target, self._chance, self._most, self._most_cuts = port, chance, most_bytes, most_cuts
        self._servers: list[asyncio.Server] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: list[asyncio.StreamWriter] = []
        self.port = 0

    async def __aenter__(self) -> Self:
        self.port = await self._gate(self._target)
        return self

    async def __aexit__(self, *_: object) -> None:
        for server in self._servers:
            server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for writer in self._writers:
            writer.transport.abort()
        await asyncio.sleep(0.01)

    async def _gate(self, target: int) -> int:
        async def through(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            self._writers.append(writer)
            there_reader, there_writer = await asyncio.open_connection(LOOPBACK, target)
            self._writers.append(there_writer)
            left = [self._chance.randrange(1, self._most)]
            both = [
                asyncio.create_task(self._pass(reader, there_writer, left, both_ends=(writer, there_writer))),
                asyncio.create_task(self._pass(there_reader, writer, left, both_ends=(writer, there_writer))),
            ]
            self._tasks.update(both)
            await asyncio.gather(*both, return_exceptions=True)

        server = await asyncio.start_server(through, LOOPBACK, 0)
        self._servers.append(server)
        port: int = server.sockets[0].getsockname()[1]
        return port

    async def _pass(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        left: list[int],
        both_ends: tuple[asyncio.StreamWriter, asyncio.StreamWriter],
    ) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                if data.startswith(b"229 ") and b"|||" in data:
                    before, port, after = data.split(b"|||")[0], data.split(b"|||")[1].split(b"|")[0], b"|)\r\n"
                    data = before + b"|||" + str(await self._gate(int(port))).encode() + after
                if not self.is_open and self.cuts < self._most_cuts:
                    left[0] -= len(data)
                    if left[0] < 0:
                        self.cuts += 1
                        writer.write(data[: left[0]])
                        break
                writer.write(data)
                await writer.drain()
        if left[0] < 0 and self._chance.random() < 0.5:
            for end in both_ends:
                end.transport.abort()
        for end in both_ends if left[0] < 0 else (writer,):
            end.close()


@dataclass
class OddServer:
    """A small FTP server on loopback that has one file and does what real ones do not.

    :param content: of every file that is asked for, and of every directory, line by line
    :param says: answers instead of the usual ones, by command; `{}` is the data port. An empty one is silence, `CLOSE`
        closes the connection, `CUT` closes the data connection in the middle
    :param rest: whether what REST says is done, as well as said
    """

    content: bytes = b""
    says: Mapping[str, str] = field(default_factory=dict)
    rest: bool = True
    commands: list[str] = field(default_factory=list)
    connections: int = 0
    received: bytes = b""
    port: int = 0
    _server: asyncio.Server | None = None
    _writers: list[asyncio.StreamWriter] = field(default_factory=list)

    @property
    def url(self) -> str:
        """Without a path."""
        return f"ftp://{LOOPBACK}:{self.port}"

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._control, LOOPBACK, 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        for writer in self._writers:
            writer.transport.abort()
        await asyncio.sleep(0.01)

    async def _control(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.append(writer)
        self.connections += 1
        data: asyncio.Queue[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = asyncio.Queue()

        def begun(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            self._writers.append(writer)
            data.put_nowait((reader, writer))

        passive = await asyncio.start_server(begun, LOOPBACK, 0)
        start = 0
        try:
            if not self._say(writer, "greeting", "220 at your service"):
                return
            while line := (await reader.readline()).decode().strip():
                self.commands.append(line)
                name, _, argument = line.partition(" ")
                while name in {"EPSV", "PASV"} and not data.empty():
                    data.get_nowait()  # of a command that was refused
                start = int(argument) if name == "REST" and self.rest else start
                usual = self._usual(name, passive)
                if not self._say(writer, name, usual) or name == "QUIT":
                    return
                if name in {"RETR", "STOR", "MLSD", "LIST"} and self.says.get(name, usual).startswith("1"):
                    await self._move(name, *await data.get(), start)
                    start = 0
                    if not self._say(writer, f"{name} end", "226 well done"):
                        return
        except OSError:
            pass
        finally:
            passive.close()
            writer.close()

    def _usual(self, name: str, passive: asyncio.Server) -> str:
        port = passive.sockets[0].getsockname()[1]
        usual = {
            "USER": "331 and the password?",
            "PASS": "230 welcome",
            "TYPE": "200 fine",
            "CWD": "250 there",
            "EPSV": f"229 so (|||{port}|)",
            "PASV": f"227 so (192,0,2,1,{port // 256},{port % 256})",
            "SIZE": f"213 {len(self.content)}",
            "MDTM": "213 20200101000000",
            "REST": "350 from there",
            "RETR": "150 here",
            "STOR": "150 go on",
            "MLSD": "150 here",
            "LIST": "150 here",
            "DELE": "250 gone",
            "MKD": "257 made",
            "RNFR": "350 to?",
            "RNTO": "250 so be it",
            "QUIT": "221 bye",
        }
        return usual.get(name, "502 what?")

    async def _move(self, name: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, start: int) -> None:
        if name == "STOR":
            self.received = await reader.read() if self.says.get("data") != "CUT" else await reader.readexactly(1)
        elif self.says.get("data") == "CUT":
            writer.write(self.content[start : len(self.content) // 2])
        elif self.says.get("data") == "SILENCE":
            return
        else:
            writer.write(self.content[start:])
        writer.close()

    def _say(self, writer: asyncio.StreamWriter, what: str, usual: str) -> bool:
        words = self.says.get(what, usual)
        if words == "CLOSE":
            return False
        if words:
            writer.write(words.encode(errors="surrogateescape") + b"\r\n")
        return True
