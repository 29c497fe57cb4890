"""Everything below a directory on an FTP server, over one connection."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from typing import Final, Literal

from tespes import errors
from tespes.runner.links import DEEPEST
from tespes.storage import unfinished
from tespes.storage.ftp.lists import Line, read
from tespes.storage.ftp.places import is_harmless
from tespes.storage.ftp.session import Session
from tespes.storage.ftp.wire import Answered
from tespes.storage.promise import Entry

_MANY_LINES: Final = 1000  # more take so long to read that everybody else would wait
_SHOWN_BYTES: Final = 200
_ROUNDS: Final = 20  # half of the links that Linux follows: a server that follows no more shows an end where none is


async def walk(session: Session, path: str) -> AsyncGenerator[Entry]:
    """Each file and directory below it, a directory before what is in it.

    Depth first, so that a link to a directory above is found out soon: it looks like a directory without end.

    :raises errors.TransferRefused: it cannot be read to its end, the text without the URL
    """
    left = [""]
    while left:
        name = left.pop()
        inside = []
        for entry in await _named_directory(session, path, name):
            yield entry
            if entry.is_directory:
                inside.append(entry.name)
        left.extend(reversed(inside))
        if inside:
            _must_end(inside[0])


def _must_end(name: str) -> None:
    how = ""
    if name.count("/") >= DEEPEST:
        how = f"more than {DEEPEST} directories inside each other"
    elif _goes_around(name.split("/")):
        how = f"the same directory {_ROUNDS} times inside itself"
    if how:
        raise errors.TransferRefused(f"{how}, as if a link led to a directory above it: {name[:100]}…")


def _goes_around(path: Sequence[str]) -> bool:
    """Whether it ends with the same few names again and again."""
    return any(list(path[-_ROUNDS * few :]) == [*path[-few:]] * _ROUNDS for few in range(1, len(path) // _ROUNDS + 1))


async def _named_directory(session: Session, path: str, name: str) -> list[Entry]:
    try:
        return await _directory(session, path, name)
    except Answered as error:
        if name:
            raise Answered(error.code, f"{error.words} ({name})") from error
        raise


async def _directory(session: Session, path: str, name: str) -> list[Entry]:
    await session.ask(f"CWD {_joined(path, name)}")
    form, lines = await session.listing()
    if len(lines) > _MANY_LINES:
        found = await asyncio.to_thread(_found, lines, form, name)
    else:
        found = _found(lines, form, name)
    entries = [one if isinstance(one, Entry) else await _resolved(session, path, one) for one in found]
    return [entry for entry in entries if entry is not None]


def _found(lines: Sequence[bytes], form: Literal["MLSD", "LIST"], above: str) -> list[Entry | str]:
    """What the lines are about; of links, the mere name below the top."""
    found: list[Entry | str] = []
    for line in lines:
        one = _read(line, form)
        if one is None or one.name in {".", ".."} or one.type == "other" or unfinished.is_one(one.name):
            continue
        if not is_harmless(one.name) or _is_no_text(one.name):
            raise errors.TransferRefused(f"a name that cannot be used: {_for_people(line)}")
        name = f"{above}/{one.name}" if above else one.name
        found.append(name if one.type == "link" else Entry(name, one.size_bytes, one.type == "directory"))
    return found


async def _resolved(session: Session, top: str, name: str) -> Entry | None:
    """As what a link leads to; one that leads nowhere is no file."""
    path = _joined(top, name)
    if await session.is_directory(path):
        return Entry(name, is_directory=True)
    found = await session.find(path)
    return None if found is None else Entry(name, found.size_bytes)


def _read(line: bytes, form: Literal["MLSD", "LIST"]) -> Line | None:
    try:
        return read(line, form)
    except ValueError:
        raise errors.TransferRefused(f"the listing has a line that cannot be read: {_for_people(line)}") from None


def _joined(directory: str, name: str) -> str:
    return f"{directory.rstrip('/')}/{name}" if name else directory


def _is_no_text(name: str) -> bool:
    return any("\ud800" <= character <= "\udfff" for character in name)


def _for_people(line: bytes) -> str:
    return repr(line[:_SHOWN_BYTES].decode(errors="backslashreplace"))
