"""One attempt of a task from its claim to its result (design, sections 5 to 8)."""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
from contextlib import ExitStack, contextmanager

from . import callback, clock, executor, faults, files, mounts, reaper, result, stop

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Iterator

    from . import protocol

_DIRECTORY = "tespes"
_WILDCARDS = frozenset("*?[")
_MOST_REASON = 10_000


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
    with _heart_beating(tespes, record, float(plan.get("heartbeat_s") or 10.0)):
        with record.settling():
            Work(plan, tespes, record, stopped).do()
        tespes.deliver(record.document())
    return record.document()


class Work:
    """What is between the claim and the result."""

    def __init__(self, plan: protocol.Plan, tespes: callback.Callback, record: result.Record, stopped: stop.Stop) -> None:
        self._plan = plan
        self._tespes = tespes
        self._record = record
        self._stopped = stopped
        self._directory = os.path.abspath(_DIRECTORY)
        self._layout = mounts.lay_out(plan, self._directory)
        self._files = files.TaskFiles(self._layout)

    def do(self) -> None:
        """Settle the record, or raise what ended the work; either way nothing is left on the node."""
        self._record.phase = "inputs"
        _refuse_what_is_not_supported(self._plan)
        runtime = self._runtime()
        self._record.notes += runtime.notes(self._plan)
        with ExitStack() as cleanup:
            cleanup.enter_context(reaper.guarding(self._directory, runtime.removal(self._plan)))
            self._make_directory(cleanup)
            self._fetch_inputs()
            runtime.prepare(self._plan)
            succeeded = self._run_executors(runtime)
            self._record.phase = "outputs"
            self._store_outputs(succeeded=succeeded)
        self._record.outcome = "succeeded" if succeeded else "executor_failed"

    def _runtime(self) -> protocol.Runtime:
        order = self._plan["runtime"]
        if order["kind"] == "sandbox":
            from . import sandbox  # noqa: PLC0415 - each job needs one of them

            return sandbox.Sandbox(order, self._layout, self._directory)
        if order["kind"] == "docker":
            from . import docker  # noqa: PLC0415 - each job needs one of them

            return docker.Docker(order, self._layout, self._directory, self._record.job_id, self._stopped)
        raise faults.SystemFailure(f"the runtime {order['kind']!r} is not known to this runner")

    def _make_directory(self, cleanup: ExitStack) -> None:
        with faults.on_the_node():
            files.remove(self._directory)  # left by a run that died, or this claim would have been refused
            os.mkdir(self._directory, 0o700)
            cleanup.callback(self._remove_directory)
            self._files.create()

    def _remove_directory(self) -> None:
        if not files.remove(self._directory):
            self._record.notes.append("some of the task's files could not be removed from the node")

    def _fetch_inputs(self) -> None:
        for entry in self._plan["inputs"]:
            from . import transfer  # noqa: PLC0415 - not every task has files

            place = self._layout.host_path(mounts.absolute("input", entry["path"]))
            self._record.inputs.append(transfer.fetch_input(self._tespes, entry, str(place)))

    def _run_executors(self, runtime: protocol.Runtime) -> bool:
        workshop = executor.Workshop(runtime, self._files, self._stopped, int(self._plan["tail_bytes"]))
        for index, order in enumerate(self._plan["executors"]):
            self._record.phase = f"executor {index}"
            self._report({"report": "executor_started", "executor": index, "at": clock.now()})
            ended = executor.run(index, order, workshop)
            self._record.executors.append(ended)
            self._stopped.check()
            self._report({"report": "executor_ended", **ended})
            if ended["exit_code"] and not order.get("ignore_error"):
                return False
        return True

    def _report(self, report: protocol.JsonObject) -> None:
        self._tespes.report(report)
        self._stopped.check()

    def _store_outputs(self, *, succeeded: bool) -> None:
        """After a failed executor those that exist are stored, and what goes wrong is a note (design, section 5)."""
        for entry in self._plan["outputs"]:
            from . import transfer  # noqa: PLC0415 - not every task has files

            try:
                self._record.outputs.append(transfer.store_output(self._tespes, entry, self._files))
            except FileNotFoundError:
                if succeeded:
                    self._record.notes.append(f"output {entry['path']}: does not exist, nothing was stored")
            except faults.SystemFailure as failure:
                self._stopped.check()
                if succeeded:
                    raise
                self._record.notes.append(str(failure)[:_MOST_REASON])


@contextmanager
def _heart_beating(tespes: callback.Callback, record: result.Record, every_s: float) -> Iterator[None]:
    """While inside, TESPES hears that the attempt lives, and in which phase; its answer may be the order to stop."""
    finished = threading.Event()

    def beat() -> None:
        while not finished.wait(every_s):
            tespes.report({"report": "heartbeat", "phase": record.phase})

    threading.Thread(target=beat, daemon=True).start()
    try:
        yield
    finally:
        finished.set()


def _node() -> dict[str, str]:
    return {"host": socket.gethostname(), "python": "%d.%d.%d" % sys.version_info[:3]}


def _ended_by_the_node() -> faults.SystemFailure:
    return faults.SystemFailure("the node ended the job (SIGTERM)", retryable=True)


def _refuse_what_is_not_supported(plan: protocol.Plan) -> None:
    for kind, entries in (("input", plan["inputs"]), ("output", plan["outputs"])):
        for entry in entries:
            if entry["type"] == "DIRECTORY":
                raise faults.SystemFailure(f"{kind} {entry['path']}: directories are not supported")
            if kind == "output" and _WILDCARDS & set(entry["path"]):
                raise faults.SystemFailure(f"{kind} {entry['path']}: wildcards are not supported")
