"""Where the task's absolute paths lie on the node. Pure: names only, nothing is touched.

Volumes, and the parents of outputs, of stdout and stderr files, are directories shared by all executors, mounted where
the task names them; only the topmost of nested ones is mounted. Inputs are mounted read-only on top, each at its own path
(TES 1.1: tesInput, tesOutput, tesExecutor.stdout, tesTask.volumes). Where sharing a directory would hide programs of
the image, the file or directory alone is mounted.

Of nested mounts the innermost counts. Inside an input directory only volumes and outputs of type DIRECTORY are mounted: a
parent would hide the input, so any other output in there is what the input itself has at its path.
"""

from __future__ import annotations

import bisect
import posixpath

from . import faults, patterns

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Container, Iterable, List, Optional, Set, Tuple

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

    __slots__ = ("_at", "_paths", "directories", "mounts")

    def __init__(self, mounts: List[Mount], directories: List[str]) -> None:
        self.mounts = sorted(mounts, key=lambda mount: mount.container_path)
        self.directories = directories
        self._at = {mount.container_path: mount for mount in self.mounts}
        self._paths = _Paths(self._at)

    def mount_at(self, path: str) -> Optional[Mount]:
        """What is mounted at this container path itself."""
        return self._at.get(path)

    def mount_of(self, path: str) -> Optional[Mount]:
        """The innermost mount that holds a container path."""
        return self._at.get(_holder(path, self._at))

    def host_path(self, path: str) -> Optional[str]:
        """Where a container path lies on the node, symbolic links not considered; None if it is none of the task's."""
        mount = self.mount_of(path)
        if mount is None:
            return None
        return mount.host_path + path[len(mount.container_path) :]

    def holds_a_mount(self, path: str) -> bool:
        """Whether a container path is a directory on the way to a mount."""
        return self._paths.are_below(path)


def lay_out(plan: protocol.Plan, directory: str) -> Layout:
    """The layout of a plan's files below `directory` on the node; raises `SystemFailure` if its paths contradict."""
    wanted = _Wanted(plan)
    shared, made = wanted.directories()
    held = {*shared, *wanted.inputs}
    alone = sorted(path for path in wanted.written if not _holder(path, held))
    mounts = [Mount(path, f"{directory}/shared/{number}", is_file=False, read_only=False) for number, path in enumerate(shared)]
    mounts += [Mount(path, f"{directory}/files/{number}", is_file=True, read_only=False) for number, path in enumerate(alone)]
    for path, entry in wanted.inputs.items():
        place = f"{directory}/inputs/{entry['index']}"
        mounts.append(Mount(path, place, is_file=path not in wanted.trees, read_only=True))
    return Layout(mounts, made)


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


class _Wanted:
    """What the plan's paths are there for.

    `inputs` and, of them, the `trees` (directories); `written` files; directories that are the task's `own` wherever they
    are, and others that only `surround` something.
    """

    def __init__(self, plan: protocol.Plan) -> None:
        self.inputs = {absolute("input", entry["path"]): entry for entry in plan["inputs"]}
        self.trees = {path for path, entry in self.inputs.items() if entry["type"] == "DIRECTORY"}
        self.own = {_not_hiding("volume", absolute("volume", path)) for path in plan["volumes"]}
        self.surrounding: Set[str] = set()
        streams = _streams(plan)
        self.written = set(streams)
        self._add_outputs(plan["outputs"])
        self.surrounding |= {posixpath.dirname(path) for path in self.written if not _hides(path)}
        everything = _Paths({*self.inputs, *self.written, *self.own, *self.surrounding})
        _refuse_contradictions({*streams, *self.inputs} - self.trees, {*self.own, *self.surrounding, *self.trees}, everything)
        self.surrounding |= {_not_hiding("output", path) for path in self.written if everything.are_below(path)}

    def directories(self) -> Tuple[List[str], List[str]]:
        """Those to be mounted, and all that are to be made."""
        around: List[str] = []
        mounted, made = [], []
        for path in sorted({*self.own, *self.surrounding, *self.trees}, key=_key):
            while around and not is_within(path, around[-1]):
                around.pop()
            is_in_an_input = bool(around) and around[-1] in self.trees
            if path in self.trees:
                around.append(path)
            elif path in self.own or not is_in_an_input:
                made.append(path)
                if is_in_an_input or not around:
                    mounted.append(path)
                    around.append(path)
        return mounted, made

    def _add_outputs(self, outputs: List[protocol.File]) -> None:
        for entry in outputs:
            path = absolute("output", entry["path"])
            if entry.get("is_pattern"):
                self.surrounding.add(_not_hiding(f"output {path}: its directory", patterns.directory(path)))
            elif entry["type"] == "DIRECTORY":
                self.own.add(_not_hiding("output", path))
                if not _hides(path):
                    self.surrounding.add(posixpath.dirname(path))
            else:
                self.written.add(path)


class _Paths:
    """Paths, sorted so that what is below one comes right after it."""

    def __init__(self, paths: Iterable[str]) -> None:
        self._keys = sorted(map(_key, paths))

    def are_below(self, path: str) -> bool:
        """Whether any is below a path, and not the path itself."""
        key = _key(path)
        place = bisect.bisect_right(self._keys, key)
        return place < len(self._keys) and self._keys[place].startswith(key)


def _key(path: str) -> str:
    return path.rstrip("/") + "/"


def _holder(path: str, paths: Container[str]) -> str:
    """The innermost of paths that is a path or holds it; empty if there is none."""
    while path not in paths:
        path, inner = posixpath.dirname(path), path
        if path == inner:
            return ""
    return path


def _streams(plan: protocol.Plan) -> Set[str]:
    found = set()
    for executor in plan["executors"]:
        streams = {"stdout": executor.get("stdout"), "stderr": executor.get("stderr")}
        found |= {absolute(name, path) for name, path in streams.items() if path}
    return found


def _not_hiding(what: str, path: str) -> str:
    if path in _NEVER_HIDDEN:
        raise faults.SystemFailure(f"{what} {path}: would hide a system directory of the container")
    return path


def _hides(path: str) -> bool:
    parent = posixpath.dirname(path)
    return parent in _NEVER_HIDDEN or any(is_within(parent, system) for system in SYSTEM_DIRECTORIES)


def _refuse_contradictions(files: Set[str], directories: Set[str], everything: _Paths) -> None:
    """An output of type FILE is none of the files: it may turn out a directory, which is what Nextflow means."""
    for path in sorted(files):
        if path in directories or everything.are_below(path):
            raise faults.SystemFailure(f"{path}: is a file and a directory at once")
