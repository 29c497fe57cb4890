"""One attempt of a task from its claim to its result (design, sections 5 to 8)."""

from __future__ import annotations

import os
import signal
import socket
import sys
from contextlib import ExitStack, suppress

from . import callback, clock, executor, faults, files, heart, mounts, reaper, result, runtime, stop, tail

TYPE_CHECKING = False
if TYPE_CHECKING:
    from . import protocol

_DIRECTORY = "tespes"


def perform(order: protocol.Order) -> protocol.JsonObject:
    """The result, once TESPES has it (if it can be reached) and everything made on the node is gone. Raises nothing."""
    record = result.Record(str(order.get("job_id")), os.urandom(16).hex())
    stopped = stop.Stop()
    signal.signal(signal.SIGTERM, lambda *_: stopped.give(_ended_by_the_node()))
    with record.settling():
        tespes = callback.Callback(order, record.run_id, stopped)
        plan = tespes.claim(_node(), float(order["claim_timeout_s"]))
    if record.outcome:
        return record.document()
    tespes.patience_s = float(plan.get("report_patience_s") or tespes.patience_s)
    with ExitStack() as beats:
        with record.settling():
            live = tail.Live()
            beats.enter_context(heart.beating(tespes, record, live, float(plan.get("heartbeat_s") or 10.0)))
            beats.enter_context(stop.after(plan.get("running_s"), stopped))
            Work(plan, tespes, record, stopped, live).do()
        with suppress(Exception):  # the job's last line says the same
            tespes.deliver(record.document())
    return record.document()


class Work:
    """What is between the claim and the result."""

    def __init__(
        self, plan: protocol.Plan, tespes: callback.Callback, record: result.Record, stopped: stop.Stop, live: tail.Live
    ) -> None:
        self._plan = plan
        self._tespes = tespes
        self._record = record
        self._stopped = stopped
        self._live = live
        self._directory = os.path.abspath(_DIRECTORY)
        self._layout = mounts.lay_out(plan, self._directory)
        self._files = files.TaskFiles(self._layout, self._directory, files.owner(plan["runtime"]))

    def do(self) -> None:
        """Settle the record, or raise what ended the work; either way nothing is left on the node."""
        self._record.phase = "inputs"
        containers = self._runtime()
        self._record.notes += containers.notes(self._plan)
        with ExitStack() as cleanup:
            cleanup.enter_context(reaper.guarding(self._directory, containers.removal(self._plan)))
            self._make_directory(cleanup)
            self._refuse_too_small_a_disk()
            self._fetch_inputs()
            containers.prepare(self._plan)
            succeeded = self._run_executors(containers)
            self._record.phase = "outputs"
            self._store_outputs(succeeded=succeeded)
        self._record.outcome = "succeeded" if succeeded else "executor_failed"

    def _runtime(self) -> protocol.Runtime:
        given = runtime.Surroundings(self._record.job_id, self._directory, self._files, self._stopped, self._record.notes)
        return runtime.chosen(self._plan["runtime"], given)

    def _make_directory(self, cleanup: ExitStack) -> None:
        with faults.on_the_node():
            files.remove(self._directory)  # left by a run that died, or this claim would have been refused
            os.mkdir(self._directory, 0o700)
            cleanup.callback(self._remove_directory)
            self._files.create()

    def _refuse_too_small_a_disk(self) -> None:
        wanted_gb = self._plan["resources"].get("disk_gb") or 0
        free_gb = self._files.free_bytes() / 1e9
        if wanted_gb > free_gb:
            reason = f"the task asks for {wanted_gb:.12g} GB of disk, {free_gb:.1f} GB are free on the node"
            raise faults.SystemFailure(reason, retryable=True)

    def _remove_directory(self) -> None:
        if not files.remove(self._directory):
            self._record.notes.append("some of the task's files could not be removed from the node")

    def _fetch_inputs(self) -> None:
        if self._plan["inputs"]:
            from . import inputs  # noqa: PLC0415 - not every task has files

            inputs.fetch(self._plan, self._tespes, self._files, self._stopped, self._record)

    def _run_executors(self, containers: protocol.Runtime) -> bool:
        workshop = executor.Workshop(containers, self._files, self._stopped, int(self._plan["tail_bytes"]), self._live)
        for index, order in enumerate(self._plan["executors"]):
            self._report_start(index)
            self._record.phase = f"executor {index}"
            ended = executor.run(index, order, workshop)
            self._record.executors.append(ended)
            self._stopped.check()
            self._report({"report": "executor_ended", **ended})
            if ended["exit_code"] and not order.get("ignore_error"):
                return False
        return True

    def _report_start(self, index: int) -> None:
        started = {"report": "executor_started", "executor": index, "at": clock.now()}
        if index:
            self._report(started)
        else:
            self._tespes.begin(started)
            self._stopped.check()

    def _report(self, report: protocol.JsonObject) -> None:
        self._tespes.report(report)
        self._stopped.check()

    def _store_outputs(self, *, succeeded: bool) -> None:
        """After a failed executor those that exist are stored, and what goes wrong is a note (design, section 5)."""
        if not self._plan["outputs"]:
            return
        from . import outputs  # noqa: PLC0415 - not every task has files

        missing = self._plan["files"]["missing"] if succeeded else ""
        try:
            failures = outputs.store(self._plan, self._tespes, self._files, self._stopped, self._record, missing=missing)
        except faults.SystemFailure as failure:
            self._stopped.check()
            failures = [failure]
        first = failures.pop(0) if failures and succeeded else None
        self._record.notes += outputs.told(failures)
        if first is not None:
            raise first


def _node() -> dict[str, str]:
    return {"host": socket.gethostname(), "python": "%d.%d.%d" % sys.version_info[:3]}


def _ended_by_the_node() -> faults.SystemFailure:
    return faults.SystemFailure("the node ended the job (SIGTERM)", retryable=True)
