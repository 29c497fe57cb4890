"""Whether this process can serve, and what is not as it should be: one line in the log for each change, and a report.

A check says what it finds. What is `away` means that requests cannot be served; what is `degraded`, that something waits
or is about to fail, and a person should look.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

import structlog

from tespes import errors

_EVERY_S: Final = 5.0
_AT_MOST_S: Final = 3.0
_FRESH_S: Final = 1.0
_SETTLES_S: Final = 4.0  # what is not there yet when a process begins is no news

_log = structlog.get_logger(__name__)


class Level(StrEnum):
    """How bad it is, worst last."""

    READY = "ready"
    DEGRADED = "degraded"
    AWAY = "away"


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check found.

    :param reason: what is the matter, for a person; None if nothing is
    :param facts: numbers and names, for those who want to see more
    """

    level: Level = Level.READY
    reason: str | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)

    def document(self) -> dict[str, Any]:
        """For a report."""
        return {"status": self.level.value, **({"reason": self.reason} if self.reason else {}), **self.facts}


Check = Callable[[], Awaitable[Finding]]
Report = Mapping[str, Finding]


class Health:
    """All checks of this process, by name. `report` is what they found last; see `look`."""

    def __init__(self, checks: Mapping[str, Check]) -> None:
        self._checks = checks
        self._last: dict[str, Finding] = {}
        self.report: Report = {}
        self._looked_at = float("-inf")
        self._began = time.monotonic()
        self._turn = asyncio.Lock()

    async def run(self) -> None:
        """Look again and again until cancelled, so that the log says what changes even if nobody asks."""
        while True:
            await self.look()
            await asyncio.sleep(_EVERY_S)

    async def look(self) -> Report:
        """What all checks find now, or found a moment ago, however many ask; none takes long."""
        async with self._turn:
            if time.monotonic() - self._looked_at > _FRESH_S:
                found = await asyncio.gather(*map(_checked, self._checks.values()))
                self.report, self._looked_at = dict(zip(self._checks, found, strict=True)), time.monotonic()
                for name, finding in self.report.items():
                    self._tell(name, finding)
            return self.report

    def _tell(self, name: str, found: Finding) -> None:
        if found.level is Level.DEGRADED and time.monotonic() - self._began < _SETTLES_S:
            return
        before = self._last.get(name, Finding())
        self._last[name] = found
        if found.level is not Level.READY and found.level is not before.level:
            _log.warning("something is not as it should be", check=name, status=found.level.value, reason=found.reason)
        elif found.level is Level.READY and before.level is not Level.READY:
            _log.info("something is as it should be again", check=name)


def worst(report: Report) -> Level:
    """The worst of all findings."""
    order = list(Level)
    return max((finding.level for finding in report.values()), key=order.index, default=Level.READY)


async def _checked(check: Check) -> Finding:
    try:
        async with asyncio.timeout(_AT_MOST_S):
            return await check()
    except TimeoutError:
        return Finding(Level.AWAY, f"no answer within {_AT_MOST_S:g} s")
    except errors.TespesError as error:
        return Finding(Level.AWAY, str(error))
    except Exception as error:  # noqa: BLE001 - the rim: what cannot be looked at is said to be so
        _log.exception("a check failed")
        return Finding(Level.DEGRADED, f"this could not be looked at: {error!r}")
