"""Moments: aware, UTC, whole milliseconds; as text of one fixed width, so that texts sort as moments do (RFC 3339)."""

from datetime import UTC, datetime


def whole(at: datetime) -> datetime:
    """The moment without what is below a millisecond (BSON keeps no more)."""
    return at.replace(microsecond=at.microsecond // 1000 * 1000)


def text(at: datetime) -> str:
    """For example `2026-11-22T12:00:00.123Z`."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds")[:-6] + "Z"


def read(written: str) -> datetime:
    """The moment that `text` wrote.

    :raises ValueError: it is no RFC 3339 moment
    """
    return datetime.fromisoformat(written)
