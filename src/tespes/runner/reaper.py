"""What cleans up after a runner that was killed: Pulsar kills with SIGKILL, and containers and files survive that."""

from __future__ import annotations

import os
import subprocess
from contextlib import contextmanager, suppress

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Iterator, List

# Reads a pipe whose other end only the runner holds: a word if the runner ends well, its mere end if the runner dies.
# The shell in front ends at once, so the one behind it is nobody's child when Pulsar looks for the children of the job.
# No text of a user is in the script: the directory and the command are arguments.
_SCRIPT = """
exec 3<&0
(
    read -r word <&3
    [ "$word" = done ] && exit
    directory=$1; shift
    for wait in 0.2 0.5 1 3; do
        [ $# -gt 0 ] && "$@"
        sleep "$wait"
        rm -rf -- "$directory"
    done
) &
"""


@contextmanager
def guarding(directory: str, removal: List[str]) -> Iterator[None]:
    """While inside, the death of this process removes `directory` and runs the command `removal` (if there is one).

    An exception does the same, to be sure: an engine may still be making the container that was removed.
    """
    reading, writing = os.pipe()
    try:
        reaper = ["/bin/sh", "-c", _SCRIPT, "tespes-reaper", directory, *removal]
        silent = subprocess.DEVNULL
        subprocess.run(reaper, stdin=reading, stdout=silent, stderr=silent, cwd="/", start_new_session=True, check=False)
    finally:
        os.close(reading)
    try:
        yield
        with suppress(OSError):  # it may have been killed before us
            os.write(writing, b"done\n")
    finally:
        os.close(writing)
