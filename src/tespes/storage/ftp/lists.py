"""What FTP servers write about the files in a directory: MLSD (RFC 3659) and the usual forms of LIST. Pure."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

_UNIX: Final = re.compile(
    r"(?P<type>[-a-zD])[-a-zA-Z]{9}[.+@]?\s+.*?(?P<size>\d+)\s+"
    r"(?:[^\W\d]\S*\s+\d{1,2}|\d{1,2}\.?\s+[^\W\d]\S*|\d{4}-\d\d-\d\d)\s+(?:\d{4}|\d{1,2}:\d\d(?::\d\d)?)\s(?P<name>.*)",
    re.DOTALL,
)
_WINDOWS: Final = re.compile(
    r"\d\d-\d\d-(?:\d\d){1,2}\s+\d\d:\d\d\s*(?:[AP]M)?\s+(?:(?P<directory><\w+>)\s+|(?P<size>[\d,]+)\s)(?P<name>.*)", re.DOTALL
)


@dataclass(frozen=True, slots=True)
class Line:
    """One name in a directory.

    :param type: `link` leads to something that only the server knows; `other` is no file to anybody
    """

    name: str
    type: Literal["file", "directory", "link", "other"]
    size_bytes: int | None = None


def facts(line: str) -> Mapping[str, str]:
    """The facts of a line of MLST or MLSD, by their names in lower case."""
    pairs = (fact.partition("=") for fact in line.partition(" ")[0].split(";") if fact)
    return {name.lower(): value for name, _, value in pairs}


def read(line: bytes, form: Literal["MLSD", "LIST"]) -> Line | None:
    """What the line is about; None: about no name.

    :raises ValueError: it cannot be read
    """
    text = line.decode(errors="surrogateescape")
    return _mlsd(text) if form == "MLSD" else _list(text)


def _mlsd(text: str) -> Line | None:
    known, mark, name = text.partition(" ")
    if not mark or "=" not in known:
        raise ValueError(text)
    told = facts(known)
    kind, size = told.get("type", "file").lower(), told.get("size", "")
    match kind:
        case "cdir" | "pdir":
            return None
        case "dir":
            return Line(name, "directory")
        case "file":
            return Line(name, "file", int(size) if size.isdecimal() else None)
        case _ if "link" in kind:
            return Line(name, "link")
        case _:
            return Line(name, "other")


def _list(text: str) -> Line | None:
    if re.fullmatch(r"total \d+\s*", text):
        return None
    if found := _UNIX.fullmatch(text):
        return _unix(found["type"], found["name"], int(found["size"]))
    if found := _WINDOWS.fullmatch(text):
        kind: Literal["directory", "link", "file"] = "file"
        if found["directory"]:
            kind = "directory" if found["directory"] == "<DIR>" else "link"
        return Line(found["name"], kind, int(found["size"].replace(",", "")) if found["size"] else None)
    raise ValueError(text)


def _unix(kind: str, name: str, size_bytes: int) -> Line:
    match kind:
        case "-":
            return Line(name, "file", size_bytes)
        case "d":
            return Line(name, "directory")
        case "l":
            return Line(_without_target(name, size_bytes), "link")
        case _:
            return Line(name, "other")


def _without_target(text: str, target_bytes: int) -> str:
    """`name -> target`; either may have an arrow in it, but the size of a link is that of its target."""
    encoded = text.encode(errors="surrogateescape")
    name, arrow, _ = encoded[:-target_bytes].rpartition(b" -> ") if target_bytes else (b"", b"", b"")
    if arrow and len(name) + len(arrow) + target_bytes == len(encoded):
        return name.decode(errors="surrogateescape")
    return text.partition(" -> ")[0]
