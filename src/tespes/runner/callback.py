"""The runner's conversation with TESPES: claim, reports and result (design, section 6)."""

from __future__ import annotations

import json
import time

from . import call, clock, faults

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, Optional, Tuple

    from . import protocol, stop

GONE = 410
_ANSWER_TIMEOUT_S = 30.0
_REPORT_TIMEOUT_S = 5.0


class Callback:
    """TESPES, seen from the node."""

    def __init__(self, order: protocol.Order, run_id: str, stopped: stop.Stop) -> None:
        self.address = call.Address(order["callback_url"].rstrip("/"))
        self.job_id = order["job_id"]
        self.identity = {"Authorization": f"Bearer {order['token']}", "Tespes-Run": run_id}
        self._run_id = run_id
        self._stopped = stopped
        self.patience_s = float(order.get("report_patience_s") or 120.0)

    def claim(self, node: Dict[str, str], patience_s: float) -> protocol.Plan:
        """The plan; raises `Superseded` if the attempt is not to run, `SystemFailure` if there is no answer in time."""
        return _plan(*self._insist("claim", {"run_id": self._run_id, "node": node}, patience_s, _ANSWER_TIMEOUT_S))

    def begin(self, report: protocol.JsonObject) -> None:
        """Have TESPES know that the first executor starts, before it does; raises `SystemFailure` if it is away for too long.

        A task whose commands began is not tried again unless it asks for that, and only TESPES's log can say that they began.
        """
        status, body = self._insist("reports", report, self.patience_s, _REPORT_TIMEOUT_S)
        if status == GONE:
            self._stopped.give(faults.Killed("TESPES does not want this attempt any more"))
        elif status >= call.REDIRECTION:
            raise faults.SystemFailure(f"TESPES refused the report: {problem(status, body)['detail']}")

    def report(self, report: protocol.JsonObject) -> None:
        """Tell TESPES, once: what is lost here is repeated by the result. The answer 410 is the order to stop."""
        self.hold(report, 0.0)

    def hold(self, report: protocol.JsonObject, hold_s: float) -> Optional[protocol.JsonObject]:
        """The same, and TESPES may wait with its answer for `hold_s`: what it wants, or None if it did not answer."""
        try:
            status, body = self._post("reports", report, hold_s + _REPORT_TIMEOUT_S)
        except OSError:
            return None
        if status == GONE:
            self._stopped.give(faults.Killed("TESPES does not want this attempt any more"))
        if status >= call.REDIRECTION:
            return None
        return _object(body) if status == call.OK else {}

    def deliver(self, result: protocol.JsonObject) -> None:
        """TESPES has accepted or refused the result, or was away for longer than the patience."""
        deadline = time.monotonic() + self.patience_s
        for wait_s in clock.waits():
            try:
                status, _ = self._post("result", result, _ANSWER_TIMEOUT_S)
            except OSError:
                status = call.SERVER_ERROR
            if status < call.SERVER_ERROR or time.monotonic() + wait_s > deadline:
                return
            time.sleep(wait_s)

    def unreachable(self, why: str) -> faults.SystemFailure:
        return faults.SystemFailure(f"cannot reach TESPES at {self.address.url}: {why}", retryable=True)

    def _insist(self, route: str, document: protocol.JsonObject, patience_s: float, answer_s: float) -> Tuple[int, bytes]:
        """The first answer that is no failure of the server itself; raises `SystemFailure` if there is none in that time."""
        deadline = time.monotonic() + patience_s
        for wait_s in clock.waits():
            left_s = max(1.0, deadline - time.monotonic())
            try:
                status, body = self._post(route, document, min(left_s, answer_s))
            except OSError as error:
                why = faults.network_reason(error)
            else:
                if status < call.SERVER_ERROR:
                    return status, body
                why = problem(status, body)["detail"]
            if time.monotonic() + wait_s > deadline:
                break
            self._stopped.wait(wait_s)
        raise self.unreachable(why)

    def _post(self, route: str, document: protocol.JsonObject, timeout_s: float) -> Tuple[int, bytes]:
        body = json.dumps(document).encode("ascii")
        headers = {**self.identity, "Content-Type": "application/json"}
        with call.call(self.address, f"POST /runner/{self.job_id}/{route}", headers, body, timeout_s=timeout_s) as answer:
            return answer.status, answer.body()


def _object(body: bytes) -> Optional[protocol.JsonObject]:
    """The JSON object in a body; None if it is something else, such as a proxy's page."""
    try:
        found = json.loads(body)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def _plan(status: int, body: bytes) -> protocol.Plan:
    if status == GONE:
        raise faults.Superseded("this attempt is not to run")
    if call.OK <= status < call.REDIRECTION:
        plan: protocol.Plan = json.loads(body)
        return plan
    raise faults.SystemFailure(f"TESPES refused the claim: {problem(status, body)['detail']}")


def problem(status: int, body: bytes) -> Dict[str, Any]:
    """`detail`, and `retryable`: None if the answer does not say (a proxy's page, for example)."""
    try:
        problem = json.loads(body)
        detail = problem.get("detail") or problem.get("title")
        return {"detail": detail or f"TESPES answered {status}", "retryable": problem.get("retryable")}
    except (ValueError, AttributeError):
        return {"detail": f"TESPES answered {status}", "retryable": None}
