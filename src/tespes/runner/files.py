"""The task's files on the node: made, opened and removed without ever following a link out of them.

A task may leave any symbolic link behind, and the runner works outside of its container. So each link is resolved here,
as the container would see it. No container runs while the runner looks, so what was looked at is still what is opened.
"""

from __future__ import annotations

import os
import posixpath
import stat

from . import faults, mounts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import List, Optional, Tuple

    from . import protocol

_FULL_BYTES = 64 * 1024  # less than one more write of a program takes
_MOST_LINKS = 40  # what Linux allows
_FOR_EVERYONE = 0o777  # the directory above is private, and the user inside a container may be anyone


class TaskFiles:
    """The files of a task, below a private directory of the node, at the paths that its containers see."""

    def __init__(self, layout: mounts.Layout, directory: str, owner: Optional[Tuple[int, int]] = None) -> None:
        """They are below `directory`. They belong to `owner`, a user id and a group id, or to whoever the runner runs as."""
        self.layout = layout
        self._directory = directory
        self._owner = owner if owner != (os.geteuid(), os.getegid()) else None

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
            outer = self.layout.mount_of(posixpath.dirname(inner.container_path))
            if outer is None:
                continue
            self.make_directory(posixpath.dirname(inner.container_path))
            place = outer.host_path + inner.container_path[len(outer.container_path) :]
            with faults.about(inner.container_path), faults.on_the_node():
                if not os.path.lexists(place):
                    self._make_file(place, 0o666)
                elif not stat.S_ISREG(os.lstat(place).st_mode):
                    raise faults.SystemFailure("was replaced by the task")

    def make_directory(self, path: str) -> None:
        """A directory inside the shared ones and all above it, each of them a real one."""
        mount = self.layout.mount_of(path)
        if mount is None:
            return
        place = mount.host_path
        for name in path[len(mount.container_path) :].split("/"):
            place = posixpath.join(place, name) if name else place
            with faults.about(path), faults.on_the_node():
                if not os.path.lexists(place):
                    self._make_directory(place)
                elif not stat.S_ISDIR(os.lstat(place).st_mode):
                    raise faults.SystemFailure("a directory on its way was replaced by the task")

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

    def open_to_read(self, path: str) -> Tuple[int, int]:
        """A file descriptor and the size in bytes; raises `SystemFailure`, `FileNotFoundError` or another `OSError`."""
        _, place = self._resolve(path)
        _refuse_what_is_no_file(os.lstat(place).st_mode)
        descriptor = os.open(place, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        return descriptor, os.fstat(descriptor).st_size

    def open_to_write(self, path: str) -> int:
        """A descriptor of the emptied file, made if it was not there; raises `SystemFailure` or `OSError`."""
        seen_as, place = self._resolve(path)
        mount = self.layout.mount_of(seen_as)
        if mount is not None and mount.read_only:
            raise faults.SystemFailure("is an input, which is read-only")
        if os.path.lexists(place):
            _refuse_what_is_no_file(os.lstat(place).st_mode)
        else:
            self._make_file(place, 0o666)
        return os.open(place, os.O_RDWR | os.O_TRUNC | os.O_NOFOLLOW)

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

    def _resolve(self, path: str) -> Tuple[str, str]:
        """The path without links, and its place on the node. The last part may be missing."""
        current, links = "/", 0
        names = path.split("/")[::-1]
        while names:
            name = names.pop()
            candidate = posixpath.normpath(posixpath.join(current, name))
            target = self._link_at(candidate)
            if target is None:
                current = candidate
                continue
            links += 1
            if links > _MOST_LINKS:
                raise faults.SystemFailure("is a link that leads nowhere")
            names += target.split("/")[::-1]
            current = "/" if target.startswith("/") else current
        place = self.layout.host_path(current)
        if place is None:
            raise faults.SystemFailure("is a directory")
        return current, place

    def _link_at(self, path: str) -> str | None:
        place = self.layout.host_path(path)
        if place is None:
            if not self.layout.holds_a_mount(path):
                raise faults.SystemFailure("leads outside the task's files")
            return None
        return os.readlink(place) if os.path.islink(place) else None


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


def _refuse_what_is_no_file(mode: int) -> None:
    if stat.S_ISDIR(mode):
        raise faults.SystemFailure("is a directory, which is not supported where a file is declared")
    if not stat.S_ISREG(mode):
        raise faults.SystemFailure("is not a regular file")
