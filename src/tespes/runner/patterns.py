"""Which paths a pattern means: those of the POSIX shell (IEEE 1003.1, 2.13, the standard that TES 1.1 names). Pure.

`*`, `?` and `[...]` stand for characters of one name, never for a `/`, nor for a period at the beginning of a name. In
brackets there may be ranges (by code point), classes such as `[:alpha:]` (of ASCII letters) and `!` or `^` in front. A
backslash makes the character after it an ordinary one; so is a `[` without its end.
"""

from __future__ import annotations

import re
from functools import lru_cache

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import List, Optional, Pattern, Tuple

_CLASSES = {
    "alnum": "0-9A-Za-z",
    "alpha": "A-Za-z",
    "blank": " \\t",
    "cntrl": "\\x00-\\x1f\\x7f",
    "digit": "0-9",
    "graph": "!-~",
    "lower": "a-z",
    "print": " -~",
    "punct": "!-/:-@\\[-`{-~",
    "space": "\\t-\\r ",
    "upper": "A-Z",
    "xdigit": "0-9A-Fa-f",
}
_ELEMENT = re.compile(
    r"\[:(?P<kind>[a-z]+):\]|\[(?P<mark>[.=])(?P<symbol>.)(?P=mark)\]|\\(?P<escaped>.)|(?P<plain>.)", re.DOTALL
)


def matches(pattern: str, path: str) -> bool:
    """Whether an absolute path is meant, or is below a directory that is. Both are in their shortest form."""
    wanted, names = parts(pattern), path.split("/")[1:]
    return len(names) >= len(wanted) and all(map(_is_match, wanted, names))


@lru_cache(maxsize=64)
def parts(pattern: str) -> Tuple[Pattern[str], ...]:
    """What each name of a path must match, from its beginning to its end."""
    return tuple(re.compile(_translated(part), re.DOTALL) for part in pattern.split("/")[1:])


def directory(pattern: str) -> str:
    """The directory that all paths of a pattern are in: the names before the first one with a wildcard."""
    fixed: List[str] = []
    for part in pattern.split("/")[1:-1]:
        if any(character in part for character in "*?["):
            break
        fixed.append(re.sub(r"\\(.)", r"\1", part, flags=re.DOTALL))
    return "/" + "/".join(fixed)


def _is_match(wanted: Pattern[str], name: str) -> bool:
    return wanted.match(name) is not None


def _translated(part: str) -> str:
    """One name's pattern as a regular expression that takes the nearest match of what is between two `*`, and no other.

    That is enough, as the last `*` can be anything; without it a pattern of many would try all their combinations.
    """
    pieces, at = [""], 0
    while at < len(part):
        if part[at] == "*":
            pieces.append("")
            at += 1
        else:
            one, at = _one(part, at)
            pieces[-1] += one
    first, *others = pieces
    begins = r"(?!\.)" if part[:1] in ("*", "?") or _bracket(part, 0) else ""
    if not others:
        return rf"{begins}{first}\Z"
    between = "".join(f"(?=(?P<p{number}>.*?{piece}))(?P=p{number})" for number, piece in enumerate(others[:-1]) if piece)
    return rf"{begins}{first}{between}.*{others[-1]}\Z"


def _one(part: str, at: int) -> Tuple[str, int]:
    """The expression for one character of a name, and where the next one is in the pattern."""
    character = part[at]
    if character == "?":
        return ".", at + 1
    if character == "\\":
        return re.escape(part[at + 1 : at + 2] or character), at + 2
    return _bracket(part, at) or (re.escape(character), at + 1)


def _bracket(part: str, at: int) -> Optional[Tuple[str, int]]:
    if part[at : at + 1] != "[":
        return None
    start = at + 2 if part[at + 1 : at + 2] in ("!", "^") else at + 1
    ranges, place = "", start
    while place < len(part):
        if part[place] == "]" and place > start:
            return _set(ranges, negated=start > at + 1), place + 1
        one, place = _range(part, place)
        ranges += one
    return None


def _range(part: str, at: int) -> Tuple[str, int]:
    """A class, a character, or a range of them, as it stands in a set of a regular expression."""
    low, at = _element(part, at)
    if len(low) == 1 and part[at : at + 1] == "-" and part[at + 1 : at + 2] not in ("", "]"):
        high, at = _element(part, at + 1)
        return (f"{_code(low)}-{_code(high)}" if len(high) == 1 and low <= high else ""), at
    return (_code(low) if len(low) == 1 else low), at


def _element(part: str, at: int) -> Tuple[str, int]:
    """A character, or what a class holds, which is longer; nothing for a class that does not exist."""
    found = _ELEMENT.match(part, at)
    if found is None:
        return "", len(part)
    if found.group("kind"):
        return _CLASSES.get(found.group("kind"), ""), found.end()
    return found.group("symbol") or found.group("escaped") or found.group("plain"), found.end()


def _code(character: str) -> str:
    return "\\U%08x" % ord(character)


def _set(ranges: str, *, negated: bool) -> str:
    if not ranges:
        return "." if negated else "(?!)"
    return f"[{'^' if negated else ''}{ranges}]"
