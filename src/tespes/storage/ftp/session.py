"""What TESPES asks an FTP server. What the server lacks is noticed once and done without."""

import contextlib
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, Literal

from tespes import errors
from tespes.storage.ftp.link import Link
from tespes.storage.ftp.lists import facts
from tespes.storage.ftp.wire import Answered, Broken

_LISTING_BYTES: Final = 64 * 2**20
_SURE_AFTER: Final = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Found:
    """What is at a path.

    :param type: unknown if there may be a file or nothing at all
    :param version: differs if the file does, as far as the server tells: its size and when it changed, in whole seconds.
        None if it does not, or if that is less than a minute ago by our clock: the file may change again in the same
        second. A server whose clock is more than a minute behind ours is believed too soon
    """

    type: Literal["file", "directory", "unknown"]
    size_bytes: int | None = None
    version: str | None = None


class Session(Link):
    """A connection, with questions about files."""

    async def find(self, path: str) -> Found | None:
        """What is there; None: nothing, or nothing that the server wants to tell.

        :raises Answered: it does not want to for now
        """
        told = await self.if_able("MLST", path)
        if told is None and "MLST" not in self.lacks:
            return None
        known = facts(next((line.strip() for line in told.lines[1:]), "")) if told else {}
        kind, size = known.get("type", "").lower(), known.get("size", "")
        if kind in {"dir", "cdir", "pdir"}:
            return Found("directory")
        if kind == "file":
            return _file(int(size) if size.isdecimal() else None, known.get("modify"))
        return await self._find_without_facts(path)  # also a link, which MLST may tell of itself rather than of its target

    async def _find_without_facts(self, path: str) -> Found | None:
        sized = await self.if_able("SIZE", path)
        if sized is None:
            if await self.is_directory(path):
                return Found("directory")
            return Found("unknown") if "SIZE" in self.lacks else None
        dated = await self.if_able("MDTM", path)
        return _file(int(sized.words) if sized.words.isdecimal() else None, dated.words if dated else None)

    async def size_bytes(self, path: str) -> int | None:
        """Of a file, if the server tells."""
        sized = await self.if_able("SIZE", path)
        if sized is not None and sized.words.isdecimal():
            return int(sized.words)
        found = await self.find(path) if "SIZE" in self.lacks else None
        return found.size_bytes if found else None

    async def is_directory(self, path: str) -> bool:
        """Whether one can go there: the one question that every server answers."""
        try:
            await self.ask(f"CWD {path}")
        except Answered as error:
            if error.is_for_now:
                raise
            return False
        return True

    async def rename(self, old: str, new: str) -> None:
        """Give it another path."""
        await self.ask(f"RNFR {old}", "3")
        await self.ask(f"RNTO {new}")

    async def listing(self) -> tuple[Literal["MLSD", "LIST"], list[bytes]]:
        """The lines about the directory where it is now (see `is_directory`), and what kind they are of."""
        if "MLSD" not in self.lacks:
            try:
                return "MLSD", await self._lines("MLSD")
            except Answered as error:
                if not error.is_unknown_command:
                    raise
                self.lacks.add("MLSD")
        if "-a" not in self.lacks:  # vsftpd keeps names with a leading dot to itself without it
            with contextlib.suppress(Answered):
                if lines := await self._lines("LIST -a"):
                    return "LIST", lines
            self.lacks.add("-a")
        return "LIST", await self._lines("LIST")

    async def _lines(self, command: str) -> list[bytes]:
        received = bytearray()
        try:
            data = await self.begin(command)
            while piece := await data.read():
                received += piece
                if len(received) > _LISTING_BYTES:
                    raise errors.TransferRefused("the listing of a directory does not end")
            farewell = await self.end()
        except Broken as error:
            raise await self.why(error) from error
        except Answered as error:
            if "no files" in error.words.lower():  # so some servers call an empty directory
                return []
            raise
        if "failed to open" in farewell:  # so vsftpd calls one that it may not read, in a 226
            raise Answered(550, farewell)
        return [line.removesuffix(b"\r") for line in bytes(received).split(b"\n") if line.strip()]


def _file(size_bytes: int | None, changed: str | None) -> Found:
    is_sure = size_bytes is not None and changed and _lies_back(changed)
    return Found("file", size_bytes, f"{size_bytes} {changed}" if is_sure else None)


def _lies_back(changed: str) -> bool:
    """Whether a time as servers write it (RFC 3659, 2.3) is so long ago that what changes now would have another."""
    try:
        at = datetime.strptime(changed.partition(".")[0], "%Y%m%d%H%M%S").replace(tzinfo=UTC)
    except ValueError:
        return False
    return datetime.now(UTC) - at >= _SURE_AFTER
