"""The runner of a simulated node: it speaks to TESPES as `tespes.runner` does, and its executors are `programs`."""

import asyncio
import contextlib
import json
import random
import secrets
import time
from collections.abc import Coroutine, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, TypeVar

import aiohttp

from simulated import programs
from simulated.record import Record

Answer = TypeVar("Answer")
Object = dict[str, Any]

_ENGINES = frozenset({"docker", "podman"})
_REAPER_S = 0.36  # after a kill, an engine's container lives on until its reaper has removed it
_GONE = 410
_OK = 200
_SERVER_ERROR = 500
_FIRST_BEAT_S = 0.3
_SHORT_PAUSE_S = 0.05
_REPORT_TIMEOUT_S = 5.0


@dataclass
class Node:
    """Where runners run.

    :param record: where they write down what ran
    :param staging_in_s: how long inputs take; :param staging_out_s: how long outputs take
    :param stopping_s: how long it takes to remove a container once the runner was told to stop
    """

    session: aiohttp.ClientSession
    record: Record = field(default_factory=Record)
    staging_in_s: float = 0.0
    staging_out_s: float = 0.0
    stopping_s: float = 0.0


class Superseded(Exception):
    """TESPES does not want this runner."""


class Stopped(Exception):
    """The runner was told to stop."""


class SystemFailure(Exception):
    """The runner cannot go on; `retryable`: another might."""

    def __init__(self, reason: str, *, retryable: bool) -> None:
        super().__init__(reason)
        self.retryable = retryable


class Runner:
    """One run of a job. `run` gives the last line of its output; cancelling that is SIGKILL."""

    def __init__(self, order: Object, node: Node) -> None:
        self._order = order
        self._node = node
        self._run = node.record.begin(order["job_id"], secrets.token_hex(16))
        self._url = f"{order['callback_url'].rstrip('/')}/runner/{order['job_id']}"
        self._headers = {"Authorization": f"Bearer {order['token']}", "Tespes-Run": self._run.run_id}
        self._stopped = asyncio.Event()
        self._executors: list[Object] = []
        self._phase = "claim"
        self._outlives = False

    async def run(self) -> str:
        """Claim, work, deliver; the result as a line of JSON."""
        try:
            result = await self._settled()
        except asyncio.CancelledError:
            self._killed()
            raise
        self._run.end(result["outcome"])
        return json.dumps(result)

    async def _settled(self) -> Object:
        try:
            plan = await self._claim()
        except Superseded as fault:
            return self._result("superseded", str(fault))
        except SystemFailure as failure:
            return self._result("system_failed", str(failure), retryable=failure.retryable)
        beating = asyncio.create_task(self._beat(float(plan["heartbeat_s"])))
        try:
            result = await self._worked(plan)
            await self._deliver(result, float(plan["report_patience_s"]))
            return result
        finally:
            beating.cancel()

    async def _worked(self, plan: Object) -> Object:
        try:
            succeeded = await self._work(plan)
        except Stopped:
            return self._result("killed", "TESPES does not want this attempt any more")
        except SystemFailure as failure:
            return self._result("system_failed", str(failure), retryable=failure.retryable)
        return self._result("succeeded" if succeeded else "executor_failed", None)

    async def _work(self, plan: Object) -> bool:
        self._outlives = plan["runtime"]["kind"] in _ENGINES
        self._phase = "inputs"
        await self._unless_stopped(asyncio.sleep(self._node.staging_in_s))
        succeeded = True
        for index, executor in enumerate(plan["executors"]):
            started = {"report": "executor_started", "executor": index, "at": _now()}
            if index:
                await self._report(started)
            else:
                await self._begin(started, float(plan["report_patience_s"]))
            self._phase = f"executor {index}"
            ended = await self._executor(index, executor)
            self._executors.append(ended)
            await self._report({"report": "executor_ended", **ended})
            if ended["exit_code"] and not executor.get("ignore_error"):
                succeeded = False
                break
        self._phase = "outputs"
        await self._unless_stopped(asyncio.sleep(self._node.staging_out_s))
        return succeeded

    async def _executor(self, index: int, executor: Object) -> Object:
        if self._stopped.is_set():
            raise Stopped
        began, container = _now(), self._run.start(index)
        try:
            done = await self._unless_stopped(programs.run(executor["command"]))
        except Stopped:
            await asyncio.sleep(self._node.stopping_s)
            container.end()
            raise
        container.end(done.exit_code)
        ended = {"executor": index, "exit_code": done.exit_code, "started_at": began, "ended_at": _now()}
        return {**ended, "stdout": done.stdout[-1000:], "stderr": ""}

    async def _unless_stopped(self, work: Coroutine[Any, Any, Answer]) -> Answer:
        """What the work gives; raises `Stopped` as soon as TESPES wants the runner to stop."""
        working, stopped = asyncio.ensure_future(work), asyncio.ensure_future(self._stopped.wait())
        try:
            await asyncio.wait({working, stopped}, return_when=asyncio.FIRST_COMPLETED)
            if not working.done():
                raise Stopped
            return working.result()
        finally:
            working.cancel()
            stopped.cancel()

    def _killed(self) -> None:
        """SIGKILL: the sandbox dies with its runner, an engine's container a moment later."""
        self._run.end("killed by signal 9")
        for container in self._run.containers:
            if self._outlives:
                asyncio.get_running_loop().call_later(_REAPER_S, container.end)
            else:
                container.end()

    def _result(self, outcome: str, reason: str | None, *, retryable: bool = False) -> Object:
        told = {"outcome": outcome, "reason": reason, "phase": self._phase, "retryable": retryable}
        files: Object = {"inputs": [], "outputs": [], "notes": []}
        return {
            "tespes": 1,
            "job_id": self._run.job_id,
            "run_id": self._run.run_id,
            "executors": self._executors,
            **told,
            **files,
        }

    async def _claim(self) -> Object:
        deadline = time.monotonic() + float(self._order["claim_timeout_s"])
        claim = {"run_id": self._run.run_id, "node": {"host": "simulated", "python": "3.11"}}
        for wait_s in _waits():
            status, body = await self._post("claim", claim, max(1.0, deadline - time.monotonic()))
            if status == _GONE:
                raise Superseded("this attempt is not to run")
            if status == _OK:
                plan: Object = json.loads(body)
                self._run.claimed = time.monotonic()
                return plan
            if status and status < _SERVER_ERROR:
                raise SystemFailure(f"TESPES refused the claim: {status}", retryable=False)
            if time.monotonic() + wait_s > deadline:
                break
            await asyncio.sleep(wait_s)
        raise SystemFailure("cannot reach TESPES", retryable=True)

    async def _begin(self, report: Object, patience_s: float) -> None:
        """Nothing starts before TESPES knows that it does."""
        deadline = time.monotonic() + patience_s
        for wait_s in _waits():
            status, _ = await self._post("reports", report, _REPORT_TIMEOUT_S)
            if status == _GONE:
                self._stopped.set()
            if 0 < status < _SERVER_ERROR:
                return
            if time.monotonic() + wait_s > deadline:
                raise SystemFailure("cannot reach TESPES", retryable=True)
            await self._unless_stopped(asyncio.sleep(wait_s))

    async def _report(self, report: Object) -> None:
        status, _ = await self._post("reports", report, _REPORT_TIMEOUT_S)
        if status == _GONE:
            self._stopped.set()

    async def _beat(self, every_s: float) -> None:
        """The sign of life, held open by TESPES."""
        pause_s, waits = min(_FIRST_BEAT_S, every_s), _waits()
        while True:
            await asyncio.sleep(pause_s)
            began = time.monotonic()
            status, _ = await self._post("reports", {"report": "heartbeat", "hold_s": every_s}, every_s + _REPORT_TIMEOUT_S)
            if status == _GONE:
                self._stopped.set()
            if 0 < status < 300 and time.monotonic() - began >= every_s / 2:
                pause_s, waits = min(_SHORT_PAUSE_S, every_s), _waits()
            else:
                pause_s = min(next(waits), every_s)

    async def _deliver(self, result: Object, patience_s: float) -> None:
        deadline = time.monotonic() + patience_s
        for wait_s in _waits():
            status, _ = await self._post("result", result, 30.0)
            if 0 < status < _SERVER_ERROR or time.monotonic() + wait_s > deadline:
                return
            await asyncio.sleep(wait_s)

    async def _post(self, route: str, document: Object, timeout_s: float) -> tuple[int, bytes]:
        """Status and body; status 0 if nobody answered."""
        limit = aiohttp.ClientTimeout(total=timeout_s)
        with contextlib.suppress(aiohttp.ClientError, OSError, TimeoutError):
            async with self._node.session.post(
                f"{self._url}/{route}", json=document, headers=self._headers, timeout=limit
            ) as answer:
                return answer.status, await answer.read()
        return 0, b""


def _waits() -> Iterator[float]:
    """Seconds to wait before each next try, as `tespes.runner.clock` has them, but not above one."""
    wait_s = 0.2
    while True:
        yield wait_s * random.uniform(0.75, 1.25)
        wait_s = min(wait_s * 2, 1.0)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
