"""The time of day, as a machine has it whose clock somebody sets: for what runs in one context of this process.

TESPES asks for the time of day in one place, `tespes.flow.execute.now`. Here it is asked of the clock of the context.
"""

import contextlib
import time
from collections.abc import Iterator
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Self

import pytest

from tespes.flow import execute


@dataclass
class WallClock:
    """A clock that can be set.

    :param told: for each time of day that it told, the last moment of the monotonic clock at which it did
    """

    offset: timedelta = timedelta(0)
    told: dict[datetime, float] = field(default_factory=dict)

    def now(self) -> datetime:
        """The time of day."""
        at = datetime.now(UTC) + self.offset
        at = at.replace(microsecond=at.microsecond // 1000 * 1000)
        self.told[at] = time.monotonic()
        return at


_CLOCK: ContextVar[WallClock | None] = ContextVar("_CLOCK", default=None)


class _ContextTime(datetime):
    """`datetime`, whose `now` is that of the context's clock."""

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> Self:
        clock = _CLOCK.get()
        at = datetime.now(tz) if clock is None else clock.now()
        return cls.fromtimestamp(at.timestamp(), tz)


@contextlib.contextmanager
def replaced() -> Iterator[None]:
    """While inside, TESPES's time of day is that of the clock of the context that asks."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(execute, "datetime", _ContextTime)
        yield


def use(clock: WallClock) -> None:
    """From now on this context, and what is started in it, has that clock."""
    _CLOCK.set(clock)
