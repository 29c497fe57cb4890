"""All outputs of a task from the node, several files at a time (design, section 7)."""

from __future__ import annotations

import os

from . import faults, feed, search, transfer, upload

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import List, Optional, Tuple

    from . import callback, files, protocol, result, stop

_MOST_REASON = 10_000
_MOST_FURTHER = 20
_DIRECTORIES_AT_ONCE = 1000


def store(
    plan: protocol.Plan,
    tespes: callback.Callback,
    task_files: files.TaskFiles,
    stopped: stop.Stop,
    record: result.Record,
    *,
    missing: str,
) -> List[faults.SystemFailure]:
    """Whatever exists of the outputs is stored and in the record. What went wrong is the answer, in the plan's order.

    One output's failure is none of the others'. An output that is not there is a `note`, a `fail`ure, or nothing at all.
    Raises what ended it all.
    """
    with transfer.carrying(tespes, plan["files"], stopped) as carrier:
        work = _Work(plan, carrier, task_files, record, missing)
        work.look()
        try:
            work.store_files()
            work.store_directories()
        finally:
            record.outputs.sort(key=lambda file: (file["index"], file["path"]))
    return [failure for _, _, failure in sorted(work.failures, key=lambda each: each[:2])]


def told(failures: List[faults.SystemFailure]) -> List[str]:
    """Failures as notes: not too many, and none too long."""
    notes = [str(failure)[:_MOST_REASON] for failure in failures[:_MOST_FURTHER]]
    further = len(failures) - len(notes)
    return [*notes, f"{further} further outputs were not stored"] if further else notes


class _Work:
    """What was found, and what went wrong with it: index and path of each failure."""

    def __init__(
        self, plan: protocol.Plan, carrier: transfer.Carrier, task_files: files.TaskFiles, record: result.Record, missing: str
    ) -> None:
        self._plan = plan
        self._carrier = carrier
        self._files = task_files
        self._record = record
        self._missing = missing
        self._items: List[feed.Item] = []
        self._directories: List[Tuple[protocol.File, List[str]]] = []
        self.failures: List[Tuple[int, str, faults.SystemFailure]] = []

    def look(self) -> None:
        for entry in self._plan["outputs"]:
            try:
                self._found(entry, search.find(entry, self._files, self._carrier.most_files - len(self._items)))
            except faults.SystemFailure as failure:
                self._failed(entry, entry["path"], failure)

    def store_files(self) -> None:
        found = feed.Feed(self._items, self._ways)

        def work() -> None:
            for entry, (path, _), way in iter(found.take, None):
                self._carrier.stopped.check()
                try:
                    self._record.outputs.append(self._stored(entry, path, way))
                except faults.SystemFailure as failure:
                    self._carrier.stopped.check()
                    self._failed(entry, path, failure)

        transfer.abreast(self._carrier, min(self._carrier.at_once, len(self._items)), work)

    def store_directories(self) -> None:
        for entry, paths in self._directories:
            try:
                with faults.about(f"output {entry['path']}"):
                    for start in range(0, len(paths), _DIRECTORIES_AT_ONCE):
                        self._make(entry, paths[start : start + _DIRECTORIES_AT_ONCE])
            except faults.SystemFailure as failure:
                self._carrier.stopped.check()
                self._failed(entry, entry["path"], failure)

    def _found(self, entry: protocol.File, found: search.Found) -> None:
        self._record.notes += found.notes
        for failure in found.failures:
            self._failed(entry, entry["path"], failure)
        is_pattern = entry.get("is_pattern")
        if found.is_missing:
            self._missed(entry, "no file matches" if is_pattern else "does not exist")
        elif not is_pattern and entry["type"] == "DIRECTORY" and not found.is_directory:
            raise faults.SystemFailure(f"output {entry['path']}: is a file where a directory is declared")
        elif not is_pattern and entry["type"] != "DIRECTORY" and found.is_directory:
            self._record.notes.append(f"output {entry['path']}: is a directory, and was stored as one")
        self._items += [(entry, file) for file in found.files]
        if found.empty_directories:
            self._directories.append((entry, found.empty_directories))

    def _missed(self, entry: protocol.File, words: str) -> None:
        if self._missing == "fail":
            self._failed(entry, entry["path"], faults.SystemFailure(f"output {entry['path']}: {words}"))
        elif self._missing:
            self._record.notes.append(f"output {entry['path']}: {words}, nothing was stored")

    def _failed(self, entry: protocol.File, path: str, failure: faults.SystemFailure) -> None:
        self.failures.append((entry["index"], path, failure))

    def _ways(self, entry: protocol.File, found: List[Tuple[str, int]]) -> List[protocol.Way]:
        asked = [{"path": path, "size_bytes": size_bytes} for path, size_bytes in found]
        ways: List[protocol.Way] = self._carrier.ask(f"outputs/{entry['index']}/ways", {"files": asked})["ways"]
        return ways

    def _stored(self, entry: protocol.File, path: str, way: Optional[protocol.Way]) -> protocol.MovedFile:
        with faults.about(f"output {path}"):
            with faults.on_the_node():
                descriptor, size_bytes = self._files.open_to_read(path)
            try:
                sha256 = upload.store(self._carrier, upload.Source(entry, path, descriptor, size_bytes), way)
            finally:
                os.close(descriptor)
        return {"index": entry["index"], "path": path, "size_bytes": size_bytes, "sha256": sha256}

    def _make(self, entry: protocol.File, paths: List[str]) -> None:
        route = f"outputs/{entry['index']}/directories"
        answer = self._carrier.persistently(lambda: self._carrier.ask(route, {"paths": paths}))
        self._record.notes += (answer or {}).get("notes", [])
