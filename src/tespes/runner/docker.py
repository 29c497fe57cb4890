"""Executors in Docker containers, through the docker command line (20.10 or later)."""

from __future__ import annotations

import os
import subprocess

from . import faults, programs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Dict, List, Tuple

    from . import mounts, protocol, stop

_DOCKER_FAILED = 125
_LONGEST_LINE_BYTES = 32 * 1024  # of an env-file: docker reads at most 64 KiB
_AWAY = ("cannot connect to the docker daemon", "error during connect", "unexpected eof")
_PASSING = (*_AWAY, "timeout", "timed out", "connection refused", "toomanyrequests", "no space left", "tls handshake")
_OF_DOCKER_ITSELF = ("DOCKER_", "LD_", "GO", "GLIBC_", "MALLOC_", "XDG_", "OTEL_", "BUILDKIT_")
_ALSO_OF_DOCKER = ("PATH", "HOME", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY", "TMPDIR", "SSL_CERT_FILE")


class Docker:
    """A runtime whose containers outlive their client: each has a name, a label, and a reaper that knows it."""

    def __init__(
        self, order: protocol.RuntimeOrder, layout: mounts.Layout, directory: str, job_id: str, stopped: stop.Stop
    ) -> None:
        self._program = order.get("program") or "docker"
        self._network = order.get("network") or "none"
        self._environment = dict(os.environ)
        if order.get("host"):
            self._environment["DOCKER_HOST"] = str(order["host"])
        self._layout = layout
        self._directory = directory
        self._job_id = job_id
        self._stopped = stopped
        self._limits: List[str] = []

    def notes(self, plan: protocol.Plan) -> List[str]:  # noqa: ARG002 - Docker does what it is asked
        return []

    def removal(self, plan: protocol.Plan) -> List[str]:
        host = ["--host", self._environment["DOCKER_HOST"]] if "DOCKER_HOST" in self._environment else []
        names = [self._name(index) for index in range(len(plan["executors"]))]
        return [self._program, *host, "rm", "--force", "--volumes", *names]

    def prepare(self, plan: protocol.Plan) -> None:
        """The engine answers, and every image is on the node."""
        self._program = programs.find(self._program)
        self._limits = _limits(plan.get("resources") or {})
        for image in sorted({executor.get("image") or "" for executor in plan["executors"]}):
            if not image:
                raise faults.SystemFailure("an executor names no image")
            code, message = self._docker("image", "inspect", "--format", "{{.Id}}", "--", image)
            if code and not _is(_AWAY, message):
                code, message = self._docker("pull", "--quiet", "--", image)
            if code:
                raise faults.SystemFailure(f"image {image}: {_last_line(message)}", retryable=_is(_PASSING, message))

    def start(self, index: int, executor: protocol.Executor, streams: List[int]) -> protocol.Process:
        arguments = ["run", "--rm", "--name", self._name(index), "--label", f"org.tespes.job={self._job_id}"]
        arguments += ["--network", self._network, "--log-driver", "none", *self._limits]
        if executor.get("stdin"):
            arguments.append("--interactive")
        if executor.get("workdir"):
            arguments += ["--workdir", str(executor["workdir"])]
        for mount in self._layout.mounts:
            arguments += ["--mount", _mount(mount)]
        variables, environment = self._variables(index, executor.get("env") or {})
        command = executor.get("command") or []
        if command:  # TES 1.1: the first word is the program, so the image's own entry point does not come before it
            arguments += ["--entrypoint", command[0]]
        return subprocess.Popen(
            [self._program, *arguments, *variables, "--", str(executor.get("image")), *command[1:]],
            stdin=streams[0],
            stdout=streams[1],
            stderr=streams[2],
            env=environment,
        )

    def kill(self, index: int, process: protocol.Process) -> None:
        """The client first, so that it cannot start what is being removed."""
        process.kill()
        for _ in range(2):  # twice: the engine may still have been making it
            subprocess.run(
                [self._program, "rm", "--force", "--volumes", self._name(index)],
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                check=False,
            )

    def exit_code(self, index: int, returncode: int, stderr: str) -> int:  # noqa: ARG002 - one at a time
        """125 with a message of docker's is docker's failure; 126 and 127 are the user's."""
        own = [line[len("docker: ") :] for line in stderr.splitlines() if line.startswith("docker: ")]
        if returncode == _DOCKER_FAILED and own:
            raise faults.SystemFailure(own[0], retryable=_is(_PASSING, own[0]))
        return returncode

    def _name(self, index: int) -> str:
        return f"{self._job_id}-{index}"

    def _docker(self, *arguments: str) -> Tuple[int, str]:
        process = subprocess.Popen(
            [self._program, *arguments],
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        with self._stopped.calling(process.kill):
            _, message = process.communicate()
        self._stopped.check()
        return process.returncode, message.decode("utf-8", errors="replace")

    def _variables(self, index: int, variables: Dict[str, str]) -> Tuple[List[str], Dict[str, str]]:
        """Arguments that name the variables, and the client's environment; values never stand in an argument.

        An env-file takes values of one line. Others go through the client's environment, unless they would change it.
        """
        arguments, environment = [], dict(self._environment)
        path = f"{self._directory}/variables-{index}"
        with open(path, "x", encoding="utf-8", newline="") as file:
            for name, value in variables.items():
                _refuse_strange_name(name)
                if len(value) < _LONGEST_LINE_BYTES and "\n" not in value and "\r" not in value:
                    file.write(f"{name}={value}\n")
                elif name.upper() in _ALSO_OF_DOCKER or name.upper().startswith(_OF_DOCKER_ITSELF):
                    raise faults.SystemFailure(f"the environment variable {name} cannot have a value of several lines")
                else:
                    environment[name] = value
                    arguments += ["--env", name]
        return ["--env-file", path, *arguments], environment


def _refuse_strange_name(name: str) -> None:
    if not name or name.startswith("#") or any(character.isspace() or character in "=\0" for character in name):
        raise faults.SystemFailure(f"{name!r} cannot be the name of an environment variable")


def _limits(resources: protocol.Resources) -> List[str]:
    arguments = []
    if resources.get("cpu_cores"):
        arguments += ["--cpus", str(resources["cpu_cores"])]
    if resources.get("ram_gb"):
        arguments += ["--memory", str(int(float(resources["ram_gb"] or 0) * 10**9))]
    return arguments


def _mount(mount: mounts.Mount) -> str:
    fields = ["type=bind", f"source={mount.host_path}", f"target={mount.container_path}"]
    if mount.read_only:
        fields.append("readonly")
    return ",".join(_csv_field(field) for field in fields)


def _csv_field(text: str) -> str:
    return '"%s"' % text.replace('"', '""') if any(character in text for character in ',"\n\r') else text


def _is(known: Tuple[str, ...], message: str) -> bool:
    return any(words in message.lower() for words in known)


def _last_line(message: str) -> str:
    lines = [line for line in message.splitlines() if line.strip()]
    return lines[-1] if lines else "docker failed without a message"
