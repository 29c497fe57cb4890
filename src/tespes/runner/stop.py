"""The order to end, which may come from another thread while the main one waits."""

from __future__ import annotations

import threading
from contextlib import contextmanager, suppress

from . import faults

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable, Iterator, List, Optional


@contextmanager
def after(limit_s: Optional[float], stopped: Stop) -> Iterator[None]:
    """While inside, the order is given once the limit has passed: TESPES gives it too, but may be away."""
    if not limit_s:
        yield
        return
    reason = f"ran longer than the {limit_s:g} s that it may (running_s)"
    timer = threading.Timer(limit_s, stopped.give, [faults.SystemFailure(reason)])
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


class Stop:
    """Given once; whoever waits is woken, and whoever asks learns why."""

    def __init__(self) -> None:
        self._given = threading.Event()
        self._lock = threading.RLock()  # re-entrant: a signal handler may give the order while the main thread holds it
        self._why: Optional[faults.Fault] = None
        self._actions: List[Callable[[], None]] = []

    def give(self, why: faults.Fault) -> None:
        """End what is going on; the first reason stays. Returns when all actions that were to be called are done."""
        with self._lock:
            if self._why is None:
                self._why = why
            self._given.set()
            while self._actions:
                self._actions.pop()()

    def given(self) -> bool:
        return self._given.is_set()

    def check(self) -> None:
        """Raise the reason if the order was given."""
        if self._why is not None:
            raise self._why

    def wait(self, seconds: float) -> None:
        """Sleep; raise the reason as soon as the order is given."""
        self._given.wait(seconds)
        self.check()

    @contextmanager
    def calling(self, action: Callable[[], None]) -> Iterator[None]:
        """While inside, the order runs `action` in the thread of whoever gives it; leaving waits until that is done."""
        with self._lock:
            self._actions.append(action)
            if self._why is not None:
                self.give(self._why)
        try:
            yield
        finally:
            with self._lock, suppress(ValueError):  # it was called
                self._actions.remove(action)

    @contextmanager
    def passed_on(self) -> Iterator[Stop]:
        """An order of its own for a part of the work, which is also given when this one is."""
        part = Stop()
        with self.calling(lambda: part.give(self._why or faults.Killed("stopped"))):
            yield part
