"""What TESPES's own log shows of a failure."""

import subprocess
import sys

import pytest

FAILS = """
import structlog
from tespes import logging
logging.configure({style!r}, "info")
def fail(token):
    raise ZeroDivisionError
try:
    fail("".join(["s3", "cret"]))
except ZeroDivisionError:
    structlog.get_logger().exception("a request failed")
"""


@pytest.mark.parametrize("style", ["console", "json"])
def test_a_traceback_shows_no_values(style: str) -> None:
    """Among the values of variables are tokens and what users sent; structlog shows them where it finds rich."""
    ended = subprocess.run(
        [sys.executable, "-c", "import rich\n" + FAILS.format(style=style)],
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    assert "a request failed" in ended.stderr
    assert "in fail" in ended.stderr
    assert "ZeroDivisionError" in ended.stderr
    assert "s3cret" not in ended.stderr


REFUSES = """
import asyncio
from aiohttp import web
from tespes import logging
logging.configure("json", "info")
async def fail(_):
    raise ZeroDivisionError
async def main():
    server = web.Server(fail)
    port = (await asyncio.get_running_loop().create_server(server, "127.0.0.1", 0)).sockets[0].getsockname()[1]
    for line in (b"GET /" + b"x" * 100_000, b"rubbish", b"GET / HTTP/1.0"):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(line + b"\\r\\n\\r\\n")
        print((await reader.readline()).decode().split()[1])
        writer.close()
asyncio.run(main())
"""


def test_what_is_no_http_does_not_fill_the_log() -> None:
    """A client that sends rubbish is told so; a failure of ours still leaves its traceback."""
    ended = subprocess.run([sys.executable, "-c", REFUSES], capture_output=True, text=True, check=True, timeout=30)
    assert ended.stdout.split() == ["400", "400", "500"]
    assert ended.stderr.count("Traceback") == 1
    assert "ZeroDivisionError" in ended.stderr
