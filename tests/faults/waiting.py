"""Where everything waits: for whoever looks for the cause of a standstill."""

import asyncio
from collections.abc import Iterator
from typing import Any

_OURS = ("/tespes/", "/simulated/")


def places() -> list[str]:
    """For each task that runs our code: what it waits for, from the outside in."""
    found = (" > ".join(_frames(task.get_coro())) for task in asyncio.all_tasks())
    return sorted(place for place in found if any(word in place for word in _OURS))


def _frames(awaited: Any) -> Iterator[str]:
    while awaited is not None:
        kind = next((prefix for prefix in ("cr", "gi", "ag") if hasattr(awaited, f"{prefix}_frame")), None)
        if kind is None:
            yield type(awaited).__name__
            return
        frame = getattr(awaited, f"{kind}_frame")
        if frame is not None:
            file = "/".join(frame.f_code.co_filename.split("/")[-3:])
            yield f"{frame.f_code.co_name} ({file}:{frame.f_lineno})"
        awaited = getattr(awaited, "cr_await" if kind == "cr" else "gi_yieldfrom" if kind == "gi" else "ag_await")
