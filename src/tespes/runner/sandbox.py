"""Executors in a bubblewrap sandbox: the node's programs, none of its data (design, section 8).

The arguments go through a file descriptor, not the command line: values of environment variables may be secret. Nor do
those variables go through bwrap's own environment: an LD_PRELOAD among them would run in bwrap, outside of the sandbox.
"""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
from contextlib import suppress

from . import faults, mounts, programs, seccomp

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, List

    from . import protocol, runtime

_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_USER_ID = 1000
_READ_ONLY = ("/bin", "/lib", "/lib32", "/lib64", "/libx32", "/sbin", "/usr")
_HIDDEN = (*(f"/proc/{name}" for name in ("keys", "key-users", "kcore", "kmsg", "kallsyms", "iomem", "slabinfo")),)
_FROM_THE_NODE = ("ld.so.cache", "alternatives", "ssl/certs", "ssl/openssl.cnf", "pki/tls/certs", "pki/ca-trust")
_OF_OUR_OWN = {
    "passwd": f"task:x:{_USER_ID}:{_USER_ID}:task:/tmp:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n",
    "group": f"task:x:{_USER_ID}:\nnogroup:x:65534:\n",
    "hosts": "127.0.0.1 localhost sandbox\n::1 localhost\n",
    "nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
}
_CHILD_PATIENCE_S = 2.0

# The kernel ends a sandbox with the runner that made it, but only once bwrap has asked it to: a runner that is killed a few
# milliseconds after the start leaves a sandbox. bwrap's processes bear a name that nothing else has.
_END_FORGOTTEN = """
for each in /proc/[0-9]*; do
    line=
    read -r line < "$each/cmdline"
    case $line in "$1"*) kill -KILL "${each#/proc/}" ;; esac
done
"""


class Sandbox:
    """A runtime without images."""

    def __init__(self, order: protocol.RuntimeOrder, given: runtime.Surroundings) -> None:
        self._program = order.get("program") or "bwrap"
        self._network = order.get("network") or "none"
        self._given = given
        self._name = f"tespes-sandbox:{given.job_id}:"
        self._layout = given.layout
        self._status = -1
        self._status_text = ""

    def notes(self, plan: protocol.Plan) -> List[str]:
        images = sorted({executor.get("image") or "" for executor in plan["executors"]} - {""})
        notes = [f"sandbox: the image {image} is not used; programs of the node are" for image in images]
        limits: Dict[str, Any] = {**(plan.get("resources") or {})}
        if seccomp.program(os.uname().machine) is None:
            notes.append(f"sandbox: system calls are not filtered on {os.uname().machine}")
        return notes + [f"sandbox: {name} is not enforced" for name in ("cpu_cores", "ram_gb") if limits.get(name)]

    def removal(self, plan: protocol.Plan) -> List[str]:  # noqa: ARG002 - it has one name for all executors
        return ["/bin/sh", "-c", _END_FORGOTTEN, "tespes-removal", self._name]

    def prepare(self, plan: protocol.Plan) -> None:
        self._program = programs.find(self._program)
        if not all(executor.get("command") for executor in plan["executors"]):
            raise faults.SystemFailure("an executor has no command, and a sandbox has no image to take one from")
        for mount in self._layout.mounts:
            if any(mounts.is_within(mount.container_path, path) for path in (*_READ_ONLY, "/proc", "/sys")):
                raise faults.SystemFailure(f"{mount.container_path}: a sandbox cannot have files of a task there")
        os.mkdir(self._given.place("etc"))
        for name, content in _OF_OUR_OWN.items():
            with open(self._given.place(f"etc/{name}"), "w", encoding="ascii") as file:
                file.write(content)

    def start(self, index: int, executor: protocol.Executor, streams: List[int]) -> protocol.Process:  # noqa: ARG002
        reading, writing = os.pipe()
        os.set_blocking(reading, False)
        self._status, self._status_text = reading, ""
        filtered = self._unlinked_file("filter", seccomp.program(os.uname().machine) or b"")
        options = [*self._arguments(executor), "--json-status-fd", str(writing)]
        options += ["--seccomp", str(filtered)] if os.fstat(filtered).st_size else []
        arguments = self._unlinked_file("arguments", b"".join(os.fsencode(option) + b"\0" for option in options))
        try:
            return subprocess.Popen(
                [self._name, "--args", str(arguments), "--", *(executor.get("command") or ())],
                executable=self._program,
                stdin=streams[0],
                stdout=streams[1],
                stderr=streams[2],
                env={},
                pass_fds=(arguments, filtered, writing),
            )
        finally:
            os.close(writing)
            os.close(filtered)
            os.close(arguments)

    def kill(self, index: int, process: protocol.Process) -> None:  # noqa: ARG002 - one at a time
        """Kill the sandbox's first process: bwrap ends after all in it have. Killing bwrap would not wait for them."""
        select.select([self._status], [], [], _CHILD_PATIENCE_S)
        child = self._read_status().get("child-pid")
        if process.poll() is not None:
            return
        if child:
            os.kill(child, signal.SIGKILL)
        else:
            process.kill()

    def exit_code(self, index: int, executor: protocol.Executor, returncode: int, stderr: str) -> int:
        """The code is in bwrap's status; if it is not, the command never began, and what is on stderr is bwrap's."""
        ended_by_itself = "exit-code" in self._read_status()
        os.close(self._status)
        if ended_by_itself or returncode > programs.SIGNAL_BASE:
            return returncode
        lines = stderr.strip().splitlines() or [f"bwrap: ended with {returncode}"]
        if lines[-1].endswith("Argument list too long"):
            raise faults.SystemFailure(faults.COMMAND_LINE_TOO_LONG)
        if not lines[-1].startswith("bwrap: execvp "):
            raise faults.SystemFailure(f"the sandbox could not be made: {lines[-1]}")
        exit_code = programs.NOT_FOUND if lines[-1].endswith("No such file or directory") else programs.NOT_EXECUTABLE
        self._given.note(programs.not_run(index, executor, exit_code, "the sandbox"))
        return exit_code

    def _read_status(self) -> Dict[str, Any]:
        with suppress(BlockingIOError):
            self._status_text += os.read(self._status, 64 * 1024).decode("ascii")
        status: Dict[str, Any] = {}
        for line in self._status_text.splitlines():
            status.update(json.loads(line))
        return status

    def _unlinked_file(self, name: str, content: bytes) -> int:
        """A descriptor to read from: nobody finds the file by a name."""
        descriptor = os.open(self._given.place(name), os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        os.unlink(self._given.place(name))
        with open(descriptor, "wb", closefd=False) as file:
            file.write(content)
        os.lseek(descriptor, 0, os.SEEK_SET)
        return descriptor

    def _arguments(self, executor: protocol.Executor) -> List[str]:
        workdir = mounts.absolute("workdir", executor.get("workdir") or "/")
        arguments = [*_own_namespaces(self._network), *_system_directories(), *self._etc()]
        if not self._layout.mount_of(workdir) and not any(mounts.is_within(workdir, path) for path in _READ_ONLY):
            arguments += ["--dir", workdir]
        for mount in self._layout.mounts:
            arguments += ["--ro-bind" if mount.read_only else "--bind", mount.host_path, mount.container_path]
        variables = {"PATH": _PATH, "HOME": "/tmp", "LANG": "C.UTF-8", **(executor.get("env") or {})}  # noqa: S108 - its own
        for name, value in variables.items():
            if "\0" in name + value:
                raise faults.SystemFailure("a name or a value contains NUL")
            arguments += ["--setenv", name, value]
        return [*arguments, "--chdir", workdir]

    def _etc(self) -> List[str]:
        arguments = []
        for name in _OF_OUR_OWN:
            arguments += ["--ro-bind", self._given.place(f"etc/{name}"), f"/etc/{name}"]
        from_the_node = [*_FROM_THE_NODE, "resolv.conf"] if self._network == "host" else _FROM_THE_NODE
        for name in from_the_node:
            if os.path.exists(f"/etc/{name}"):
                arguments += ["--ro-bind", f"/etc/{name}", f"/etc/{name}"]
        return arguments


def _own_namespaces(network: str) -> List[str]:
    arguments = ["--unshare-user", "--unshare-pid", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try"]
    if network != "host":
        arguments.append("--unshare-net")
    arguments += ["--hostname", "sandbox", "--uid", str(_USER_ID), "--gid", str(_USER_ID), "--cap-drop", "ALL"]
    return [*arguments, "--die-with-parent", "--new-session"]


def _system_directories() -> List[str]:
    arguments = []
    for path in _READ_ONLY:
        if os.path.islink(path):
            arguments += ["--symlink", os.readlink(path), path]
        elif os.path.isdir(path):
            arguments += ["--ro-bind", path, path]
    arguments += ["--proc", "/proc"]
    for path in ("/proc/sys", "/proc/sysrq-trigger", "/proc/fs"):
        if os.path.exists(path):  # or a task under root's Pulsar could set core_pattern, and leave the sandbox through it
            arguments += ["--ro-bind", path, path]
    for path in _HIDDEN:
        if os.path.exists(path):
            arguments += ["--ro-bind", "/dev/null", path]
    return [*arguments, "--dev", "/dev", "--tmpfs", "/tmp", "--dir", "/var/tmp", "--dir", "/run"]  # noqa: S108 - its own
