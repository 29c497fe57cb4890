"""Programs of the node and of containers, and what their exit codes mean."""

from __future__ import annotations

import os

from . import faults

TYPE_CHECKING = False
if TYPE_CHECKING:
    from . import protocol

NOT_EXECUTABLE = 126
NOT_FOUND = 127
SIGNAL_BASE = 128  # a process ended by signal N has the exit code 128 + N, as in a shell
KILLED = SIGNAL_BASE + 9


def find(program: str) -> str:
    """The path of a program; raises `SystemFailure` if it is not on this node."""
    for directory in os.get_exec_path() if "/" not in program else ("",):
        path = os.path.abspath(os.path.join(directory, program))
        if os.path.isfile(path) and os.access(path, os.X_OK):
            return path
    raise faults.SystemFailure(f"the program {program} is not on this node", retryable=True)


def has_ended(process_id: int) -> bool:
    """Whether a child has ended, from any thread, also while the main one waits for it."""
    try:
        return os.waitid(os.P_PID, process_id, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
    except ChildProcessError:
        return True


def refuse_empty_names(plan: protocol.Plan) -> None:
    """Raises `SystemFailure` for a command whose program has no name: engines would take their own default for it."""
    for index, executor in enumerate(plan["executors"]):
        if (executor.get("command") or ["default"])[0] == "":
            raise faults.SystemFailure(f"executor {index}: the first word of the command is empty")


def not_run(index: int, executor: protocol.Executor, exit_code: int, where: str) -> str:
    """A note: why a program of a container was not run."""
    program = (executor.get("command") or ["of its default command"])[0]
    if exit_code == NOT_FOUND:
        return f"executor {index}: the program {program} was not found in {where}"
    return f"executor {index}: the program {program} in {where} is not one that can be executed"
