"""What TESPES logs, kept for each schedule that runs in a context of its own, to be shown if it fails."""

import asyncio
from contextvars import ContextVar
from typing import Any

import structlog

_LINES: ContextVar[list[str] | None] = ContextVar("_LINES", default=None)


def begin() -> list[str]:
    """What is logged in this context from now on."""
    lines: list[str] = []
    _LINES.set(lines)
    return lines


def keep(_: Any, level: str, event: structlog.typing.EventDict) -> str:
    """A processor for structlog that keeps everything, and shows nothing."""
    lines = _LINES.get()
    if lines is None:
        raise structlog.DropEvent
    lines.append(f"{asyncio.get_event_loop().time():.2f} {level} {event}")
    raise structlog.DropEvent
