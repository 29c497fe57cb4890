"""The transfer routes of TESPES seen from the node, and patience with them (design, section 7)."""

from __future__ import annotations

import json
import threading
import time
from contextlib import ExitStack, contextmanager

from . import call, clock, faults, pool, refusals, stop

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Dict, Iterator, Optional, TypeVar

    from . import callback, protocol

    T = TypeVar("T")

_TIMEOUT_S = 300.0  # of silence, not of the whole transfer: a storage may think long before its last word
_TRIES = 5


class Carrier:
    """What moves the files of an attempt; shared by its threads."""

    def __init__(self, tespes: callback.Callback, habits: protocol.Habits, stopped: stop.Stop) -> None:
        """`stopped` ends all that is going on at once."""
        self.stopped = stopped
        self.everything = stopped
        self.pool = pool.Pool(stopped)
        self.at_once = max(1, habits["at_once"])
        self.silence_s = habits["silence_s"]
        self.most_files = habits["most_files"]
        self.turns = threading.BoundedSemaphore(self.at_once)
        self._tespes = tespes
        self._habits = habits

    @contextmanager
    def part(self) -> Iterator[Carrier]:
        """Another one for a part of the work, which can be stopped by itself and has its turns among the others."""
        with carrying(self._tespes, self._habits, self.stopped) as carrier:
            carrier.everything, carrier.turns = self.everything, self.turns
            yield carrier

    @contextmanager
    def request(  # noqa: PLR0917 - as of a connection
        self,
        request: str,
        route: str,
        headers: Optional[Dict[str, str]] = None,
        content: bytes = b"",
        more: Optional[Callable[[call.Line], None]] = None,
        also_good: int = call.OK,
    ) -> Iterator[call.Answer]:
        """The good answer of TESPES; raises a fault, `Passing`, `Busy`, `call.Away` or another `OSError`."""
        target = f"{request} /transfer/{self._tespes.job_id}/{route}"
        headers = {**self._tespes.identity, **(headers or {})}
        with self.pool.request(self._tespes.address, target, headers, content, more, timeout_s=_TIMEOUT_S) as answer:
            if not call.OK <= answer.status < call.REDIRECTION and answer.status != also_good:
                raise refusals.of_tespes(answer)
            yield answer

    def ask(self, route: str, question: protocol.JsonObject) -> Any:
        """What TESPES answers in JSON (None if nothing); raises as `request` does."""
        content = json.dumps(question).encode("ascii")
        with self.request("POST", route, {"Content-Type": "application/json"}, content) as answer:
            body = answer.body()
        try:
            return json.loads(body) if body else None
        except ValueError:
            raise call.Broken("the answer is not JSON") from None

    def persistently(
        self, one_try: Callable[[], T], kept: Callable[[], int] = lambda: 0, before: Callable[[], str] = lambda: ""
    ) -> T:
        """What `one_try` returns at last; raises `SystemFailure` after five tries without progress, or if TESPES stays away.

        `kept` says how many bytes need not be moved again; `before` why TESPES broke a connection, if it said so.
        """
        patience, waits = _Patience(self._tespes.patience_s, kept), clock.waits()
        while True:
            try:
                return one_try()
            except refusals.Busy:
                pass
            except call.Away as error:
                if patience.is_over():
                    raise self._lost(error) from error
            except (refusals.Passing, OSError) as error:
                self.stopped.check()
                if patience.failed():
                    waits = clock.waits()
                if not patience.tries:
                    passing = isinstance(error, refusals.Passing)
                    why = str(error) if passing else before() or faults.network_reason(error)  # type: ignore[arg-type]
                    raise faults.SystemFailure(why, retryable=True) from error
            self.stopped.wait(next(waits))

    def _lost(self, error: OSError) -> faults.SystemFailure:
        failure = self._tespes.unreachable(faults.network_reason(error))
        self.everything.give(failure)  # nothing else can be moved either
        return failure


class _Patience:
    """How long to go on."""

    def __init__(self, away_s: float, kept: Callable[[], int]) -> None:
        self.tries = _TRIES
        self._away_s = away_s
        self._kept = kept
        self._furthest = 0
        self._away_since: Optional[float] = None

    def is_over(self) -> bool:
        """Nobody is there; whether that has been so for too long."""
        self._away_since = self._away_since or time.monotonic()
        return time.monotonic() - self._away_since > self._away_s

    def failed(self) -> bool:
        """A try failed; whether it came further than all before it."""
        self._away_since = None
        progress = self._kept() > self._furthest
        self._furthest = max(self._furthest, self._kept())
        self.tries = _TRIES if progress else self.tries - 1
        return progress


@contextmanager
def carrying(tespes: callback.Callback, habits: protocol.Habits, stopped: stop.Stop) -> Iterator[Carrier]:
    """A carrier whose `stopped` can also be given for this part of the work alone; afterwards no connection is left."""
    with ExitStack() as stack:
        carrier = Carrier(tespes, habits, stack.enter_context(stopped.passed_on()))
        stack.callback(carrier.pool.close)
        yield carrier


def abreast(carrier: Carrier, most: int, work: Callable[[], None]) -> None:
    """`work` done by so many threads at once, this one among them; an exception of any stops all and is raised here."""
    threads = [threading.Thread(target=_guarded, args=(carrier, work), daemon=True) for _ in range(most - 1)]
    for thread in threads:
        thread.start()
    _guarded(carrier, work)
    for thread in threads:
        thread.join()
    carrier.stopped.check()


def _guarded(carrier: Carrier, work: Callable[[], None]) -> None:
    try:
        work()
    except faults.Fault as fault:
        carrier.stopped.give(fault)
    except Exception as error:  # noqa: BLE001 - a bug in a thread must not be silence
        carrier.stopped.give(faults.SystemFailure(f"the runner failed: {type(error).__name__}: {error}"))
