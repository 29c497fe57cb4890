"""Executors in Apptainer containers (1.0 or later), as the user that the runner runs as. There is no daemon.

The options come from Apptainer's user guide and its source (1.4: cmd/internal/cli, pkg/runtime/engine/apptainer/config);
this was never run against an Apptainer. An image is made into one file before the first executor begins, so that what is
wrong with it is said then, and once.
"""

from __future__ import annotations

import os
import posixpath
import re
import signal
import subprocess
from contextlib import suppress

from . import faults, messages, mounts, programs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Dict, List, Optional, Tuple

    from . import protocol, runtime

_OWN_FAILURE = 255
_SCHEMES = ("docker://", "oras://", "library://", "shub://", "http://", "https://")
_AS_OTHERS_DO = ("--containall", "--cleanenv", "--writable-tmpfs", "--no-init", "--no-umask", "--no-eval")
_HANDED_OVER = "APPTAINERENV_"
_OF_APPTAINER_ITSELF = ("APPTAINER", "SINGULARITY")
_NOT_HANDED_OVER = (*("HOME", "PREPEND_PATH", "APPEND_PATH", "PWD", "UID", "GID", "EUID", "IFS", "OPTIND"),)
_SAYS = messages.Messages(("FATAL: ", "ERROR: "), ())


class Apptainer:
    """A runtime with images. Nothing outlives the processes that it starts, so nothing is left to remove."""

    def __init__(self, order: protocol.RuntimeOrder, given: runtime.Surroundings) -> None:
        self._order = order
        self._given = given
        self._program = order.get("program") or "apptainer"
        self._images: Dict[str, str] = {}
        self._resources: protocol.Resources = {}

    def notes(self, plan: protocol.Plan) -> List[str]:
        if self._order.get("limits"):
            return []
        limits = plan.get("resources") or {}
        return [f"apptainer: {name} is not enforced" for name in ("cpu_cores", "ram_gb") if limits.get(name)]

    def removal(self, plan: protocol.Plan) -> List[str]:  # noqa: ARG002 - the kernel ends a container with its parent
        return []

    def prepare(self, plan: protocol.Plan) -> None:
        self._program = programs.find(self._program)
        self._resources = plan.get("resources") or {}
        programs.refuse_empty_names(plan)
        for number, image in enumerate(sorted({executor.get("image") or "" for executor in plan["executors"]})):
            self._images[image] = self._file_of(image, self._given.place(f"image-{number}.sif"))

    def start(self, index: int, executor: protocol.Executor, streams: List[int]) -> protocol.Process:  # noqa: ARG002
        home = self._home((executor.get("env") or {}).get("HOME"))
        image = self._images[executor.get("image") or ""]
        return subprocess.Popen(
            [self._program, *arguments(executor, image, self._given.layout, self._order, self._resources, home=home)],
            stdin=streams[0],
            stdout=streams[1],
            stderr=streams[2],
            env=environment(executor, os.environ.copy()),
            start_new_session=True,
        )

    def kill(self, index: int, process: protocol.Process) -> None:  # noqa: ARG002 - one at a time
        """All processes of its session: those inside die with their parents besides."""
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)

    def exit_code(self, index: int, executor: protocol.Executor, returncode: int, stderr: str) -> int:
        """The command's, unless Apptainer itself failed: then it is 126 or 127 for a bad program, or a `SystemFailure`."""
        own = [line for line in stderr.splitlines() if line.startswith("FATAL: ")]
        if returncode != _OWN_FAILURE or not own:
            return returncode
        exit_code = messages.fault_of_the_program(returncode, own[-1])
        if not exit_code:
            raise faults.SystemFailure(_SAYS.own(own[-1]).strip(), retryable=_SAYS.may_pass(own[-1]))
        self._given.note(programs.not_run(index, executor, exit_code, f"the image {executor.get('image')}"))
        return exit_code

    def _file_of(self, image: str, place: str) -> str:
        source = reference(image)
        if source.startswith("/"):
            if not os.path.isfile(source):
                raise faults.SystemFailure(f"image {image}: does not exist on the node")
            return source
        command = [self._program, *(self._order.get("arguments") or ()), "--quiet", "pull", place, source]
        nothing = subprocess.DEVNULL
        process = subprocess.Popen(command, stdin=nothing, stdout=nothing, stderr=subprocess.PIPE, start_new_session=True)
        with self._given.stopped.calling(lambda: self.kill(0, process)):
            message = process.communicate()[1].decode("utf-8", errors="replace")
        self._given.stopped.check()
        if process.returncode:
            raise faults.SystemFailure(f"image {image}: {_SAYS.own(message).strip()}", retryable=_SAYS.may_pass(message))
        return place

    def _home(self, wanted: Optional[str]) -> Optional[Tuple[str, str]]:
        """A directory of the node, and where the container has it as its home: HOME cannot be set in any other way."""
        if wanted is None:
            return None
        if not wanted.startswith("/") or ":" in wanted:
            raise faults.SystemFailure(f"HOME {wanted}: apptainer takes an absolute path without ':' only")
        path = posixpath.normpath(wanted)
        mounted = self._given.layout.host_path(path)
        if mounted is not None:
            self._given.files.make_directory(path)
            return mounted, wanted
        place = self._given.place("home")
        return place if os.path.isdir(place) else self._given.files.make_apart(place), wanted


def reference(image: str) -> str:
    """What Apptainer is to fetch, or the absolute path of an image file; raises `SystemFailure` for no image.

    Of Apptainer's other forms some would name a directory of the node, or a container that runs there.
    """
    if not image:
        raise faults.SystemFailure("an executor names no image")
    if image.startswith(_SCHEMES) or (image.startswith("/") and image.endswith(".sif")):
        return image
    if "://" in image or image.startswith(("/", ".")):
        raise faults.SystemFailure(
            f"image {image}: a name, the path of a .sif file, or one of {' '.join(_SCHEMES)} is expected"
        )
    return f"docker://{image}"


def arguments(
    executor: protocol.Executor,
    image: str,
    layout: mounts.Layout,
    order: protocol.RuntimeOrder,
    resources: protocol.Resources,
    *,
    home: Optional[Tuple[str, str]] = None,
) -> List[str]:
    """The argument vector after the program's name; values of environment variables are not in it, but for HOME."""
    command = executor.get("command") or []
    vector = [*(order.get("arguments") or ()), "--quiet", "exec" if command else "run", *_AS_OTHERS_DO]
    vector += ["--home", ":".join(home)] if home else ["--no-home"]
    if order.get("network") == "none":
        vector += ["--net", "--network", "none"]
    if order.get("limits") and resources.get("cpu_cores"):
        vector += ["--cpus", str(resources["cpu_cores"])]
    if order.get("limits") and resources.get("ram_gb"):
        vector += ["--memory", str(int(float(resources["ram_gb"] or 0) * 10**9))]
    for mount in layout.mounts:
        vector += ["--mount", mounts.comma_separated(mount, "destination", "ro")]
    if executor.get("workdir"):
        vector += ["--pwd", mounts.absolute("workdir", str(executor["workdir"]))]
    return [*vector, *(order.get("run_arguments") or ()), image, *command]


def environment(executor: protocol.Executor, inherited: Dict[str, str]) -> Dict[str, str]:
    """The environment for Apptainer itself, which hands over what begins with APPTAINERENV_."""
    variables = {name: value for name, value in inherited.items() if not name.startswith((_HANDED_OVER, "SINGULARITYENV_"))}
    for name, value in (executor.get("env") or {}).items():
        if name == "HOME":
            continue
        taken = name in _NOT_HANDED_OVER or name.startswith(_OF_APPTAINER_ITSELF)
        if taken or not re.match(r"[A-Za-z_][A-Za-z0-9_]*\Z", name):
            raise faults.SystemFailure(f"the environment variable {name} cannot be handed to a container by apptainer")
        variables[_HANDED_OVER + name] = value
    return variables
