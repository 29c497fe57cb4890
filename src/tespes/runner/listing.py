"""What belongs to an input directory, as TESPES or an index page lists it. Nothing said there is believed unchecked."""

from __future__ import annotations

import json
import posixpath

from . import call, faults, refusals

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Iterator, List, Set

    from . import protocol, transfer

_LONGEST_NAME_BYTES = 255


class Listing:
    """The paths of files and directories below an input directory; those above them are among the directories."""

    def __init__(self, most: int) -> None:
        self.files: Set[str] = set()
        self.directories: Set[str] = set()
        self._most = most

    def add(self, name: str, *, is_directory: bool) -> None:
        """Raises `SystemFailure` if it cannot be."""
        _refuse_what_is_no_name(name)
        above = posixpath.dirname(name)
        while above and above not in self.directories:
            self._refuse_both(above, self.files)
            self.directories.add(above)
            above = posixpath.dirname(above)
        self._refuse_both(name, self.files if is_directory else self.directories)
        (self.directories if is_directory else self.files).add(name)
        if len(self.files) + len(self.directories) > self._most:
            raise faults.SystemFailure(f"has more than {self._most} files")

    def _refuse_both(self, name: str, others: Set[str]) -> None:
        if name in others:
            raise faults.SystemFailure(f"{name!r} is a file and a directory at once")


def listed(carrier: transfer.Carrier, entry: protocol.File, most: int) -> Listing:
    """What the directory holds; raises `SystemFailure`."""
    return carrier.persistently(lambda: _one_try(carrier, entry, most))


def _one_try(carrier: transfer.Carrier, entry: protocol.File, most: int) -> Listing:
    listing = Listing(most)
    look: List[protocol.Way] = []
    with carrier.request("POST", f"inputs/{entry['index']}/list") as answer:
        for line in _until_the_end(answer):
            if "look" in line:
                look.append(line["look"])
            else:
                listing.add(str(line.get("name")), is_directory=bool(line.get("is_directory")))
    for way in look:
        from . import index_page  # noqa: PLC0415 - its parser is needed by few

        for name, is_directory in index_page.below(carrier, way):
            listing.add(name, is_directory=is_directory)
    return listing


def _until_the_end(answer: call.Answer) -> Iterator[protocol.Listed]:
    for text in _lines(answer):
        try:
            line: protocol.Listed = json.loads(text)
        except ValueError:
            raise call.Broken("the list is not JSON") from None
        if "problem" in line:
            raise refusals.of_a_listing(line["problem"])
        if line.get("end"):
            return
        yield line
    raise call.Broken("the list ended before its end")


def _lines(answer: call.Answer) -> Iterator[bytes]:
    buffer, rest = memoryview(bytearray(call.CHUNK_BYTES)), b""
    while True:
        count = answer.read_into(buffer)
        if not count:
            break
        *whole, rest = (rest + buffer[:count]).split(b"\n")
        yield from whole
    if rest:
        yield rest


def _refuse_what_is_no_name(name: str) -> None:
    for part in name.split("/"):
        try:
            encoded = part.encode("utf-8")
        except UnicodeEncodeError:
            raise faults.SystemFailure(f"{name!r} is not the name of a file: it is not Unicode") from None
        if part in ("", ".", "..") or "\0" in part:
            raise faults.SystemFailure(f"{name!r} is not the name of a file below it")
        if len(encoded) > _LONGEST_NAME_BYTES:
            raise faults.SystemFailure(f"the name {part[:40]!r}... is longer than {_LONGEST_NAME_BYTES} bytes")
