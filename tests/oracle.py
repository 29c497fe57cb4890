"""What must be true of a log, worked out from its stored entries alone: the tests' second opinion.

It knows the names of events and their fields as they are stored and shares no code with TESPES. An entry is the
document that is stored: `_id`, `stream`, `version`, `position`, `events` [{id, type, v, data}], `meta`, the hashes.
"""

import hashlib
import json
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

Stored = dict[str, Any]

ENDS = {
    "TaskCompleted": "COMPLETE",
    "TaskExecutorFailed": "EXECUTOR_ERROR",
    "TaskSystemFailed": "SYSTEM_ERROR",
    "TaskCanceled": "CANCELED",
    "TaskPreempted": "PREEMPTED",
}
_PROGRESS = {
    "TaskCreated": "QUEUED",
    "AttemptScheduled": "QUEUED",
    "AttemptReceived": "INITIALIZING",
    "AttemptClaimed": "INITIALIZING",
    "ExecutorStarted": "RUNNING",
    "AttemptEnded": "QUEUED",
    "TaskCancelRequested": "CANCELING",
}


@dataclass
class Told:
    """What a task's events tell: exit codes and outputs (url, path, size) are lists with an entry for each attempt."""

    state: str = ""
    version: int = 0
    attempts: int = 0
    exit_codes: list[list[int]] = field(default_factory=list)
    outputs: list[list[tuple[str, str, int]]] = field(default_factory=list)


def told(entries: Iterable[Stored]) -> Told:
    """What the entries of one stream tell, in order."""
    seen = Told()
    for event in (event for entry in entries for event in entry["events"]):
        kind, data = event["type"], json.loads(event["data"])
        seen.version += 1
        if kind == "AttemptScheduled":
            seen.attempts += 1
            seen.exit_codes.append([])
            seen.outputs.append([])
        elif kind == "ExecutorEnded":
            seen.exit_codes[data["attempt"] - 1].append(data["exit_code"])
        elif kind == "AttemptEnded":
            files = data["outputs"]
            seen.outputs[data["attempt"] - 1] = [(file["url"], file["path"], file["size_bytes"]) for file in files]
        if seen.state not in ENDS.values():
            going_on = seen.state if seen.state == "CANCELING" else _PROGRESS.get(kind, seen.state)
            seen.state = ENDS.get(kind, going_on)
    return seen


def attempts_allowed(entries: Sequence[Stored]) -> tuple[int, int]:
    """How many attempts may begin a command, and how many there may be at all: by the task, as it was submitted."""
    asked = json.loads(entries[0]["events"][0]["data"])["task"].get("resources", {})
    begun = asked.get("backend_parameters", {}).get("max_attempts", "3" if asked.get("preemptible") else "1")
    return int(begun), max(int(begun), 3)


def shown(view: Stored) -> Told:
    """What a task view tells: the same things, as clients read them."""
    tries = [log for log in view["task"].get("logs", []) if "metadata" in log]
    assert view["state"] == view["task"]["state"]
    return Told(
        view["state"],
        view["version"],
        len(tries),
        [[ended["exit_code"] for ended in log["logs"]] for log in tries],
        [[(file["url"], file["path"], int(file["size_bytes"])) for file in log["outputs"]] for log in tries],
    )


def check(entries: Sequence[Stored]) -> None:
    """Laws 1 (positions and versions), 2 (ids once), 3 (the chain) and 5 (ends are ends) hold for a whole log."""
    next_version: dict[str, int] = {}
    over: set[str] = set()
    ids: list[str] = []
    before = "0" * 64
    for place, entry in enumerate(entries, start=1):
        stream, stored = entry["stream"], entry["events"]
        assert entry["position"] == place, f"law 1: position {entry['position']} stands at {place}"
        assert entry["version"] == next_version.get(stream, 1), f"law 1: version of {stream} at position {place}"
        next_version[stream] = entry["version"] + len(stored)
        ids += [entry["_id"], *(event["id"] for event in stored)]
        assert [event["id"] for event in stored] == _event_ids(entry), f"law 2: event ids at position {place}"
        assert (entry["data_hash"], entry["prev_hash"]) == (data_hash(entry), before), f"law 3: position {place}"
        assert entry["hash"] == entry_hash(entry), f"law 3: position {place}"
        before = entry["hash"]
        for event in stored:
            assert stream not in over or event["type"] == "LateMessageRecorded", f"law 5: {event['type']} at {place}"
            over.update({stream} if event["type"] in ENDS else ())
    assert len(ids) == len(set(ids)), "law 2: an id is there twice"


def _event_ids(entry: Stored) -> list[str]:
    return [str(uuid.uuid5(uuid.UUID(entry["_id"]), str(index))) for index in range(len(entry["events"]))]


def data_hash(entry: Stored) -> str:
    digests = [[event["type"], event["v"], event.get("sha256") or _sha256(event["data"])] for event in entry["events"]]
    return _sha256(_text([entry["stream"], digests]))


def entry_hash(entry: Stored) -> str:
    names = {"_id": "id", "meta": "meta", "position": "position", "stream": "stream", "version": "version"}
    header = {name: entry[field] for field, name in names.items()}
    return _sha256(f"{entry['prev_hash']}\n{_text(header)}\n{entry['data_hash']}")


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
