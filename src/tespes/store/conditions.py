"""What documents of a stored view can be asked for: conditions on what stands beside them for searching (see ReadModel).

All values are compared exactly: case counts, no character is a wildcard, and texts are in the order of their code points.
"""

from dataclasses import dataclass

_FIRST_SURROGATE, _AFTER_SURROGATES, _LAST = 0xD800, 0xE000, 0x10FFFF


@dataclass(frozen=True, slots=True)
class OneOf:
    """The column has one of these values; without values: no document."""

    column: str
    values: frozenset[str]


@dataclass(frozen=True, slots=True)
class BeginsWith:
    """The column is a text that begins with this."""

    column: str
    prefix: str


@dataclass(frozen=True, slots=True)
class HasPair:
    """The mapping has the key, with that value; None stands for any value."""

    pairs: str
    key: str
    value: str | None


Condition = OneOf | BeginsWith | HasPair


def first_after(prefix: str) -> str | None:
    """The first text behind all that begin with the prefix; None if nothing is behind them."""
    for length in range(len(prefix), 0, -1):
        following = ord(prefix[length - 1]) + 1
        if following <= _LAST:
            return prefix[: length - 1] + chr(_AFTER_SURROGATES if following == _FIRST_SURROGATE else following)
    return None
