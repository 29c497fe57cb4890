"""Where on this machine a file URL leads, and never out of the roots: what is opened is looked at, not its name.

A name may be a link, or become one between two looks. So each is opened as a mere place first (`O_PATH`, which neither
reads nor wakes a device), the kernel is asked where that is, and only then is it used.
"""

import contextlib
import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final
from urllib.parse import unquote_to_bytes

from tespes import errors

_PLACE: Final = os.O_PATH | os.O_CLOEXEC
_READ: Final = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC
_MOST_PARTS: Final = 200
_PERMANENT: Final = {
    *(errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ELOOP, errno.ENAMETOOLONG, errno.EINVAL),
    *(errno.EACCES, errno.EPERM, errno.EROFS),
}


class Places:
    """What is below the roots.

    :param what: may be there, for people: `inputs` or `outputs`
    """

    def __init__(self, roots: tuple[Path, ...], what: str) -> None:
        self._roots = roots
        self._what = what

    def look(self, path: Path, opened: contextlib.ExitStack) -> int:
        """A descriptor of what is there, good for no more than a look (see `readable`).

        :param opened: what closes it
        :raises errors.TransferRefused: it is not below the roots
        """
        self._root(path)
        return self._checked(os.open(path, _PLACE), opened)

    def directory(self, path: Path, opened: contextlib.ExitStack) -> int:
        """A descriptor of a directory to write in; whichever are missing are made. Raises as `look` does."""
        root = self._root(path)
        if len(path.parts) > _MOST_PARTS:
            raise errors.TransferRefused(f"is too deep: more than {_MOST_PARTS} directories inside each other")
        last = opened.enter_context(contextlib.ExitStack())
        at = self._checked(os.open(root, _PLACE | os.O_DIRECTORY), last)
        for part in path.relative_to(root).parts:
            with last.pop_all():  # one stays open, however many there are
                at = self._checked(_made(part, at), last)
        return at

    def _root(self, path: Path) -> Path:
        """The root that a name is below, as it stands there or as what that leads to."""
        if not self._roots:
            raise errors.TransferRefused(f"file URLs are not allowed: the settings name no root for {self._what}")
        for root in (*self._roots, *self._real_roots()):
            if path.is_relative_to(root):
                return root
        raise errors.TransferRefused(f"is outside of what the settings allow for {self._what}")

    def _checked(self, descriptor: int, opened: contextlib.ExitStack) -> int:
        opened.callback(os.close, descriptor)
        really = Path(_name(descriptor)).readlink()
        if not any(really.is_relative_to(root) for root in self._real_roots()):
            raise errors.TransferRefused(f"leads outside of what the settings allow for {self._what}")
        return descriptor

    def _real_roots(self) -> tuple[Path, ...]:
        return tuple(root.resolve() for root in self._roots)


def path(url: str) -> Path:
    """The path in a file URL, or in what is a path already.

    :raises errors.TransferRefused: it is none on this machine, or has `..` in it
    """
    try:
        url.encode()
        named = url if url.startswith("/") else _path(url)
    except UnicodeEncodeError as error:
        raise errors.TransferRefused("is no Unicode") from error
    if "\0" in named or ".." in named.split("/"):
        raise errors.TransferRefused("a path with `..` or a null in it is not allowed")
    return Path("/" + named.lstrip("/"))


def readable(descriptor: int, opened: contextlib.ExitStack) -> int:
    """A descriptor to read from, of the very thing that was looked at."""
    reading = os.open(_name(descriptor), _READ)
    opened.callback(os.close, reading)
    return reading


def found(descriptor: int) -> os.stat_result:
    """What is there: a regular file or a directory.

    :raises errors.TransferRefused: it is something else
    """
    there = os.fstat(descriptor)
    if not stat.S_ISREG(there.st_mode) and not stat.S_ISDIR(there.st_mode):
        raise errors.TransferRefused("is neither a file nor a directory")
    return there


@contextlib.contextmanager
def worded(shown: str) -> Iterator[None]:
    """Puts the URL before what is wrong, and the system's errors into ours."""
    try:
        yield
    except errors.TransferError as error:
        raise type(error)(f"{shown}: {error}") from error
    except OSError as error:
        kind = errors.TransferRefused if error.errno in _PERMANENT else errors.TransferInterrupted
        raise kind(f"{shown}: {(error.strerror or 'cannot be used').lower()}") from error


def _path(url: str) -> str:
    host, _, rest = url.partition("://")[2].partition("/")
    if host.lower() not in {"", "localhost"}:
        raise errors.TransferRefused(f"host {host.rpartition('@')[2]} is not this machine, whose files are file:///path")
    if "?" in rest or "#" in rest:
        raise errors.TransferRefused("a file URL ends with its path: write %3F for ? and %23 for #")
    return os.fsdecode(unquote_to_bytes("/" + rest))


def _made(name: str, at: int) -> int:
    """A directory in a directory; a link to nothing does not become one."""
    with contextlib.suppress(FileNotFoundError):
        return os.open(name, _PLACE | os.O_DIRECTORY, dir_fd=at)
    with contextlib.suppress(FileExistsError):
        os.mkdir(name, dir_fd=at)
    return os.open(name, _PLACE | os.O_DIRECTORY, dir_fd=at)


def _name(descriptor: int) -> str:
    return f"/proc/self/fd/{descriptor}"
