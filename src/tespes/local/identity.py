"""Who a process is: its pid together with its start time, as `/proc/<pid>/stat` tells them (proc_pid_stat(5)).

A pid alone is given to another process sooner or later; with the start time it names one process until the next boot.
"""

import os
import signal
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_PROC: Final = Path("/proc")
# Fields of /proc/<pid>/stat, counted from the one behind the program's name (field 3 of the manual page).
_STATE, _PARENT, _SESSION, _STARTED = 0, 1, 3, 19


@dataclass(frozen=True)
class Identity:
    """One process of this boot.

    :param pid: its number
    :param started_ticks: when it started, in clock ticks since the boot
    """

    pid: int
    started_ticks: int


@dataclass(frozen=True)
class Seen:
    """What /proc said of a process that had not ended."""

    identity: Identity
    parent_pid: int
    session_id: int


def look(pid: int) -> Seen | None:
    """The process with this number; None if there is none, or only what an ended one left for its parent to read."""
    try:
        text = (_PROC / str(pid) / "stat").read_text(errors="replace")
    except OSError:
        return None
    fields = text.rpartition(")")[2].split()
    if fields[_STATE] in {"Z", "X"}:
        return None
    return Seen(Identity(pid, int(fields[_STARTED])), int(fields[_PARENT]), int(fields[_SESSION]))


def is_alive(identity: Identity) -> bool:
    seen = look(identity.pid)
    return seen is not None and seen.identity == identity


def family(leaders: Iterable[Identity]) -> set[Identity]:
    """The living processes that came from these session leaders, which may have ended themselves.

    They are in a leader's session, or descend from a living leader. A daemon that left both is not found.
    """
    everyone = list(_everyone())
    sessions = {leader.pid: leader.started_ticks for leader in leaders}
    found = {seen.identity for seen in everyone if _is_in(seen, sessions)}
    pids = {identity.pid for identity in found}
    while children := {seen.identity for seen in everyone if seen.parent_pid in pids} - found:
        found |= children
        pids |= {identity.pid for identity in children}
    return found


def send(identity: Identity, number: signal.Signals) -> None:
    """Send a signal to exactly this process; nothing happens if it has ended."""
    if is_alive(identity):
        try:
            os.kill(identity.pid, number)
        except ProcessLookupError:
            return


def boot_id() -> str:
    """What names this boot of the machine: pids and start times mean nothing after the next."""
    return (_PROC / "sys/kernel/random/boot_id").read_text().strip()


def _is_in(seen: Seen, sessions: dict[int, int]) -> bool:
    earliest = sessions.get(seen.session_id)
    return earliest is not None and seen.identity.started_ticks >= earliest


def _everyone() -> Iterator[Seen]:
    for entry in _PROC.iterdir():
        if entry.name.isdecimal() and (seen := look(int(entry.name))) is not None:
            yield seen
