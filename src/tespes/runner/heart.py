"""The sign of life: a request that TESPES holds open, so that an order to stop, or a wish to see, arrives at once."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager

from . import clock

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Iterator, Optional

    from . import callback, protocol, result, tail

_FIRST_AFTER_S = 0.3  # a job that ends sooner needs no heart
_SHORT_PAUSE_S = 0.05


@contextmanager
def beating(tespes: callback.Callback, record: result.Record, live: tail.Live, every_s: float) -> Iterator[None]:
    """While inside, TESPES hears at least every `every_s` that the attempt lives, and sees tails when it asks for them."""
    finished = threading.Event()
    threading.Thread(target=_beat, args=(tespes, record, live, every_s, finished), daemon=True).start()
    try:
        yield
    finally:
        finished.set()


def _beat(tespes: callback.Callback, record: result.Record, live: tail.Live, every_s: float, finished: threading.Event) -> None:
    """An answer that comes early wants something, or TESPES is about to end: the next request follows soon, but not at once."""
    pause_s, waits = min(_FIRST_AFTER_S, every_s), clock.waits()
    shown: Optional[protocol.JsonObject] = None
    while not finished.wait(pause_s):
        began = time.monotonic()
        report = {"report": "heartbeat", "phase": record.phase, "hold_s": every_s, "tails": shown}
        answer = tespes.hold(report, every_s)
        shown = live.tails() if answer and answer.get("tails") else None
        if shown or (answer is not None and time.monotonic() - began >= every_s / 2):
            pause_s, waits = min(_SHORT_PAUSE_S, every_s), clock.waits()
        else:
            pause_s = min(next(waits), every_s)
