"""Job ids: `<task>-<attempt>`, what Pulsar and the runner know an attempt by."""

from dataclasses import dataclass

_DIGITS_MAX = 9


@dataclass(frozen=True, slots=True)
class Job:
    """An attempt of a task, as its job id names it."""

    task_id: str
    attempt: int

    @property
    def id(self) -> str:
        """The job id."""
        return f"{self.task_id}-{self.attempt}"


@dataclass(frozen=True, slots=True)
class Caller:
    """A runner that asks for something: which attempt, and which run of it."""

    job: Job
    run_id: str


def job(job_id: str) -> Job | None:
    """The attempt that a job id names; None if it is none of ours."""
    task_id, dash, attempt = job_id.rpartition("-")
    if not dash or not task_id or not attempt.isascii() or not attempt.isdecimal() or len(attempt) > _DIGITS_MAX:
        return None
    return Job(task_id, int(attempt))
