"""Connections that are used again: one request at a time on each, any number of threads."""

from __future__ import annotations

import threading
from contextlib import ExitStack, contextmanager

from . import call

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Dict, Iterator, List, Optional, Tuple

    from . import stop

_CLOSED_MEANWHILE = (call.Unanswered, call.Answered, BrokenPipeError, ConnectionResetError)


class Pool:
    """Idle connections, by origin. An order to stop breaks those in use, whatever they wait for."""

    def __init__(self, stopped: stop.Stop) -> None:
        self._stopped = stopped
        self._idle: Dict[Tuple[Any, ...], List[call.Line]] = {}
        self._lock = threading.Lock()

    def close(self) -> None:
        """Close what is idle."""
        with self._lock:
            for lines in self._idle.values():
                while lines:
                    lines.pop().close()

    @contextmanager
    def request(
        self,
        address: call.Address,
        request: str,
        headers: Dict[str, str],
        content: bytes = b"",
        more: Optional[Callable[[call.Line], None]] = None,
        *,
        timeout_s: float,
    ) -> Iterator[call.Answer]:
        """The answer, see `call.exchange`; `more` may be called twice. A connection is used again if the body was read."""
        with ExitStack() as stack:
            idle, answer = self._idle_one(address), None
            if idle is not None:
                try:
                    self._take(idle, stack, timeout_s)
                    answer = call.exchange(idle, request, headers, content, more)
                except _CLOSED_MEANWHILE:
                    self._stopped.check()  # else it was closed while it was idle: nobody did what was asked
            if answer is None:
                new = address.connect(timeout_s)
                self._take(new, stack, timeout_s)
                answer = call.exchange(new, request, headers, content, more)
            yield answer
            if answer.is_over and answer.can_be_followed:
                answer.line.is_free = True

    def _idle_one(self, address: call.Address) -> Optional[call.Line]:
        with self._lock:
            lines = self._idle.get(address.origin, [])
            while lines:
                line = lines.pop()
                if not line.has_more():
                    return line
                line.close()
        return None

    def _take(self, line: call.Line, stack: ExitStack, timeout_s: float) -> None:
        line.is_free = False
        line.socket.settimeout(timeout_s)
        stack.callback(self._let_go, line)
        stack.enter_context(self._stopped.calling(line.break_off))

    def _let_go(self, line: call.Line) -> None:
        if not line.is_free:
            line.close()
            return
        with self._lock:
            self._idle.setdefault(line.address.origin, []).append(line)
