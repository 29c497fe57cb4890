"""All inputs of a task to the node, several files at a time (design, section 7)."""

from __future__ import annotations

import posixpath

from . import download, faults, feed, mounts, transfer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import List, Optional

    from . import callback, files, protocol, result, stop

_MOST_DOUBTS = 20


def fetch(
    plan: protocol.Plan,
    tespes: callback.Callback,
    task_files: files.TaskFiles,
    stopped: stop.Stop,
    record: result.Record,
) -> None:
    """Every input is at its place, and all its files are in the record; or a fault says which one is not, and why.

    A file that may be cut, which nobody could tell, is a note.
    """
    doubts: List[str] = []
    with transfer.carrying(tespes, plan["files"], stopped) as carrier:
        items = _all_files(plan, carrier, task_files)
        files_to_come = feed.Feed(items, lambda entry, names: _ways(carrier, entry, names))

        def work() -> None:
            for entry, name, way in iter(files_to_come.take, None):
                carrier.stopped.check()
                record.inputs.append(_moved(carrier, entry, name, task_files, way, doubts))

        try:
            transfer.abreast(carrier, min(carrier.at_once, len(items)), work)
        finally:
            record.inputs.sort(key=lambda file: (file["index"], file["path"]))
            record.notes += _told(doubts)


def _all_files(plan: protocol.Plan, carrier: transfer.Carrier, task_files: files.TaskFiles) -> List[feed.Item]:
    items: List[feed.Item] = []
    for entry in plan["inputs"]:
        if entry["type"] != "DIRECTORY":
            items.append((entry, ""))
            continue
        from . import listing  # noqa: PLC0415 - not every task has directories

        with faults.about(f"input {entry['path']}"):
            listed = listing.listed(carrier, entry, carrier.most_files - len(items))
        for name in ["", *sorted(listed.directories)]:
            task_files.make_input_directory(entry, name)
        items += [(entry, name) for name in sorted(listed.files)]
    return items


def _ways(carrier: transfer.Carrier, entry: protocol.File, names: List[str]) -> List[protocol.Way]:
    ways: List[protocol.Way] = carrier.ask(f"inputs/{entry['index']}/ways", {"names": names})["ways"]
    return ways


def _moved(  # noqa: PLR0917 - each is needed
    carrier: transfer.Carrier,
    entry: protocol.File,
    name: str,
    task_files: files.TaskFiles,
    way: Optional[protocol.Way],
    doubts: List[str],
) -> protocol.MovedFile:
    path = posixpath.join(mounts.absolute("input", entry["path"]), name) if name else entry["path"]
    place = task_files.input_place(entry, name)
    with faults.about(f"input {path}"):
        size_bytes, sha256, doubt = download.fetch(carrier, entry, name, place, way)
    if doubt:
        doubts.append(f"input {path}: {doubt}")
    return {"index": entry["index"], "path": path, "size_bytes": size_bytes, "sha256": sha256}


def _told(doubts: List[str]) -> List[str]:
    notes, further = sorted(doubts)[:_MOST_DOUBTS], len(doubts) - _MOST_DOUBTS
    return [*notes, f"that {further:,} further inputs are whole is not certain"] if further > 0 else notes
