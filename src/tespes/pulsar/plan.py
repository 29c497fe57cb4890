"""The plan that a runner gets when it claims an attempt: what to fetch, run and store, without any credential or URL."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from tespes import tes
from tespes.tes import limits, parameters, places


@dataclass(frozen=True, slots=True)
class Habits:
    """How a runner works.

    :param tail_bytes: how much of the end of each output stream goes into the log
    :param heartbeat_s: between two signs of life; :param report_patience_s: how long it tries to deliver its result
    :param at_once: files that are moved at a time; :param silence_s: how long a storage may say nothing
    :param running_s: how long an attempt may run at most, whatever its user says
    :param most_files: that may belong to a task; :param missing: what an output that is not there is: `note` or `fail`
    """

    tail_bytes: int = 10_240
    heartbeat_s: float = 10.0
    report_patience_s: float = 120.0
    at_once: int = 4
    silence_s: float = 30.0
    most_files: int = 100_000
    missing: Literal["note", "fail"] = "note"
    running_s: float | None = None


GoesThrough = Callable[[tes.Input | tes.Output, int], bool]


def plan(job_id: str, task: tes.Task, runtime: dict[str, Any], habits: Habits, goes_through: GoesThrough) -> dict[str, Any]:
    """The plan, JSON-ready. Files are known by their index in the task; of inputs that are the same the first is enough.

    :param goes_through: whether the bytes of an input or output, which is the n-th of the task, pass through TESPES
    """
    inputs: dict[str, dict[str, Any]] = {}
    for index, each in enumerate(task.inputs or ()):
        inputs.setdefault(places.key(each.path), _file(index, each, goes_through))
    outputs = enumerate(task.outputs or ())
    return {
        "job_id": job_id,
        "inputs": list(inputs.values()),
        "outputs": [{**_file(index, each, goes_through), "is_pattern": each.is_pattern} for index, each in outputs],
        "volumes": list(task.volumes or ()),
        "executors": [executor.model_dump(mode="json", exclude_none=True) for executor in task.executors],
        "resources": _limits(task.resources),
        "runtime": runtime,
        "files": {
            "at_once": habits.at_once,
            "silence_s": habits.silence_s,
            "most_files": habits.most_files,
            "missing": habits.missing,
        },
        "tail_bytes": habits.tail_bytes,
        "heartbeat_s": habits.heartbeat_s,
        "report_patience_s": habits.report_patience_s,
        "running_s": limits.stricter(parameters.limits(task.resources), limits.Limits(running_s=habits.running_s)).running_s,
    }


def _file(index: int, file: tes.Input | tes.Output, goes_through: GoesThrough) -> dict[str, Any]:
    return {"index": index, "path": file.path, "type": file.type.value, "through": goes_through(file, index)}


def _limits(resources: tes.Resources | None) -> dict[str, Any]:
    if resources is None:
        return {}
    return resources.model_dump(mode="json", exclude_none=True, include={"cpu_cores", "ram_gb", "disk_gb"})
