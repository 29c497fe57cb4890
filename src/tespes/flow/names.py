"""Which files belong to which input or output of a task, and what they are called below its URL. Pure.

A name that a node found is believed only if it fits what the task declared (design: moving data).
"""

from tespes import tes
from tespes.runner import patterns
from tespes.storage import below
from tespes.tes import places


def is_name(name: str) -> bool:
    """Whether something below a directory can be called so: parts between single `/`, none of which leads elsewhere."""
    return "\0" not in name and {"", ".", ".."}.isdisjoint(name.split("/"))


def input_path(wanted: tes.Input, name: str) -> str | None:
    """Where the container sees the file of that name of an input; None if the input has no such file."""
    if wanted.type is tes.FileType.FILE:
        return None if name else wanted.path
    return f"{_plain(wanted.path)}/{name}" if is_name(name) else None


def input_url(wanted: tes.Input, path: str) -> str | None:
    """The URL of the file of an input that the container sees at `path`; empty if it has none, None if it is no such file."""
    if path == wanted.path and wanted.type is tes.FileType.FILE:
        return wanted.url or ""
    directory = _plain(wanted.path) + "/"
    if wanted.type is tes.FileType.FILE or not path.startswith(directory) or not is_name(path[len(directory) :]):
        return None
    return below(wanted.url or "", path[len(directory) :])


def output_url(declared: tes.Output, path: str) -> str | None:
    """Where a file that a container left at `path` is stored; None if the output does not speak of it.

    An output that was declared as a file may turn out to be a directory (Nextflow). Of a path that matches a pattern,
    what follows the prefix is put at the end of the URL (TES 1.1, tesOutput.path_prefix).
    """
    if path == declared.path and not declared.is_pattern:
        return declared.url
    if not path.startswith("/") or not is_name(path[1:]):
        return None
    if declared.is_pattern:
        return _matched_url(declared, path)
    own = _plain(declared.path)
    if path == own:
        return declared.url
    return below(declared.url, path[len(own) + 1 :]) if path.startswith(own + "/") else None


def _matched_url(declared: tes.Output, path: str) -> str | None:
    prefix = declared.path_prefix or ""
    if not path.startswith(prefix):
        prefix = _plain(prefix)
    rest = path.removeprefix(prefix).lstrip("/")
    if not rest or not path.startswith(prefix) or not patterns.matches(_plain(declared.path), path):
        return None
    return below(declared.url, rest)


def _plain(path: str) -> str:
    """Without doubled slashes, dots, and a slash at its end."""
    return places.key(path)[:-1]
