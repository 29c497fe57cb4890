"""What docker and podman share: nearly the same command line, and containers that outlive the client that started them.

A container has a name, so that it can be removed whatever happens: by whoever waits for it, by whoever stops it, or by
the reaper of a runner that was killed. It is not removed by itself: its state says how it ended.
"""

from __future__ import annotations

import subprocess
import time

from . import faults, messages, mounts, programs, variables

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import List, Tuple

    from . import protocol, runtime

_REMOVAL_PATIENCE_S = 10.0
_PAUSE_S = 0.05
_STATE = "{{.State.StartedAt}}|{{.State.Running}}|{{.State.OOMKilled}}|{{.State.ExitCode}}|{{.State.Error}}"
_NEVER = "0001-"  # how both write the time of what has not happened


class Engine:
    """A runtime with images. What differs between engines is in `docker` and `podman`."""

    name = ""
    network = "none"
    says: messages.Messages
    of_the_client: Tuple[str, ...] = ()
    reads_quotes = False
    removing: Tuple[str, ...] = ("rm", "--force", "--volumes")

    def __init__(self, order: protocol.RuntimeOrder, given: runtime.Surroundings) -> None:
        self._command = [order.get("program") or self.name, *self._options(order)]
        self._run_arguments = [*(order.get("run_arguments") or ())]
        self._network = order.get("network") or self.network
        self._user = order.get("user")
        self._given = given
        self._resources: protocol.Resources = {}
        self._memory_ran_out = False

    def notes(self, plan: protocol.Plan) -> List[str]:  # noqa: ARG002 - for those that do not enforce every limit
        return []

    def removal(self, plan: protocol.Plan) -> List[str]:
        return [*self._command, *self.removing, *(self._name(index) for index in range(len(plan["executors"])))]

    def prepare(self, plan: protocol.Plan) -> None:
        """The engine answers, and every image is on the node."""
        self._command[0] = programs.find(self._command[0])
        self._resources = plan.get("resources") or {}
        programs.refuse_empty_names(plan)
        self._remove_what_earlier_attempts_left(len(plan["executors"]))
        for image in sorted({executor.get("image") or "" for executor in plan["executors"]}):
            if not image:
                raise faults.SystemFailure("an executor names no image")
            self._fetch(image)

    def start(self, index: int, executor: protocol.Executor, streams: List[int]) -> protocol.Process:
        named, environment = variables.handed_over(
            executor.get("env") or {}, self._given.place(f"variables-{index}"), self.of_the_client, quotes=self.reads_quotes
        )
        command = executor.get("command") or []
        arguments = ["run", "--name", self._name(index), "--label", f"org.tespes.job={self._given.job_id}"]
        arguments += ["--pull", "never", "--log-driver", "none", "--network", self._network, *self._limits()]
        arguments += self._whereabouts(index, executor) + named + self._run_arguments
        if executor.get("stdin"):
            arguments.append("--interactive")
        if command:  # TES 1.1: the first word is the program, so the image's own entry point does not come before it
            arguments += ["--entrypoint", self._entrypoint(command[0])]
        return subprocess.Popen(
            [*self._command, *arguments, "--", str(executor.get("image")), *command[1:]],
            stdin=streams[0],
            stdout=streams[1],
            stderr=streams[2],
            env=environment,
            cwd=self._given.place(""),
        )

    def kill(self, index: int, process: protocol.Process) -> None:
        """The client is not killed: once it ended by itself, the engine is not about to make what is removed here."""
        deadline = time.monotonic() + _REMOVAL_PATIENCE_S
        while time.monotonic() < deadline:
            client_ended = programs.has_ended(process.pid)
            if self._is_removed(index) and client_ended:
                return
            time.sleep(_PAUSE_S)
        process.kill()
        self._note_what_is_left(index)

    def exit_code(self, index: int, executor: protocol.Executor, returncode: int, stderr: str) -> int:
        """The container's, unless it never ran: then it is 126 or 127 for a bad program, or the engine's failure."""
        self._memory_ran_out = self._wrote_that_memory_ran_out()
        try:
            return self._examine(index, executor, returncode, stderr) if returncode else 0
        finally:
            self._remove(index)

    def _examine(self, index: int, executor: protocol.Executor, returncode: int, stderr: str) -> int:
        code, output, message = self._ask("container", "inspect", "--format", _STATE, self._name(index))
        self._refuse_to_go_on_without_it(code, message)
        if code:
            raise self._failure(self.says.own(stderr) or self.says.own(message))
        started_at, running, out_of_memory, exit_code, error = output.strip().split("|", 4)
        if started_at.startswith(_NEVER):
            return self._not_started(index, executor, returncode, error or self.says.own(stderr))
        if running == "true" or int(exit_code) == 0:
            raise self._failure(self.says.own(stderr))
        limit_gb = self._resources.get("ram_gb")
        if out_of_memory == "true" or self._memory_ran_out:
            limit = f"its ram_gb of {limit_gb:g}" if limit_gb else "the node's memory"
            self._given.note(f"executor {index}: was ended for using more than {limit}")
        elif limit_gb and int(exit_code) == programs.KILLED:
            self._given.note(f"executor {index}: was killed, perhaps for using more than its ram_gb of {limit_gb:g}")
        return int(exit_code)

    def _not_started(self, index: int, executor: protocol.Executor, returncode: int, error: str) -> int:
        exit_code = messages.fault_of_the_program(returncode, error)
        if not exit_code:
            raise self._failure(error)
        self._given.note(programs.not_run(index, executor, exit_code, f"the image {executor.get('image')}"))
        return exit_code

    def _fetch(self, image: str) -> None:
        code, _, message = self._ask("image", "inspect", "--format", "{{.Id}}", "--", image)
        self._refuse_to_go_on_without_it(code, message)
        if code:
            code, _, message = self._ask("pull", "--quiet", "--", image)
        if code:
            raise faults.SystemFailure(f"image {image}: {self.says.own(message)}", retryable=self.says.may_pass(message))

    def _refuse_to_go_on_without_it(self, code: int, message: str) -> None:
        if code and self.says.is_away(message):
            raise faults.SystemFailure(f"{self.name}: {self.says.own(message)}", retryable=True)

    def _whereabouts(self, index: int, executor: protocol.Executor) -> List[str]:
        arguments = ["--user", str(self._user)] if self._user else []
        for mount in self._given.layout.mounts:
            arguments += ["--mount", mounts.comma_separated(mount, "target", "readonly")]
        if executor.get("workdir"):
            workdir = mounts.absolute("workdir", str(executor["workdir"]))
            arguments += ["--workdir", workdir]
            if self._given.layout.mount_of(workdir) is None and self._lacks(index, executor, workdir):
                made = self._given.files.make_apart(self._given.place(f"workdir-{index}"))
                empty = mounts.Mount(workdir, made, is_file=False, read_only=False)
                arguments += ["--mount", mounts.comma_separated(empty, "target", "readonly")]
        return arguments

    def _remove_what_earlier_attempts_left(self, executors: int) -> None:
        """A node that killed a whole job may have killed its reaper, too: the task must not run twice here."""
        task, _, attempt = self._given.job_id.rpartition("-")
        for earlier in range(1, int(attempt)):
            for index in range(executors):
                self._ask(*self.removing, f"{task}-{earlier}-{index}")

    def _lacks(self, index: int, executor: protocol.Executor, workdir: str) -> bool:
        """Whether the image does not have a directory, and the engine would not make it as the user needs it.

        Nothing is run to find out: a file is copied into it, in a container that is never started.
        """
        if workdir == "/" or not self._must_make_workdir():
            return False
        code, _, message = self._ask(
            "create", "--name", self._name(index), "--network", "none", str(executor.get("image")), "x"
        )
        if code:
            raise self._failure(self.says.own(message))
        try:
            with open(self._given.place("empty"), "w", encoding="ascii") as empty:
                return bool(self._ask("cp", empty.name, f"{self._name(index)}:{workdir}/")[0])
        finally:
            self._remove(index)

    def _wrote_that_memory_ran_out(self) -> bool:
        return False

    def _must_make_workdir(self) -> bool:
        return self._user is not None

    def _limits(self) -> List[str]:
        arguments = []
        if self._resources.get("cpu_cores"):
            arguments += ["--cpus", str(self._resources["cpu_cores"])]
        if self._resources.get("ram_gb"):
            limit_bytes = str(int(float(self._resources["ram_gb"] or 0) * 10**9))
            arguments += ["--memory", limit_bytes, "--memory-swap", limit_bytes]  # both: no swap besides
        return arguments

    def _options(self, order: protocol.RuntimeOrder) -> List[str]:
        return [*(order.get("arguments") or ())]

    def _entrypoint(self, program: str) -> str:
        return program

    def _name(self, index: int) -> str:
        return f"{self._given.job_id}-{index}"

    def _remove(self, index: int) -> None:
        deadline = time.monotonic() + _REMOVAL_PATIENCE_S
        while not self._is_removed(index):
            if time.monotonic() > deadline:
                return self._note_what_is_left(index)
            time.sleep(_PAUSE_S)
        return None

    def _is_removed(self, index: int) -> bool:
        process = self._client(*self.removing, self._name(index))
        message = process.communicate()[1].decode("utf-8", errors="replace")
        return process.returncode == 0 or self.says.says_that_there_is_none(message)

    def _note_what_is_left(self, index: int) -> None:
        self._given.note(f"executor {index}: {self.name} did not remove the container {self._name(index)} from the node")

    def _failure(self, message: str) -> faults.SystemFailure:
        if "argument list too long" in message.lower():
            return faults.SystemFailure(faults.COMMAND_LINE_TOO_LONG)
        return faults.SystemFailure(message or f"{self.name} failed without a message", retryable=self.says.may_pass(message))

    def _ask(self, *arguments: str) -> Tuple[int, str, str]:
        """The exit code and both outputs of one call of the engine, which an order to stop ends."""
        process = self._client(*arguments)
        with self._given.stopped.calling(process.kill):
            output, message = process.communicate()
        self._given.stopped.check()
        return process.returncode, output.decode("utf-8", errors="replace"), message.decode("utf-8", errors="replace")

    def _client(self, *arguments: str) -> subprocess.Popen[bytes]:
        nothing = subprocess.DEVNULL
        return subprocess.Popen([*self._command, *arguments], stdin=nothing, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
