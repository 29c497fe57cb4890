"""Whether the paths of a task can all be there at once, in one container: what is a file is no directory for another one.

Inputs are read-only, volumes are empty directories that all executors share, and the task's own directories may not cover
those that programs live in (TES 1.1: tesInput, tesOutput, tesTask.volumes, tesExecutor.stdout; how the runner lays them out).
An output of type FILE contradicts no directory: it may turn out one itself. Nextflow says FILE of everything, and means
"whatever is there".
"""

import posixpath
import re
from collections.abc import Iterable
from enum import IntEnum

from tespes import errors
from tespes.errors import quoted
from tespes.tes.task import Executor, FileType, Input, Output, Task

SYSTEM_DIRECTORIES = (*("/bin", "/dev", "/etc", "/lib", "/lib32", "/lib64", "/libx32", "/proc", "/sbin", "/sys", "/usr"),)
NEVER_HIDDEN = ("/", "/opt", "/var", *SYSTEM_DIRECTORIES)
_COVERING = frozenset(f"{path}/" for path in NEVER_HIDDEN) | {"/"}
_KERNELS = ("/proc/", "/sys/")  # nobody else has files there
_FILE = FileType.FILE
_READ_ONLY = "an input is read-only: another path is expected"


class Role(IntEnum):
    """What a path is there for. Of several things at one place, the lower comes first."""

    WORKDIR = 0
    INPUT = 1
    STDOUT = 2
    STDERR = 3
    STDIN = 4
    VOLUME = 5
    OUTPUT = 6


_STREAMS = frozenset({Role.STDOUT, Role.STDERR})

# The path and a `/`, whether it is a file, its role, its index. Sorted, what is inside of a file comes right after it.
_Place = tuple[str, bool, Role, int]


def check(task: Task) -> None:
    """Nothing, if the paths agree; they are absolute and below the root.

    :raises errors.BadRequest: the path that contradicts another one, or covers what must be seen
    """
    places: list[_Place] = _streams(task.executors)
    if task.inputs:
        places += [(key(each.path), each.type is _FILE, Role.INPUT, index) for index, each in enumerate(task.inputs)]
    if task.outputs:
        places += [_output(output, index) for index, output in enumerate(task.outputs)]
    if task.volumes:
        places += [(key(path), False, Role.VOLUME, index) for index, path in enumerate(task.volumes)]
    for place in places:
        if place[0] in _COVERING or place[0].startswith(_KERNELS):
            _refuse_covering(place)
    if len(places) > 1:
        places.sort()
        _refuse_contradictions(places, task.inputs or ())
        if any(place[2] is Role.INPUT and not place[1] for place in places):
            _refuse_writing_into_inputs(places, task.outputs or ())


def key(path: str) -> str:
    """An absolute path without doubled slashes and dots, and with one slash at its end."""
    if "//" in path or "/." in path:
        path = "/" + posixpath.normpath(path).lstrip("/")
    return path if path[-1] == "/" else path + "/"


def has_wildcard(path: str) -> bool:
    """Whether a path has a character that means something in a pattern (TES 1.1 tesOutput.path: those of POSIX)."""
    return "*" in path or "?" in path or "[" in path


def _streams(executors: Iterable[Executor]) -> list[_Place]:
    places: list[_Place] = []
    for index, executor in enumerate(executors):
        if executor.stdin:
            places.append((key(executor.stdin), True, Role.STDIN, index))
        if executor.stdout:
            places.append((key(executor.stdout), True, Role.STDOUT, index))
        if executor.stderr:
            places.append((key(executor.stderr), True, Role.STDERR, index))
        if executor.workdir:
            places.append((key(executor.workdir), False, Role.WORKDIR, index))
    return places


def _output(output: Output, index: int) -> _Place:
    """An output; of a pattern, the directory that it is looked for in, without the backslashes of its escapes."""
    path = key(output.path)
    if not output.is_pattern:
        return path, output.type is _FILE, Role.OUTPUT, index
    names = path.split("/")
    fixed = next(place for place, name in enumerate(names) if has_wildcard(name))
    return re.sub(r"\\(.)", r"\1", "/".join([*names[:fixed], ""]), flags=re.DOTALL), False, Role.OUTPUT, index


def _field(place: _Place) -> str:
    _, _, role, index = place
    match role:
        case Role.INPUT | Role.OUTPUT:
            return f"{role.name.lower()}s.{index}.path"
        case Role.VOLUME:
            return f"volumes.{index}"
        case Role.STDIN | Role.STDOUT | Role.STDERR | Role.WORKDIR:
            return f"executors.{index}.{role.name.lower()}"


def _path(place: _Place) -> str:
    return quoted(place[0][:-1] or "/")


def _refuse_covering(place: _Place) -> None:
    if place[2] in {Role.STDIN, Role.WORKDIR}:
        return
    if place[0] in _COVERING:
        allowed = "a path that hides no system directory of the container is expected"
        raise errors.BadRequest(_field(place), f"{_path(place)}, a system directory", allowed)
    raise errors.BadRequest(_field(place), _path(place), "/proc and /sys are the kernel's: another path is expected")


def _refuse_contradictions(places: list[_Place], inputs: tuple[Input, ...]) -> None:
    before = file = ("//", False, Role.WORKDIR, 0)  # no path
    for place in places:
        if place[0] == before[0]:
            _refuse_sharing(before, place, inputs)
        if not place[0].startswith(file[0]):
            file = place if place[1] and place[2] is not Role.OUTPUT else file
        elif place[0] != file[0]:
            found = f"{_path(place)}, which is inside {_path(file)}"
            raise errors.BadRequest(_field(place), found, f"a path outside of it is expected: {_field(file)} is a file")
        before = place


def _refuse_sharing(before: _Place, place: _Place, inputs: tuple[Input, ...]) -> None:
    """Two fields name one path."""
    if before[1] != place[1] and place[2] is not Role.OUTPUT:
        found = f"{_path(place)} as a file, and as a directory in {_field(before)}"
        raise errors.BadRequest(_field(place), found, "one of them is expected")
    if before[2] is Role.INPUT and place[2] is Role.INPUT:
        _refuse_another_input(before, place, inputs)
    if before[2] is Role.INPUT and place[2] in _STREAMS:
        raise errors.BadRequest(_field(place), f"{_path(place)}, as in {_field(before)}", _READ_ONLY)


def _refuse_another_input(before: _Place, place: _Place, inputs: tuple[Input, ...]) -> None:
    """Cromwell sends one file twice, if two inputs of its task name it."""
    one, other = inputs[before[3]], inputs[place[3]]
    if one.url != other.url or one.content != other.content:
        differing = "url" if one.url != other.url else "content"
        found = f"{_path(place)}, as in {_field(before)}, with another {differing}"
        raise errors.BadRequest(_field(place), found, "one input for each path, or the same one again, is expected")


def _refuse_writing_into_inputs(places: list[_Place], outputs: tuple[Output, ...]) -> None:
    """Of nested directories the innermost counts: a volume inside of an input is writable, an output of type DIRECTORY, too.

    A pattern says nothing of the directory that it is looked for in.
    """
    around: list[_Place] = []
    for place in places:
        while around and not place[0].startswith(around[-1][0]):
            around.pop()
        if around and around[-1][2] is Role.INPUT and place[2] in _STREAMS:
            found = f"{_path(place)}, which is inside {_path(around[-1])}, {_field(around[-1])}"
            raise errors.BadRequest(_field(place), found, _READ_ONLY)
        says_nothing = place[2] is Role.WORKDIR or (place[2] is Role.OUTPUT and outputs[place[3]].is_pattern)
        if not place[1] and not says_nothing and not (around and around[-1][0] == place[0]):
            around.append(place)
