"""Which part of which version of a file an answer has. Pure."""

from collections.abc import Mapping
from datetime import timedelta
from email.utils import parsedate_to_datetime
from typing import Final

from tespes.storage.promise import Resume

_OK: Final = 200
_PART: Final = 206
_SURE_AFTER: Final = timedelta(minutes=1)


def wanted(resume: Resume) -> dict[str, str]:
    """Headers that ask for the rest of the same version, or for the whole of another."""
    return {"Range": f"bytes={resume.start}-", "If-Range": resume.version}


def start(status: int, headers: Mapping[str, str], resume: Resume) -> int | None:
    """Where the bytes of this answer belong in the file; None if that is not where anybody can use them."""
    if status == _OK:
        return 0
    first, _ = _content_range(headers)
    same = version(headers) in {None, resume.version}  # some servers do not know If-Range
    return resume.start if status == _PART and first == resume.start and same else None


def size_bytes(status: int, headers: Mapping[str, str]) -> int | None:
    """Of the whole file, as far as the answer says so."""
    length = headers.get("Content-Length", "") if status == _OK else _content_range(headers)[1]
    return int(length) if length.isdecimal() else None


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


def _content_range(headers: Mapping[str, str]) -> tuple[int | None, str]:
    """The first byte, and the size of the whole as it stands there (`*` if it is not known)."""
    unit, _, said = headers.get("Content-Range", "").partition(" ")
    part, _, size = said.partition("/")
    first = part.partition("-")[0]
    return (int(first) if unit == "bytes" and first.isdecimal() else None), size
