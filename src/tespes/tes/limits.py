"""How long a task may take: as its user says by backend parameters, and as the settings say."""

from collections.abc import Mapping
from dataclasses import dataclass

NAMES = ("queued_s", "running_s", "total_s")
_DIGITS_MAX = 9


@dataclass(frozen=True, slots=True)
class Limits:
    """In seconds; None is without end.

    :param queued_s: from the creation until a runner asks to begin
    :param running_s: of an attempt, from then on; :param total_s: from the creation to the end
    """

    queued_s: float | None = None
    running_s: float | None = None
    total_s: float | None = None


def read(parameters: Mapping[str, str]) -> Limits:
    """What backend parameters say; a value that cannot be counts as none."""
    return Limits(*(seconds(parameters.get(name, "")) for name in NAMES))


def seconds(text: str) -> int | None:
    """A whole number of seconds, at least 1; None if the text is none."""
    if not (text.isascii() and text.isdecimal() and len(text) <= _DIGITS_MAX):
        return None
    return int(text) or None


def stricter(one: Limits, other: Limits) -> Limits:
    """What satisfies both."""
    return Limits(
        _least(one.queued_s, other.queued_s), _least(one.running_s, other.running_s), _least(one.total_s, other.total_s)
    )


def _least(one: float | None, other: float | None) -> float | None:
    return min((each for each in (one, other) if each is not None), default=None)
