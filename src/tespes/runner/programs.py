"""Programs of the node, and what their exit codes mean."""

from __future__ import annotations

import os

from . import faults

NOT_EXECUTABLE = 126
NOT_FOUND = 127
SIGNAL_BASE = 128  # a process ended by signal N has the exit code 128 + N, as in a shell


def find(program: str) -> str:
    """The path of a program; raises `SystemFailure` if it is not on this node."""
    for directory in os.get_exec_path() if "/" not in program else ("",):
        path = os.path.join(directory, program)
        if os.path.isfile(path) and os.access(path, os.X_OK):
            return path
    raise faults.SystemFailure(f"the program {program} is not on this node", retryable=True)
