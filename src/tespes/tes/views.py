"""The three views of a task (TES 1.1, parameter `view` of GetTask and ListTasks), over the standard's FULL JSON shape."""

import enum
from typing import Any

Document = dict[str, Any]


class View(enum.StrEnum):
    """How much of a task is shown; MINIMAL is the standard's default."""

    MINIMAL = "MINIMAL"
    BASIC = "BASIC"
    FULL = "FULL"


def show(task: Document, view: View) -> Document:
    """The task in that view; `task` is the FULL shape and stays as it is."""
    match view:
        case View.FULL:
            return task
        case View.BASIC:
            return _basic(task)
        case View.MINIMAL:
            return {"id": task["id"], "state": task["state"]}


def _basic(task: Document) -> Document:
    shown = dict(task)
    if "inputs" in task:
        shown["inputs"] = [_without(entry, "content") for entry in task["inputs"]]
    if "logs" in task:
        shown["logs"] = [_basic_log(log) for log in task["logs"]]
    return shown


def _basic_log(log: Document) -> Document:
    shown = _without(log, "system_logs")
    shown["logs"] = [_without(executor, "stdout", "stderr") for executor in log["logs"]]
    return shown


def _without(mapping: Document, *names: str) -> Document:
    return {name: value for name, value in mapping.items() if name not in names}
