"""All inputs of a task to the node, several files at a time (design, section 7)."""

from __future__ import annotations

import posixpath

from . import download, faults, feed, mounts, transfer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import List

    from . import callback, files, protocol, stop


def fetch(
    plan: protocol.Plan,
    tespes: callback.Callback,
    task_files: files.TaskFiles,
    stopped: stop.Stop,
    moved: List[protocol.MovedFile],
) -> None:
    """Every input is at its place, and all its files are among the `moved`; or a fault says which one is not, and why."""
    with transfer.carrying(tespes, plan["files"], stopped) as carrier:
        items = _all_files(plan, carrier, task_files)
        files_to_come = feed.Feed(items, lambda entry, names: _ways(carrier, entry, names))

        def work() -> None:
            for entry, name, way in iter(files_to_come.take, None):
                carrier.stopped.check()
                moved.append(_moved(carrier, entry, name, task_files, way))

        try:
            transfer.abreast(carrier, min(carrier.at_once, len(items)), work)
        finally:
            moved.sort(key=lambda file: (file["index"], file["path"]))


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


def _moved(
    carrier: transfer.Carrier, entry: protocol.File, name: str, task_files: files.TaskFiles, way: protocol.Way | None
) -> protocol.MovedFile:
    path = posixpath.join(mounts.absolute("input", entry["path"]), name) if name else entry["path"]
    place = task_files.input_place(entry, name)
    with faults.about(f"input {path}"):
        size_bytes, sha256 = download.fetch(carrier, entry, name, place, way)
    return {"index": entry["index"], "path": path, "size_bytes": size_bytes, "sha256": sha256}
