"""What container engines say on stderr, and what it means. Their words change with versions: unknown ones are passed on."""

from __future__ import annotations

from . import programs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Tuple

_MAY_PASS = (
    *("timeout", "timed out", "deadline exceeded", "connection refused", "connection reset", "unexpected eof"),
    *("no such host", "server misbehaving", "temporary failure", "is unreachable", "no route to host", "tls handshake"),
    *("toomanyrequests", "too many requests", "bad gateway", "service unavailable", "internal server error"),
    *("no space left", "cannot allocate memory"),
)
_NOT_THERE = ("no such container", "no container with name or id")
_NOT_FOUND = ("executable file", "no such file or directory")
_NOT_EXECUTABLE = ("permission denied", "is a directory", "not a directory")


class Messages:
    """One engine's: what its own lines begin with, and the words of one that does not work at all."""

    def __init__(self, prefixes: Tuple[str, ...], away: Tuple[str, ...]) -> None:
        self._prefixes = prefixes
        self._away = away

    def own(self, text: str) -> str:
        """The engine's last own line, or the last line at all, without what it begins with."""
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        marked = [line for line in lines if line.startswith(self._prefixes)]
        line = (marked or lines or [""])[-1]
        for prefix in self._prefixes:
            line = line.partition(prefix)[2] if line.startswith(prefix) else line
        return line

    def is_away(self, text: str) -> bool:
        """Whether the engine itself does not work."""
        return _has(text, self._away)

    def may_pass(self, text: str) -> bool:
        """Whether another attempt may help."""
        return _has(text, (*self._away, *_MAY_PASS))

    def says_that_there_is_none(self, text: str) -> bool:
        """Whether the container that was to be removed is not there."""
        return _has(text, _NOT_THERE)


def fault_of_the_program(returncode: int, error: str) -> int:
    """126 or 127 if a container did not start because of the user's program, else 0.

    The engines end with these codes for other reasons too; what the low-level runtime says about the program names `exec`
    (runc) or `executable` (crun).
    """
    if not _has(error, ('exec: "', "executable")) or "argument list too long" in error.lower():
        return 0
    if _has(error, _NOT_FOUND):
        return programs.NOT_FOUND
    return programs.NOT_EXECUTABLE if returncode == programs.NOT_EXECUTABLE or _has(error, _NOT_EXECUTABLE) else 0


def _has(text: str, known: Tuple[str, ...]) -> bool:
    return any(words in text.lower() for words in known)
