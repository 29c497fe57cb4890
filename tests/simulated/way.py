"""A way to TCP servers that can be cut, shut, or made slow: what a network does to a connection."""

import asyncio
import ssl
from typing import Self


class Way:
    """Who connects to its `port` is led to one of the targets in turn; an async context manager.

    :param targets: ports on this machine; may be changed at any time, for connections that come later
    :param tls: what who connects has to speak, if anything; the targets are spoken to without
    """

    def __init__(self, *targets: int, tls: ssl.SSLContext | None = None) -> None:
        self.port = 0
        self._tls = tls
        self.targets = list(targets)
        self.is_open = True
        self.delay_s = 0.0
        self._turn = 0
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._leading: set[asyncio.Task[None]] = set()

    def cut(self) -> None:
        """End every connection, without a word."""
        for writer in self._writers:
            writer.transport.abort()

    def shut(self) -> None:
        """End every connection and refuse new ones."""
        self.is_open = False
        self.cut()

    def open(self) -> None:
        """Let everybody through again."""
        self.is_open = True

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._arrive, "127.0.0.1", 0, backlog=512, ssl=self._tls)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        self.shut()
        for leading in list(self._leading):
            leading.cancel()
        await asyncio.gather(*self._leading, return_exceptions=True)

    async def _arrive(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._leading.add(task)
        try:
            await self._lead(reader, writer)
        except asyncio.CancelledError:
            return  # only the end of the way cancels
        finally:
            self._leading.discard(task)
            writer.transport.abort()

    async def _lead(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not self.is_open or not self.targets:
            return
        self._turn += 1
        target = self.targets[self._turn % len(self.targets)]
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", target)
        except OSError:
            return
        ends = {writer, far_writer}
        self._writers |= ends
        try:
            pumps = [
                asyncio.create_task(self._pump(reader, far_writer)),
                asyncio.create_task(self._pump(far_reader, writer)),
            ]
            try:
                await asyncio.gather(*pumps)
            finally:
                for pump in pumps:
                    pump.cancel()
        finally:
            self._writers -= ends
            far_writer.transport.abort()

    async def _pump(self, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        """A connection that breaks on one side breaks on the other, too: nobody is left waiting at it."""
        try:
            while data := await source.read(65536):
                if self.delay_s:
                    await asyncio.sleep(self.delay_s)
                target.write(data)
                await target.drain()
            if target.can_write_eof():
                target.write_eof()
        except OSError:
            target.transport.abort()
