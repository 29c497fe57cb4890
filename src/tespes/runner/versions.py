"""Which version of a file an answer has, and which part of it (RFC 9110, 8.8, 13.1.5 and 14.4)."""

from __future__ import annotations

import re

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Dict, Optional, Tuple

_DATE = re.compile(r"[A-Z][a-z]{2}, (\d\d) ([A-Z][a-z]{2}) (\d{4}) (\d\d):(\d\d):(\d\d) GMT", re.ASCII)
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_SURE_AFTER_S = 60  # what changed just now may change again within the same second
_MOST_DIGITS = 18


def named(headers: Dict[str, str]) -> str:
    """What may stand in If-Range: a strong ETag, or a date of change that lies back far enough; empty if there is neither."""
    tag, changed = headers.get("etag", ""), headers.get("last-modified", "")
    if tag:
        return tag if tag.startswith('"') else ""
    return changed if changed and _is_sure(changed, headers.get("date", "")) else ""


def is_same(version: str, headers: Dict[str, str]) -> bool:
    """Whether a part is of this version: an ETag must be with it, a date need not (RFC 9110, 15.3.7)."""
    return may_be_same(version, headers) and ("etag" in headers or not version.startswith('"'))


def may_be_same(version: str, headers: Dict[str, str]) -> bool:
    """Whether nothing says that the answer is of another version."""
    if version.startswith('"'):
        return headers.get("etag", version) == version
    return "etag" not in headers and headers.get("last-modified", version) == version


def part(headers: Dict[str, str]) -> Tuple[int, int, Optional[int]]:
    """Start, end and the whole size from Content-Range, as in `bytes 5-9/10` or `bytes */10`; -1 where there is none."""
    unit, _, rest = headers.get("content-range", "").partition(" ")
    places, _, whole = rest.partition("/")
    start, _, end = places.partition("-")
    if unit.lower() != "bytes":
        return -1, -1, None
    size_bytes = _number(whole)
    return _number(start), _number(end), None if size_bytes < 0 else size_bytes


def _number(text: str) -> int:
    text = text.strip()
    return int(text) if text.isdecimal() and len(text) <= _MOST_DIGITS else -1


def _is_sure(changed: str, date: str) -> bool:
    try:
        return _seconds(date) - _seconds(changed) >= _SURE_AFTER_S
    except ValueError:
        return False


def _seconds(date: str) -> float:
    import datetime as dt  # noqa: PLC0415 - most servers have ETags

    match = _DATE.fullmatch(date)
    if match is None:
        raise ValueError("is no date of HTTP")
    day, month, *rest = match.groups()
    year, hour, minute, second = map(int, rest)
    moment = dt.datetime(year, _MONTHS.index(month) + 1, int(day), hour, minute, second, tzinfo=dt.timezone.utc)
    return moment.timestamp()
