"""One writer process for a state directory."""

import fcntl
import os
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path

from tespes import errors


def lock(directory: Path, stack: ExitStack | AsyncExitStack, name: str = "lock") -> None:
    """Hold the directory until the stack is closed. The kernel lets go of it when this process ends, however it ends.

    :raises errors.SetupError: another process, which is named, holds it
    """
    held = stack.enter_context((directory / name).open("a+"))
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        held.seek(0)
        holder = held.read().strip() or "unknown"
        raise errors.SetupError(
            f"the state directory {directory} is in use by process {holder}: stop it, or choose another with --state-dir"
        ) from error
    held.truncate(0)
    held.write(str(os.getpid()))
    held.flush()
