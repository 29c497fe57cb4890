"""The task's files on the node: made, opened and removed without ever following a link out of them.

A task may leave any symbolic link behind, and the runner works outside of its container. So each link is resolved here,
as the container would see it. No container runs while the runner looks, so what was looked at is still what is opened.
"""

from __future__ import annotations

import os
import posixpath
import stat
from contextlib import suppress

from . import faults, mounts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import List, Optional, Set, Tuple

    from . import protocol

_FULL_BYTES = 64 * 1024  # less than one more write of a program takes
_MOST_LINKS = 40  # what Linux allows
_FOR_EVERYONE = 0o777  # the directory above is private, and the user inside a container may be anyone
_BOTH = "is a file and a directory at once"


class TaskFiles:
    """The files of a task, below a private directory of the node, at the paths that its containers see."""

    def __init__(self, layout: mounts.Layout, directory: str, owner: Optional[Tuple[int, int]] = None) -> None:
        """They are below `directory`. They belong to `owner`, a user id and a group id, or to whoever the runner runs as."""
        self.layout = layout
        self._directory = directory
        self._owner = owner if owner != (os.geteuid(), os.getegid()) else None
        self._made: Set[str] = set()

    def create(self) -> None:
        """Every directory and every file that is mounted, still empty."""
        for mount in self.layout.mounts:
            os.makedirs(posixpath.dirname(mount.host_path), exist_ok=True)
            if mount.is_file:
                self._make_file(mount.host_path, 0o644 if mount.read_only else 0o666)
            else:
                self._make_directory(mount.host_path)
        for directory in self.layout.directories:
            self.make_directory(directory)
        self.make_mount_points()

    def make_mount_points(self) -> None:
        """A place for each mount inside another one. An executor may have put a link in its way: that is refused."""
        for inner in self.layout.mounts:
            parent = posixpath.dirname(inner.container_path)
            outer = self.layout.mount_of(parent)
            if outer is None:
                continue
            self.make_directory(parent)
            place = outer.host_path + inner.container_path[len(outer.container_path) :]
            with faults.about(inner.container_path), faults.on_the_node():
                if not os.path.lexists(place):
                    self._make_file(place, 0o666) if inner.is_file else self._make_directory(place)
                elif not (stat.S_ISREG if inner.is_file else stat.S_ISDIR)(os.lstat(place).st_mode):
                    raise faults.SystemFailure("was replaced by the task")

    def make_directory(self, path: str) -> None:
        """A directory inside the shared ones and all above it, each of them a real one."""
        mount = self.layout.mount_of(path)
        if mount is not None:
            with faults.about(path):
                self._make_below(
                    mount.host_path, path[len(mount.container_path) :], "a directory on its way was replaced by the task"
                )

    def input_place(self, entry: protocol.File, name: str = "") -> str:
        """The place on the node of an input's file, which is there, still empty. May be called from several threads.

        `name` is its path below an input directory; without one it is the input itself. Raises `SystemFailure`.
        """
        root = self._input_root(entry)
        if not name:
            return root
        with faults.about(f"input {entry['path']}/{printable(name)}"), faults.on_the_node():
            _refuse_what_is_no_name(name)
            self._make_input_directories(root, posixpath.dirname(name))
            place = f"{root}/{name}"
            if not os.path.lexists(place):
                self._make_file(place, 0o644)
            elif not stat.S_ISREG(os.lstat(place).st_mode):
                raise faults.SystemFailure(_BOTH)
        return place

    def make_input_directory(self, entry: protocol.File, name: str = "") -> None:
        """A directory inside an input directory, and all above it. May be called from several threads."""
        if name:
            with faults.about(f"input {entry['path']}/{printable(name)}"):
                _refuse_what_is_no_name(name)
                self._make_input_directories(self._input_root(entry), name)

    def make_apart(self, place: str) -> str:
        """An empty directory for a container, at a place of the node that no path of the task names."""
        with faults.on_the_node():
            self._make_directory(place)
        return place

    def free_bytes(self) -> int:
        """How much more can be written."""
        disk = os.statvfs(self._directory)
        return disk.f_frsize * disk.f_bavail

    def refuse_a_full_disk(self) -> None:
        """Raises `SystemFailure` if there is no space left."""
        if self.free_bytes() < _FULL_BYTES:
            raise faults.SystemFailure("no space left on the node", retryable=True)

    def resolve(self, path: str) -> Tuple[str, str]:
        """The path without links, and its place on the node, as the container sees it. The last part may be missing.

        Raises `SystemFailure` if it leads outside the task's files.
        """
        current, place, links = "/", self.layout.host_path("/"), 0
        names = path.split("/")[::-1]
        while names:
            name = names.pop()
            if name == "..":
                current = posixpath.dirname(current)
                place = self.layout.host_path(current)
            if name in ("", ".", ".."):
                continue
            inner = posixpath.join(current, name)
            inner_place = self._inner_place(inner, place)
            if inner_place is None or not os.path.islink(inner_place):
                current, place = inner, inner_place
                continue
            links += 1
            if links > _MOST_LINKS:
                raise faults.SystemFailure("is a link that leads nowhere")
            target = os.readlink(inner_place)
            names += target.split("/")[::-1]
            if target.startswith("/"):
                current, place = "/", self.layout.host_path("/")
        if place is None:
            raise faults.SystemFailure("is a directory")
        return current, place

    def open_to_read(self, path: str) -> Tuple[int, int]:
        """A file descriptor and the size in bytes; raises `SystemFailure`, `FileNotFoundError` or another `OSError`."""
        _, place = self.resolve(path)
        _refuse_what_is_no_file(os.lstat(place).st_mode)
        descriptor = os.open(place, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        return descriptor, os.fstat(descriptor).st_size

    def open_to_write(self, path: str) -> int:
        """A descriptor of the emptied file, made if it was not there; raises `SystemFailure` or `OSError`."""
        seen_as, place = self.resolve(path)
        mount = self.layout.mount_of(seen_as)
        if mount is not None and mount.read_only:
            raise faults.SystemFailure("is an input, which is read-only")
        if os.path.lexists(place):
            _refuse_what_is_no_file(os.lstat(place).st_mode)
        else:
            self._make_file(place, 0o666)
        return os.open(place, os.O_RDWR | os.O_TRUNC | os.O_NOFOLLOW)

    def _input_root(self, entry: protocol.File) -> str:
        mount = self.layout.mount_at(mounts.absolute("input", entry["path"]))
        if mount is None:
            raise faults.SystemFailure(f"input {entry['path']}: is not in the plan")
        return mount.host_path

    def _make_input_directories(self, root: str, name: str) -> None:
        place = f"{root}/{name}"
        if place not in self._made:
            self._make_below(root, name, _BOTH)
            self._made.add(place)

    def _make_below(self, place: str, names: str, otherwise: str) -> None:
        for name in names.split("/"):
            place = posixpath.join(place, name) if name else place
            with faults.on_the_node():
                if not os.path.lexists(place):
                    with suppress(FileExistsError):  # another thread was faster
                        self._make_directory(place)
                if not stat.S_ISDIR(os.lstat(place).st_mode):
                    raise faults.SystemFailure(otherwise)

    def _make_file(self, place: str, mode: int) -> None:
        os.close(os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600))
        os.chmod(place, mode)
        self._give(place)

    def _make_directory(self, place: str) -> None:
        os.mkdir(place)
        os.chmod(place, _FOR_EVERYONE)
        self._give(place)

    def _give(self, place: str) -> None:
        if self._owner is None:
            return
        try:
            os.lchown(place, *self._owner)
        except PermissionError as error:
            user = "%d:%d" % self._owner
            raise faults.SystemFailure(f"files cannot be given to the runtime's user {user}: Pulsar is not root") from error

    def _inner_place(self, path: str, outer_place: Optional[str]) -> Optional[str]:
        """Where a path lies, if its directory does at `outer_place`; None if it is one of the image, with mounts inside."""
        mount = self.layout.mount_at(path)
        if mount is not None:
            return mount.host_path
        if outer_place is not None:
            return posixpath.join(outer_place, posixpath.basename(path))
        if not self.layout.holds_a_mount(path):
            raise faults.SystemFailure("leads outside the task's files")
        return None


def owner(order: protocol.RuntimeOrder) -> Optional[Tuple[int, int]]:
    """The user and the group that the containers' files are to belong to, if the settings name them."""
    user, _, group = (order.get("user") or "").partition(":")
    return (int(user), int(group)) if user else None


def remove(directory: str) -> bool:
    """Whether a directory is gone, whatever permissions a task left in it. Links are removed, not followed."""
    try:
        _remove(directory)
    except (OSError, RecursionError):
        import subprocess  # noqa: PLC0415 - rarely needed

        subprocess.run(["rm", "-rf", "--", directory], check=False)  # noqa: S607 - goes deeper than Python's stack
    return not os.path.lexists(directory)


def _remove(directory: str) -> None:
    os.chmod(directory, 0o700)
    with os.scandir(directory) as entries:
        listed: List[os.DirEntry[str]] = list(entries)
    for entry in listed:
        if entry.is_dir(follow_symlinks=False):
            _remove(entry.path)
        else:
            os.unlink(entry.path)
    os.rmdir(directory)


def printable(path: str) -> str:
    """A path for people, whatever bytes are in it."""
    return path.encode("utf-8", "backslashreplace").decode("utf-8")


def _refuse_what_is_no_name(name: str) -> None:
    """What a storage lists may be called anything; below the input's directory it must stay."""
    if "\0" in name or not {"", ".", ".."}.isdisjoint(name.split("/")) or printable(name) != name:
        raise faults.SystemFailure("no file can have this name")


def _refuse_what_is_no_file(mode: int) -> None:
    if stat.S_ISDIR(mode):
        raise faults.SystemFailure("is a directory, which is not supported where a file is declared")
    if not stat.S_ISREG(mode):
        raise faults.SystemFailure("is not a regular file")
