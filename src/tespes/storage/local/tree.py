"""What a directory of this machine holds, at any depth."""

import os
import stat
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from tespes import errors
from tespes.storage import unfinished
from tespes.storage.local.places import Places, found, readable, worded
from tespes.storage.promise import Entry
from tespes.tes import urls


@dataclass(frozen=True, slots=True)
class _Directory:
    """One to look into. :param above: device and number of those above it"""

    name: str
    above: frozenset[tuple[int, int]]


def batches(places: Places, url: str, top: Path) -> Iterator[list[Entry]]:
    """All of it, a directory at a time. Links are followed as long as they stay inside.

    :param top: the path of the URL
    :raises errors.TransferRefused: links go round in a circle or out, or a name cannot be told
    """
    left = [_Directory("", frozenset())]
    while left:
        directory = left.pop()
        with worded(urls.shown(urls.below(url, directory.name))), ExitStack() as opened:
            entries, here = _look(places, top, directory, opened)
        yield entries
        inside = [_Directory(each.name, directory.above | {here}) for each in entries if each.is_directory]
        left += reversed(inside)


def _look(places: Places, top: Path, directory: _Directory, opened: ExitStack) -> tuple[list[Entry], tuple[int, int]]:
    looked_at = places.look(top / directory.name, opened)
    there = found(looked_at)
    if not stat.S_ISDIR(there.st_mode):
        raise errors.TransferRefused("is a file, a directory was declared")
    here = (there.st_dev, there.st_ino)
    if here in directory.above:
        raise errors.TransferRefused("is a link to a directory above it")
    with os.scandir(readable(looked_at, opened)) as listing:
        names = sorted(each.name for each in listing if not unfinished.is_one(each.name))
    return [_entry(places, top, os.path.join(directory.name, name)) for name in names], here  # noqa: PTH118 - "" / name is "./name"


def _entry(places: Places, top: Path, name: str) -> Entry:
    try:
        name.encode()
    except UnicodeEncodeError as error:
        raise errors.TransferRefused(f"holds {os.fsencode(name)!r}, whose name is no UTF-8") from error
    try:
        with ExitStack() as opened:
            there = found(places.look(top / name, opened))
    except errors.TransferRefused as error:
        raise errors.TransferRefused(f"{name}: {error}") from error
    except OSError as error:
        raise OSError(error.errno, f"{name}: {error.strerror}") from error
    directory = stat.S_ISDIR(there.st_mode)
    return Entry(name, None if directory else there.st_size, directory)
