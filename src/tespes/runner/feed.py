"""Files in the order in which they are moved, each with its way: asked for in batches, shortly before."""

from __future__ import annotations

import threading
import time
from collections import deque

from . import faults, refusals

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Deque, Iterable, List, Optional, Tuple

    from . import protocol

    Item = Tuple[protocol.File, Any]

_MOST = 100
_FRESH_S = 1.0  # a signed URL may live two seconds


class Feed:
    """`items` are pairs: an entry of the plan, and what names the file in it. `ask` brings the ways for such names."""

    def __init__(self, items: Iterable[Item], ask: Callable[[protocol.File, List[Any]], List[protocol.Way]]) -> None:
        self._waiting: Deque[Item] = deque(items)
        self._ready: Deque[Tuple[Item, Optional[protocol.Way]]] = deque()
        self._ask = ask
        self._batch = 1
        self._asked_at = 0.0
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._waiting) + len(self._ready)

    def take(self) -> Optional[Tuple[protocol.File, Any, Optional[protocol.Way]]]:
        """The next file, and its way if that is known yet; None at the end."""
        with self._lock:
            self._drop_what_is_old()
            if not self._ready and self._waiting:
                self._fill()
            if not self._ready:
                return None
            (entry, name), way = self._ready.popleft()
            return entry, name, way

    def _drop_what_is_old(self) -> None:
        """A way in parts stays good: what it names is kept by TESPES."""
        if self._ready and time.monotonic() - self._asked_at > _FRESH_S:
            kept = [(item, way) for item, way in self._ready if way is not None and "url" not in way]
            old = [item for item, way in self._ready if way is None or "url" in way]
            self._waiting.extendleft(reversed(old))
            self._ready = deque(kept)
            self._batch = max(1, self._batch // 4)

    def _fill(self) -> None:
        entry = self._waiting[0][0]
        if entry["through"]:
            self._ready.append((self._waiting.popleft(), {"through": True}))
            return
        batch: List[Item] = []
        while self._waiting and len(batch) < self._batch and self._waiting[0][0] is entry:
            batch.append(self._waiting.popleft())
        self._ready.extend(zip(batch, self._ways(entry, batch)))  # noqa: B905 - Python 3.10
        self._asked_at = time.monotonic()

    def _ways(self, entry: protocol.File, batch: List[Item]) -> List[Optional[protocol.Way]]:
        now = time.monotonic()
        self._batch = min(_MOST, self._batch * 2) if now - self._asked_at < _FRESH_S / 2 else max(1, self._batch // 2)
        try:
            ways = list(self._ask(entry, [name for _, name in batch]))
        except (faults.SystemFailure, refusals.Passing, refusals.Busy, OSError):
            ways = []  # each of them asks for itself, and one's refusal is none of the others'
        if len(ways) == len(batch):
            return [*ways]
        return [None] * len(batch)
