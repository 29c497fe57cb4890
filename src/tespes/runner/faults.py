"""What can end an attempt early.

Fault
|-- Superseded      this attempt is not to run: another run has it, or it was canceled before its claim. Nobody's fault.
|-- Killed          TESPES wants the attempt to end now: canceled or given up. Nobody's fault.
`-- SystemFailure   the reason is for the user's system_logs; `retryable` if another attempt may help.
"""

from __future__ import annotations

import errno
from contextlib import contextmanager

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Iterator

COMMAND_LINE_TOO_LONG = "the command line is too long for the node"
_ON_THE_NODE = {
    errno.E2BIG: COMMAND_LINE_TOO_LONG,
    errno.ENOSPC: "no space left on the node",
    errno.EDQUOT: "disk quota used up on the node",
    errno.EACCES: "permission denied on the node",
    errno.EPERM: "permission denied on the node",
    errno.EROFS: "read-only file system on the node",
    errno.ENOENT: "does not exist",
    errno.ENAMETOOLONG: "the name is too long",
    errno.ENOTDIR: "a part of its path is not a directory",
}
_PASSING = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EMFILE, errno.ENFILE, errno.ENOMEM)


class Fault(Exception):
    """The attempt ends early. The message is the reason."""


class Superseded(Fault):
    """Nothing is to be done, and nothing was."""


class Killed(Fault):
    """TESPES asked for the end."""


class SystemFailure(Fault):
    """The system, not the user's command, failed."""

    def __init__(self, reason: str, *, retryable: bool = False) -> None:
        super().__init__(reason)
        self.retryable = retryable


@contextmanager
def on_the_node() -> Iterator[None]:
    """Work on the node's own files: its errors become reasons."""
    try:
        yield
    except OSError as error:
        raise SystemFailure(node_reason(error), retryable=error.errno in _PASSING) from error


@contextmanager
def about(what: str) -> Iterator[None]:
    """Work on one thing of the task: a reason begins with its name."""
    try:
        yield
    except SystemFailure as failure:
        raise SystemFailure(f"{what}: {failure}", retryable=failure.retryable) from failure


def node_reason(error: OSError) -> str:
    """An error of the node's file system in words for the user."""
    known = _ON_THE_NODE.get(error.errno or 0)
    return known or f"{(error.strerror or str(error)).lower()} on the node"


def network_reason(error: OSError) -> str:
    """An error of a connection in words for the user."""
    return error.strerror or str(error) or type(error).__name__
