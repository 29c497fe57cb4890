"""A process with many clients that follow the events of a TESPES (see streams.py), and read as fast as they can.

Its arguments: host, port, and the query of each client. It says `ready` when each has the head of its answer, waits for a
line, and says how many bytes came meanwhile.
"""

import asyncio
import sys
from typing import cast

import uvloop


class _Client(asyncio.Protocol):
    """One of them: counts what comes."""

    def __init__(self, query: str) -> None:
        self._query = query
        self.begun = asyncio.get_running_loop().create_future()
        self.received_bytes = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask."""
        way = cast("asyncio.Transport", transport)
        way.write(f"GET /events/stream?{self._query} HTTP/1.1\r\nHost: bench\r\n\r\n".encode())

    def data_received(self, data: bytes) -> None:
        """Count it; the first piece has the head of the answer in it."""
        if not self.begun.done():
            self.begun.set_result(data.startswith(b"HTTP/1.1 200"))
        self.received_bytes += len(data)


async def _follow(host: str, port: int, queries: list[str]) -> None:
    loop, clients = asyncio.get_running_loop(), list[_Client]()
    for query in queries:
        _, client = await loop.create_connection(lambda query=query: _Client(query), host, port)  # type: ignore[misc]
        clients.append(client)
    if not all(await asyncio.gather(*(client.begun for client in clients))):
        raise SystemExit("a client was refused")
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    print(sum(client.received_bytes for client in clients), flush=True)


if __name__ == "__main__":
    uvloop.run(_follow(sys.argv[1], int(sys.argv[2]), sys.argv[3:]))
