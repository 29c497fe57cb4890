"""The mark on a store: in which version of TESPES's way of keeping things it is kept. Read before anything else is touched.

It is one whole number, and grows with a release whose stores an older release would misunderstand: new events and new views
do not need that (see `events.upcast` and `projections`). A store without a mark is older than marks: version 1. While a
backup is brought into a store, its mark says so, and nobody takes half a log for the whole.
"""

import os
from pathlib import Path
from typing import Final, Protocol

from tespes import errors

VERSION: Final = 1
RESTORING: Final = "restoring"
FILE: Final = "version"


class Mark(Protocol):
    """The mark on one store."""

    async def read(self) -> str | None:
        """What it says; None if there is none."""

    async def write(self, value: str) -> None:
        """Have it say that from now on, durably.

        :raises errors.StoreUnavailable: it cannot be written
        """


def check(found: str | None, where: str, *, restoring: bool = False) -> None:
    """Whether this release may use a store with that mark.

    :param where: the store, for a person; :param restoring: whether half a log is fine
    :raises errors.SetupError: it may not
    """
    if found is None or (found == RESTORING and restoring):
        return
    if found == RESTORING:
        raise errors.SetupError(
            f"{where} has a part of a backup: go on with `tespes backup restore` until it says that it is done"
        )
    if not (found.isascii() and found.isdecimal()):
        raise errors.SetupError(f"{where} says {found[:20]!r} where its version is expected, {VERSION} or less")
    if int(found) > VERSION:
        raise errors.SetupError(
            f"{where} is of version {found}, and this TESPES knows {VERSION}: use the release that made it, or a newer one"
        )


def of_directory(directory: Path) -> str | None:
    """What the mark on a state directory says; None if there is none.

    :raises errors.SetupError: it cannot be read
    """
    try:
        return (directory / FILE).read_text(errors="replace").strip()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise errors.SetupError(f"the state directory {directory} cannot be used: {error}") from error


class DirectoryMark:
    """The mark on a state directory: a file of one line."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    async def read(self) -> str | None:
        """See Mark.read."""
        return of_directory(self._directory)

    async def write(self, value: str) -> None:
        """See Mark.write."""
        try:
            _replace(self._directory / FILE, f"{value}\n")
        except OSError as error:
            raise errors.StoreUnavailable(f"{self._directory / FILE} cannot be written: {error.strerror}") from error


def _replace(path: Path, text: str) -> None:
    fresh = path.with_name(path.name + ".new")
    with fresh.open("w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)
