"""What the figures were measured on."""

import platform
import re
import sqlite3
import subprocess
from os import cpu_count
from pathlib import Path


def describe(state_dir: Path, root: Path) -> list[str]:
    """The machine, the software and the commit, a line for each."""
    kilobytes = int(_field(Path("/proc/meminfo"), "MemTotal").split()[0])
    return [
        f"commit: {_commit(root)}",
        f"processor: {_field(Path('/proc/cpuinfo'), 'model name')}, {cpu_count()} cores",
        f"memory: {kilobytes / 2**20:.0f} GiB",
        f"kernel: {platform.system()} {platform.release()}",
        f"Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}",
        f"state directory: {state_dir}, on {_file_system(state_dir)}",
    ]


def _field(path: Path, name: str) -> str:
    found = re.search(rf"^{re.escape(name)}\s*:\s*(.*)$", path.read_text(), re.MULTILINE)
    return found.group(1) if found else "unknown"


def _commit(root: Path) -> str:
    commit = _git(root, "rev-parse", "--short", "HEAD")
    changed = _git(root, "status", "--porcelain", "--", "src", "bench")
    return f"{commit}, with changes that are not committed" if changed else commit


def _git(root: Path, *arguments: str) -> str:
    done = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, text=True, check=False)
    return done.stdout.strip() or ("" if done.returncode == 0 else "unknown")


def _file_system(path: Path) -> str:
    """Kind and device of the innermost mount that holds the path (proc_pid_mountinfo(5))."""
    mounts = {}
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        left, _, right = line.partition(" - ")
        mounts[left.split()[4]] = " ".join(right.split()[:2])
    real = path.resolve()
    return next((mounts[str(each)] for each in (real, *real.parents) if str(each) in mounts), "unknown")
