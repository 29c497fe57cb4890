"""Job ids: `<task>-<attempt>`, what Pulsar and the runner know an attempt by."""

import re
from dataclasses import dataclass

_JOB = re.compile("(?P<task_id>[^:]+)-(?P<attempt>[0-9]{1,9})")  # what has a colon are streams that are no tasks


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
    found = _JOB.fullmatch(job_id)
    return Job(found["task_id"], int(found["attempt"])) if found else None
