"""What TESPES's own log shows of a failure."""

import json
import subprocess
import sys
from typing import Any

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


SAYS = """
import logging as libraries
import sys
import time
import warnings
import aiohttp
import structlog
from tespes import logging
logging.configure("json", "info")
said = structlog.get_logger()
"""


def lines(program: str) -> list[dict[str, Any]]:
    """What a program that does that says, each line an object of JSON."""
    ended = subprocess.run([sys.executable, "-c", SAYS + program], capture_output=True, text=True, check=False, timeout=30)
    return [json.loads(line) for line in ended.stderr.splitlines()]


def test_whoever_speaks_speaks_json_in_lines() -> None:
    """Libraries, Python's warnings, and the error that ends it all; a traceback of many lines is one text."""
    program = """
libraries.getLogger("asyncio").error("a library %s", "fails", exc_info=ValueError("of\\nmany lines"))
libraries.getLogger("aiohttp.server").error("a request failed", exc_info=aiohttp.ClientConnectionResetError())
warnings.warn("something is old")
raise KeyError("the end")
"""
    library, warning, end = lines(program)  # and nothing of a client that went before it had its answer
    assert (library["event"], library["logger"], library["level"]) == ("a library fails", "asyncio", "error")
    assert library["exception"] == "ValueError: of\nmany lines"
    assert (warning["logger"], "something is old" in warning["event"]) == ("py.warnings", True)
    assert (end["level"], end["event"]) == ("critical", "an error ended TESPES")
    assert "KeyError: 'the end'" in end["exception"]
    assert all(list(line)[:3] == ["timestamp", "level", "event"] for line in (library, warning, end))


def test_no_value_is_too_strange_to_be_told() -> None:
    """Half a character, as in names of files; a huge number; what has no form in JSON."""
    (line,) = lines("said.info('told', name='a\\udcff', number=2**70, what={1, 2}.__class__)")
    assert (line["name"], line["number"]) == ("a\udcff", 2**70)


def test_a_warning_that_is_repeated_is_said_once_a_minute() -> None:
    """And then how often it was left out. Other warnings are said, and what is no warning always."""
    program = """
for reason in ("x", "x", "y", "x"):
    said.warning("waits", reason=reason)
for _ in range(2):
    said.info("happens")
clock, time.monotonic = time.monotonic, lambda: clock() + 61
said.warning("waits", reason="x")
"""
    told = [(line["event"], line.get("reason"), line.get("left_out")) for line in lines(program)]
    happens = ("happens", None, None)
    assert told == [("waits", "x", None), ("waits", "y", None), happens, happens, ("waits", "x", 2)]


def test_errors_that_nobody_catches_are_lines_too() -> None:
    """Of a thread, and of what is thrown away: Python itself would write them in many lines."""
    program = """
import threading
class Thrown:
    def __del__(self):
        raise ValueError("of\\nmany lines")
thread = threading.Thread(target=lambda: 1 / 0, name="worker")
thread.start()
thread.join()
Thrown()
"""
    of_thread, ignored = lines(program)
    assert (of_thread["level"], of_thread["event"], of_thread["thread"]) == ("error", "an error ended a thread", "worker")
    assert "ZeroDivisionError" in of_thread["exception"]
    assert (ignored["event"], ignored["where"]) == ("an error was ignored", "Thrown.__del__")
    assert ignored["exception"].endswith("ValueError: of\nmany lines")


@pytest.mark.parametrize("style", ["console", "json"])
def test_a_log_that_cannot_be_written_stops_nobody(style: str) -> None:
    """A full disk: lines are lost. Whoever appends to the log of events tells of it, and must not fail for that."""
    program = SAYS.replace("json", style) + "for _ in range(3):\n    said.info('x' * 100_000)\nprint('went on')"
    with open("/dev/full", "w") as full:  # noqa: PTH123 - a device
        ended = subprocess.run(
            [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=full, text=True, check=False, timeout=30
        )
    assert ended.stdout == "went on\n"
