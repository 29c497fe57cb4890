"""TCP ports on loopback: which are free, and which answer."""

import asyncio
import contextlib
import secrets
import socket
from typing import Final

from tespes import errors

LOOPBACK: Final = "127.0.0.1"
# Below the range from which Linux takes the ports of outgoing connections (ip_local_port_range, 32768 and up), so that
# a port that is kept for the next start is not in use by a passing connection then.
_FIRST, _LAST = 20_000, 32_767
_TRIES = 200


def free_port() -> int:
    """A port of 127.0.0.1, chosen at random, on which nothing listens at this moment.

    :raises errors.SetupError: none was found
    """
    return free_ports(1)[0]


def free_ports(count: int) -> list[int]:
    """As many different ports as that, each as from `free_port`."""
    found: list[int] = []
    for _ in range(_TRIES):
        if len(found) == count:
            return found
        port = _FIRST + secrets.randbelow(_LAST - _FIRST + 1)
        if port not in found and is_free(port):
            found.append(port)
    raise errors.SetupError(f"no free TCP port between {_FIRST} and {_LAST} on {LOOPBACK}: see ss -ltnp")


def is_free(port: int) -> bool:
    with socket.socket() as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


async def listens(host: str, port: int, *, timeout_s: float = 1.0) -> bool:
    """Whether something accepts a TCP connection there within `timeout_s`."""
    try:
        async with asyncio.timeout(timeout_s):
            _, writer = await asyncio.open_connection(host, port)
    except OSError:
        return False
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    return True
