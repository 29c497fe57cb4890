"""What became of the attempt, as it goes to TESPES and as the last line of the job's output (design, section 6)."""

from __future__ import annotations

import json
from contextlib import contextmanager

from . import faults

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Iterator, List, Optional

    from . import protocol

LONGEST_LINE_BYTES = 256 * 1024


class Record:
    """The attempt as far as it came. `outcome` is empty until it is settled."""

    def __init__(self, job_id: str, run_id: str) -> None:
        self.job_id = job_id
        self.run_id = run_id
        self.outcome = ""
        self.reason: Optional[str] = None
        self.phase = "claim"
        self.retryable = False
        self.executors: List[protocol.EndedExecutor] = []
        self.inputs: List[protocol.MovedFile] = []
        self.outputs: List[protocol.MovedFile] = []
        self.notes: List[str] = []

    @contextmanager
    def settling(self) -> Iterator[None]:
        """Whatever ends the work inside becomes the outcome; the rim of the program, so really whatever."""
        try:
            yield
        except faults.Superseded as fault:
            self._settle("superseded", str(fault))
        except faults.Killed as fault:
            self._settle("killed", str(fault))
        except faults.SystemFailure as failure:
            self._settle("system_failed", str(failure), retryable=failure.retryable)
        except Exception as error:  # noqa: BLE001 - a bug of ours must be a task's result too, not silence
            self._settle("system_failed", f"the runner failed: {type(error).__name__}: {error}")

    def document(self) -> protocol.JsonObject:
        """The result as JSON values."""
        return {"tespes": 1, **vars(self)}

    def _settle(self, outcome: str, reason: str, *, retryable: bool = False) -> None:
        self.outcome, self.reason, self.retryable = outcome, reason, retryable


def line(document: protocol.JsonObject) -> bytes:
    """The result as one line of ASCII JSON of at most 256 KiB: tails go first, then lists of files, then notes."""
    for shortened in (_whole, _without_tails, _without_files, _without_notes):
        document = shortened(document)
        text = json.dumps(document).encode("ascii") + b"\n"
        if len(text) <= LONGEST_LINE_BYTES:
            break
    return text


def _whole(document: protocol.JsonObject) -> protocol.JsonObject:
    return document


def _without_tails(document: protocol.JsonObject) -> protocol.JsonObject:
    return {**document, "executors": [{**ended, "stdout": "", "stderr": ""} for ended in document["executors"]]}


def _without_files(document: protocol.JsonObject) -> protocol.JsonObject:
    import hashlib  # noqa: PLC0415 - rarely needed

    shorter = {name: value for name, value in document.items() if name not in ("inputs", "outputs")}
    for name in ("inputs", "outputs"):
        canonical = json.dumps(document[name], sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        shorter[f"{name}_count"] = len(document[name])
        shorter[f"{name}_sha256"] = hashlib.sha256(canonical.encode("utf-8")).hexdigest()
    return shorter


def _without_notes(document: protocol.JsonObject) -> protocol.JsonObject:
    reason = document["reason"]
    return {**document, "notes": [], "reason": reason and reason[:10_000]}
