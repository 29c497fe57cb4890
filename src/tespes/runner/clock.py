"""Time as TESPES writes it, and patience."""

from __future__ import annotations

import os
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Iterator

_FIRST_WAIT_S = 0.2
_LONGEST_WAIT_S = 5.0


def now() -> str:
    """The time: UTC, whole milliseconds, as in 2026-11-22T12:00:00.123Z."""
    seconds, milliseconds = divmod(time.time_ns() // 1_000_000, 1000)
    return "%s.%03dZ" % (time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)), milliseconds)


def waits() -> Iterator[float]:
    """Seconds to wait before each next try: doubling, and varied so that a thousand nodes do not come back at once."""
    wait_s = _FIRST_WAIT_S
    while True:
        yield wait_s * (0.75 + os.urandom(1)[0] / 512)
        wait_s = min(wait_s * 2, _LONGEST_WAIT_S)
