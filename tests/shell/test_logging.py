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
