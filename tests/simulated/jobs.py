"""The jobs of a simulated Pulsar: a job directory each, and the process that lives there if one does."""

import asyncio
import base64
import json
import re
from dataclasses import dataclass, field
from typing import Any

from simulated import programs
from simulated.runner import Node, Runner

Object = dict[str, Any]

_ORDER = re.compile(r'json\.loads\(base64\.b64decode\("(?P<order>[A-Za-z0-9+/=]+)"\)\)')
_KILLED = 137


@dataclass
class Process:
    """What a job's shell runs. `ended` is set when it is over; None for a return code that was never written."""

    returncode: int | None = None
    stdout: str = ""
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    _task: asyncio.Task[None] | None = None

    def start(self, command_line: str, node: Node) -> None:
        """Run that command line: TESPES's runner, if it is in it, or a few words of shell."""
        self._task = asyncio.create_task(self._live(command_line, node))

    def kill(self) -> None:
        """SIGKILL, to all of it at once."""
        if self._task is not None:
            self._task.cancel()

    async def gone(self) -> None:
        """Wait for its end."""
        await self.ended.wait()

    async def _live(self, command_line: str, node: Node) -> None:
        try:
            if found := _ORDER.search(command_line):
                order = json.loads(base64.b64decode(found["order"]))
                self.stdout = await Runner(order, node).run() + "\n"
                self.returncode = 0
            else:
                done = await programs.run_script(command_line.strip("()\n "))
                self.stdout, self.returncode = done.stdout, done.exit_code
        except asyncio.CancelledError:
            self.returncode = _KILLED
        finally:
            self.ended.set()


@dataclass
class Job:
    """A job as its directory has it.

    :param status: in Pulsar's words; :param lost: Pulsar was killed meanwhile and cannot find it any more
    """

    id: str
    command_line: str
    status: str = "preprocessing"
    process: Process | None = None
    lost: bool = False
    killed: bool = False

    @property
    def is_unspeakable(self) -> bool:
        """Whether its output cannot be put into a message: then its end is never told, and no question is answered."""
        return self.process is not None and programs.NOT_UTF8 in self.process.stdout

    @property
    def is_final(self) -> bool:
        """Whether Pulsar sees it as over."""
        return self.status in {"complete", "failed", "cancelled", "lost"}

    @property
    def lives(self) -> bool:
        """Whether its process runs."""
        return self.process is not None and not self.process.ended.is_set()


def update(job_id: str, status: str) -> Object:
    """A status update that is not final."""
    return {"complete": "false", "status": status, "job_id": job_id}


def lost(job_id: str) -> Object:
    """What an unknown job is."""
    return {"job_id": job_id, "complete": "true", "status": "lost", "returncode": None}


def final(job: Job, status: str, noise: str, *, has_returncode: bool, maximum_bytes: int) -> Object:
    """The final update of a job, as Pulsar 0.16 sends it."""
    process = job.process
    output = noise + process.stdout if process is not None else ""
    directory = f"/simulated/{job.id}"
    return {
        "job_id": job.id,
        "complete": "true",
        "status": status,
        "returncode": process.returncode if process is not None and has_returncode else None,
        "stdout": "",
        "stderr": "",
        "job_stdout": _shortened(output, maximum_bytes),
        "job_stderr": "",
        "working_directory": f"{directory}/working",
        "metadata_directory": f"{directory}/metadata",
        "job_directory": directory,
        "working_directory_contents": [],
        "metadata_directory_contents": [],
        "outputs_directory_contents": [],
        "job_directory_contents": ["command.sh", "launch_config", "return_code", "working"],
        "system_properties": {"separator": "/"},
        "pulsar_version": "0.16.0",
        "realized_dynamic_file_sources": [],
    }


def _shortened(output: str, maximum_bytes: int) -> str:
    """The beginning and the end of what is too long."""
    if len(output) <= maximum_bytes:
        return output
    half = maximum_bytes // 2
    return f"{output[:half]}\n..\n{output[-half:]}"
