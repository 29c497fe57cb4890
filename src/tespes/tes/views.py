"""The three views of a task (TES 1.1, parameter `view` of GetTask and ListTasks), over the standard's FULL JSON shape.

`Showing` is what an installation may change about them, for clients that were written before or beside the standard.
"""

import enum
from dataclasses import dataclass
from typing import Any

from tespes.tes.task import State

_LEGACY = {State.CANCELING: State.RUNNING, State.PREEMPTED: State.SYSTEM_ERROR}

Document = dict[str, Any]


class View(enum.StrEnum):
    """How much of a task is shown; MINIMAL is the standard's default."""

    MINIMAL = "MINIMAL"
    BASIC = "BASIC"
    FULL = "FULL"


@dataclass(frozen=True, slots=True)
class Showing:
    """How tasks are shown here.

    :param legacy_states: the states that TES 1.1 added are shown as what they were before: clients of 1.0 fail on them
    :param minimal_includes_executors: MINIMAL has `executors` too: pydantic-tes fails without them
    """

    legacy_states: bool = False
    minimal_includes_executors: bool = False

    def is_whole(self, view: View) -> bool:
        """Whether the view needs more of a task than id and state."""
        return view is not View.MINIMAL or self.minimal_includes_executors

    def show(self, task: Document, view: View) -> Document:
        """The task in that view; `task` is the FULL shape (id and state do, if not `is_whole`) and stays as it is."""
        state = state_shown(task["state"]) if self.legacy_states else task["state"]
        match view:
            case View.FULL:
                return task if state == task["state"] else {**task, "state": state}
            case View.BASIC:
                return {**_basic(task), "state": state}
            case View.MINIMAL if self.minimal_includes_executors:
                return {"id": task["id"], "state": state, "executors": task["executors"]}
            case View.MINIMAL:
                return {"id": task["id"], "state": state}


def state_shown(state: str) -> str:
    """The state in the words of TES 1.0."""
    return _LEGACY.get(State(state), State(state)).value


def states_shown_as(state: State, *, legacy: bool) -> frozenset[State]:
    """The states of tasks that are shown in this one. None is, for a state that is never shown: the filter matches nothing."""
    if not legacy:
        return frozenset({state})
    return frozenset(each for each in State if state_shown(each) == state)


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
