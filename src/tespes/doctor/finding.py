"""What a check finds, and how checks are carried out: each in its time, and none ends the others."""

import asyncio
import traceback
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from tespes import errors

_AT_MOST_S: Final = 30.0


class Level(StrEnum):
    """How bad it is, worst last."""

    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check found.

    :param about: the thing, always called the same; :param said: how it is; if it is not well, also what to do
    """

    level: Level
    about: str
    said: str

    def document(self) -> dict[str, Any]:
        """For a program."""
        return {"level": self.level.value, "about": self.about, "said": self.said}

    def line(self) -> str:
        """For a person."""
        return f"{self.level.value:<7}  {self.about}: {self.said}"


def ok(about: str, said: str) -> Finding:
    """All is well."""
    return Finding(Level.OK, about, said)


def warning(about: str, said: str) -> Finding:
    """It works, and a person should look."""
    return Finding(Level.WARNING, about, said)


def problem(about: str, said: str) -> Finding:
    """Something does not work."""
    return Finding(Level.PROBLEM, about, said)


@dataclass(frozen=True, slots=True)
class Check:
    """Something to look at.

    :param about: what its own failure is called
    :param look: the findings, as they come; a TespesError is one as well
    :param within_s: after which it is not waited for any more
    """

    about: str
    look: Callable[[], AsyncIterator[Finding]]
    within_s: float = _AT_MOST_S


async def carried_out(checks: Iterable[Check]) -> list[Finding]:
    """What they find: all looked at side by side, told in their order."""
    return [finding for found in await asyncio.gather(*map(_carried_out, checks)) for finding in found]


async def _carried_out(check: Check) -> list[Finding]:
    found: list[Finding] = []
    try:
        async with asyncio.timeout(check.within_s):
            async for finding in check.look():
                found.append(finding)  # noqa: PERF401 - what was found before a failure is kept
    except TimeoutError:
        found.append(problem(check.about, f"no answer within {check.within_s:g} s: see whether it is overloaded, or away"))
    except errors.TespesError as error:
        found.append(problem(check.about, str(error)))
    except Exception as error:  # noqa: BLE001 - the rim: whatever it is, the other checks are told of
        found.append(problem(check.about, f"could not be looked at: {_where(error)}, a mistake of TESPES's own: report it"))
    return found


def _where(error: Exception) -> str:
    """What went wrong, and in which line; the error's own text may have a password in it."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__} in {Path(last.filename).name} line {last.lineno}"


def worst(findings: Iterable[Finding]) -> Level:
    """The worst of all."""
    order = list(Level)
    return max((finding.level for finding in findings), key=order.index, default=Level.OK)
