"""One executor from start to end (TES 1.1, tesExecutor): standard streams, the process, its exit code and tails."""

from __future__ import annotations

import os
from contextlib import ExitStack

from . import clock, faults, mounts, tail

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import List, Optional, Union

    from . import files, protocol, stop

    Tail = Union[tail.PipeTail, tail.FileTail]


class Workshop:
    """What every executor of a task shares."""

    def __init__(
        self,
        runtime: protocol.Runtime,
        task_files: files.TaskFiles,
        stopped: stop.Stop,
        tail_bytes: int,
        live: tail.Live,
    ) -> None:
        self.runtime = runtime
        self.files = task_files
        self.stopped = stopped
        self.tail_bytes = tail_bytes
        self.live = live


def run(index: int, executor: protocol.Executor, workshop: Workshop) -> protocol.EndedExecutor:
    """How the executor ended, be it by an order to stop; raises `SystemFailure` if the system is to blame."""
    started_at = clock.now()
    with ExitStack() as opened, faults.about(f"executor {index}"):
        workshop.files.make_mount_points()
        workshop.files.make_directory(mounts.absolute("workdir", executor.get("workdir") or "/"))
        streams = _Streams(executor, workshop, opened)
        with faults.on_the_node():
            process = workshop.runtime.start(index, executor, streams.descriptors)
        streams.process_started()
        killing = workshop.stopped.calling(lambda: workshop.runtime.kill(index, process))
        with workshop.live.showing(index, streams.so_far), killing:
            returncode = process.wait()
        stdout, stderr = streams.tails()
        exit_code = 128 - returncode if returncode < 0 else returncode
        if not workshop.stopped.given():
            exit_code = _exit_code(index, executor, workshop, exit_code, stderr)
    return {
        "executor": index,
        "exit_code": exit_code,
        "started_at": started_at,
        "ended_at": clock.now(),
        "stdout": stdout,
        "stderr": stderr,
    }


def _exit_code(index: int, executor: protocol.Executor, workshop: Workshop, returncode: int, stderr: str) -> int:
    """Whoever is to blame: on a full disk a command, or an engine's client, fails in its own words or without any."""
    try:
        exit_code = workshop.runtime.exit_code(index, executor, returncode, stderr)
    except faults.SystemFailure:
        workshop.files.refuse_a_full_disk()
        raise
    if exit_code:
        workshop.files.refuse_a_full_disk()
    return exit_code


class _Streams:
    """The three standard streams: files where they are declared, else /dev/null and pipes of which the end is kept."""

    def __init__(self, executor: protocol.Executor, workshop: Workshop, opened: ExitStack) -> None:
        self._workshop = workshop
        self._opened = opened
        self._pipe_ends = opened.enter_context(ExitStack())
        self._tails: List[Tail] = []
        self.descriptors = [self._source(executor.get("stdin"))]
        self._sink("stdout", executor.get("stdout"))
        same = executor.get("stderr") and executor.get("stderr") == executor.get("stdout")
        if same:  # one file, one position: both in the order they were written
            self.descriptors.append(self.descriptors[-1])
            self._tails *= 2
        else:
            self._sink("stderr", executor.get("stderr"))

    def process_started(self) -> None:
        """Give up our ends of the pipes, so that they end when the last process that writes to them does."""
        self._pipe_ends.close()

    def tails(self) -> List[str]:
        """What both ended with, once every writer is gone."""
        return [each.text() for each in self._tails]

    def so_far(self) -> List[str]:
        """What both end with now."""
        return [each.so_far() for each in self._tails]

    def _source(self, path: Optional[str]) -> int:
        if not path:
            descriptor = os.open(os.devnull, os.O_RDONLY)
        else:
            with faults.about(f"stdin {path}"), faults.on_the_node():
                descriptor, _ = self._workshop.files.open_to_read(path)
        self._opened.callback(os.close, descriptor)
        return descriptor

    def _sink(self, name: str, path: Optional[str]) -> None:
        limit_bytes = self._workshop.tail_bytes
        if path:
            with faults.about(f"{name} {path}"), faults.on_the_node():
                descriptor = self._workshop.files.open_to_write(path)
            self._opened.callback(os.close, descriptor)
            self._tails.append(tail.FileTail(descriptor, limit_bytes))
        else:
            reading, descriptor = os.pipe()
            self._pipe_ends.callback(os.close, descriptor)
            self._tails.append(tail.PipeTail(reading, limit_bytes))
        self.descriptors.append(descriptor)
