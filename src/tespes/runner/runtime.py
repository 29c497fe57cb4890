"""Which runtime runs the executors, and what each is given to work with."""

from __future__ import annotations

from . import faults

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import List

    from . import files, mounts, protocol, stop


class Surroundings:
    """Where a runtime works. `directory` is the runner's private one; `notes` are for the user."""

    def __init__(self, job_id: str, directory: str, task_files: files.TaskFiles, stopped: stop.Stop, notes: List[str]) -> None:
        self.job_id = job_id
        self.files = task_files
        self.layout: mounts.Layout = task_files.layout
        self.stopped = stopped
        self._directory = directory
        self._notes = notes

    def place(self, name: str) -> str:
        """A path of the node that only the runner uses."""
        return f"{self._directory}/{name}"

    def note(self, text: str) -> None:
        """Tell the user something that is no failure."""
        self._notes.append(text)


def chosen(order: protocol.RuntimeOrder, given: Surroundings) -> protocol.Runtime:
    """The runtime that the plan asks for. Each job imports the one that it needs."""
    if order["kind"] == "sandbox":
        from . import sandbox  # noqa: PLC0415

        return sandbox.Sandbox(order, given)
    if order["kind"] == "docker":
        from . import docker  # noqa: PLC0415

        return docker.Docker(order, given)
    if order["kind"] == "podman":
        from . import podman  # noqa: PLC0415

        return podman.Podman(order, given)
    if order["kind"] == "apptainer":
        from . import apptainer  # noqa: PLC0415

        return apptainer.Apptainer(order, given)
    raise faults.SystemFailure(f"the runtime {order['kind']!r} is not known to this runner")
