"""Small files that one user of this machine reads: configurations with passwords, and records."""

import contextlib
import json
import os
import secrets
from pathlib import Path
from typing import Any

_OWNER_ONLY = 0o600
_OWNER_ONLY_DIRECTORY = 0o700


def make_private_directory(directory: Path) -> Path:
    """The directory, made with its parents if it was missing, closed to everybody but its owner."""
    directory.mkdir(parents=True, exist_ok=True)
    directory.chmod(_OWNER_ONLY_DIRECTORY)
    return directory


def write_private(path: Path, text: str) -> bool:
    """Replace a file (mode 0600) in one step; says whether its text was another before."""
    if path.is_file() and path.read_text() == text:
        return False
    fresh = path.with_name(path.name + ".new")
    fresh.unlink(missing_ok=True)
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _OWNER_ONLY)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
    fresh.replace(path)
    return True


def write_once(path: Path, text: str) -> None:
    """Make a file (mode 0600) in one step, unless it is there: of several that do this at once, one is first."""
    fresh = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
    write_private(fresh, text)
    try:
        with contextlib.suppress(FileExistsError):
            path.hardlink_to(fresh)
    finally:
        fresh.unlink()


def read_json(path: Path) -> Any:
    """What the JSON file says; None if it is missing or is no JSON."""
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError):
        return None


def last_line(path: Path, *, tail_bytes: int = 4096) -> str:
    """The last line with text in it, of the last `tail_bytes` of a log file; empty if there is none."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - tail_bytes))
            lines = file.read().decode(errors="replace").split("\n")
    except OSError:
        return ""
    return next((line.strip() for line in reversed(lines) if line.strip()), "")
