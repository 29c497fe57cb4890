"""What a task must be like, beyond its shape, to be taken: every limit and every rule of one field.

For paths see `places`, for backend parameters `parameters`.

Refused is what can never work, by TES 1.1 or on Linux. What depends on the storage, the image or the node is found out when
the task runs, and is then a reason in its system_logs.
"""

from urllib.parse import urlsplit

from tespes import errors
from tespes.errors import quoted
from tespes.tes import places
from tespes.tes.task import INT32_MAX, Executor, FileType, Input, Output, Resources, Task

ARGUMENT_BYTES_MAX = 131_071  # Linux: MAX_ARG_STRLEN, without the NUL at its end; a `NAME=value` counts as one, too
CONTENT_BYTES_MAX = 2**20  # TES 1.1, tesInput.content: at least 128 KiB, and an own maximum
PATH_BYTES_MAX = 4095  # Linux: PATH_MAX, without the NUL at its end
PATH_NAME_BYTES_MAX = 255  # Linux: NAME_MAX
TAGS_MAX = 1000
TAG_KEY_CHARACTERS_MAX = 1024
GIGABYTES_MAX = 10**9  # in bytes, that still fits the 64 bits that container engines take

_FOUND_CHARACTERS = 80
_SURELY_A_PATH = PATH_NAME_BYTES_MAX // 4  # so many characters cannot be too many bytes
_SURELY_AN_ARGUMENT = ARGUMENT_BYTES_MAX // 4


def check(task: Task) -> None:
    """Nothing, if the task can be taken.

    :raises errors.BadRequest: the first thing that is wrong with it
    """
    if task.inputs:
        for index, each in enumerate(task.inputs):
            _input(index, each)
    if task.outputs:
        for index, output in enumerate(task.outputs):
            _output(index, output)
    if task.resources is not None:
        _resources(task.resources)
    if not task.executors:
        raise errors.BadRequest("executors", "an empty list", "at least one executor is expected")
    for index, executor in enumerate(task.executors):
        _executor(index, executor)
    for index, volume in enumerate(task.volumes or ()):
        _path(volume, "volumes", index)
    if task.tags:
        _tags(task.tags)
    places.check(task)


def _input(index: int, each: Input) -> None:
    _path(each.path, "inputs", index, "path")
    if not each.url and each.content is None:
        raise errors.BadRequest(f"inputs.{index}.url", "nothing", "a URL is expected, unless there is content")
    if each.type is FileType.DIRECTORY and each.literal is not None:
        allowed = "a URL and no content is expected: the type is DIRECTORY"
        raise errors.BadRequest(f"inputs.{index}.content", quoted(each.content), allowed)
    if each.url and not each.content:
        _url(f"inputs.{index}.url", each.url)
    if each.content and (size_bytes := _size_bytes(each.content, CONTENT_BYTES_MAX)):
        allowed = f"at most {CONTENT_BYTES_MAX:,} bytes are expected: a longer file needs a URL"
        raise errors.BadRequest(f"inputs.{index}.content", f"{size_bytes:,} bytes", allowed)


def _output(index: int, output: Output) -> None:
    _path(output.path, "outputs", index, "path")
    if not output.url:
        raise errors.BadRequest(f"outputs.{index}.url", "''", "a URL is expected")
    _url(f"outputs.{index}.url", output.url)
    if output.is_pattern:
        _prefix(f"outputs.{index}.path_prefix", output.path, output.path_prefix)


def _url(field: str, url: str) -> None:
    """Only brackets and odd letters can be wrong. What a scheme means, and a path without one, is found out by the storage."""
    if "://" in url and ("[" in url or "]" in url or not url.isascii()):
        try:
            urlsplit(url)
        except ValueError as error:
            raise errors.BadRequest(field, quoted(url), "a URL whose host can be read (RFC 3986) is expected") from error


def _prefix(field: str, path: str, prefix: str | None) -> None:
    """What is cut off from the paths that match."""
    if not prefix:
        allowed = f"a beginning of the path {quoted(path)}, which has a wildcard, is expected"
        raise errors.BadRequest(field, "nothing" if prefix is None else "''", allowed)
    begins = path.startswith(prefix) or places.key(path).startswith(places.key(prefix))
    if places.has_wildcard(prefix) or not begins:
        allowed = f"a beginning of the path {quoted(path)}, before its wildcard, is expected"
        raise errors.BadRequest(field, quoted(prefix), allowed)


def _executor(index: int, executor: Executor) -> None:
    image = executor.image
    if not image or image[0] == "-" or image.split() != [image]:
        allowed = "the name of an image is expected, without spaces and with no '-' at its beginning"
        raise errors.BadRequest(f"executors.{index}.image", quoted(image), allowed)
    if executor.command and not executor.command[0]:
        raise errors.BadRequest(f"executors.{index}.command.0", "''", "the name of a program is expected")
    for number, argument in enumerate(executor.command):
        if len(argument) > _SURELY_AN_ARGUMENT:
            _argument(f"executors.{index}.command.{number}", argument)
    if executor.workdir and executor.workdir != "/":  # empty ones count as absent: some clients send them
        _path(executor.workdir, "executors", index, "workdir")
    if executor.stdin:
        _path(executor.stdin, "executors", index, "stdin")
    if executor.stdout:
        _path(executor.stdout, "executors", index, "stdout")
    if executor.stderr:
        _path(executor.stderr, "executors", index, "stderr")
    if executor.env:
        _variables(f"executors.{index}.env", executor.env)


def _variables(field: str, variables: dict[str, str]) -> None:
    for name, value in variables.items():
        if not name or "=" in name:
            raise errors.BadRequest(field, quoted(name), "names of variables, neither empty nor with '=', are expected")
        if len(name) + len(value) >= _SURELY_AN_ARGUMENT:
            _argument(f"{field}.{name[:_FOUND_CHARACTERS]}", f"{name}={value}")


def _resources(resources: Resources) -> None:
    cores = resources.cpu_cores
    if cores is not None and not 0 <= cores <= INT32_MAX:
        raise errors.BadRequest("resources.cpu_cores", quoted(cores), f"a whole number from 0 to {INT32_MAX:,} is expected")
    for name, gigabytes in (("ram_gb", resources.ram_gb), ("disk_gb", resources.disk_gb)):
        if gigabytes is not None and not 0 <= gigabytes <= GIGABYTES_MAX:
            allowed = f"a number of gigabytes from 0 to {GIGABYTES_MAX:,} is expected"
            raise errors.BadRequest(f"resources.{name}", quoted(gigabytes), allowed)


def _tags(tags: dict[str, str]) -> None:
    if len(tags) > TAGS_MAX:
        raise errors.BadRequest("tags", f"{len(tags):,} tags", f"at most {TAGS_MAX:,} are expected")
    for key in tags:
        if not 1 <= len(key) <= TAG_KEY_CHARACTERS_MAX:
            raise errors.BadRequest("tags", quoted(key), f"keys of 1 to {TAG_KEY_CHARACTERS_MAX:,} characters are expected")


def _argument(field: str, text: str) -> None:
    """One argument, or one variable with its name."""
    if size_bytes := _size_bytes(text, ARGUMENT_BYTES_MAX):
        allowed = f"at most {ARGUMENT_BYTES_MAX:,} bytes are expected: Linux takes no more in one piece"
        raise errors.BadRequest(field, f"{size_bytes:,} bytes", allowed)


def _path(path: str, *where: str | int) -> None:
    """An absolute path below the root that Linux can have; at first sight, since most are."""
    if path[:1] != "/" or len(path) > _SURELY_A_PATH or ".." in path or not path.strip("/."):
        _odd_path(".".join(map(str, where)), path)


def _odd_path(field: str, path: str) -> None:
    names = path.split("/")
    if names[0] or not path:
        raise errors.BadRequest(field, quoted(path), "an absolute path is expected: it begins with '/'")
    if ".." in names:
        raise errors.BadRequest(field, quoted(path), "a path without '..' is expected")
    if {"", "."}.issuperset(names):
        raise errors.BadRequest(field, quoted(path), "a path below '/' is expected")
    if size_bytes := _size_bytes(path, PATH_BYTES_MAX):
        raise errors.BadRequest(field, f"{size_bytes:,} bytes", f"a path of at most {PATH_BYTES_MAX:,} bytes is expected")
    longest = max(len(name.encode()) for name in names)
    if longest > PATH_NAME_BYTES_MAX:
        allowed = f"at most {PATH_NAME_BYTES_MAX} bytes between two '/' are expected"
        raise errors.BadRequest(field, f"{longest:,} bytes", allowed)


def _size_bytes(text: str, allowed: int) -> int:
    """The size of a text that is longer than allowed; 0 for one that is not."""
    size_bytes = len(text) if text.isascii() else len(text.encode())
    return size_bytes if size_bytes > allowed else 0
