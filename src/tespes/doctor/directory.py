"""The state directory: whose it is, who else may read it, whether there is room, and the key in it."""

import errno
import os
import stat
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

from tespes import surroundings
from tespes.doctor.finding import Finding, ok, problem, warning
from tespes.doctor.given import Given
from tespes.store import version

ABOUT: Final = "state directory"
_OTHERS: Final = 0o077
_FULL_BYTES: Final = 256 * 2**20  # from there on /readyz calls the disk full
_NEARLY_FULL_BYTES: Final = 4 * _FULL_BYTES
_MEBIBYTE: Final = 2**20


async def look(given: Given) -> AsyncIterator[Finding]:
    """Nothing is made, but a file that is gone at once."""
    directory = given.settings.state_dir.absolute()
    try:
        there = _nearest(directory)
    except OSError as error:
        yield problem(ABOUT, f"{directory} cannot be reached by {_who()} ({error.strerror}): mend the directories above it")
        return
    if not _is_writable(there):
        yield problem(ABOUT, f"{there} cannot be written by {_who()}: mend its owner (chown), mode (chmod 700) or mount")
    elif there != directory:
        yield ok(ABOUT, f"{directory} is not there yet: TESPES makes it when it starts")
    else:
        yield _privacy(directory)
    yield _room(there)
    version.check(version.of_directory(directory), f"the state directory {directory}")
    yield _key(given)


def _nearest(directory: Path) -> Path:
    """The directory, or the nearest one above it that is there."""
    return next(each for each in (directory, *directory.parents) if each.exists())


def _is_writable(directory: Path) -> bool:
    try:
        with tempfile.TemporaryFile(dir=directory):
            return True
    except OSError as error:
        return error.errno == errno.ENOSPC  # which is said of the disk


def _privacy(directory: Path) -> Finding:
    found = directory.stat()
    mode = stat.S_IMODE(found.st_mode)
    if mode & _OTHERS:
        return problem(ABOUT, f"{directory} is open to others (mode {mode:o}), and keys are in it: chmod 700 {directory}")
    if found.st_uid != os.geteuid():
        return warning(
            ABOUT, f"{directory} belongs to user {found.st_uid}, and this is {_who()}: look as the user TESPES runs as"
        )
    return ok(ABOUT, f"{directory} is its owner's alone")


def _room(directory: Path) -> Finding:
    found = os.statvfs(directory)
    free = found.f_bavail * found.f_frsize
    said = f"{free // _MEBIBYTE:,} MiB are free in {directory}"
    if found.f_files and not found.f_favail:  # some file systems do not count them
        return problem("disk", f"there can be no further file in {directory}: remove some")
    if free < _FULL_BYTES:
        return problem("disk", f"{said}: make room before the log cannot be written")
    if free < _NEARLY_FULL_BYTES:
        return warning("disk", f"{said}: make room")
    return ok("disk", said)


def _key(given: Given) -> Finding:
    if surroundings.kept_key(given.settings) is None:
        return ok("key", "there is none yet: TESPES makes it when it starts")
    if given.settings.runner.key is not None:
        return ok("key", "runner.key of the settings")
    path = given.settings.state_dir / surroundings.RUNNER_KEY
    if stat.S_IMODE(path.stat().st_mode) & _OTHERS:
        return problem("key", f"{path} can be read by others: chmod 600 {path}, and think of a new one")
    return ok("key", str(path))


def _who() -> str:
    return f"user {os.geteuid()}"
