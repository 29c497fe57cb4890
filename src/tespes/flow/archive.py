"""The place of a backup: a directory with parts that are never changed, and one file that says what belongs to it.

    backup.json                      what the backup is up to, and its parts with their SHA-256; replaced as a whole, last
    log-000000000001-000000001204.jsonl.gz      a part: the commits of these positions as lines of JSON, packed

    {"record": "text", "sha256": …, "content": …}      a text that is kept beside events, base64, before who names it
    {"record": "entry", "_id": …, "position": …, …}    a commit as it is stored, as in an export (see `flow.export`)

What was cut off is a part that `backup.json` does not name, and so no part of the backup.
"""

import base64
import fcntl
import gzip
import hashlib
import os
import zlib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import orjson
from pydantic import TypeAdapter

from tespes import errors
from tespes.events import Entry, chain, redact
from tespes.events.chain import Flaw, Head
from tespes.flow import audit, export
from tespes.flow.reading import Known, Reading
from tespes.store import Upload, layout

FORMAT: Final = 1
_MANIFEST: Final = "backup.json"
_PARTS: Final = "log-*.jsonl.gz"
_UNFINISHED: Final = ".new.jsonl.gz"
_PACKED: Final = 3  # of 9: on a log, half the time of the usual 6 for a tenth more bytes
_OWNER_ONLY: Final = 0o600
_UNREADABLE: Final = (OSError, EOFError, zlib.error, ValueError, LookupError, TypeError, AttributeError)


@dataclass(frozen=True, slots=True)
class Part:
    """A file of the backup: the commits from `first` to `last`."""

    name: str
    first: int
    last: int
    size_bytes: int
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """What belongs to a backup.

    :param position: of the last commit in it, and `hash` of that commit; :param at: when it was made, by `release`
    :param key: the public key that the log was sealed with then, hexadecimal, if it was known
    :param followers: up to which position each had its events; :param uploads: those that were not over
    """

    format: int = FORMAT
    position: int = 0
    hash: str = chain.BEGINNING
    at: datetime | None = None
    release: str = ""
    key: str | None = None
    parts: tuple[Part, ...] = ()
    followers: dict[str, int] = field(default_factory=dict)
    uploads: tuple[Upload, ...] = ()

    @property
    def head(self) -> Head:
        """Its end."""
        return Head(self.position, self.hash)


@dataclass(frozen=True, slots=True)
class Text:
    """A text that is kept beside events."""

    sha256: str
    content: bytes


_CONTENTS: Final = TypeAdapter(Contents)


@contextmanager
def held(place: Path) -> Iterator[None]:
    """Nobody else writes there until the block is left.

    :raises errors.SetupError: somebody does
    """
    descriptor = os.open(place, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError as error:
        raise errors.SetupError(f"somebody else makes a backup in {place}: wait for its end, or name another place") from error
    finally:
        os.close(descriptor)


def contents(place: Path) -> Contents | None:
    """What belongs to the backup there; None if there is none.

    :raises errors.CorruptLog: it cannot be read, or is of a newer format
    """
    path = place / _MANIFEST
    try:
        said = orjson.loads(path.read_bytes())
        if isinstance(said, dict) and said.get("format") != FORMAT:
            raise errors.CorruptLog(f"{path} is of format {said.get('format')}, and this TESPES reads {FORMAT}")
        return _CONTENTS.validate_python(said)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise errors.CorruptLog(f"{path} cannot be read: {error}") from error


def look(place: Path, made: Contents) -> None:
    """Whether all that belongs to it is there, each part as long as it was; what is in them, `verify` says.

    :raises errors.CorruptLog: it is not
    """
    for path, size_bytes in ((place / part.name, part.size_bytes) for part in made.parts):
        if not path.is_file() or path.stat().st_size != size_bytes:
            raise errors.CorruptLog(f"{path} is missing or cut off: make a backup in another place")


def settle(place: Path, made: Contents) -> None:
    """Have that be the backup, on disk, in one step; what belongs to none is removed."""
    _sync(place)
    fresh = place / f"{_MANIFEST}.new"
    with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, _OWNER_ONLY), "wb") as file:  # noqa: PTH123 - by its number
        file.write(_CONTENTS.dump_json(made, indent=1))
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(place / _MANIFEST)
    _sync(place)
    tidy(place, made.parts)


def tidy(place: Path, parts: Sequence[Part]) -> None:
    """Remove the parts that were cut off.

    :raises errors.SetupError: there are whole ones, and nothing says what they belong to: that may be what is lost
    """
    left = set(place.glob(_PARTS)).difference(place / part.name for part in parts)
    if not parts and any(not path.name.endswith(_UNFINISHED) for path in left):
        raise errors.SetupError(f"there are parts of a backup in {place}, and no {_MANIFEST}: name another place, or empty it")
    for path in left:
        path.unlink()


class Writing:
    """A part that is being written; what does not come to its end leaves nothing: the disk may be full."""

    def __init__(self, place: Path, first: int, stack: ExitStack) -> None:
        self._place = place
        self._first = first
        self._fresh = place / f"log-{first:012}{_UNFINISHED}"
        stack.callback(self._fresh.unlink, missing_ok=True)
        descriptor = os.open(self._fresh, os.O_RDWR | os.O_CREAT | os.O_TRUNC, _OWNER_ONLY)
        self._file = stack.enter_context(open(descriptor, "r+b"))  # noqa: PTH123, SIM115 - by its number; the stack closes it
        self._packed = stack.enter_context(gzip.GzipFile("", "wb", _PACKED, self._file, mtime=0))

    def text(self, text: Text) -> None:
        """Add a text."""
        self._packed.write(export.line("text", {"sha256": text.sha256, "content": base64.b64encode(text.content).decode()}))

    def entry(self, entry: Entry) -> None:
        """Add a commit."""
        self._packed.write(export.line("entry", layout.document(entry)))

    def end(self, last: int) -> Part:
        """The part, once all of it is on disk."""
        self._packed.close()
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.seek(0)
        sha256 = hashlib.file_digest(self._file, "sha256").hexdigest()
        path = self._fresh.replace(self._place / f"log-{self._first:012}-{last:012}.jsonl.gz")
        return Part(path.name, self._first, last, path.stat().st_size, sha256)


def read(place: Path, made: Contents) -> Iterator[Text | Entry]:
    """What is in the backup, in the order in which it goes into a store; nothing of it is compared with the rest.

    :raises errors.CorruptLog: a part is not as it was written
    """
    for part in made.parts:
        try:
            with (place / part.name).open("rb") as file:
                if hashlib.file_digest(file, "sha256").hexdigest() != part.sha256:
                    raise errors.CorruptLog(f"{place / part.name} is not as it was written")
                file.seek(0)
                with gzip.GzipFile(fileobj=file) as lines:
                    yield from map(_read, lines)
        except _UNREADABLE as error:
            raise errors.CorruptLog(f"{place / part.name} cannot be read: {error}") from error


def _read(line: bytes) -> Text | Entry:
    values: dict[str, Any] = orjson.loads(line)
    if values.pop("record") == "entry":
        return layout.from_document(values, exact=True)
    text = Text(values["sha256"], base64.b64decode(values["content"]))
    if hashlib.sha256(text.content).hexdigest() != text.sha256:
        raise ValueError(f"the text {text.sha256} has other bytes than its name says")
    return text


def verify(place: Path, made: Contents, known: Known) -> audit.Verdict:
    """Check the whole backup, as an audit does the log: what was taken out after it was kept here is `unfinished`."""
    reading, texts = Reading(known), set[bytes]()
    try:
        for each in read(place, made):
            if isinstance(each, Text):
                texts.add(bytes.fromhex(each.sha256))
            elif (flaw := reading.take(each) or _text_flaw(each, texts)) is not None:
                return audit.verdict(reading, (flaw,))
    except (errors.CorruptLog, errors.UnknownEvent) as error:
        return audit.verdict(reading, (Flaw(reading.head.position + 1, f"cannot be read: {error}"),))
    flaw = reading.end(made.position) or _end_flaw(reading.head, made) or reading.redactions.flaw()
    return audit.verdict(reading, (flaw,) if flaw else (), reading.redactions.unfinished())


def _text_flaw(entry: Entry, texts: set[bytes]) -> Flaw | None:
    missing = [sha256 for sha256 in kept(entry) if bytes.fromhex(sha256) not in texts]
    return Flaw(entry.position, f"is not whole: the text {missing[0]} is missing") if missing else None


def _end_flaw(head: Head, made: Contents) -> Flaw | None:
    return None if head == made.head else Flaw(head.position, f"is not the end that {_MANIFEST} names")


def kept(entry: Entry) -> frozenset[str]:
    """The texts that are kept beside a commit."""
    return frozenset(sha256 for encoded in entry.commit.events for sha256 in redact.kept(encoded))


def _sync(place: Path) -> None:
    """Have the names in that directory on disk."""
    descriptor = os.open(place, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
