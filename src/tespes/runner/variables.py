"""A task's environment on its way through a container engine's client; values never stand in an argument vector."""

from __future__ import annotations

import os

from . import faults

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Dict, List, Tuple

_LONGEST_LINE_BYTES = 32 * 1024  # of an env-file: the clients read at most 64 KiB
_OF_ANY_PROGRAM = ("LD_", "GO", "GLIBC_", "MALLOC_", "XDG_", "OTEL_", "SSL_", "LC_", "LISTEN_", "NOTIFY_", "DBUS_")
_ALSO_OF_ANY_PROGRAM = (*("PATH", "HOME", "TMPDIR", "LANG", "TZ", "USER", "PWD", "SHELL"),)
_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY", "FTP_PROXY")


def handed_over(
    variables: Dict[str, str], path: str, of_the_client: Tuple[str, ...], *, quotes: bool
) -> Tuple[List[str], Dict[str, str]]:
    """Arguments that name the variables, and the environment for the client.

    An env-file at `path` takes values of one line. Others go through the client's environment, unless they would change
    the client: that is refused. `of_the_client` are beginnings of such names; `quotes`: the env-file's are not taken as
    they are.
    """
    arguments, environment = [], dict(os.environ)
    with open(path, "x", encoding="utf-8", newline="") as file:
        for name, value in variables.items():
            refuse_strange_name(name)
            if _is_plain(value, quotes=quotes):
                file.write(f"{name}={value}\n")
            elif _changes_the_client(name, of_the_client):
                raise faults.SystemFailure(
                    f"the environment variable {name} cannot have a value of several lines, or with quotes"
                )
            else:
                environment[name] = value
                arguments += ["--env", name]
    return ["--env-file", path, *arguments], environment


def refuse_strange_name(name: str) -> None:
    """Raises `SystemFailure` for a name that no environment can have, or no env-file."""
    if not name or name.startswith("#") or any(character.isspace() or character in "=\0" for character in name):
        raise faults.SystemFailure(f"{name!r} cannot be the name of an environment variable")


def _is_plain(value: str, *, quotes: bool) -> bool:
    if len(value.encode("utf-8")) >= _LONGEST_LINE_BYTES or any(character in value for character in "\n\r"):
        return False
    return not quotes or (value == value.strip() and not any(character in value for character in "\"'`\\#$"))


def _changes_the_client(name: str, of_the_client: Tuple[str, ...]) -> bool:
    known = name.upper()
    if known in _ALSO_OF_ANY_PROGRAM or known in _PROXIES or name.endswith("*"):
        return True
    return known.startswith((*_OF_ANY_PROGRAM, *of_the_client))
