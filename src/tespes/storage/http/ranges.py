"""Which part of which version of a file an answer has. Pure."""

from collections.abc import Mapping
from datetime import timedelta
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Final

from tespes.storage.promise import Resume

_SURE_AFTER: Final = timedelta(minutes=1)
_DIGITS: Final = 18


def wanted(resume: Resume) -> dict[str, str]:
    """Headers that ask for the rest of the same version, or for the whole of another."""
    return {"Range": f"bytes={resume.start}-", "If-Range": resume.version}


def start(status: int, headers: Mapping[str, str], resume: Resume) -> int | None:
    """Where the bytes of this answer belong in the file; None if that is not where anybody can use them.

    A part is of use if it goes on to the end of a file whose size it tells, and of the same version.
    """
    if status == HTTPStatus.OK:
        return 0
    first, last, size = _content_range(headers)
    is_the_rest = first == resume.start and size is not None and last == size - 1
    same = version(headers) in {None, resume.version}  # some servers do not know If-Range
    return resume.start if status == HTTPStatus.PARTIAL_CONTENT and is_the_rest and same else None


def size_bytes(status: int, headers: Mapping[str, str]) -> int | None:
    """Of the whole file, as far as the answer says so."""
    return _number(headers.get("Content-Length", "")) if status == HTTPStatus.OK else _content_range(headers)[2]


def tells_its_end(headers: Mapping[str, str]) -> bool:
    """Whether the end of what comes can be told from a connection that was cut: it says its length, or comes in chunks."""
    return "Content-Length" in headers or "chunked" in headers.get("Transfer-Encoding", "").lower()


def version(headers: Mapping[str, str]) -> str | None:
    """What names these very bytes: a strong ETag, or a date of change that lies back far enough (RFC 9110, 8.8)."""
    etag, changed = headers.get("ETag", ""), headers.get("Last-Modified", "")
    if etag:
        return etag if etag.startswith('"') else None
    try:
        sure = parsedate_to_datetime(headers["Date"]) - parsedate_to_datetime(changed) >= _SURE_AFTER
    except (LookupError, ValueError, TypeError):
        return None
    return changed if sure else None


def _content_range(headers: Mapping[str, str]) -> tuple[int | None, int | None, int | None]:
    """The first byte, the last one, and the size of the whole; None for each that is not said."""
    unit, _, said = headers.get("Content-Range", "").partition(" ")
    part, _, size = said.partition("/")
    first, _, last = part.partition("-")
    return (_number(first), _number(last), _number(size)) if unit == "bytes" else (None, None, None)


def _number(text: str) -> int | None:
    return int(text) if text.isdecimal() and len(text) <= _DIGITS else None
