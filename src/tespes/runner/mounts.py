"""Where the task's absolute paths lie on the node. Pure: names only, nothing is touched.

Parents of outputs, of stdout and stderr files, and volumes are directories shared by all executors, mounted where the
task names them; only the topmost of nested ones is mounted. Inputs are mounted read-only on top, each at its own path
(TES 1.1: tesInput, tesOutput, tesExecutor.stdout, tesTask.volumes). Where sharing a directory would hide programs of
the image, the file alone is mounted.
"""

from __future__ import annotations

import posixpath

from . import faults

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import List, Optional

    from . import protocol

SYSTEM_DIRECTORIES = (*("/bin", "/dev", "/etc", "/lib", "/lib32", "/lib64", "/libx32", "/proc", "/sbin", "/sys", "/usr"),)
_NEVER_HIDDEN = ("/", "/opt", "/var", *SYSTEM_DIRECTORIES)


class Mount:
    """One file or directory of the node at a path of the container."""

    __slots__ = ("container_path", "host_path", "is_file", "read_only")

    def __init__(self, container_path: str, host_path: str, *, is_file: bool, read_only: bool) -> None:
        self.container_path = container_path
        self.host_path = host_path
        self.is_file = is_file
        self.read_only = read_only


class Layout:
    """All mounts, outer ones before those inside them, and the directories to be made in the shared ones."""

    __slots__ = ("directories", "mounts")

    def __init__(self, mounts: List[Mount], directories: List[str]) -> None:
        self.mounts = mounts
        self.directories = directories

    def mount_of(self, path: str) -> Optional[Mount]:
        """The innermost mount that holds a container path (the last one, if two are at the same place)."""
        found = None
        for mount in self.mounts:
            if is_within(path, mount.container_path):
                found = mount
        return found

    def host_path(self, path: str) -> Optional[str]:
        """Where a container path lies on the node, symbolic links not considered; None if it is none of the task's."""
        mount = self.mount_of(path)
        if mount is None:
            return None
        return mount.host_path + path[len(mount.container_path) :]

    def holds_a_mount(self, path: str) -> bool:
        """Whether a container path is a directory on the way to a mount."""
        return any(is_within(mount.container_path, path) for mount in self.mounts)


def lay_out(plan: protocol.Plan, directory: str) -> Layout:
    """The layout of a plan's files below `directory` on the node; raises `SystemFailure` if its paths contradict."""
    written = [absolute("output", output["path"]) for output in plan["outputs"]]
    for executor in plan["executors"]:
        streams = {"stdout": executor.get("stdout"), "stderr": executor.get("stderr")}
        written += [absolute(name, path) for name, path in streams.items() if path]
    volumes = [_volume(path) for path in plan["volumes"]]
    directories = sorted({*volumes, *(posixpath.dirname(path) for path in written if not _hides(path))})
    shared = _topmost(directories)
    alone = sorted({path for path in written if not any(is_within(path, top) for top in shared)})
    mounts = [_shared(path, f"{directory}/shared/{number}") for number, path in enumerate(shared)]
    mounts += [_alone(path, f"{directory}/files/{number}") for number, path in enumerate(alone)]
    mounts += [_input(entry, directory) for entry in plan["inputs"]]
    mounts.sort(key=lambda mount: mount.container_path)
    layout = Layout(mounts, directories)
    _check(layout, written)
    return layout


def absolute(what: str, path: str) -> str:
    """The path in its shortest form; raises `SystemFailure` if it is not absolute."""
    if not path.startswith("/") or "\0" in path:
        raise faults.SystemFailure(f"{what} {path}: is not an absolute path")
    return "/" + posixpath.normpath(path).lstrip("/")


def is_within(path: str, directory: str) -> bool:
    """Whether a path is a directory or anything below it."""
    return path == directory or path.startswith(directory.rstrip("/") + "/")


def comma_separated(mount: Mount, target: str, read_only: str) -> str:
    """A bind mount as the option --mount of container engines takes it, a line of CSV: any character may be in a path.

    `target` and `read_only` are what the engine calls them.
    """
    fields = ["type=bind", f"source={mount.host_path}", f"{target}={mount.container_path}"]
    if mount.read_only:
        fields.append(read_only)
    return ",".join(_field(field) for field in fields)


def _field(text: str) -> str:
    return '"%s"' % text.replace('"', '""') if any(character in text for character in ',"\n\r') else text


def _shared(path: str, place: str) -> Mount:
    return Mount(path, place, is_file=False, read_only=False)


def _alone(path: str, place: str) -> Mount:
    return Mount(path, place, is_file=True, read_only=False)


def _input(entry: protocol.File, directory: str) -> Mount:
    path = absolute("input", entry["path"])
    return Mount(path, f"{directory}/inputs/{entry['index']}", is_file=True, read_only=True)


def _volume(path: str) -> str:
    path = absolute("volume", path)
    if path in _NEVER_HIDDEN:
        raise faults.SystemFailure(f"volume {path}: would hide a system directory of the container")
    return path


def _hides(path: str) -> bool:
    parent = posixpath.dirname(path)
    return parent in _NEVER_HIDDEN or any(is_within(parent, system) for system in SYSTEM_DIRECTORIES)


def _topmost(directories: List[str]) -> List[str]:
    top: List[str] = []
    for path in directories:  # sorted: an outer directory comes before what is inside it
        if not any(is_within(path, outer) for outer in top):
            top.append(path)
    return top


def _check(layout: Layout, written: List[str]) -> None:
    files = {mount.container_path for mount in layout.mounts if mount.is_file} | set(written)
    for path in files:
        others = [mount.container_path for mount in layout.mounts if mount.container_path != path]
        if any(is_within(other, path) for other in (*layout.directories, *others)):
            raise faults.SystemFailure(f"{path}: is a file and a directory at once")
