"""What ran at simulated Pulsars, and when, on the monotonic clock: evidence that shares nothing with TESPES."""

import time
from dataclasses import dataclass, field


@dataclass
class Container:
    """An executor's container, from its start to its end; `exit_code` is None if it was killed or runs."""

    executor: int
    started: float
    ended: float | None = None
    exit_code: int | None = None

    def end(self, exit_code: int | None = None) -> None:
        """It is gone; once is enough."""
        if self.ended is None:
            self.ended, self.exit_code = time.monotonic(), exit_code


@dataclass
class Run:
    """A runner's life: one try of one job to work on an attempt.

    :param claimed: when TESPES answered its claim with a plan; :param fate: its outcome, or `killed by signal 9`
    """

    job_id: str
    run_id: str
    began: float = field(default_factory=time.monotonic)
    claimed: float | None = None
    ended: float | None = None
    fate: str | None = None
    containers: list[Container] = field(default_factory=list)

    @property
    def task_id(self) -> str:
        """The task it works for."""
        return self.job_id.rpartition("-")[0]

    @property
    def attempt(self) -> int:
        """The number of the attempt it works on."""
        return int(self.job_id.rpartition("-")[2])

    def start(self, executor: int) -> Container:
        """A container that runs from now on."""
        container = Container(executor, time.monotonic())
        self.containers.append(container)
        return container

    def end(self, fate: str) -> None:
        """The runner is gone."""
        if self.ended is None:
            self.ended, self.fate = time.monotonic(), fate

    def works_at(self, at: float) -> bool:
        """Whether it had the plan at that time and was not gone, or a container of it was there."""
        runner = self.claimed is not None and self.claimed <= at and (self.ended is None or self.ended > at)
        return runner or any(each.started <= at and (each.ended is None or each.ended > at) for each in self.containers)


@dataclass
class Record:
    """All runs, in the order of their beginnings."""

    runs: list[Run] = field(default_factory=list)

    def begin(self, job_id: str, run_id: str) -> Run:
        """A runner begins."""
        run = Run(job_id, run_id)
        self.runs.append(run)
        return run

    def of(self, task_id: str) -> list[Run]:
        """The runs of a task."""
        return [run for run in self.runs if run.task_id == task_id]

    def alive(self) -> list[Run]:
        """The runs that still work."""
        now = time.monotonic()
        return [run for run in self.runs if run.works_at(now)]
