"""What a task left where it declared an output: a file, a directory with all that is in it, whatever matches a pattern.

Everything is looked at as the containers saw it: through links, and through mounts inside of directories. Nothing but the
task's own files is, wherever a link leads.
"""

from __future__ import annotations

import itertools
import os
import posixpath
import stat
from contextlib import contextmanager

from . import faults, files, mounts, patterns

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Iterator, List, Optional, Pattern, Tuple

    from . import protocol

_MOST_NOTES = 20
_MOST_BYTES = 4095  # Linux: PATH_MAX, without the NUL at its end
_NOWHERE = "is a link that leads nowhere"
_ROUND = "is a link to a directory that it is in"
_SPECIAL = "is a socket, a pipe or a device"


class Found:
    """What is to be stored: `files` with their sizes in bytes, and `empty_directories`, at the paths that containers saw.

    `notes` say what was left out, `failures` what should have been found, but could not be. `is_directory`: it is one, and no
    pattern. `is_missing`: there is nothing at all.
    """

    __slots__ = ("empty_directories", "failures", "files", "is_directory", "is_missing", "notes")

    def __init__(self) -> None:
        self.files: List[Tuple[str, int]] = []
        self.empty_directories: List[str] = []
        self.failures: List[faults.SystemFailure] = []
        self.notes: List[str] = []
        self.is_directory = False
        self.is_missing = False


def find(entry: protocol.File, task_files: files.TaskFiles, most: int = 100_000) -> Found:
    """All that an output is, sorted; a `SystemFailure`, whose reason begins with what it is about, if it cannot be stored.

    More than `most` files are such a failure, too. What fails inside of a directory is only one of its `failures`.
    """
    path = mounts.absolute("output", entry["path"])
    search = _Search(path, task_files, most)
    if entry.get("is_pattern"):
        search.match(path)
    else:
        search.take(path, is_directory=entry["type"] == "DIRECTORY")
    return search.finished()


class _Thing:
    """Something at a path. `seen` is that path without links, `place` where it is on the node.

    `inside` is the directory that it was found in.
    """

    __slots__ = ("inside", "path", "place", "seen", "status")

    def __init__(self, path: str, seen: str, place: str, inside: Optional[_Thing] = None) -> None:
        self.path = path
        self.seen = seen
        self.place = place
        self.inside = inside
        self.status = os.lstat(place)

    def is_file(self) -> bool:
        return stat.S_ISREG(self.status.st_mode)

    def is_directory(self) -> bool:
        return stat.S_ISDIR(self.status.st_mode)

    def goes_round(self) -> bool:
        """Whether it is one of the directories that led to it."""
        around = self.inside
        while around is not None and around.seen != self.seen:
            around = around.inside
        return around is not None


class _Search:
    """One search. Every method may raise a `SystemFailure`."""

    def __init__(self, output: str, task_files: files.TaskFiles, most: int) -> None:
        self._output = output
        self._files = task_files
        self._most = most
        self._found = Found()
        self._left_out = 0

    def finished(self) -> Found:
        found = self._found
        found.files.sort()
        found.empty_directories.sort()
        found.failures.sort(key=str)
        found.notes.sort()
        if self._left_out > len(found.notes):
            found.notes.append(f"output {self._output}: {self._left_out - len(found.notes):,} more were left out")
        return found

    def take(self, path: str, *, is_directory: bool) -> None:
        """The output at a path without wildcards."""
        with _about(path):
            thing = self._at(path)
            self._found.is_missing = thing is None
            if thing is None:
                return
            self._found.is_directory = thing.is_directory()
            if is_directory and thing.is_file():
                raise faults.SystemFailure("is a file where a directory is declared")
            if not thing.is_file() and not thing.is_directory():
                raise faults.SystemFailure("is not a regular file")
        self._add(thing)

    def match(self, pattern: str) -> None:
        """All outputs that a pattern means."""
        wanted, start = patterns.parts(pattern), patterns.directory(pattern)
        depth = start.rstrip("/").count("/")
        with _about(start):
            thing = self._at(start)
        waiting = [(thing, depth)] if thing is not None and thing.is_directory() else []
        while waiting:
            directory, depth = waiting.pop()
            is_last = depth + 1 == len(wanted)
            for inner in self._inside(directory, wanted[depth], is_wanted=is_last):
                if is_last:
                    self._add(inner)
                elif inner.is_directory():
                    waiting.append((inner, depth + 1))
        self._found.is_missing = not self._count()

    def _add(self, thing: _Thing) -> None:
        """A file, or a directory with all below it."""
        waiting: List[_Thing] = []
        if thing.is_directory():
            waiting.append(thing)
        else:
            self._found.files.append((thing.path, thing.status.st_size))
            self._refuse_too_many(0)
        while waiting:
            directory, failed = waiting.pop(), len(self._found.failures)
            is_empty = True
            for inner in self._inside(directory):
                is_empty = False
                if inner.is_file():
                    self._found.files.append((inner.path, inner.status.st_size))
                else:
                    waiting.append(inner)
            if is_empty and len(self._found.failures) == failed:
                self._found.empty_directories.append(directory.path)
            self._refuse_too_many(len(waiting))  # each of which is one more at least

    def _inside(self, directory: _Thing, wanted: Optional[Pattern[str]] = None, *, is_wanted: bool = True) -> Iterator[_Thing]:
        """The files and directories in a directory, of those that have a wanted name; whatever else is there is left out."""
        for name in self._names(directory, wanted):
            path, why = posixpath.join(directory.path, name), ""
            thing: Optional[_Thing] = None
            with self._remembering(path):
                try:
                    thing = self._looked_at(path, name, directory)
                    why = _why_not(thing)
                except (FileNotFoundError, NotADirectoryError):
                    why = _NOWHERE
                except _LeftOut as reason:
                    why = str(reason)
            if thing is not None and not why:
                yield thing
            elif why and is_wanted:
                self._leave_out(path, why)

    def _names(self, directory: _Thing, wanted: Optional[Pattern[str]]) -> List[str]:
        names: List[str] = []
        with self._remembering(directory.path), os.scandir(directory.place) as entries:
            all_names = (entry.name for entry in entries if wanted is None or wanted.match(entry.name))
            names = list(itertools.islice(all_names, self._most + 1))
        self._refuse_too_many(len(names))
        return sorted(names)

    @contextmanager
    def _remembering(self, path: str) -> Iterator[None]:
        """One thing's failure is none of the others'."""
        try:
            with _about(path):
                yield
        except faults.SystemFailure as failure:
            again = faults.SystemFailure(str(failure), retryable=failure.retryable)  # without all the frames it came through
            self._found.failures.append(again)

    def _looked_at(self, path: str, name: str, directory: _Thing) -> _Thing:
        _refuse_what_cannot_be_named(path)
        seen = posixpath.join(directory.seen, name)
        mount = self._files.layout.mount_at(seen)
        place = mount.host_path if mount else posixpath.join(directory.place, name)
        thing = _Thing(path, seen, place, directory)
        if not stat.S_ISLNK(thing.status.st_mode):
            return thing
        try:
            return _Thing(path, *self._files.resolve(seen), directory)
        except faults.SystemFailure as failure:
            raise _LeftOut(str(failure)) from failure

    def _at(self, path: str) -> Optional[_Thing]:
        try:
            return _Thing(path, *self._files.resolve(path))
        except FileNotFoundError:
            return None

    def _leave_out(self, path: str, why: str) -> None:
        self._left_out += 1
        if self._left_out <= _MOST_NOTES:
            self._found.notes.append(f"output {files.printable(path)}: {why}, and was left out")

    def _count(self) -> int:
        return len(self._found.files) + len(self._found.empty_directories) + len(self._found.failures)

    def _refuse_too_many(self, more: int) -> None:
        if self._count() + more > self._most:
            raise faults.SystemFailure(f"output {self._output}: is more files than a task may have")


class _LeftOut(Exception):
    """Why a link is not followed."""


@contextmanager
def _about(path: str) -> Iterator[None]:
    with faults.about(f"output {files.printable(path)}"), faults.on_the_node():
        yield


def _why_not(thing: _Thing) -> str:
    if thing.is_directory():
        return _ROUND if thing.goes_round() else ""
    return "" if thing.is_file() else _SPECIAL


def _refuse_what_cannot_be_named(path: str) -> None:
    """Neither JSON nor a URL has a name for bytes that are no text; and what is too long, nobody could open."""
    if files.printable(path) != path:
        raise faults.SystemFailure("its name is not UTF-8, so nothing can be stored under it")
    if len(path.encode("utf-8")) > _MOST_BYTES:
        raise faults.SystemFailure("its path is too long")
