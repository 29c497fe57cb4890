"""One file of this machine, being read or being written. All of this waits for disks: it belongs in a thread."""

import contextlib
import os
import stat
from contextlib import ExitStack
from typing import Final

from tespes import errors
from tespes.storage import unfinished
from tespes.storage.local.places import Places, found, path, readable
from tespes.storage.promise import Resume

_NEW: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class Reading:
    """A file, from its beginning, or from where `resume` goes on.

    :param opened: what closes it
    :raises errors.TransferRefused: it is not below the roots, or no file
    """

    def __init__(self, places: Places, url: str, resume: Resume | None, opened: ExitStack) -> None:
        looked_at = places.look(path(url), opened)
        there = found(looked_at)
        if stat.S_ISDIR(there.st_mode):
            raise errors.TransferRefused("is a directory, a file was declared")
        self._descriptor = readable(looked_at, opened)
        self.size_bytes = there.st_size
        self.version = _version(there)
        self.start = resume.start if resume and resume.version == self.version and resume.start <= there.st_size else 0
        self._at = self.start

    def read(self, most_bytes: int) -> bytes:
        """The next bytes; none at the end.

        :raises errors.TransferInterrupted: it changed since it was opened
        """
        piece = os.pread(self._descriptor, min(most_bytes, self.size_bytes - self._at), self._at)
        self._at += len(piece)
        if not piece and _version(os.fstat(self._descriptor)) != self.version:
            raise errors.TransferInterrupted("changed while it was read")
        return piece


class Writing:
    """A new file, under another name until it is whole. Directories above it are made. Raises as `Reading` does.

    :param opened: what closes it, and removes what is not whole
    """

    def __init__(self, places: Places, url: str, size_bytes: int, opened: ExitStack) -> None:
        final = path(url)
        self._directory = places.directory(final.parent, opened)
        self._name = final.name
        self._refuse_directory()
        self._temporary = unfinished.new()
        self._left = size_bytes
        descriptor = os.open(self._temporary, _NEW, 0o644, dir_fd=self._directory)
        opened.callback(self._remove)
        self._file = opened.enter_context(os.fdopen(descriptor, "wb", buffering=0))

    def write(self, block: bytes, _: ExitStack) -> None:
        """Add that."""
        self._left -= len(block)
        view = memoryview(block)
        while view:
            view = view[self._file.write(view) :]

    def finish(self) -> None:
        """Give it its name; it is on the disk then.

        :raises errors.TransferInterrupted: it has not the size that was said
        """
        if self._left:
            raise errors.TransferInterrupted("what came to be stored has not the size that was said")
        os.fsync(self._file.fileno())
        os.rename(self._temporary, self._name, src_dir_fd=self._directory, dst_dir_fd=self._directory)

    def _refuse_directory(self) -> None:
        with contextlib.suppress(FileNotFoundError):
            there = os.stat(self._name, dir_fd=self._directory, follow_symlinks=False)
            if stat.S_ISDIR(there.st_mode):
                raise errors.TransferRefused("is a directory, a file was declared")

    def _remove(self) -> None:
        with contextlib.suppress(OSError):  # it has its name by now, or cannot be reached any more
            os.unlink(self._temporary, dir_fd=self._directory)


def _version(there: os.stat_result) -> str:
    return f"{there.st_size}-{there.st_mtime_ns}-{there.st_ino}"
